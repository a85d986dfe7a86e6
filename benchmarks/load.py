"""Programs that load a router: ``python -m benchmarks.load KIND NUMBER …``.

``nodes FIRST COUNT FIELDS HERTZ``: live nodes, named by their numbers.
``watchers COUNT NODES EACH``: sessions that subscribe to EACH of so many nodes and drop the events.
``adds COUNT``: a session that adds a node to the hub's list so often, as nodes do every 8.5 s.

Each node and watcher has a connection of its own. They print "ready" when all have joined.
"""

from __future__ import annotations

import gc
import sys

import txaio
from twisted.internet import defer, task

import sisock
from benchmarks.stack import CONSUMER, SERVER
from sisock.connection.reconnect import RouterConnection
from sisock.connection.session import Session
from sisock.connection.settings import load_settings
from sisock.node.service import NodeService
from sisock.wire.protocol import node_uri, uri

JOINS = 50
"""Sessions that join in a second: more would be a test of logins."""


class Counter(sisock.LiveNode):
    """Fields that all have the number of the reading."""

    def __init__(self, number: int, fields: int, hertz: float) -> None:
        self.name = node_name(number)
        self.fields = {f"f{i}": {} for i in range(fields)}
        self.interval = 1 / hertz
        self.count = 0

    async def read(self):
        """Count."""
        self.count += 1
        return dict.fromkeys(self.fields, float(self.count))


def node_name(number: int) -> str:
    """Return the name of one of the nodes."""
    return f"live{number}"


def serve(reactor, first: int, count: int, fields: int, hertz: float) -> defer.Deferred:
    """Run live nodes, for ever."""
    settings = load_settings(SERVER)
    for number in range(first, first + count):
        service = NodeService(Counter(number, fields, hertz), reactor)
        connection = RouterConnection(settings, service.joined, service.left, reactor)
        # Spread over the interval, as instruments are.
        task.deferLater(reactor, (number - first) / count / hertz, _run, connection)
    return defer.Deferred()


def _run(connection: RouterConnection) -> defer.Deferred:
    return defer.ensureDeferred(connection.run())


def watch(reactor, count: int, nodes: int, each: int) -> defer.Deferred:
    """Run watchers, for ever; the nodes are shared out evenly."""
    settings, ready = load_settings(CONSUMER), set()

    def start(number: int) -> defer.Deferred:
        async def joined(session: Session) -> None:
            for step in range(each):
                name = node_name((number * each + step) % nodes)
                await session.subscribe(lambda *_: None, node_uri(name, "data"))
            ready.add(number)
            if len(ready) == count:
                say("ready")

        return _run(RouterConnection(settings, joined, reactor=reactor))

    for number in range(count):
        task.deferLater(reactor, number / JOINS, start, number)
    return defer.Deferred()


def add(reactor, count: int) -> defer.Deferred:
    """Add a node so often, then wait for ever."""

    async def joined(session: Session) -> None:
        say("ready")
        for _ in range(count):
            await session.request(uri("data_node.add"), "added", "a node", session._session_id)
        say("done")

    return _run(RouterConnection(load_settings(SERVER), joined, reactor=reactor))


def say(text: str) -> None:
    """Write a line at once, past Twisted's log."""
    print(text, file=sys.__stdout__, flush=True)


KINDS = {"nodes": serve, "watchers": watch, "adds": add}

if __name__ == "__main__":
    gc.freeze()  # as programs do
    txaio.start_logging(level="warn")
    kind, *numbers = sys.argv[1:]
    task.react(KINDS[kind], [float(n) if "." in n else int(n) for n in numbers])
