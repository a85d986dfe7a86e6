"""One request of the Grafana bridge to one node: kept samples from memory, the rest asked for."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from sisock.fetch import fetch
from sisock.fields import Field
from sisock.protocol import Interval
from sisock.received import Series, join
from sisock.sample_cache import Kept, SampleCache, final_until
from sisock.session import Session
from sisock.wire_errors import translated


@dataclass
class Samples:
    """What was found for a request: series by node and field, and what to tell about the rest."""

    series: dict[tuple[str, str], Series]
    notices: list[str]
    cache_hits: int = 0
    cache_misses: int = 0

    def pick(self, wanted: Iterable[tuple[str, str]]) -> list[tuple[str, Series]]:
        """Node and series of those of `wanted` that were found, in their order."""
        return [(pair[0], self.series[pair]) for pair in wanted if pair in self.series]


class NodeQuery:
    """One request to one node: what is kept is taken from memory, the rest is asked for.

    Parameters
    ----------
    node : str
        The node's name.
    features : iterable of str
        What it can do.
    fields : mapping
        Those that are asked for.
    interval : Interval
        UNIX seconds; empty if it ends where it starts.
    min_stride : float or None
        Seconds between successive samples, at least.
    cache : SampleCache
        What is kept, under keys that begin with `belongs`.
    belongs : tuple
        Of the node and its session.
    """

    def __init__(
        self,
        node: str,
        features: Iterable[str],
        fields: Mapping[str, Field],
        interval: Interval,
        min_stride: float | None,
        cache: SampleCache,
        belongs: tuple,
    ) -> None:
        self._node = node
        self._features = features
        self._fields = fields
        self._interval = interval
        self._stride = min_stride or None
        self._cache = cache
        self._belongs = belongs
        self._kept: dict[str, Kept] = {}
        self._resume: dict[str, float] = {}
        self._fresh_ends: dict[str, float] = {}
        self._look_up()
        self.hits = len(self._kept)
        self.misses = len(fields) - len(self._kept)

    def _key(self, name: str) -> tuple:
        # Which samples are kept at a spacing, and where one is missing, depends on all the fields
        # that are asked for together.
        return *self._belongs, tuple(self._fields), self._stride, name

    def _look_up(self) -> None:
        kept = {
            name: found
            for name in self._fields
            if (found := self._cache.get(self._key(name), self._interval.start))
        }
        # One call asks for all fields: a part of them would not make it shorter.
        if len(kept) < len(self._fields):
            return
        resume: dict[str, float] = {}
        for name, each in kept.items():
            line = self._fields[name].timeline
            resume[line] = max(resume.get(line, -math.inf), self._resume_after(each))
        # A node that thins from one time on for all would choose other samples of the timelines
        # that go on later.
        if self._stride is None or len(set(resume.values())) == 1:
            self._kept, self._resume = kept, resume

    def _resume_after(self, kept: Kept) -> float:
        """From when on samples are still wanted."""
        if self._stride is None or not len(kept.t):
            return kept.end
        return max(kept.end, float(kept.t[-1]) + self._stride)

    async def run(self, session: Session, timeout: float) -> dict[str, Series]:
        """Ask for what is not kept.

        Returns
        -------
        dict
            Series of all the fields; without samples where there are none.
        """
        interval = self._interval
        start = min(self._resume.values(), default=interval.start)
        fresh: dict[str, Series] = {}
        if start < interval.end:
            fresh, untils = await self._ask(session, timeout, start)
            if self._kept and self._is_word_broken(untils):
                self.drop()
                fresh, untils = await self._ask(session, timeout, interval.start)
            self._note_ends(fresh, untils)
        return {name: self._merge(name, fresh.get(name)) for name in self._fields}

    async def _ask(
        self, session: Session, timeout: float, start: float
    ) -> tuple[dict[str, Series], dict[str, float]]:
        """Series by field, and by timeline until when the node calls them final."""
        with translated(self._node):
            pieces = await fetch(
                session,
                self._node,
                self._features,
                list(self._fields),
                start,
                self._interval.end,
                self._stride,
                timeout,
            )
        return dict(join(pieces, self._fields, self._node)), _final_untils(pieces)

    def _is_word_broken(self, untils: Mapping[str, float]) -> bool:
        """Whether something that was final is not any more: the node's clock was set back."""
        return any(
            untils.get(self._fields[name].timeline, math.inf) < kept.end
            for name, kept in self._kept.items()
        )

    def drop(self) -> None:
        """Forget what is kept of these fields."""
        for name in self._fields:
            self._cache.drop(self._key(name))
        self._kept, self._resume = {}, {}

    def _note_ends(self, fresh: Mapping[str, Series], untils: Mapping[str, float]) -> None:
        """Note until when each timeline's part of a reply is complete, also for empty fields."""
        for name, series in fresh.items():
            line = self._fields[name].timeline
            end = final_until(series.t, self._interval.end, untils.get(line))
            self._fresh_ends[line] = max(self._fresh_ends.get(line, -math.inf), end)

    def _merge(self, name: str, fresh: Series | None) -> Series:
        kept = self._kept.get(name)
        if kept is None:
            merged = self._series(name, np.empty(0), np.empty(0)) if fresh is None else fresh
        elif fresh is None or not len(fresh):
            merged = self._series(name, kept.t, kept.values)
        else:
            first = int(np.searchsorted(fresh.t, self._resume[self._fields[name].timeline]))
            merged = self._series(
                name,
                np.concatenate([kept.t, fresh.t[first:]]),
                _concatenate(kept.values, fresh.values[first:]),
            )
        if fresh is not None:
            self._keep(name, kept, merged)
        low, high = np.searchsorted(merged.t, [self._interval.start, self._interval.end])
        return self._series(name, merged.t[low:high], merged.values[low:high])

    def _series(self, name: str, t: np.ndarray, values: np.ndarray) -> Series:
        return Series(self._fields[name], t, values)

    def _keep(self, name: str, kept: Kept | None, merged: Series) -> None:
        interval = self._interval
        start = interval.start if kept is None else kept.start
        end = self._fresh_ends[self._fields[name].timeline]
        if end <= start or (kept is not None and end < kept.end):
            return
        # A window that moves on leaves behind what it does not show any more.
        start = max(start, interval.start - (interval.end - interval.start))
        low, high = np.searchsorted(merged.t, [start, end])
        t, values = merged.t[low:high].copy(), merged.values[low:high].copy()
        self._cache.put(self._key(name), Kept(start, end, t, values))


def _final_untils(pieces: Iterable[Any]) -> dict[str, float]:
    """By timeline what the node said, also where none of the wanted fields has a sample."""
    untils: dict[str, float] = {}
    for piece in pieces:
        for name, line in piece["timeline"].items():
            until = line.get("finalized_until")
            if until is not None:
                untils[name] = min(untils.get(name, math.inf), float(until))
    return untils


def _concatenate(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    if not len(first) or not len(second):
        # What is empty has no type of its own.
        return second if len(second) else first
    if object in (first.dtype, second.dtype):
        first, second = first.astype(object), second.astype(object)
    return np.concatenate([first, second])
