"""Stream all samples of fields to a client while they arrive from their node."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from twisted.internet import defer

from sisock.bridge.bridge import Bridge
from sisock.bridge.metrics import Share
from sisock.bridge.targets import Pair
from sisock.connection.session import gather
from sisock.errors import SisockError
from sisock.wire import json_rows
from sisock.wire.arrays import check_length
from sisock.wire.fields import Field, KnownNode
from sisock.wire.protocol import Interval, contract
from sisock.wire.reply import Reply

LONG = 50_000  # samples; a field is long if more are expected from its interval
SAMPLE_BYTES = 42  # memory of a sample: its row as text, of the longest numbers

MAX_SHARED = 40_000_000
"""Bytes of one call, which buffers all fields but the one being written; if more are expected, each
long field gets a call of its own."""

BUFFER = 2 << 20  # bytes of a long field that may wait for the client before the node is paused
LONG_BYTES = 2 * BUFFER  # memory of a long field under way: in the buffer, and on the wire


class Stream:
    """Buffer the samples of one call, `expected` bytes, and write them as JSON while they arrive.

    If `expected` is None the stream is paced: it has one field, pauses the node while the client
    does not read, and can be read only once.
    """

    def __init__(
        self, share: Share, node: KnownNode, fields: Mapping[str, Field], expected: int | None
    ) -> None:
        self.fields = fields
        self._share, self._node = share, node
        self._is_paced = expected is None
        self._runs: dict[str, list[bytes]] = {name: [] for name in fields}
        self._follows = {name: field.timeline for name, field in fields.items()}
        self._error: Any = None
        self._is_over = False
        self._changed: defer.Deferred = defer.Deferred()
        self._room: defer.Deferred | None = None
        self._waiting = 0
        # Count the memory before the answer begins, while it can still be refused.
        self._counted = LONG_BYTES if expected is None else expected
        share.add(self._counted)

    def start(
        self, bridge: Bridge, repeats: Counter[Pair], interval: Interval, min_stride: float | None
    ) -> None:
        """Begin to fetch the fields; `repeats` says how often each is written."""
        self._repeats = repeats
        options = {"min_stride": min_stride, "on_chunk": self._take}
        self._interval, self._is_spaced = interval, min_stride is not None
        self._job = defer.ensureDeferred(bridge.fetch(self._node, self.fields, interval, **options))
        self._job.addBoth(self._end)

    async def has_begun(self) -> None:
        """Wait for the first samples; raises the error of a call that failed before them."""
        await self._changed
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """Cancel the call."""
        self._job.cancel()
        self._resume_node()

    async def read(self, name: str) -> AsyncIterator[bytes]:
        """Yield rows of a field as they arrive; raises the error that the call ends with."""
        runs, index = self._runs[name], 0
        while index < len(runs) or self._error is not None or not self._is_over:
            if index < len(runs):
                yield runs[index]
                if self._is_paced:
                    self._waiting -= len(runs.pop(index))
                else:
                    index += 1
            elif self._error is not None:
                raise self._error
            else:
                self._resume_node()
                self._changed = defer.Deferred()
                await self._changed

    def _resume_node(self) -> None:
        if self._room is not None:
            room, self._room = self._room, None
            room.callback(None)

    def _take(self, chunk: Reply) -> defer.Deferred | None:
        if "progressive" not in self._node.features:
            return None  # `_end` keeps the aligned fields
        self._follows |= chunk.follows
        cuts = {name: self._cut(line.t) for name, line in chunk.timelines.items()}
        for name, values in chunk.data.items():
            if name in self.fields and len(values):
                with contract(self._node.name, name):
                    check_length(chunk.line(self._follows[name]).t, values)
                self._keep(name, values, *cuts[self._follows[name]])
        if not self._is_spaced:
            # The samples are buffered here; only with `min_stride` the call itself needs them.
            chunk.data.clear()
            chunk.timelines.clear()
        if self._is_paced and self._waiting > BUFFER and self._room is None:
            self._room = defer.Deferred()
        self._wake()
        return self._room

    def _cut(self, t: Any) -> tuple[slice, Any]:
        """Return which samples are in the interval, and the tails of their rows."""
        inside = slice(*t.searchsorted([self._interval.start, self._interval.end]).tolist())
        return inside, json_rows.row_tails(t[inside])

    def _keep(self, name: str, values: Any, inside: slice, tails: Any) -> None:
        if not len(tails):
            return
        self._share.count += len(tails) * self._repeats[self._node.name, name]
        self._share.check_size(self._share.count)
        run, _ = json_rows.text_of_pairs(values[inside], tails)
        self._runs[name].append(run)
        self._waiting += len(run)
        if self._waiting > self._counted:
            self._share.add(self._waiting - self._counted)
            self._counted = self._waiting

    def _end(self, result: Any) -> None:
        self._is_over = True
        if not isinstance(result, Mapping):
            self._error = result.value
        elif "progressive" not in self._node.features:
            try:
                for name, column in result.items():
                    self._keep(name, column.values, *self._cut(column.t))
            except SisockError as error:
                self._error = error
        self._wake()

    def _wake(self) -> None:
        if not self._changed.called:
            self._changed.callback(None)


async def open_streams(
    bridge: Bridge,
    share: Share,
    pairs: Sequence[Pair],
    interval: Interval,
    min_stride: float | None,
) -> dict[Pair, Stream]:
    """Begin to fetch all samples of fields; return once each call has sent its first ones.

    Raises the errors of `Bridge.ask_nodes`.
    """
    streams: list[Stream] = []
    repeats = Counter(pairs)

    async def fetch_fields(node: KnownNode, fields: dict[str, Field]) -> dict[str, Stream]:
        long: dict[str, float] = {}
        if not min_stride and "progressive" in node.features:
            seconds = interval.end - interval.start
            counts = {n: seconds / field.interval for n, field in fields.items() if field.interval}
            long = {name: count for name, count in counts.items() if count > LONG}
        nbytes = int(SAMPLE_BYTES * sum(long.values()))
        fits = nbytes <= max(MAX_SHARED, LONG_BYTES * len(long))
        if fits or any(repeats[node.name, name] > 1 for name in fields):
            of_node = [Stream(share, node, fields, nbytes)]
        else:
            others = {name: fields[name] for name in fields if name not in long}
            of_node = [Stream(share, node, {name: fields[name]}, None) for name in long]
            if others:
                of_node.append(Stream(share, node, others, 0))
        streams.extend(of_node)
        for stream in of_node:
            stream.start(bridge, repeats, interval, min_stride)
        await gather([defer.ensureDeferred(stream.has_begun()) for stream in of_node])
        return {name: stream for stream in of_node for name in stream.fields}

    opened: dict[Pair, Stream] = {}
    try:
        opened = await bridge.ask_nodes(share, pairs, fetch_fields)
    finally:
        for stream in set(streams) - set(opened.values()):
            stream.stop()
    return opened
