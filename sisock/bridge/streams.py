"""Write the answers of a query, those of all samples while these still arrive from the nodes."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from twisted.internet import defer, task

from sisock.bridge import answers
from sisock.bridge.bridge import Bridge
from sisock.bridge.metrics import Found, memory_of, pick, size_of
from sisock.bridge.requests import Query
from sisock.bridge.targets import Pair
from sisock.bridge.tiles import NONE, Samples, cut
from sisock.client.data import Series
from sisock.client.directory import KnownNode, gather
from sisock.errors import NodeContractError
from sisock.wire import json_rows
from sisock.wire.fields import Field
from sisock.wire.protocol import Interval
from sisock.wire.reply import Reply

LONG = 50_000
"""Samples; a field whose interval promises more is long."""

MAX_COMMON = 32 << 20
"""Bytes of long fields that come by one call, as the last of them waits for all others; if there
are more, each has a call of its own."""

LONG_BYTES = 6_000_000
"""Memory that a long field takes on its way: what waits, and what is on the wire."""

BUFFER = 2 << 20
"""Bytes of a field by itself that wait for the client, before the node is asked for no more."""


class Stream:
    """The samples of one call on their way; those of one long field at the pace of the client."""

    def __init__(
        self,
        found: Found,
        node: KnownNode,
        fields: Mapping[str, Field],
        is_paced: bool = False,
        promised: int = 0,
    ) -> None:
        self.fields = fields
        self._found = found
        self._node = node
        self._is_paced = is_paced
        self._chunks: dict[str, list[Samples]] = {name: [] for name in fields}
        self._follows = {name: about.timeline for name, about in fields.items()}
        self._waiting = 0
        self._error: Any = None
        self._is_over = False
        self._changed: defer.Deferred = defer.Deferred()
        self._room: defer.Deferred | None = None
        self._promised = LONG_BYTES if is_paced else promised
        # So early that it can still be refused.
        found.share.add(self._promised)

    def start(self, bridge: Bridge, interval: Interval, min_stride: float | None) -> None:
        """Ask the node."""
        self._interval = interval
        self._is_spaced = min_stride is not None
        self._job = defer.ensureDeferred(
            bridge.fetch(
                self._node, self.fields, interval, min_stride=min_stride, on_chunk=self._take
            )
        )
        self._job.addBoth(self._end)

    async def has_begun(self) -> None:
        """Wait for the first samples; raises the error of a call that failed before."""
        await self._changed
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """Leave; nothing more is asked for."""
        self._job.cancel()
        self._leave_room()

    def count(self, name: str) -> int:
        """Return how many samples of a field have come."""
        return sum(len(t) for t, _ in self._chunks[name])

    async def read(self, name: str) -> AsyncIterator[Samples]:
        """Return the samples of a field as they come; raises what the call ends with."""
        chunks = self._chunks[name]
        for index in range(1 << 62):
            while index == len(chunks):
                if self._error is not None:
                    raise self._error
                if self._is_over:
                    return
                if self._changed.called:
                    self._changed = defer.Deferred()
                self._leave_room()
                await self._changed
            samples = chunks[index]
            if self._is_paced:
                chunks[index] = NONE  # there is no other reader
                self._waiting -= size_of(*samples)
            yield samples
            if self._waiting <= BUFFER:
                self._leave_room()

    def _leave_room(self) -> None:
        if self._room is not None:
            room, self._room = self._room, None
            room.callback(None)

    def _take(self, chunk: Reply) -> defer.Deferred | None:
        if not self._is_paced:
            come = min(self._promised, memory_of(chunk))
            self._promised -= come
            self._found.share.add(-come)
            self._found.take(chunk)
        if "progressive" not in self._node.features:
            return None  # its fields may have to be brought to common times
        self._follows |= chunk.follows
        for name, values in chunk.data.items():
            line = chunk.timelines.get(self._follows.get(name, ""))
            if name in self.fields and line is not None and len(values):
                if len(values) != len(line.t):
                    rule = f"it has {len(values)} values for {len(line.t)} times"
                    raise NodeContractError(self._node.name, name, rule)
                self._put(name, line.t, values)
        if not self._is_spaced:
            # Nothing else is to hold on to them.
            chunk.data.clear()
            chunk.timelines.clear()
        if self._is_paced and self._waiting > BUFFER and self._room is None:
            self._room = defer.Deferred()
        self._wake()
        return self._room

    def _put(self, name: str, t: Any, values: Any) -> None:
        samples = cut((t, values), self._interval.start, self._interval.end)
        self._waiting += size_of(*samples)
        self._chunks[name].append(samples)

    def _end(self, result: Any) -> None:
        self._is_over = True
        if isinstance(result, Mapping):
            for name in result if "progressive" not in self._node.features else ():
                self._put(name, result[name].t, result[name].values)
        else:
            self._error = result.value
        self._wake()

    def _wake(self) -> None:
        if not self._changed.called:
            self._changed.callback(None)


async def open_streams(
    bridge: Bridge,
    found: Found,
    pairs: Sequence[Pair],
    interval: Interval,
    min_stride: float | None,
) -> dict[Pair, Stream]:
    """Ask for all samples of fields, and return once the first of each call have come.

    Raises what `Bridge.ask_nodes` does.
    """
    streams: list[Stream] = []
    repeated = {pair for pair, count in Counter(pairs).items() if count > 1}

    async def ask(node: KnownNode, fields: dict[str, Field]) -> dict[str, Stream]:
        long = {}
        if not min_stride and "progressive" in node.features:
            seconds = interval.end - interval.start
            promised = {n: seconds / each.interval for n, each in fields.items() if each.interval}
            long = {name: count for name, count in promised.items() if count > LONG}
        nbytes = 16 * sum(long.values())
        is_repeated = any((node.name, name) in repeated for name in long)
        if is_repeated or (len(long) > 1 and nbytes <= MAX_COMMON):
            mine = [Stream(found, node, fields, promised=int(nbytes))]
        else:
            others = {name: fields[name] for name in fields if name not in long}
            mine = [Stream(found, node, {name: fields[name]}, is_paced=True) for name in long]
            mine += [Stream(found, node, others)] * bool(others)
        streams.extend(mine)
        for each in mine:
            each.start(bridge, interval, min_stride)
        await gather([defer.ensureDeferred(each.has_begun()) for each in mine])
        return {name: each for each in mine for name in each.fields}

    opened: dict[Pair, Stream] = {}
    try:
        opened = await bridge.ask_nodes(found, pairs, interval, ask)
    finally:
        for each in set(streams) - set(opened.values()):
            each.stop()
    return opened


@dataclass
class Answers:
    """What was found for the targets of a query, and how it is written."""

    query: Query
    pairs: dict[str, list[Pair]]
    found: Found
    events: dict[str, list[dict[str, Any]]]
    tables: dict[Pair, Series] = field(default_factory=dict)
    streams: dict[Pair, Stream] = field(default_factory=dict)

    def wanted(self, is_table: bool) -> list[Pair]:
        """Return what all tables, or all other targets, stand for; some perhaps several times."""
        targets = (t for t in self.query.targets if t.is_table == is_table)
        return [pair for target in targets for pair in self.pairs.get(target.text, ())]

    def write(self) -> Iterator[Any]:
        """Write an answer for each target, or each of its fields, in parts."""
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
                    yield answers.series_answer(name, self.found.series.get(pair), target.ref_id)

    async def body(self, reactor: Any) -> AsyncIterator[bytes]:
        """Write the list of answers, with those of streams as their samples come."""
        between = b"["
        for answer in self.write():
            yield between
            if isinstance(answer, AsyncIterator):
                async for part in answer:
                    yield part
                    await task.deferLater(reactor, 0)  # the next samples come meanwhile
            else:
                for part in answer:
                    yield part
            between = b","
        yield b"[]" if between == b"[" else b"]"

    async def _write_stream(
        self, pair: Pair, name: str, ref_id: str | None
    ) -> AsyncIterator[bytes]:
        stream, between = self.streams[pair], b""
        yield answers.series_start(name, stream.fields[pair[1]], ref_id)
        async for t, values in stream.read(pair[1]):
            self.found.written += len(t)
            self.found.check_size(self.found.written)
            for part in json_rows.pairs(values, t):
                if part != b",":
                    yield between + part
                between = b","
        yield answers.SERIES_END
