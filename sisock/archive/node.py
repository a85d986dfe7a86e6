"""`ArchiveNode`: a data node over existing samples, in files or a database."""

from __future__ import annotations

import math
import threading
import time
from abc import abstractmethod
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

from sisock.archive.pyramids import Pyramids, decimate_windows, windows
from sisock.errors import NodeFailed
from sisock.node.api import DataNodeServer
from sisock.store.background import WorkLog
from sisock.wire.arrays import Samples, as_samples, last_present
from sisock.wire.fields import check_entries, describe
from sisock.wire.grid import Wanted
from sisock.wire.protocol import EARLIEST, MIN_POINTS, Interval, check_interval, contract, widening
from sisock.wire.reply import Decimated, Reply, just_after

MAX_READ = 4_000_000  # samples to read at once if all are to be sent; later windows read the rest


class ArchiveNode(DataNodeServer):
    """A data node that reads one field at a time.

    Override `list_fields` and `read`. Unless `pyramid` is False, the samples of numbers and
    booleans are read and decimated in the background, and cached in the folder ``SISOCK_CACHE``.
    Until the cache is complete, requests read all their samples, one window at a time; one that
    would take more than `answer_within` seconds fails and asks to try again later.
    """

    pyramid: bool = True
    answer_within: float = 20.0

    _pyramids: Pyramids | None = None
    _turn: AbstractContextManager[Any] = nullcontext()

    @abstractmethod
    def list_fields(self, start: float, end: float) -> Mapping[str, Mapping[str, Any]]:
        """Return all fields: name to a dict, any item of which may be left out.

        ``description``; ``timeline`` (fields with the same one share their times; the default is
        the field's own name); ``type`` ("number", "string" or "bool"); ``units``; ``interval``
        (mean spacing in seconds); ``first`` and ``last`` (UNIX times; the cache begins with
        ``first``); ``stale_after``, ``limits``, ``precision`` and ``labels``, see
        docs/reference/fields.md.

        With ``first`` and ``interval``, the samples of a long interval are read in parts of a few
        million while they are sent; otherwise all at once.

        A field with samples from `start` to `end`, in UNIX seconds, must be listed; others may be.
        """

    @abstractmethod
    def read(self, field: str, start: float, end: float) -> tuple[Any, Any]:
        """Return times and values of one field's samples: two array_likes of shape (n,).

        The times are UNIX seconds, ascending; the values numbers, booleans or strings, NaN or None
        where one is missing. Samples before `start`, or not before `end` (also UNIX seconds), are
        cut off.
        """

    def fingerprint(self, field: str) -> str | None:
        """Return a text that changes whenever earlier samples of the field change.

        While it stays the same the cache is kept, also over restarts, and only later samples are
        read. With None (the default) the cache is rebuilt at each start.
        """
        return None

    def get_fields(self, start: float, end: float) -> Any:
        """Answer from `list_fields`."""
        interval = check_interval(start, end)
        listed = self.list_fields(interval.start, interval.end)
        check_entries(listed, self.name)
        if self._pyramids is not None:
            known = {name: self._pyramids.span(name) for name in listed}
            listed = {name: {**known[name], **entry} for name, entry in listed.items()}
        return describe(listed)

    def get_data(
        self, field: list[str], start: float, end: float, min_stride: float | None = None
    ) -> Any:
        """Answer from `read`, field by field; for a long interval, only its beginning.

        All samples are final, except times for which only some fields of a timeline have samples.
        """
        interval, found = check_interval(start, end), {}
        # With `min_stride`, only a few samples are sent.
        most, until = math.inf if min_stride else MAX_READ / max(len(field), 1), interval.end
        for name, entry in self._entries_of(field, interval).items():
            part = Interval(interval.start, until)
            samples, until = self._read_part(name, entry, part, most)
            found[name] = entry.get("timeline") or name, samples
        times: defaultdict[str, list[np.ndarray]] = defaultdict(list)
        for name, (line, (t, values)) in found.items():
            if until < interval.end:
                t, values = t[: t.searchsorted(until)], values[: t.searchsorted(until)]
                found[name] = line, (t, values)
            times[line].append(t)
        reply = Reply.merged(found, field)
        for line, shared in reply.timelines.items():
            shared.finalized_until = _final_until(times[line])
        reply.until = until if until < interval.end else None
        return reply

    def get_decimated(
        self,
        field: list[str],
        start: float,
        end: float,
        bucket: float | None = None,
        max_points: int | None = None,
    ) -> Any:
        """Answer from the cache, or else from `read` in little memory."""
        interval, due = check_interval(start, end), time.monotonic() + self.answer_within
        wanted = Wanted(interval.start, interval.end, bucket, max_points)
        return {
            name: self._prepared(name, wanted) or self._read_decimated(name, entry, due, wanted)
            for name, entry in self._entries_of(field, interval).items()
        }

    def get_latest(self, field: list[str], end: float) -> Any:
        """Answer from `read`, beginning at the time of the last known sample."""
        found: dict[str, tuple[str, Samples]] = {}
        for name, entry in self._entries_of(field, Interval(EARLIEST, end)).items():
            for interval in self._where_last(name, entry, end):
                t, values = self._read_checked(name, interval.start, interval.end)
                which = last_present(values)
                if len(which):
                    found[name] = entry.get("timeline") or name, (t[which], values[which])
                    break
        return Reply.merged(found, field)

    def _where_last(self, name: str, entry: Mapping[str, Any], end: float) -> Iterator[Interval]:
        """Yield the intervals in which to look for a field's last sample."""
        few, last = self._prepared(name, Wanted(EARLIEST, end, max_points=MIN_POINTS)), None
        if few is None:
            last = entry.get("last")
        elif len(few.t):
            last = float(few.t[-1])
        if last is not None and last < end:
            yield Interval(last, end)
        yield from widening(end)

    def begin(self, service: Any) -> None:
        """Start to build the cache of decimated samples."""
        self._turn = threading.Lock()
        if not self.pyramid:
            return
        self._pyramids = Pyramids(self, self._read_checked)
        self._pyramids.build()

    def samples_changed(self) -> None:
        """Announce that samples which were final have changed; see `DataNodeServer`."""
        if self._pyramids is not None:
            self._pyramids.forget()
        super().samples_changed()
        if self._pyramids is not None:
            self._pyramids.build()

    def _entries_of(
        self, names: Iterable[str], interval: Interval
    ) -> Mapping[str, Mapping[str, Any]]:
        """Return the entries of those fields that exist."""
        listed = self.list_fields(interval.start, interval.end)
        return {name: listed[name] for name in names if name in listed}

    def _prepared(self, name: str, wanted: Wanted) -> Decimated | None:
        """Answer from the cache; return None if it is not ready."""
        return None if self._pyramids is None else self._pyramids.decimate(name, wanted)

    def _is_being_prepared(self, name: str) -> bool:
        """Return whether the cache of a field is not ready, but will be."""
        return self._pyramids is not None and self._pyramids.is_being_built(name)

    def _read_decimated(
        self, name: str, entry: Mapping[str, Any], due: float, wanted: Wanted
    ) -> Decimated:
        """Decimate without the cache, until the time `due`."""
        began, begin = time.monotonic(), max(wanted.start, entry.get("first") or -math.inf)
        last = entry.get("last")
        end = min(wanted.end, last or math.inf)

        def read(low: float, high: float) -> Samples:
            spent, done = time.monotonic() - began, (low - begin) / max(end - begin, 1.0)
            expected = spent / done if last and 0 < done < 1 else spent
            # In the first tenth of the time, an estimate would be unreliable.
            is_slow = began + expected >= due and 10 * spent >= due - began
            if is_slow and self._is_being_prepared(name):
                raise NodeFailed(f"{name!r} is still being prepared: ask again later")
            return self._read_checked(name, low, high)

        parts = windows(read, begin, wanted.end, entry.get("interval"))
        progress = WorkLog(self.log, f"reading {name!r} to decimate it")
        return decimate_windows(parts, wanted, progress, self._turn)

    def _read_part(
        self, name: str, entry: Mapping[str, Any], interval: Interval, most: float
    ) -> tuple[Samples, float]:
        """Read an interval, or its beginning with about `most` samples; return also its end."""
        start, end = interval.start, interval.end
        first, spacing = entry.get("first"), entry.get("interval")
        if first is not None and spacing and most < math.inf:
            end = min(end, max(start, first) + most * spacing)
        if end >= min(interval.end, entry.get("last") or math.inf):
            end = interval.end
        return self._read_checked(name, start, end), end

    def _read_checked(self, name: str, start: float, end: float) -> Samples:
        """Read the samples of an interval, check them, and cut off those outside."""
        pair = self.read(name, start, end)
        with contract(self.name, name):
            if not isinstance(pair, tuple | list) or len(pair) != 2:
                raise ValueError("read must return the pair (t, values)")
            t, values = as_samples(*pair)
        inside = slice(t.searchsorted(start), t.searchsorted(end))
        return t[inside], values[inside]


def _final_until(times: list[np.ndarray]) -> float | None:
    """Return the time before which no field can get more samples, as files grow in turn."""
    filled = [t for t in times if len(t)]
    if not filled or (len(filled) == len(times) and len({float(t[-1]) for t in times}) == 1):
        return None
    if len(filled) < len(times):
        return float(min(t[0] for t in filled))
    return just_after(float(min(t[-1] for t in filled)))
