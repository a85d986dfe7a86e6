"""Accept samples from any thread, and sort the samples of each timeline by time."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from sisock.history.columns import Column, Rows, as_number, encode, join, take, type_of
from sisock.wire.arrays import normalise
from sisock.wire.protocol import EARLIEST, LATEST, check_field_name, is_text
from sisock.wire.times import counted, format_time

MAX_FIELDS = 50_000
"""Maximum number of fields, and of timelines: `get_fields` describes all in one message."""

MAX_HELD = 1 << 19
"""Maximum number of values that a timeline holds, so that a flush takes at most 20 ms."""

_MAX_FAULTS = 10  # maximum number of faults reported for one push

_RULE = "must be finite UNIX seconds, from 1970 to 5138 (milliseconds are not)"


class Intake:
    """Accept pushed samples, and discover new fields and timelines.

    `default` is the timeline of new fields that are pushed without one. `declared` has the type and
    the timeline of each field that is known from the beginning. `lateness` is in seconds.

    Attributes
    ----------
    kinds, line_of : dict
        Type and timeline of each known field.
    lines : dict
        The timelines by name.
    wake : threading.Event
        Set as soon as there is something to release.
    is_closed : bool
        Whether further samples are refused.
    """

    def __init__(
        self, default: str, lateness: float, declared: Mapping[str, tuple[str, str]]
    ) -> None:
        self.kinds: dict[str, str] = {}
        self.line_of: dict[str, LiveTimeline] = {}
        self.lines: dict[str, LiveTimeline] = {}
        self.wake = threading.Event()
        self.is_closed = False
        self._lock = threading.Lock()
        self._default, self._lateness = default, lateness
        for name, (kind, line) in declared.items():
            self.add_field(name, kind, line)

    def add_field(self, name: str, kind: str, line: str) -> None:
        """Add a field; raises ValueError if it is known with another type or timeline."""
        check_field_name(name)
        if name in self.kinds and (self.kinds[name], self.line_of[name].name) != (kind, line):
            raise ValueError(f"it is stored as a {kind} of timeline {line!r}: give it another name")
        self.kinds[name], self.line_of[name] = kind, self.line(line)

    def line(self, name: str) -> LiveTimeline:
        """Return the timeline with this name; create it if it is new."""
        if name not in self.lines:
            if not is_text(name):
                raise ValueError(f"{name!r} cannot be the name of a timeline")
            if len(self.lines) > MAX_FIELDS:
                raise ValueError(f"timeline {name[:50]!r} is over the limit of {MAX_FIELDS}")
            self.lines[name] = LiveTimeline(name, self._lateness, self._lock)
        return self.lines[name]

    def fields_of(self) -> dict[str, list[str]]:
        """Return the fields of each timeline."""
        with self._lock:
            fields: dict[str, list[str]] = {name: [] for name in self.lines}
            for name, line in self.line_of.items():
                fields[line.name].append(name)
        return fields

    def push(self, values: Any, t: Any, timeline: str | None) -> list[str]:
        """Accept one sample or arrays of samples; return a message for each rejected value.

        Raises TypeError or ValueError if nothing can be accepted.
        """
        if not isinstance(values, Mapping):
            raise TypeError(
                f"the values must be a dict, field to value, not {type(values).__name__}"
            )
        if self.is_closed:
            return []
        is_single = t is None or not hasattr(t, "__len__")
        if is_single:
            values = {name: [value] for name, value in values.items()}
        times = None if t is None else _times([t] if is_single else t)
        columns, faults = _columns(values, 1 if times is None else len(times))
        with self._lock:
            split = self._sort(columns, timeline, faults)
            # Read the clock while locked, so that the samples of two threads stay in order.
            at = np.array([time.time()]) if times is None else times
            for line, good in split.items():
                line.pending.append((at, good))
            self.wake.set()
        more = [f"{len(faults) - _MAX_FAULTS} more"] if len(faults) > _MAX_FAULTS else []
        return faults[:_MAX_FAULTS] + more

    def _sort(
        self, columns: Mapping[str, Column | None], timeline: str | None, faults: list[str]
    ) -> dict[LiveTimeline, dict[str, Column]]:
        """Sort columns by timeline; leave out those of a wrong type, and add these to `faults`."""
        split: dict[LiveTimeline, dict[str, Column]] = {}
        new: dict[str, tuple[str, str]] = {}
        for name, column in columns.items():
            known = self.kinds.get(name)
            if known is None and len(self.kinds) + len(new) >= MAX_FIELDS:
                faults.append(
                    f"the new field {str(name)[:50]!r}, but there are {MAX_FIELDS} fields already"
                )
                continue
            line = self.line_of.get(name) or self.line(timeline or self._default)
            if timeline is not None and line.name != timeline:
                raise ValueError(f"the field {name!r} belongs to timeline {line.name!r}")
            good = split.setdefault(line, {})
            if column is None:
                continue
            kind = type_of(column.dtype)
            if known is None:
                check_field_name(name)
                new[name] = kind, line.name
            elif (kind, known) == ("bool", "number"):
                column = as_number(column).astype("<f8")
            elif kind != known:
                faults.append(f"a {kind} for {name!r}, which is a {known}")
                continue
            good[name] = column
        for name, (kind, its_line) in new.items():
            self.add_field(name, kind, its_line)
        return split


class LiveTimeline:
    """Sort the samples of one timeline by time, and release them when they are final.

    A sample is held for `lateness` seconds; beyond `MAX_HELD` values, the earliest are released. A
    sample that is not later than all released ones is dropped. Of several samples with the same
    time, the first one is kept. `lock` protects `pending`.
    """

    def __init__(self, name: str, lateness: float, lock: threading.Lock) -> None:
        self.name = name
        self.pending: list[Rows] = []
        self.newest = -math.inf
        """Time of the newest sample that was released, or was stored in an earlier run."""
        self.came_at = time.monotonic()
        """Monotonic time of the last release."""
        self._lateness, self._lock = lateness, lock
        self._was_full = False
        self._held: Rows = (np.empty(0), {})
        self._came = np.empty(0)

    @property
    def is_holding(self) -> bool:
        """Whether samples are held back."""
        return len(self._came) > 0

    def why_dropped(self) -> str:
        """Say why samples are dropped."""
        if self._was_full:
            return (
                f"timeline {self.name!r} has too many values to hold all for"
                f" {self._lateness:g} s, so late samples are dropped: use more timelines"
            )
        if self.newest <= time.time() + 1:
            return f"samples that come too late for timeline {self.name!r} are dropped"
        newest = f"has a sample of {format_time(self.newest)}, which is in the future"
        return f"timeline {self.name!r} {newest}: earlier ones are dropped until then"

    def release(self, now: float, is_last: bool = False) -> tuple[Rows, int]:
        """Return the samples that are final now, and the number of dropped ones.

        `now` is monotonic time in seconds. With `is_last`, all held samples are released.
        """
        with self._lock:
            pending, self.pending = self.pending, []
        rows = t, _ = join([self._held, *pending])
        came = np.append(self._came, np.full(len(t) - len(self._came), now))
        kept = self._choose(t)
        rows, came = take(rows, kept), came[kept]
        cut = len(came)
        if self._lateness and not is_last:
            waited = np.flatnonzero(came <= now - self._lateness)
            cut = int(waited[-1]) + 1 if len(waited) else 0
            excess = len(came) - MAX_HELD // (1 + len(rows[1]))
            self._was_full |= excess > cut
            cut = max(cut, excess)
        self._held, self._came = take(rows, slice(cut, None)), came[cut:]
        if cut:
            self.newest, self.came_at = float(rows[0][cut - 1]), now
        return take(rows, slice(cut)), len(t) - len(came)

    def _choose(self, t: np.ndarray) -> np.ndarray | slice:
        """Return the indices of the samples that are not too late, sorted by time."""
        if len(t) and t[0] > self.newest and (t[1:] > t[:-1]).all():
            return slice(None)
        order = np.argsort(t, kind="stable")
        return order[(t[order] > self.newest) & (np.diff(t[order], prepend=-np.inf) > 0)]


def _times(t: Any) -> np.ndarray:
    """Return a copy of pushed times, shape (n,), as the caller may change an array."""
    try:
        times = normalise(t)
    except ValueError:
        times = None
    if times is None or times.dtype.kind not in "fiu":
        given = getattr(t, "dtype", type(t).__name__)
        if isinstance(t, list | tuple):
            given = ", ".join(sorted({type(value).__name__ for value in t}))
        raise ValueError(f"the times of samples {_RULE}, not {given}")
    wrong = times[~((times >= EARLIEST) & (times < LATEST))]
    if len(wrong):
        raise ValueError(f"the times of samples {_RULE}, not {wrong[0]}")
    return times.astype("<f8")


def _columns(values: Mapping[str, Any], count: int) -> tuple[dict[str, Column | None], list[str]]:
    """Return copies of pushed values as columns, and a message for each that cannot be one."""
    columns: dict[str, Column | None] = {}
    faults: list[str] = []
    for name, given in values.items():
        try:
            column = encode(given)
        except ValueError as error:
            is_nested = isinstance(given, list) and isinstance(given[0], list | tuple | np.ndarray)
            hint = "; an array needs an array of times" if is_nested else ""
            faults.append(f"wrong values for {name!r}: {error}{hint}")
            continue
        if len(given) != count:
            counts = f"{counted(len(given), 'value')} for {counted(count, 'time')}"
            raise ValueError(f"the field {name!r} has {counts}")
        columns[name] = None if column is None else column.copy()
    return columns, faults
