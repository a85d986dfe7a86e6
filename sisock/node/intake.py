"""Accept samples from any thread, and sort the samples of each timeline by time."""

from __future__ import annotations

import math
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import groupby
from typing import Any, TypeAlias

import numpy as np

from sisock.history.columns import Column, Rows, as_number, encode, join, take, type_of
from sisock.wire.arrays import normalise
from sisock.wire.protocol import EARLIEST, LATEST, check_field_name, is_text
from sisock.wire.times import counted, format_time

_TYPES: dict[str, tuple[type, ...]] = {
    "bool": (bool, np.bool_),
    "string": (str,),
    "number": (int, float, np.integer, np.floating, np.bool_),
}
"""The Python types of a field's values. A new field gets the first type that fits."""

MAX_FIELDS = 50_000
"""Maximum number of fields, and of timelines: `get_fields` describes all in one message."""

_MAX_FAULTS = 10  # maximum number of faults reported for one push

_LARGEST = sys.float_info.max

_RULE = "must be finite UNIX seconds, from 1970 to 5138 (milliseconds are not)"

_TIME = (int, float, np.integer, np.floating)

_Judge: TypeAlias = Callable[[Any, str | None], str | None]


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
            self.lines[name] = LiveTimeline(name, self._lateness, self.kinds, self._lock)
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
            return ["a sample after the node had ended"]
        faults: list[str] = []
        is_batch = t is not None and not isinstance(t, _TIME)
        if is_batch:
            t, values = _copied(t, values, faults)
        elif t is not None and not EARLIEST <= t < LATEST:
            raise ValueError(f"the time of a sample {_RULE}, not {t!r}")
        with self._lock:
            judge = _kind_of_column if is_batch else _kind_of
            split = self._sort(values, timeline, judge, faults)
            # Read the clock while locked, so that the samples of two threads stay in order.
            at = time.time() if t is None else t
            for line, good in split.items():
                line.pending.append((at, good))
            if not self.wake.is_set():
                self.wake.set()
        more = [f"{len(faults) - _MAX_FAULTS} more"] if len(faults) > _MAX_FAULTS else []
        return faults[:_MAX_FAULTS] + more

    def _sort(
        self, values: Mapping[str, Any], timeline: str | None, judge: _Judge, faults: list[str]
    ) -> dict[LiveTimeline, dict[str, Any]]:
        """Sort values by timeline; leave out those of a wrong type, and add these to `faults`."""
        split: dict[LiveTimeline, dict[str, Any]] = {}
        new: dict[str, tuple[str, str]] = {}
        for name, value in values.items():
            if name not in self.kinds and len(self.kinds) + len(new) >= MAX_FIELDS:
                faults.append(
                    f"the new field {str(name)[:50]!r}, but there are {MAX_FIELDS} fields already"
                )
                continue
            line = self.line_of.get(name) or self.line(timeline or self._default)
            if timeline is not None and line.name != timeline:
                raise ValueError(f"the field {name!r} belongs to timeline {line.name!r}")
            good = split.setdefault(line, {})
            known = self.kinds.get(name)
            kind = judge(value, known)
            if kind is None:
                what = f"which is a {known}" if known else "which no field can be"
                if judge is _kind_of and isinstance(value, list | np.ndarray):
                    what += "; an array needs an array of times"
                faults.append(f"{type(value).__name__} for {name!r}, {what}")
            elif kind:
                if known is None:
                    check_field_name(name)
                    new[name] = kind, line.name
                good[name] = value
        for name, (kind, its_line) in new.items():
            self.add_field(name, kind, its_line)
        return split


class LiveTimeline:
    """Sort the samples of one timeline by time, and release them when they are final.

    A sample is held for `lateness` seconds, or until a sample that is this much later comes. A
    sample that is not later than all released ones is dropped. Of several samples with the same
    time, the first one is kept. `kinds` has the type of each field; `lock` protects `pending`.
    """

    def __init__(
        self, name: str, lateness: float, kinds: Mapping[str, str], lock: threading.Lock
    ) -> None:
        self.name = name
        self.pending: list[tuple[Any, dict[str, Any]]] = []
        self.newest = -math.inf
        """Time of the newest sample that was released."""
        self.came_at = time.monotonic()
        """Monotonic time of the last release."""
        self._lateness, self._kinds, self._lock = lateness, kinds, lock
        self._latest = -math.inf
        self._held: Rows = (np.empty(0), {})
        self._came = np.empty(0)

    @property
    def is_holding(self) -> bool:
        """Whether samples are held back."""
        return len(self._came) > 0

    def resume(self, newest: float) -> None:
        """Continue after the samples of an earlier run; `newest` is the time of the last one."""
        self.newest = self._latest = newest

    def why_dropped(self) -> str:
        """Say why samples are dropped."""
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
        rows = t, _ = join([self._held, *self._runs(pending)])
        came = np.append(self._came, np.full(len(t) - len(self._came), now))
        kept = self._choose(t, len(self._came))
        rows, came = take(rows, kept), came[kept]
        cut = len(came) if is_last or not self._lateness else self._count_free(rows[0], came, now)
        self._held, self._came = take(rows, slice(cut, None)), came[cut:]
        if cut:
            self.newest, self.came_at = float(rows[0][cut - 1]), now
        return take(rows, slice(cut)), len(t) - len(came)

    def _count_free(self, t: np.ndarray, came: np.ndarray, now: float) -> int:
        """Return how many samples, from the first, need not be held any longer."""
        waited = np.flatnonzero(came <= now - self._lateness)
        until = max(self._latest - self._lateness, t[waited[-1]] if len(waited) else -math.inf)
        return int(np.searchsorted(t, until, side="right"))

    def _choose(self, t: np.ndarray, held: int) -> np.ndarray | slice:
        """Return the indices of the samples that are not too late, sorted by time.

        The first `held` samples were chosen in an earlier call.
        """
        if held < len(t) and t[held] > self._latest and (t[1:] > t[:-1]).all():
            self._latest = float(t[-1])
            return slice(None)
        seen = np.maximum.accumulate(np.append(self._latest, t[held:]))
        self._latest = float(seen[-1])
        is_late = t[held:] <= np.maximum(seen[:-1] - self._lateness, self.newest)
        kept = np.append(np.arange(held), held + np.flatnonzero(~is_late))
        kept = kept[np.argsort(t[kept], kind="stable")]
        return kept[np.diff(t[kept], prepend=-np.inf) > 0]

    def _runs(self, pending: Iterable[tuple[Any, dict[str, Any]]]) -> Iterator[Rows]:
        """Yield pushed samples as columns, in the order in which they came."""
        for is_batch, run in groupby(pending, lambda pushed: isinstance(pushed[0], np.ndarray)):
            if is_batch:
                yield from ((t, self._fit(columns)) for t, columns in run)
                continue
            times, rows = zip(*run, strict=True)
            names = dict.fromkeys(name for row in rows for name in row)
            columns = {name: self._column(name, [row.get(name) for row in rows]) for name in names}
            yield np.array(times, dtype="<f8"), self._fit(columns)

    def _column(self, name: str, values: list[Any]) -> Column | None:
        # `push` has checked each number.
        if self._kinds[name] == "number":
            return np.array(values, "<f8")
        # Store instances of subclasses of str, such as enumerations, as plain strings.
        return encode([str.__str__(v) if isinstance(v, str) else v for v in values])

    def _fit(self, columns: Mapping[str, Column | None]) -> dict[str, Column]:
        """Drop columns without a value, and convert booleans in fields of numbers to numbers."""
        fit = {name: column for name, column in columns.items() if column is not None}
        for name, column in fit.items():
            if self._kinds[name] != type_of(column.dtype):
                fit[name] = as_number(column).astype("<f8")
        return fit


def _copied(t: Any, values: Mapping[str, Any], faults: list[str]) -> tuple[np.ndarray, dict]:
    """Return copies of pushed times and values, as the caller may change the arrays."""
    try:
        times = normalise(t)
    except ValueError:
        given = getattr(t, "dtype", type(t).__name__)
        raise ValueError(f"the times of samples {_RULE}, not {given}") from None
    is_number = times.dtype.kind in "fiu"
    if not is_number or not ((times >= EARLIEST) & (times < LATEST)).all():
        raise ValueError(f"the times of samples {_RULE}")
    copies: dict[str, Column | None] = {}
    for name, given in values.items():
        try:
            column = encode(given)
        except ValueError as error:
            faults.append(f"an array for {name!r}: {error}")
            continue
        if len(given) != len(times):
            counts = f"{counted(len(given), 'value')} for {counted(len(times), 'time')}"
            raise ValueError(f"the field {name!r} has {counts}")
        copies[name] = None if column is None else column.copy()
    return times.astype("<f8"), copies


def _kind_of(value: Any, known: str | None) -> str | None:
    """Return the `known` type of a field, or the first type that fits a value.

    Returns None if the value does not fit, and "" if it is missing and no type is known.
    """
    if value is None:
        return known or ""
    if isinstance(value, int) and not -_LARGEST <= value <= _LARGEST:
        return None
    if known is not None:
        return known if isinstance(value, _TYPES[known]) else None
    return next((kind for kind, types in _TYPES.items() if isinstance(value, types)), None)


def _kind_of_column(column: Column | None, known: str | None) -> str | None:
    """Do as `_kind_of` for a column, which is None if all values are missing."""
    if column is None:
        return known or ""
    own = type_of(column.dtype)
    return own if known in (None, own) else known if (known, own) == ("number", "bool") else None
