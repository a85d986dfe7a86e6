"""One request of the Grafana bridge to one node for a picture: from tiles, and what they lack."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from twisted.internet import defer

from sisock.bridge.datapoints import Picture
from sisock.bridge.nodes import KnownNode
from sisock.bridge.query import SampleRequest, Samples, ask_node
from sisock.bridge.sample_cache import SampleCache, final_until
from sisock.bridge.tiles import Span, Tile, TileRow, concatenate, take
from sisock.client.data import Series
from sisock.client.fetch import gather
from sisock.connection.session import Session
from sisock.wire.fields import Field
from sisock.wire.protocol import Interval
from sisock.wire.thinning import overview_indices

RAW_FACTOR = 2
"""All samples are asked for where so many times the points hold them: then they serve any view."""

FEWEST_ASKED = 512
"""Points of a short hole: a view's edge is asked for again less often if it is raw."""

FEWEST_UNKNOWN = 1024
"""The same where the node does not say how dense the samples are: see `_is_raw`."""

FEWEST_BUCKETS = 16
"""One part in so many of the points is the least number of buckets, by the protocol."""

LEAST_SHARE = 1 / 16
"""Part of a view that a tile with gaps between its samples must fill, or there would be many."""

RAW = -math.inf
"""Level of the tiles that hold all samples."""


@dataclass(frozen=True)
class _Hole:
    """What a node is asked for: all samples if `points` is None."""

    start: float
    end: float
    points: int | None


@dataclass
class _Plan:
    """Of one field what there is and what is asked for, in time order each.

    Or the picture itself, if this view has been asked for before and is final.
    """

    parts: list[Tile] = field(default_factory=list)
    holes: list[_Hole] = field(default_factory=list)
    picture: Picture | None = None


class TileQuery:
    """One request to one node that knows ``max_points``.

    Tiles of one level have 2^level seconds for each point, so views of about one width share them.

    Parameters
    ----------
    known : KnownNode
        The node.
    fields : mapping
        Those that are asked for.
    interval : Interval
        UNIX seconds.
    points : int
        Samples of each field, at most.
    cache : SampleCache
        Where the tiles are, under keys that begin with the node's name and incarnation.
    """

    def __init__(
        self,
        known: KnownNode,
        fields: Mapping[str, Field],
        interval: Interval,
        points: int,
        cache: SampleCache,
    ) -> None:
        self._known = known
        self._fields = fields
        self._view: Span = interval.start, interval.end
        self._points = points
        self._cache = cache
        # No less than a millisecond, which is all that a picture's times are told by.
        width = max((self._view[1] - self._view[0]) / points, 1e-3)
        # Off the powers of two, about which a window of 1024 s that moves would hover.
        self._level = math.floor(math.log2(width) + 0.01)
        self._plans = {name: self._plan(name) for name in fields}
        self.hits = sum(bool(plan.parts or plan.picture) for plan in self._plans.values())
        self.misses = len(fields) - self.hits

    def _row(self, name: str, level: float) -> TileRow:
        return self._cache.get(self._key(name, level)) or TileRow()

    def _key(self, name: str, level: float) -> tuple:
        return *self._known.key, "tiles", name, level

    def _view_key(self, name: str) -> tuple:
        return *self._known.key, "view", name, self._view, self._points

    def _plan(self, name: str) -> _Plan:
        picture = self._cache.get(self._view_key(name))
        if picture is not None and picture.field == self._fields[name]:
            return _Plan(picture=picture)
        parts, spans = take(self._row(name, self._level).tiles, self._view)
        raw = self._row(name, RAW).tiles
        holes: list[_Hole] = []
        for span in spans:
            # A short part would only make two requests of one.
            found, left = take(raw, span, lambda span: (span[1] - span[0]) / 4)
            parts += found
            holes += [_Hole(*each, self._points_of(name, each)) for each in left]
        return _Plan(sorted(parts, key=lambda part: part.start), holes)

    def _points_of(self, name: str, span: Span) -> int | None:
        seconds, interval = span[1] - span[0], self._fields[name].interval
        points = math.ceil(seconds / 2.0**self._level)
        if not interval:
            return max(points, FEWEST_UNKNOWN)
        points = max(points, FEWEST_ASKED)
        return None if seconds / interval <= RAW_FACTOR * points else points

    async def run(self, session: Session, timeout: float, found: Samples) -> dict[str, Picture]:
        """Ask for what no tile has, all at the same time.

        Returns
        -------
        dict
            Series of all the fields, thinned; without samples where there are none.
        """
        fresh = await self._ask(session, timeout, found)
        if self._is_word_broken(fresh):
            self.drop()
            self._plans = {name: self._plan(name) for name in self._fields}
            fresh = await self._ask(session, timeout, found)
        for (name, hole), series in fresh.items():
            self._keep(name, hole, series)
        return {name: self._picture(name, fresh) for name in self._fields}

    async def _ask(
        self, session: Session, timeout: float, found: Samples
    ) -> dict[tuple[str, _Hole], Series]:
        """Series by field and hole; fields with the same hole share a call."""
        wanted: dict[_Hole, dict[str, Field]] = {}
        for name, plan in self._plans.items():
            for hole in plan.holes:
                wanted.setdefault(hole, {})[name] = self._fields[name]
        calls = []
        for hole, fields in wanted.items():
            request = SampleRequest(Interval(hole.start, hole.end), max_points=hole.points)
            asked = ask_node(session, self._known, fields, request, timeout, found)
            calls.append(defer.ensureDeferred(asked))
        return {
            (name, hole): series
            for hole, data in zip(wanted, await gather(calls), strict=True)
            for name, series in data.items()
        }

    def _is_word_broken(self, fresh: Mapping[tuple[str, _Hole], Series]) -> bool:
        """Whether something that was final is not any more: the node's clock was set back."""
        return any(
            series.finalized_until is not None
            and series.finalized_until < hole.start
            and any(part.end > series.finalized_until for part in self._plans[name].parts)
            for (name, hole), series in fresh.items()
        )

    def drop(self) -> None:
        """Forget what is kept of the node."""
        self._cache.drop_all(lambda key: key[:2] == self._known.key)
        self._known.final_until.clear()

    def _keep(self, name: str, hole: _Hole, series: Series) -> None:
        known = self._known.final_until
        end = final_until(series.t, hole.end, series.finalized_until, known.get(name, -math.inf))
        known[name] = max(known.get(name, -math.inf), end)
        is_raw = _is_raw(series, hole.points)
        shortest = 0.0 if is_raw else (self._view[1] - self._view[0]) * LEAST_SHARE
        if end - hole.start <= shortest:
            return
        low, high = np.searchsorted(series.t, [hole.start, end])
        # A copy does not hold on to the whole reply.
        t, values = series.t[low:high].copy(), series.values[low:high].copy()
        level = RAW if is_raw else self._level
        row = self._row(name, level)
        is_cut = not is_raw and high < len(series)
        row.add(Tile(hole.start, end, t, values, is_raw, is_cut), self._view)
        self._cache.put(self._key(name, level), row)

    def _picture(self, name: str, fresh: Mapping[tuple[str, _Hole], Series]) -> Picture:
        plan = self._plans[name]
        if plan.picture is not None:
            return plan.picture
        pieces = [(part.start, part.t, part.values) for part in plan.parts]
        for hole in plan.holes:
            series = fresh[name, hole]
            low, high = np.searchsorted(series.t, [hole.start, hole.end])
            pieces.append((hole.start, series.t[low:high], series.values[low:high]))
        pieces.sort(key=lambda piece: piece[0])
        t = np.concatenate([t for _, t, _ in pieces]) if pieces else np.empty(0)
        values = concatenate([values for _, _, values in pieces])
        kept = overview_indices(values, self._points)
        picture = Picture(self._fields[name], t[kept], values[kept])
        if self._known.final_until.get(name, -math.inf) >= self._view[1]:
            self._cache.put(self._view_key(name), picture)
        return picture


def _is_raw(series: Series, points: int | None) -> bool:
    """Whether these are all samples.

    Of each bucket with a value there is one at least. So where nothing is missing, fewer samples
    than the least number of buckets are all that there are.
    """
    if points is None or not len(series):
        return True
    is_complete = series.values.dtype != object and bool(np.isfinite(series.values).all())
    return is_complete and len(series) * FEWEST_BUCKETS < points
