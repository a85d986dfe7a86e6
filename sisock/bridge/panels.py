"""Answer requests for panels and tiles, and health checks, in the reactor."""

from __future__ import annotations

from collections.abc import (
    AsyncIterator,
    Callable,
    Coroutine,
    Hashable,
    Iterable,
    Iterator,
    Mapping,
)
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import parse_qs

from sisock.bridge import answers
from sisock.bridge.answers import Answer, notice_headers
from sisock.bridge.app import ROUTES, find_annotations
from sisock.bridge.bridge import Bridge
from sisock.bridge.http import Request
from sisock.bridge.metrics import Metrics, Share
from sisock.bridge.query import Views
from sisock.bridge.requests import (
    Query,
    is_annotation_query,
    parse_arguments,
    parse_body,
    parse_query,
)
from sisock.bridge.server import Handler
from sisock.bridge.streams import Stream, open_streams
from sisock.bridge.targets import Pair
from sisock.bridge.tiles import View, parse_tile
from sisock.wire.json_rows import BETWEEN

LONG_ANSWER = 50_000  # samples; a longer answer is written in a thread
ROW_BYTES = 40  # additional memory of a sample in a table or in long rows, while these are made


@dataclass
class Found:
    """Hold the fields that a query's targets match, and their samples."""

    query: Query
    pairs: dict[str, list[Pair]]
    events: dict[str, list[dict[str, Any]]]
    views: dict[Pair, View] = field(default_factory=dict)
    tables: dict[Pair, View] = field(default_factory=dict)
    streams: dict[Pair, Stream] = field(default_factory=dict)

    def wanted(self, is_table: bool) -> list[Pair]:
        """Return the fields of all tables, or of all other targets, possibly with repetitions."""
        targets = (t for t in self.query.targets if t.is_table == is_table)
        return [pair for target in targets for pair in self.pairs.get(target.text, ())]

    def write(self) -> Iterator[Any]:
        """Yield an answer for each table, or each field of other targets, as iterators of parts."""
        for target in self.query.targets:
            pairs = self.pairs.get(target.text, [])
            if target.text in self.events:
                yield [answers.annotation_table(self.events[target.text], target.ref_id)]
            elif target.is_table:
                yield answers.table_answer(pick(self.tables, pairs), target.ref_id)
            elif not target.patterns:
                yield answers.series_answer(target.text, None, target.ref_id)
            for pair in [] if target.is_table else pairs:
                name = "::".join(pair)
                if pair in self.streams:
                    yield self._write_stream(pair, name, target.ref_id)
                else:
                    yield answers.series_answer(name, self.views.get(pair), target.ref_id)

    async def stream(self, on_end: Callable[[], None]) -> AsyncIterator[bytes]:
        """Yield the JSON list of answers while the samples arrive; finally call `on_end`."""
        try:
            separator = b"["
            for answer in self.write():
                yield separator
                if isinstance(answer, AsyncIterator):
                    async for part in answer:
                        yield part
                else:
                    yield b"".join(answer)
                separator = b","
            yield b"[]" if separator == b"[" else b"]"
        finally:
            for stream in self.streams.values():
                stream.stop()
            on_end()

    async def _write_stream(
        self, pair: Pair, name: str, ref_id: str | None
    ) -> AsyncIterator[bytes]:
        stream, separator = self.streams[pair], b""
        yield answers.series_start(name, stream.fields[pair[1]], ref_id)
        async for rows in stream.read(pair[1]):
            yield b"".join((separator, rows))
            separator = BETWEEN
        yield answers.SERIES_END


class Panels:
    """Answer requests for panels and tiles, and health checks; all methods run in the reactor."""

    def __init__(self, bridge: Bridge, metrics: Metrics) -> None:
        self._bridge = bridge
        self._views = Views(bridge)
        self._metrics = metrics
        self._turn: dict[Hashable, Answer] = {}  # answers made in this turn of the reactor

    def handlers(self) -> dict[tuple[str, str], Handler]:
        """Return the handlers by method and path."""
        own = {path: (method, getattr(self, name, None)) for path, (method, name) in ROUTES.items()}
        return {(method, path): handler for path, (method, handler) in own.items() if handler}

    async def healthz(self, request: Request) -> Answer:
        """Confirm that the process works."""
        return Answer([b'{"status":"ok"}'])

    async def readyz(self, request: Request) -> Answer:
        """Confirm that queries can be answered; raises the reason why not."""
        sites = self._bridge.sites.values()
        # Except soon after the start, a slow site does not delay the others.
        is_any_listed = any(site.directory.is_listed for site in sites)
        if not is_any_listed or any(site.is_starting for site in sites):
            await self._bridge.nodes()
        return Answer([b'{"status":"ready"}'])

    async def query(self, request: Request) -> Answer:
        """Answer with series, tables and annotations; raises SisockError."""
        return await self._once(self._answer_query, parse_query(parse_body(request.body)))

    async def series(self, request: Request) -> Answer:
        """Answer with long rows in time order, for Infinity; raises SisockError."""
        arguments = parse_qs(request.query, keep_blank_values=True)
        return await self._once(self._answer_series, parse_arguments(arguments))

    async def tile(self, request: Request) -> Answer:
        """Answer with the samples of a tile; raises SisockError."""
        share = self._bridge.memory.share()
        address = parse_tile(request.target.partition(b"?")[0])
        view, is_final = await self._views.tile(share, address)
        self._metrics.found(len(view), share.hits, share.misses)
        accept, known = (",".join(request.values(name)) for name in ("accept", "if-none-match"))
        return answers.tile_answer(view, is_final, accept, known)

    async def _once(
        self, answer: Callable[[Share, Query], Coroutine[Any, Any, Answer]], query: Query
    ) -> Answer:
        """Answer equal requests only once if they arrive in the same turn of the reactor."""
        turn, key = self._turn, (answer.__name__, query)
        if (known := turn.get(key)) is not None:
            return known
        if not turn:
            self._bridge.reactor.callLater(0, self._begin_turn)
        result = await answer(self._bridge.memory.share(), query)
        if result.body is not None:
            turn[key] = result
        return result

    def _begin_turn(self) -> None:
        self._turn = {}

    async def _answer_query(self, share: Share, query: Query) -> Answer:
        events = {}
        for text in {t.text for t in query.targets if is_annotation_query(t.text)}:
            events[text] = await find_annotations(self._bridge, share, text, query.interval)
        texts = {t.text: t.patterns for t in query.targets if t.text not in events}
        found = Found(query, await self._bridge.find(share, texts, query.accepts), events)
        tables, panels = found.wanted(True), found.wanted(False)
        if tables:
            # Decimated fields have different times and would not share rows.
            found.tables = await self._find(share, tables, replace(query, max_points=None))
            share.add(ROW_BYTES * _count(found.tables, tables))
        if query.max_points is None and not tables:
            arguments = share, panels, query.interval, query.min_stride
            found.streams = await open_streams(self._bridge, *arguments)
        else:
            found.views = await self._find(share, panels, query)
        if found.streams:
            parts = found.stream(lambda: self._metrics.found(share.count, 0, 0))
            return Answer(parts, 200, notice_headers(share.notices))
        # A repeated target is answered, and counted, each time.
        count = _count(found.views, panels) + _count(found.tables, tables)
        return self._answer(share, answers.body_of(found.write()), count)

    async def _answer_series(self, share: Share, query: Query) -> Answer:
        texts = {target.text: target.patterns for target in query.targets}
        pairs = await self._bridge.find(share, texts)
        wanted = list(dict.fromkeys(pair for matches in pairs.values() for pair in matches))
        views = await self._find(share, wanted, query)
        count = _count(views, wanted)
        # Sorting needs memory for all rows at once.
        share.add(ROW_BYTES * count)
        return self._answer(share, answers.long_rows(pick(views, wanted)), count)

    async def _find(self, share: Share, pairs: list[Pair], query: Query) -> dict[Pair, View]:
        if query.max_points is None:
            return await self._bridge.samples(share, pairs, query.interval, query.min_stride)
        return await self._views.find(share, pairs, query.interval, query.max_points)

    def _answer(self, share: Share, parts: Iterator[bytes], count: int) -> Answer:
        share.check_size(count)
        self._metrics.found(count, share.hits, share.misses)
        body = parts if count > LONG_ANSWER else [b"".join(parts)]
        # The answer holds on to its share, so that its samples stay counted.
        return Answer(body, 200, notice_headers(share.notices), share)


def pick(views: Mapping[Pair, View], wanted: Iterable[Pair]) -> list[tuple[str, View]]:
    """Return node and view of the wanted fields that were found, in the order wanted."""
    return [(pair[0], views[pair]) for pair in wanted if pair in views]


def _count(views: Mapping[Pair, View], wanted: Iterable[Pair]) -> int:
    return sum(len(view) for _, view in pick(views, wanted))
