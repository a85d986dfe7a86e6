"""Data nodes whose every sample can be checked, and that can be told to fail.

``python -m tests.faults.machine_nodes`` hosts any number of nodes, each on a connection of its
own, and obeys lines of its standard input: ``start NAME``, ``stop NAME``, ``spoil NAME FAULT``,
``reset``. With ``--name NAME`` it is the program of that one node.
"""

from __future__ import annotations

import sys
import threading
import time
from typing import Any

import numpy as np
from twisted.internet import defer, reactor

import sisock
from sisock.connection.reconnect import RouterConnection
from sisock.connection.settings import load_settings
from sisock.node.service import NodeService
from sisock.wire.protocol import USER_SERVER

START = 1_500_000_000
COUNT = 2_000_000
"""An archive holds this many samples, one a second."""

COMMON_FAULTS = ["", "hangs", "raises", "types", "none", "list", "unknown"]
ARCHIVE_FAULTS = ["backward", "unequal", "nan", "fields"]
FAULTS = COMMON_FAULTS + ARCHIVE_FAULTS


def names(count: int) -> list[str]:
    """The names of the trial's nodes: archives and live ones in turn."""
    return [f"node{i}" for i in range(count)]


def is_archive(name: str) -> bool:
    """Whether the node of this name is an archive."""
    return number(name) % 2 == 0


def number(name: str) -> int:
    """The number in a node's name, which its samples depend on."""
    return int(name.removeprefix("node"))


def archive_samples(name: str, start: float, end: float) -> tuple[np.ndarray, np.ndarray]:
    """Everything that an archive has in an interval."""
    low, high = (min(max(int(np.ceil(t - START)), 0), COUNT) for t in (start, end))
    i = np.arange(low, max(low, high), dtype="<f8")
    return START + i, 1e7 * number(name) + i


def live_second(name: str, first: float) -> float:
    """The second field of a live sample whose first one is this."""
    return 7.0 * first + number(name)


class Spoilt:
    """What both kinds of node do when they are told to fail."""

    fault = ""

    def __init__(self, name: str) -> None:
        self.name = name
        self._released = threading.Event()

    def spoil(self, fault: str) -> None:
        """Fail like this from now on; whatever hangs goes on."""
        self.fault = fault
        self._released.set()
        self._released = threading.Event()

    def fail(self) -> None:
        """Hang, or raise, if that is the fault."""
        if self.fault == "hangs":
            self._released.wait(60)
        if self.fault == "raises":
            raise OSError("the instrument does not answer")


class Archive(Spoilt, sisock.ArchiveNode):
    """Two million numbers, each known from its time."""

    pyramid = False

    def list_fields(self, start: float, end: float) -> Any:
        return ["x"] if self.fault == "fields" else {"x": {"interval": 1.0}}

    def read(self, field: str, start: float, end: float) -> Any:
        self.fail()
        t, x = archive_samples(self.name, start, end)
        # Functions: a text of each time would hold up the process for seconds at every read.
        lies = {
            "types": lambda: (t, [{}] * len(t)),
            "none": lambda: None,
            "list": lambda: [1, 2, 3],
            "unknown": lambda: (t.astype(str), x),
            "backward": lambda: (t[::-1], x),
            "unequal": lambda: (t, x[1:]),
            "nan": lambda: (t * np.nan, x),
        }
        return lies[self.fault]() if self.fault in lies else (t, x)


class Live(Spoilt, sisock.LiveNode):
    """Three fields, each known from the first."""

    fields = {"first": {}, "second": {}, "even": {"type": "bool"}}
    history_samples = 200

    def read(self) -> Any:
        self.fail()
        first = int(time.time() * 1000)
        true = {
            "first": first,
            "second": live_second(self.name, first),
            "even": first % 2 == 0,
        }
        lies = {
            "types": {"first": "one", "second": {}, "even": 2},
            "none": None,
            "list": [1, 2, 3],
            "unknown": {**true, "third": 3},
        }
        return lies.get(self.fault, true)


def make(name: str) -> Any:
    """Make the node of this name."""
    return (Archive if is_archive(name) else Live)(name)


class Host:
    """Nodes of one process, by name; a node that is started again is the one from before."""

    def __init__(self) -> None:
        self._settings = load_settings(USER_SERVER)
        self._services: dict[str, NodeService] = {}
        self._connections: dict[str, RouterConnection] = {}

    def start(self, name: str) -> None:
        if name not in self._services:
            self._services[name] = NodeService(make(name))
        service = self._services[name]
        self._connections[name] = RouterConnection(self._settings, service.joined, service.left)
        running = defer.ensureDeferred(self._connections[name].run())
        running.addErrback(lambda failure: print(f"{name} has ended: {failure.value}", flush=True))

    async def stop(self, name: str) -> None:
        await self._connections.pop(name).stop()

    def spoil(self, name: str, fault: str = "") -> None:
        if name in self._services:
            self._services[name].node.spoil(fault)

    async def reset(self) -> None:
        for name in list(self._connections):
            await self.stop(name)
        for name in self._services:
            self.spoil(name)

    async def obey(self, line: str) -> None:
        verb, *words = line.split()
        await defer.maybeDeferred(getattr(self, verb), *words)
        print(f"done {line}", flush=True)


def host() -> None:
    """Obey until standard input ends."""
    nodes = Host()

    def listen() -> None:
        for line in sys.stdin:
            reactor.callFromThread(
                lambda text: defer.ensureDeferred(nodes.obey(text)), line.strip()
            )
        reactor.callFromThread(reactor.stop)

    reactor.callWhenRunning(threading.Thread(target=listen, daemon=True).start)
    print("ready", flush=True)
    reactor.run()


if __name__ == "__main__":
    if "--name" in sys.argv:
        sisock.run(make(sys.argv[sys.argv.index("--name") + 1]))
    else:
        host()
