"""Pass all samples of fields on while they still arrive from their node."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from twisted.internet import defer, task

from sisock.bridge.bridge import Bridge
from sisock.bridge.metrics import Share, memory_of, size_of
from sisock.bridge.targets import Pair
from sisock.bridge.tiles import Samples
from sisock.client.directory import KnownNode
from sisock.connection.session import gather
from sisock.wire import json_rows
from sisock.wire.arrays import check_length
from sisock.wire.fields import Field
from sisock.wire.protocol import Interval, contract
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


class Run:
    """Samples of a field that have come together, and then their JSON instead."""

    def __init__(self, samples: Samples) -> None:
        self.count = len(samples)
        self.nbytes = size_of(samples.t, samples.values)
        self._samples: Samples | None = samples
        self._rows: list[bytes] = []

    async def rows(self, reactor: Any) -> list[bytes]:
        """Write the JSON, with pauses for the reactor's other work."""
        if self._samples is not None:
            samples, self._samples = self._samples, None
            for part in json_rows.pairs(samples.values, samples.t):
                self._rows.append(part)
                await task.deferLater(reactor, 0)
        return self._rows

    def clear(self) -> None:
        """Forget the JSON."""
        self._rows = []


class Stream:
    """The samples of one call on their way; those of one long field at the pace of the client.

    What has come of the fields that are to be read later is written as JSON while those before
    wait for the node.
    """

    def __init__(
        self,
        bridge: Bridge,
        share: Share,
        node: KnownNode,
        fields: Mapping[str, Field],
        is_paced: bool = False,
        is_repeated: bool = False,
        promised: int = 0,
    ) -> None:
        self.fields = fields
        self._bridge = bridge
        self._share = share
        self._node = node
        self._is_paced = is_paced
        self._is_repeated = is_repeated
        self._runs: dict[str, list[Run]] = {name: [] for name in fields}
        self._unwritten: deque[Run] = deque()
        self._follows = {name: about.timeline for name, about in fields.items()}
        self._waiting = 0
        self._error: Any = None
        self._is_over = False
        self._changed: defer.Deferred = defer.Deferred()
        self._room: defer.Deferred | None = None
        self._promised = LONG_BYTES if is_paced else promised
        # So early that it can still be refused.
        share.add(self._promised)

    def start(self, interval: Interval, min_stride: float | None) -> None:
        """Ask the node."""
        self._interval = interval
        self._is_spaced = min_stride is not None
        how = {"min_stride": min_stride, "on_chunk": self._take}
        self._job = defer.ensureDeferred(
            self._bridge.fetch(self._node, self.fields, interval, **how)
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
        return sum(run.count for run in self._runs[name])

    async def read(self, name: str) -> AsyncIterator[tuple[int, list[bytes]]]:
        """Return rows of a field as they come, and how many; raises what the call ends with."""
        runs, index = self._runs[name], 0
        while index < len(runs) or self._error is not None or not self._is_over:
            if index < len(runs):
                run = runs[index]
                yield run.count, await run.rows(self._bridge.reactor)
                index += 1
                self._waiting -= run.nbytes
                if not self._is_repeated:
                    run.clear()
                if self._waiting <= BUFFER:
                    self._leave_room()
            elif self._error is not None:
                raise self._error
            elif self._unwritten:
                await self._unwritten.popleft().rows(self._bridge.reactor)
            else:
                if self._changed.called:
                    self._changed = defer.Deferred()
                self._leave_room()
                await self._changed

    def _leave_room(self) -> None:
        if self._room is not None:
            room, self._room = self._room, None
            room.callback(None)

    def _take(self, chunk: Reply) -> defer.Deferred | None:
        if not self._is_paced:
            come = min(self._promised, memory_of(chunk))
            self._promised -= come
            self._share.add(-come)
            self._share.take(chunk)
        if "progressive" not in self._node.features:
            return None  # its fields may have to be brought to common times
        self._follows |= chunk.follows
        for name, values in chunk.data.items():
            line = chunk.timelines.get(self._follows.get(name, ""))
            if name in self.fields and line is not None and len(values):
                with contract(self._node.name, name):
                    check_length(line.t, values)
                self._put(name, Samples(line.t, values))
        if not self._is_spaced:
            # Nothing else is to hold on to them.
            chunk.data.clear()
            chunk.timelines.clear()
        if self._is_paced and self._waiting > BUFFER and self._room is None:
            self._room = defer.Deferred()
        self._wake()
        return self._room

    def _put(self, name: str, samples: Samples) -> None:
        run = Run(samples.between(self._interval.start, self._interval.end))
        self._waiting += run.nbytes
        self._runs[name].append(run)
        if not self._is_paced:
            self._unwritten.append(run)

    def _end(self, result: Any) -> None:
        self._is_over = True
        if isinstance(result, Mapping):
            for name in result if "progressive" not in self._node.features else ():
                self._put(name, Samples(result[name].t, result[name].values))
        else:
            self._error = result.value
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
    repeated = {pair for pair, count in Counter(pairs).items() if count > 1}

    async def ask(node: KnownNode, fields: dict[str, Field]) -> dict[str, Stream]:
        long = {}
        if not min_stride and "progressive" in node.features:
            seconds = interval.end - interval.start
            promised = {n: seconds / each.interval for n, each in fields.items() if each.interval}
            long = {name: count for name, count in promised.items() if count > LONG}
        nbytes = int(16 * sum(long.values()))
        is_repeated = any((node.name, name) in repeated for name in fields)
        if is_repeated or (len(long) > 1 and nbytes <= MAX_COMMON):
            mine = [Stream(bridge, share, node, fields, False, is_repeated, nbytes)]
        else:
            others = {name: fields[name] for name in fields if name not in long}
            mine = [Stream(bridge, share, node, {n: fields[n]}, True) for n in long]
            mine += [Stream(bridge, share, node, others)] * bool(others)
        streams.extend(mine)
        for each in mine:
            each.start(interval, min_stride)
        await gather([defer.ensureDeferred(each.has_begun()) for each in mine])
        return {name: each for each in mine for name in each.fields}

    opened: dict[Pair, Stream] = {}
    try:
        opened = await bridge.ask_nodes(share, pairs, interval, ask)
    finally:
        for each in set(streams) - set(opened.values()):
            each.stop()
    return opened
