"""Pass all samples of fields on while they still arrive from their node."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from twisted.internet import defer

from sisock.bridge.bridge import Bridge
from sisock.bridge.metrics import Share
from sisock.bridge.targets import Pair
from sisock.client.directory import KnownNode
from sisock.connection.session import gather
from sisock.errors import SisockError
from sisock.wire import json_rows
from sisock.wire.arrays import check_length
from sisock.wire.fields import Field
from sisock.wire.protocol import Interval, contract
from sisock.wire.reply import Reply

LONG = 50_000
"""Samples; a field whose interval promises more is long."""

ROW_BYTES = 27
"""Memory of a sample as JSON, about."""

MAX_COMMON = 54_000_000
"""Bytes of JSON that a common call may bring, as the last field waits for all others; if there is
more, each long field has a call of its own."""

BUFFER = 3 << 20
"""Bytes of such a field that wait for the client, before the node is asked for no more."""

LONG_BYTES = 2 * BUFFER
"""Memory that it takes on its way: what waits, and what is on the wire."""


class Stream:
    """The samples of one call, written as JSON when they come.

    One that is paced has one field, comes as the client reads it, and can be read once.
    """

    def __init__(
        self, share: Share, node: KnownNode, fields: Mapping[str, Field], promised: int | None
    ) -> None:
        self.fields = fields
        self._share, self._node = share, node
        self._is_paced = promised is None
        self._rows: dict[str, list[bytes]] = {name: [] for name in fields}
        self._follows = {name: about.timeline for name, about in fields.items()}
        self._error: Any = None
        self._is_over = False
        self._changed: defer.Deferred = defer.Deferred()
        self._room: defer.Deferred | None = None
        self._waiting = 0
        # So early that it can still be refused.
        self._counted = LONG_BYTES if promised is None else promised
        share.add(self._counted)

    def start(
        self, bridge: Bridge, times: Counter[Pair], interval: Interval, min_stride: float | None
    ) -> None:
        """Ask the node for fields that are each shown so many times."""
        self._times = times
        how = {"min_stride": min_stride, "on_chunk": self._take}
        self._interval, self._is_spaced = interval, min_stride is not None
        self._job = defer.ensureDeferred(bridge.fetch(self._node, self.fields, interval, **how))
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

    async def read(self, name: str) -> AsyncIterator[bytes]:
        """Return rows of a field as they come; raises what the call ends with."""
        rows, index = self._rows[name], 0
        while index < len(rows) or self._error is not None or not self._is_over:
            if index < len(rows):
                yield rows[index]
                if self._is_paced:
                    self._waiting -= len(rows.pop(index))
                else:
                    index += 1
            elif self._error is not None:
                raise self._error
            else:
                self._leave_room()
                self._changed = defer.Deferred()
                await self._changed

    def _leave_room(self) -> None:
        if self._room is not None:
            room, self._room = self._room, None
            room.callback(None)

    def _take(self, chunk: Reply) -> defer.Deferred | None:
        if "progressive" not in self._node.features:
            return None  # its fields may have to be brought to common times
        self._follows |= chunk.follows
        for name, values in chunk.data.items():
            line = chunk.timelines.get(self._follows.get(name, ""))
            if name in self.fields and line is not None and len(values):
                with contract(self._node.name, name):
                    check_length(line.t, values)
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
        low, high = t.searchsorted([self._interval.start, self._interval.end])
        if low == high:
            return
        self._share.count += int(high - low) * self._times[self._node.name, name]
        self._share.check_size(self._share.count)
        rows = b"".join(json_rows.pairs(values[low:high], t[low:high]))
        self._rows[name].append(rows)
        self._waiting += len(rows)
        if self._waiting > self._counted:
            self._share.add(self._waiting - self._counted)
            self._counted = self._waiting

    def _end(self, result: Any) -> None:
        self._is_over = True
        if not isinstance(result, Mapping):
            self._error = result.value
        elif "progressive" not in self._node.features:
            try:
                for name, each in result.items():
                    self._put(name, each.t, each.values)
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
    """Ask for all samples of fields, and return once the first of each call have come.

    Raises what `Bridge.ask_nodes` does.
    """
    streams: list[Stream] = []
    times = Counter(pairs)

    async def ask(node: KnownNode, fields: dict[str, Field]) -> dict[str, Stream]:
        long: dict[str, float] = {}
        if not min_stride and "progressive" in node.features:
            seconds = interval.end - interval.start
            promised = {n: seconds / each.interval for n, each in fields.items() if each.interval}
            long = {name: count for name, count in promised.items() if count > LONG}
        nbytes = int(ROW_BYTES * sum(long.values()))
        if nbytes <= MAX_COMMON or any(times[node.name, name] > 1 for name in fields):
            mine = [Stream(share, node, fields, nbytes)]
        else:
            others = {name: fields[name] for name in fields if name not in long}
            mine = [Stream(share, node, {n: fields[n]}, None) for n in long]
            mine += [Stream(share, node, others, 0)] * bool(others)
        streams.extend(mine)
        for each in mine:
            each.start(bridge, times, interval, min_stride)
        await gather([defer.ensureDeferred(each.has_begun()) for each in mine])
        return {name: each for each in mine for name in each.fields}

    opened: dict[Pair, Stream] = {}
    try:
        opened = await bridge.ask_nodes(share, pairs, interval, ask)
    finally:
        for each in set(streams) - set(opened.values()):
            each.stop()
    return opened
