"""Merge events and replies of a live timeline into one series of samples, with gaps."""

from __future__ import annotations

import math
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from operator import itemgetter
from typing import Any, TypeAlias

import numpy as np

from sisock.wire.arrays import all_from_wire, as_times, has_value, to_lists
from sisock.wire.protocol import LATEST, check_field_name, contract, is_text

MAX_WAITING = 100_000  # maximum values of waiting events; all are dropped if there are more
MAX_EVENTS = 200  # maximum number of waiting events, likewise


@dataclass(frozen=True)
class LiveSample:
    """One new sample of a node: time in UNIX seconds, timeline, and field to value or None."""

    t: float
    timeline: str | None
    values: Mapping[str, Any]


@dataclass(frozen=True)
class Gap:
    """Samples of a timeline between `start` and `end`, UNIX seconds, may be lost.

    `start` is the time of the last sample before the gap, `end` that of the first one after it.
    """

    timeline: str
    start: float
    end: float


@dataclass(frozen=True)
class Batch:
    """Successive samples of one timeline: times, and values of each field, of shape (n,)."""

    timeline: str
    t: np.ndarray
    values: Mapping[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.t)

    def take(self, which: slice | np.ndarray) -> Batch:
        """Keep some of the samples."""
        values = {name: each[which] for name, each in self.values.items()}
        return Batch(self.timeline, self.t[which], values)

    def after(self, t: float) -> Batch:
        """Keep the samples later than `t`."""
        first = int(self.t.searchsorted(t, side="right"))
        return self.take(slice(first, None)) if first else self

    def present(self) -> Batch:
        """Drop the samples in which all fields are missing."""
        is_present = np.zeros(len(self.t), dtype=bool)
        for values in self.values.values():
            is_present |= has_value(values)
            if is_present.all():
                return self
        return self.take(is_present)

    def samples(self) -> list[LiveSample]:
        """Cut into single samples."""
        columns = to_lists(self.values.values())
        return [
            LiveSample(t, self.timeline, dict(zip(self.values, row, strict=True)))
            for t, *row in zip(self.t.tolist(), *columns, strict=True)
        ]


@dataclass(frozen=True)
class Last:
    """The time of the last sample of a timeline, in UNIX seconds; samples have to be fetched."""

    timeline: str
    t: float


Passed: TypeAlias = list[Batch | Gap]
"""Batches and gaps to pass on, in order."""

_Part: TypeAlias = tuple[str, tuple[str, ...] | None, list[Any], dict[str, list[Any]]]
"""Samples of an event: timeline, fields, times and values; without fields only the last time."""


class Merger:
    """Merge events and replies of one timeline, so that each sample is passed on once, in order.

    While `is_live`, events are passed on as they come. After a break (`lose`) events wait, while
    the node is asked for all samples from the `last` one on. If the reply lacks that sample, later
    ones may be lost, too, and a `Gap` is passed on. `last` is None before the first sample.

    Times ascend. If an event goes back in time, an earlier event had a wrong time. Then the node is
    asked for all samples from the last but one on.

    `span` is not used here: the caller keeps the number of seconds to ask for next in it.
    """

    def __init__(self, timeline: str, last: float | None = None, is_live: bool = True) -> None:
        self.timeline = timeline
        self.last = last
        self.is_live = is_live
        self.is_behind = not is_live
        self.span: float | None = None
        self._before_last: float | None = None
        self._heard = -math.inf
        self._gap_from: float | None = None
        self._waiting: list[Batch] = []
        self._waiting_values = 0
        # Times of the last waiting event before each break.
        self._breaks: set[float] = set()

    def hear(self, batch: Batch) -> Passed:
        """Accept the samples of an event; each has a value. Raises ValueError if times go back."""
        if not len(batch):
            return []
        self._check_order(float(batch.t[0]), float(batch.t[-1]))
        if self.is_live:
            return self._pass(batch)
        self._waiting.append(batch)
        self._waiting_values += len(batch) * max(len(batch.values), 1)
        if self._waiting_values > MAX_WAITING or len(self._waiting) > MAX_EVENTS:
            self._forget()
            self.lose()
        return []

    def hear_of(self, last: float) -> None:
        """Accept an event that has only the time of the last sample; raises as `hear`."""
        self._check_order(last, last)
        if self.last is None or last > self.last:
            self.lose()

    def _check_order(self, first: float, newest: float) -> None:
        heard, self._heard = self._heard, newest
        if newest >= heard:
            return
        self._forget()
        if self.last is not None and self.last >= first:
            is_wrong = self._before_last is None or self._before_last >= first
            self.last = math.nextafter(first, -math.inf) if is_wrong else self._before_last
        self.lose()
        raise ValueError(f"the times of timeline {self.timeline!r} go back: one of them was wrong")

    def lose(self) -> None:
        """Note that events may have been missed, even after the waiting ones."""
        self.hold()
        self.is_behind = True
        if self._waiting:
            self._breaks.add(float(self._waiting[-1].t[-1]))

    def hold(self) -> None:
        """Keep events until `release`."""
        self.is_live = False

    def ask(self) -> float | None:
        """Return the time from which to ask for samples; None if no sample was passed on yet.

        Call this just before asking: later samples are in the reply or come as events.
        """
        self.is_behind = False
        return self.last

    def answer(self, reply: Batch, is_complete: bool = True) -> Passed:
        """Accept the samples that `ask` was for; the newest may be missing.

        If `is_behind` is true afterwards, ask again.
        """
        if self.last is not None and self.last in reply.t:
            self._gap_from = None  # even if `give_up` was called before
        else:
            self._note_gap()
        self._breaks = {t for t in self._breaks if t not in reply.t}
        self.is_behind = self.is_behind or not is_complete
        return self._pass(reply)

    def give_up(self) -> None:
        """Treat missed samples as lost, because the node does not answer."""
        self._note_gap()
        self.is_behind = False

    def release(self) -> Passed:
        """Return the waiting events, and pass later ones on as they come."""
        self.is_live = True
        passed: Passed = []
        for batch in self._waiting:
            passed += self._pass(batch)
            if self.last in self._breaks:
                self._gap_from = self.last  # later samples were missed, and are in no reply
        self._forget()
        return passed

    def _forget(self) -> None:
        self._waiting, self._waiting_values, self._breaks = [], 0, set()

    def _note_gap(self) -> None:
        if self._gap_from is None:
            self._gap_from = self.last

    def _pass(self, batch: Batch) -> Passed:
        batch = batch if self.last is None else batch.after(self.last)
        if not len(batch):
            return []
        gap, self._gap_from = self._gap_from, None
        self._before_last = float(batch.t[-2]) if len(batch) > 1 else self.last
        self.last = float(batch.t[-1])
        return [batch] if gap is None else [Gap(self.timeline, gap, float(batch.t[0])), batch]


def read_events(
    events: Iterable[Any],
    node: str,
    timeline_of: Mapping[str, str],
    wanted: Container[str] | None = None,
) -> Iterator[Batch | Last]:
    """Decode live events in order; successive samples of the same fields become one batch.

    `timeline_of` has the timeline of each field; `wanted` are the fields of interest, None for all.
    Raises NodeContractError at the first malformed event.
    """
    parts: list[_Part] = []
    malformed: Exception | None = None
    try:
        for event in events:
            parts += list(_split(event, timeline_of))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        malformed = error
    with contract(node):
        for (line, names), group in groupby(parts, key=itemgetter(0, 1)):
            alike = list(group)
            try:
                yield _joined(line, names, alike, wanted)
            except ValueError:
                for part in alike:
                    yield _joined(line, names, [part], wanted)
        if malformed is not None:
            raise ValueError(f"a live event must be like a reply: {malformed}")


def _split(event: Any, timeline_of: Mapping[str, str]) -> Iterator[_Part]:
    """Yield the samples of each timeline of an event, or their last time."""
    lines = event["timeline"]
    times = {name: entry["t"] for name, entry in lines.items() if "t" in entry}
    for name in lines:
        if name not in times:
            yield name, None, [lines[name]["last"]], {}
    filled = [name for name, t in times.items() if len(t)]
    columns: dict[str, dict[str, list[Any]]] = {name: {} for name in filled}
    follows = event.get("follows", {})
    only = filled[0] if len(filled) == 1 else None
    for name, column in event["data"].items() if times else ():
        if len(column):
            line = follows.get(name, timeline_of.get(name)) if only is None else only
            if line not in columns or type(column) is not list or len(column) != len(times[line]):
                raise ValueError(f"the values of {name!r} match no timeline")
            columns[line][name] = column
    for line in filled:
        yield line, tuple(columns[line]), times[line], columns[line]


def _joined(
    line: str, names: tuple[str, ...] | None, parts: list[_Part], wanted: Container[str] | None
) -> Batch | Last:
    """Join successive samples of the same fields; raises ValueError."""
    _check_names(line, names or ())
    t = as_times([t for _, _, times, _ in parts for t in times], "its times")
    if t[-1] >= LATEST:
        raise ValueError(f"live times must be UNIX seconds before {LATEST:g}")  # to be requested
    if names is None:
        return Last(line, float(t[-1]))
    columns = {name: parts[0][3][name] for name in names if wanted is None or name in wanted}
    if len(parts) > 1:
        columns = {name: [v for *_, data in parts for v in data[name]] for name in columns}
    return Batch(line, t, all_from_wire(columns)).present()


@lru_cache
def _check_names(line: str, names: tuple[str, ...]) -> None:
    if not is_text(line):
        raise ValueError("the names of its timelines must be strings that can travel")
    for name in names:
        check_field_name(name)
