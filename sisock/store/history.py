"""The samples that a live node keeps: on disk and in memory, as one series a timeline."""

from __future__ import annotations

import fcntl
import math
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from sisock.errors import SettingsError
from sisock.store import columns
from sisock.store.columns import Column, Pair
from sisock.store.segments import Part, last_in
from sisock.store.timelines import MAX_NAME, Timeline, TimelineInfo, folder_of
from sisock.wire import grid

EVERY = 1.0
"""Seconds of samples that a power failure may take, and between two looks for what is to do."""

_PARTS = 8
"""What is kept is in so many files at least."""

_STATE, _CLOSED = "generation", "closed"
_BOOT = Path("/proc/sys/kernel/random/boot_id")


def history_folder(node: str, environ: Mapping[str, str] = os.environ) -> Path:
    """Return where a node's history is: below ``SISOCK_DATA``, or ``~/.local/share/sisock``."""
    base = Path(environ.get("SISOCK_DATA") or "~/.local/share/sisock")
    try:
        return base.expanduser() / quote(node, safe="")[:MAX_NAME]
    except RuntimeError as error:
        raise SettingsError(f"SISOCK_DATA must name a folder: {error}") from None


class _Stopped(Exception):
    pass


class History:
    """Samples of a node's timelines, kept on disk; for any threads.

    What `append` was given is in the operating system's hands when it returns, and on the disk
    within a second. While the disk cannot be written, all goes on in memory, with a bound.

    Parameters
    ----------
    folder : Path
        Its place, made if it is not there; SettingsError says why it cannot be used. One process
        at a time may have it.
    keep_seconds, keep_bytes : float or None
        What is older than that, or is too much, is removed, oldest first and file by file.
    warn : callable
        Logs a sentence: what is damaged, or cannot be written.
    clock : callable
        Returns UNIX seconds.

    Attributes
    ----------
    generation : str
        The same after a restart, unless samples that were served may be gone.
    """

    def __init__(
        self,
        folder: Path,
        keep_seconds: float | None,
        keep_bytes: float | None,
        warn: Callable[[str], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._folder = folder
        self._clock = clock
        self._warn = warn
        self._seconds, self._bytes = keep_seconds or math.inf, keep_bytes or math.inf
        self._lock, self._tidying = threading.Lock(), threading.Lock()
        self._timelines: dict[str, Timeline] = {}
        self._fields: dict[str, tuple[Timeline, np.dtype]] = {}
        self._stopping = threading.Event()
        # After another start of the computer, the last second may be lost.
        boot = _BOOT.read_text().strip() if _BOOT.exists() else secrets.token_hex(8)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._locked = open(folder / "lock", "ab")  # noqa: SIM115 - stays open
            fcntl.flock(self._locked, fcntl.LOCK_EX | fcntl.LOCK_NB)
            state, is_sound = self._read_state(), self._load()
        except BlockingIOError:
            raise SettingsError(f"the history in {folder} is in use by another process") from None
        except OSError as error:
            raise SettingsError(f"the history in {folder} cannot be used: {error}") from None
        is_whole = is_sound and len(state) == 2 and state[1] in (_CLOSED, boot)
        self.generation = state[0] if is_whole else secrets.token_hex(8)
        self._write_state(boot)
        self._threads = [
            threading.Thread(target=self._repeat, args=[do], name="sisock-history", daemon=True)
            for do in (self.sync, self.tidy)
        ]
        for thread in self._threads:
            thread.start()

    def append(self, timeline: str, t: Any, values: Mapping[str, Any]) -> None:
        """Keep samples: times in UNIX seconds, and an array or list for each field.

        Raises ValueError if the times do not ascend strictly, also from the last ones, or if values
        are not of their field's type or number; then nothing is kept.
        """
        times = np.array(t, dtype="<f8")
        if times.ndim != 1 or not np.isfinite(times).all() or (times[1:] <= times[:-1]).any():
            raise ValueError(f"the times of {timeline!r} must ascend strictly")
        given = {name: columns.encode(each) for name, each in values.items()}
        wrong = [name for name, each in values.items() if len(each) != len(times)]
        if wrong:
            raise ValueError(f"there must be as many values of {wrong[0]!r} as times")
        if not len(times):
            return
        found = {name: column.copy() for name, column in given.items() if column is not None}
        with self._lock:
            line = self._timelines.get(timeline)
            if line is None:
                line = Timeline(self._folder / folder_of(timeline), timeline, self._warn)
            self._check(line, found)
            line.append(times, found)
            self._timelines[timeline] = line
            for name in found.keys() - self._fields.keys():
                self._fields[name] = line, found[name].dtype

    def timelines(self) -> dict[str, TimelineInfo]:
        """Return what there is of each timeline."""
        types: dict[str, dict[str, str]] = {}
        for field, (line, dtype) in self._fields.copy().items():
            types.setdefault(line.name, {})[field] = columns.type_of(dtype)
        lines = self._timelines.copy().items()
        return {name: line.info(types.get(name, {})) for name, line in lines}

    def samples(
        self, timeline: str, fields: Iterable[str], start: float, end: float
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Return the samples of ``[start, end)``: times, and the values of each known field."""
        line = self._timelines.get(timeline)
        if line is None:
            return np.empty(0), {}
        known = [name for name in fields if self._fields.get(name, (None,))[0] is line]
        rows = [rows for part in line.parts for rows in part.read(known, start, end)]
        t, _ = columns.join([(t, None) for t, _ in rows])
        whole = ((name, [(t, each[i]) for t, each in rows]) for i, name in enumerate(known))
        return t, {name: self._decode(name, columns.join(pairs)) for name, pairs in whole}

    def decimated(
        self, field: str, start: float, end: float, w: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return what the buckets of size `w` keep of a field's samples in ``[start, end)``."""
        pair = columns.join(self._gather(field, start, end, w))
        kept = columns.pick(pair, columns.decimate(*pair, w))
        return kept[0], self._decode(field, kept)

    def few(
        self, field: str, start: float, end: float, max_points: int
    ) -> tuple[np.ndarray, np.ndarray, float | None]:
        """Return at most `max_points` samples of ``[start, end)``, and the size of the buckets.

        They are all samples, and the size is None; or what the buckets keep, the first and the
        last sample.
        """
        if field in self._fields:
            # What comes meanwhile is not for this answer.
            end = min(end, math.nextafter(self._fields[field][0].last, math.inf))
        found = [part.span(start, end) for part in self._parts(field)]
        spans = [span for span in found if span is not None]
        if sum(count for count, _, _ in spans) <= max_points:
            pair = columns.join(self._gather(field, start, end))
            return pair[0], self._decode(field, pair), None
        first, last = spans[0][1], spans[-1][2]
        w = grid.bucket_size_for(first, last, max_points)
        after = math.nextafter(first, math.inf)
        # The buckets of both ends are read from the samples, so that these ends are among them.
        whole = [
            *self._gather(field, start, after),
            *self._gather(field, after, last, w),
            *self._gather(field, last, end),
        ]
        pair = columns.join(whole)
        kept = grid.with_ends(columns.decimate(*pair, w), len(pair[0]))
        t, column = columns.pick(pair, kept)
        return t, self._decode(field, (t, column)), w

    def last(self, field: str, before: float = math.inf) -> tuple[float, Any] | None:
        """Return time and value of a field's last sample before a time that is not missing."""
        for part in reversed(self._parts(field)):
            found = last_in(part, field, before)
            if found is not None:
                value = self._decode(field, found)[0]
                return float(found[0][0]), value.item() if isinstance(value, np.generic) else value
        return None

    def sync(self) -> None:
        """Have all that was appended survive a power failure."""
        for line in list(self._timelines.values()):
            line.sync()

    def tidy(self) -> None:
        """Make files of what is in memory, and remove those that are too old or too much."""
        with self._tidying:
            lines = list(self._timelines.values())
            for line in lines:
                line.tidy(self._seconds / _PARTS, self._bytes / _PARTS, self._go_on)
            # A clock that is ahead must not take what there is.
            newest = max((line.last for line in lines), default=-math.inf)
            oldest = min(self._clock(), newest) - self._seconds
            size = sum(line.size() for line in lines)
            while found := [(line.oldest.last, line.name) for line in lines if line.oldest]:
                last, name = min(found)
                if last >= oldest and size <= self._bytes:
                    break
                size -= self._timelines[name].drop_oldest()

    def close(self) -> None:
        """Write all that there is, and let others have the folder."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()
        self.sync()
        for line in self._timelines.values():
            line.close()
        if all(line.is_written for line in self._timelines.values()):
            self._write_state(_CLOSED)
        self._locked.close()

    def _parts(self, field: str) -> tuple[Part, ...]:
        return self._fields[field][0].parts if field in self._fields else ()

    def _gather(self, field: str, start: float, end: float, w: float = 0.0) -> list[Pair]:
        """Return what gives the same buckets of size `w` as the samples, or all samples."""
        return [pair for part in self._parts(field) for pair in part.gather(field, start, end, w)]

    def _decode(self, field: str, pair: Pair) -> np.ndarray:
        t, column = pair
        if column is None:
            _, dtype = self._fields.get(field, (None, columns.TIMES))
            column = columns.missing(dtype, len(t))
        return columns.decode(column)

    def _check(self, line: Timeline, given: Mapping[str, Column]) -> None:
        for name, column in given.items():
            owner, dtype = self._fields.get(name, (line, column.dtype))
            if owner is not line:
                raise ValueError(f"{name!r} is a field of the timeline {owner.name!r}")
            if columns.type_of(dtype) != columns.type_of(column.dtype):
                raise ValueError(f"{name!r} is a {columns.type_of(dtype)}, not another type")

    def _load(self) -> bool:
        """Load all timelines; returns whether nothing of them is damaged."""
        damage = []

        def report(text: str) -> None:
            damage.append(text)
            self._warn(text)

        for folder in sorted(self._folder.glob("t-*")):
            line = Timeline.load(folder, report)
            if line is not None:
                self._timelines[line.name] = line
                for part in line.parts:
                    self._fields |= {name: (line, dtype) for name, dtype in part.dtypes.items()}
        return not damage

    def _repeat(self, do: Callable[[], None]) -> None:
        while not self._stopping.wait(EVERY):
            try:
                do()
            except _Stopped:
                return
            except Exception as error:
                self._warn(f"the history in {self._folder}: {type(error).__name__}: {error}")

    def _go_on(self) -> None:
        """Raise `_Stopped` if there is no time left for long work."""
        if self._stopping.is_set():
            raise _Stopped

    def _read_state(self) -> list[str]:
        """Return the generation that the last process left, and for what it holds."""
        with suppress(OSError, ValueError):
            return (self._folder / _STATE).read_text().split()
        return []

    def _write_state(self, holds: str) -> None:
        """Write the generation, and for which start of the computer it holds, or that it does."""
        path = self._folder / _STATE
        try:
            with open(path.with_suffix(".part"), "w") as file:
                file.write(f"{self.generation} {holds}\n")
                file.flush()
                os.fsync(file.fileno())
            os.replace(file.name, path)
        except OSError as error:
            # The next process then begins a new generation.
            self._warn(f"{path} cannot be written: {error}")
