"""One request of the Grafana bridge to one node: kept samples from memory, the rest asked for."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from sisock.bridge.answer_memory import Share, size_of
from sisock.bridge.nodes import KnownNode
from sisock.bridge.sample_cache import Kept, SampleCache, final_until
from sisock.bridge.tiles import concatenate
from sisock.client.data import Data, Series
from sisock.client.fetch import fetch
from sisock.client.progress import Progress
from sisock.connection.session import Session
from sisock.connection.wire_errors import translated
from sisock.errors import InvalidArgument
from sisock.wire.fields import Field
from sisock.wire.protocol import Interval

MOST_SAMPLES = 20_000_000
"""Samples of one answer: as many take 1 GB as JSON."""


class TooManySamples(InvalidArgument):
    """An answer is larger than one may be."""


@dataclass(frozen=True)
class SampleRequest:
    """Which samples are wanted of each field.

    Attributes
    ----------
    interval : Interval
        UNIX seconds; empty if it ends where it starts.
    min_stride : float or None
        Seconds between successive samples, at least.
    max_points : int or None
        Samples of each field, at most, chosen to keep the picture; goes without `min_stride`.
    """

    interval: Interval
    min_stride: float | None = None
    max_points: int | None = None


class Samples:
    """What was found for a request: series by node and field, and what to tell about the rest.

    Parameters
    ----------
    share : Share
        Counts the memory that they take, as long as this is there.
    most : int
        Samples that may come for it.
    """

    def __init__(self, share: Share, most: int = MOST_SAMPLES) -> None:
        self.share = share
        self.series: dict[tuple[str, str], Series] = {}
        self.notices: list[str] = []
        self.cache_hits = 0
        self.cache_misses = 0
        self.may_change = False
        self._most = most
        self._received = 0

    def pick(self, wanted: Iterable[tuple[str, str]]) -> list[tuple[str, Series]]:
        """Node and series of those of `wanted` that were found, in their order."""
        return [(pair[0], self.series[pair]) for pair in wanted if pair in self.series]

    def check_size(self, count: int) -> None:
        """Check how many samples one answer has.

        Raises
        ------
        TooManySamples
        """
        if count > self._most:
            raise TooManySamples(
                f"{count} samples are more than the {self._most} that one answer may have:"
                " ask for less time, fewer series or a larger interval"
            )

    def take(self, piece: Any) -> None:
        """Count the memory of a piece of a reply that has come; raises `Overloaded`."""
        self.share.add(size_of(piece))

    def counter(self) -> Callable[[Progress], None]:
        """Make what counts the samples of one reply as they come, and raises `TooManySamples`."""
        before = 0

        def count(progress: Progress) -> None:
            nonlocal before
            self._received += progress.samples - before
            before = progress.samples
            self.check_size(self._received)

        return count


async def ask_node(
    session: Session,
    known: KnownNode,
    fields: Mapping[str, Field],
    request: SampleRequest,
    timeout: float,
    found: Samples,
) -> Data:
    """Ask a node for samples of some of its fields, counted in `found` as they come.

    Raises
    ------
    SisockError
        What went wrong on the wire or at the node; `TooManySamples` also for what has come.
    """
    name = known.node.name
    with translated(name):
        return await fetch(
            session,
            name,
            known.node.features,
            fields,
            request.interval,
            request.min_stride,
            timeout,
            request.max_points,
            found.counter(),
            found.take,
        )


class NodeQuery:
    """One request to one node for raw or spaced samples.

    Parameters
    ----------
    known : KnownNode
        The node.
    fields : mapping
        Those that are asked for.
    request : SampleRequest
        Of which `max_points` is not looked at.
    cache : SampleCache
        What is kept, under keys that begin with the node's name and incarnation.
    """

    def __init__(
        self,
        known: KnownNode,
        fields: Mapping[str, Field],
        request: SampleRequest,
        cache: SampleCache,
    ) -> None:
        self._known = known
        self._fields = fields
        self._interval = request.interval
        self._stride = request.min_stride or None
        self._cache = cache
        self._kept: dict[str, Kept] = {}
        self._resume: dict[str, float] = {}
        self._fresh_ends: dict[str, float] = {}
        self._look_up()
        self.hits = len(self._kept)
        self.misses = len(fields) - len(self._kept)

    def _key(self, name: str) -> tuple:
        # Which samples are kept at a spacing, and where one is missing, depends on all the fields
        # that are asked for together.
        return *self._known.key, "stretch", tuple(self._fields), self._stride, name

    def _look_up(self) -> None:
        kept = {}
        for name in self._fields:
            found = self._cache.get(self._key(name))
            if found is not None and found.start <= self._interval.start < found.end:
                kept[name] = found
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

    async def run(self, session: Session, timeout: float, found: Samples) -> dict[str, Series]:
        """Ask for what is not kept.

        Returns
        -------
        dict
            Series of all the fields; without samples where there are none.
        """
        interval = self._interval
        start = min(self._resume.values(), default=interval.start)
        fresh: Mapping[str, Series] = {}
        if start < interval.end:

            async def ask(start: float) -> tuple[Data, dict[str, float]]:
                request = SampleRequest(Interval(start, interval.end), self._stride)
                data = await ask_node(session, self._known, self._fields, request, timeout, found)
                return data, _final_untils(data)

            fresh, untils = await ask(start)
            if self._kept and self._is_word_broken(untils):
                self.drop()
                fresh, untils = await ask(interval.start)
            self._note_ends(fresh, untils)
        return {name: self._merge(name, fresh.get(name)) for name in self._fields}

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
            line, known = self._fields[name].timeline, self._known.final_until
            end = final_until(
                series.t, self._interval.end, untils.get(line), known.get(name, -math.inf)
            )
            known[name] = max(known.get(name, -math.inf), end)
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
                concatenate([kept.values, fresh.values[first:]]),
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


def _final_untils(data: Mapping[str, Series]) -> dict[str, float]:
    """By timeline until when the node calls its samples final, where it says so."""
    untils: dict[str, float] = {}
    for series in data.values():
        until = series.finalized_until
        if until is not None:
            untils[series.timeline] = min(untils.get(series.timeline, math.inf), until)
    return untils
