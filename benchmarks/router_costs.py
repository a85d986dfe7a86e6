"""Rows router: CPU time of the router, and of its proxies, per call, event, sample and session.

All programs connect by TLS, as from other computers. What sessions cost that do nothing, and nodes
that check that they are listed, is subtracted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np

from benchmarks.costs import write_costs
from benchmarks.counts import CountedStack, Work
from benchmarks.load import node_name
from benchmarks.nodes import FAST_SAMPLES, START
from benchmarks.report import Figure, short
from benchmarks.stack import CONSUMER
from sisock.connection.transport import PING_INTERVAL
from sisock.testing import wait_until
from tests.conftest import Program, wait_for_nodes

PROXIES = 0, 1, 2
SESSIONS = 100
ADDS, CALLS, AT_ONCE = 200, 400, 8
LIST_SECONDS, LIST_CALLS = 20, 5
NODES, HERTZ, WATCHERS = 40, 10.0, 10
"""Of the events: a router that sleeps between two of them needs up to thrice as long for each."""

FEW, MANY = 1, 100
"""Fields of an event: the difference is the cost of a field."""

PUBLISHED = 800
"""Events of a measurement."""

TIMES = 3
"""Of what is measured several times the cheapest counts: a busy machine only adds."""

PATIENCE = 300
"""Seconds for programs to start, on a busy machine."""

WHAT = {
    "login": "a login by TLS",
    "session": "a session that does nothing, per second",
    "add": "a node that checks that it is listed",
    "call": "a small call: 10 samples",
    "publish": "an event of 1 field that is published",
    "publish field": "each further field of it",
    "dispatch": "an event of 1 field that is watched at all",
    "dispatch field": "each further field of it",
    "event": "an event of 1 field to each watcher",
    "event field": "each further field of it",
    "json": "a sample in lists, to a consumer that uses JSON",
    "megabyte": "a megabyte of samples as bytes",
}
"""What is measured; one of each costs the router and its proxies this time."""

Cost = np.ndarray
"""Seconds of CPU of the router, of all proxies together, and of the node."""


class RouterCosts:
    """Measure a router with so many proxies."""

    def __init__(self, proxies: int) -> None:
        self.costs: dict[str, Cost] = {}
        with CountedStack(proxies) as self._stack:
            self._measure_sessions()
            self._measure_adds()
            self._measure_samples()
            few, many = (self._measure_events(fields) for fields in (FEW, MANY))
        for name in ("publish", "dispatch", "event"):
            self.costs[name] = few[name]
            self.costs[f"{name} field"] = ((many[name] - few[name]) / (MANY - FEW)).clip(min=0)

    def _start(self, *words: object, user: str = CONSUMER) -> Program:
        command = ("-m", "benchmarks.load", *map(str, words))
        return self._stack.start(*command, user=user, use_socket=False)

    def _measure_sessions(self) -> None:
        with self._stack.counted() as work:
            program = self._start("watchers", SESSIONS, 1, 0)
            program.wait_for("ready", PATIENCE)
        self.costs["login"] = work.cpu / SESSIONS
        # A whole round of pings each.
        idle = [self._while(partial(time.sleep, PING_INTERVAL)) for _ in range(2)]
        self.costs["session"] = cheapest(idle, lambda work: work.seconds * SESSIONS)
        program.end()

    def _measure_adds(self) -> None:
        def run() -> None:
            program = self._start("adds", ADDS, user="server")
            program.wait_for("done", PATIENCE)
            program.end()

        found = [self._while(run) for _ in range(TIMES)]
        self.costs["add"] = cheapest(found, lambda _: ADDS, less=self.costs["login"])

    def _measure_samples(self) -> None:
        """Measure calls for few samples, bytes of many, and lists of many."""
        start = partial(self._stack.start_node, use_socket=False)
        days, fast = (start(kind, "-m", "benchmarks.nodes", kind) for kind in ("days", "fast"))
        with self._stack.client(use_socket=False) as client:

            def ask() -> None:
                with ThreadPoolExecutor(AT_ONCE) as pool:
                    list(pool.map(get_few, range(CALLS)))

            def get_few(number: int) -> None:
                client.get("days", "f0", START + number, START + number + 10)

            def transfer() -> None:
                client.get("fast", "f8", START, START + FAST_SAMPLES)

            ask(), transfer()
            found = [self._while(ask, days) for _ in range(TIMES)]
            self.costs["call"] = cheapest(found, lambda work: work.messages["received call"])
            found = [self._while(transfer, fast) for _ in range(TIMES)]
            self.costs["megabyte"] = cheapest(found, lambda _: 16 * FAST_SAMPLES / 1e6)
        found = [self._while(self._list) for _ in range(TIMES)]
        samples = LIST_CALLS * LIST_SECONDS * 1000
        self.costs["json"] = cheapest(found, lambda _: samples, less=self.costs["login"])

    def _list(self) -> None:
        words = ("fast", "f8", START, LIST_SECONDS, LIST_CALLS, 1)
        command = ("-m", "benchmarks.lists", *map(str, words))
        program = self._stack.start(*command, user=CONSUMER, use_socket=False)
        assert program.wait(PATIENCE) == 0, program.output

    def _measure_events(self, fields: int) -> dict[str, Cost]:
        """Measure events of so many fields, without watchers and with some."""
        nodes = self._start("nodes", 0, NODES, fields, HERTZ, user="server")
        with self._stack.client() as client:
            wait_for_nodes(client, *map(node_name, range(NODES)), seconds=PATIENCE)
        publish = partial(self._wait, "received publish", PUBLISHED)
        found = [self._beside(self._while(publish, nodes), NODES) for _ in range(TIMES)]
        cost = cheapest(found, received)
        one, all_of_them = (self._measure_watched(cost, count) for count in (1, WATCHERS))
        event = ((all_of_them - one) / (WATCHERS - 1)).clip(min=0)
        nodes.end()
        return {"publish": cost, "dispatch": (one - event).clip(min=0), "event": event}

    def _measure_watched(self, cost: Cost, count: int) -> Cost:
        """Measure what so many watchers add to the cost of an event."""
        watchers = self._start("watchers", count, NODES, NODES)
        watchers.wait_for("ready", PATIENCE)
        send, found = partial(self._wait, "received publish", PUBLISHED), []
        for _ in range(TIMES):
            work = self._beside(self._while(send), NODES + count)
            work.cpu -= cost * received(work)
            found.append(work)
        watchers.end()
        return cheapest(found, received)

    def _wait(self, kind: str, count: int) -> None:
        """Wait for so many more messages."""
        enough = self._stack.messages()[kind] + count
        wait_until(lambda: self._stack.messages()[kind] >= enough, PATIENCE, kind, every=0.3)

    def _while(self, action: Callable[[], Any], *nodes: Program) -> Work:
        """Return what is done during an action, by nodes, too."""
        with self._stack.counted(*(node.process.pid for node in nodes)) as work:
            action()
        return work

    def _beside(self, work: Work, sessions: int) -> Work:
        """Leave out what idle sessions do, and nodes that check that they are listed."""
        work.cpu -= self.costs["session"] * sessions * work.seconds
        work.cpu -= self.costs["add"] * work.messages["received call"]
        return work


def received(work: Work) -> float:
    """Return the number of events that were published."""
    return work.messages["received publish"]


def cheapest(
    found: Iterable[Work], count: Callable[[Work], float], less: Cost | float = 0.0
) -> Cost:
    """Return the least CPU seconds of one of `count`, after those of `less`."""
    each = [(work.cpu - less) / count(work) for work in found]
    return min(each, key=lambda cost: cost[0] + cost[1]).clip(min=0)


def figures(_rounds: int) -> Iterator[Figure]:
    """Measure a router with 0, 1 and 2 proxies."""
    found = [RouterCosts(proxies).costs for proxies in PROXIES]
    write_costs("router", {str(n): listed(costs) for n, costs in zip(PROXIES, found, strict=True)})
    for name, what in WHAT.items():
        alone, *proxied = (costs[name] * 1e6 for costs in found)
        texts = [f"{short(cost[0])} + {short(cost[1])} µs" for cost in proxied]
        shown = f"{short(alone[0])} µs; {texts[0]}; {texts[1]}"
        yield Figure("router", what, shown, proxied[-1][0])


def listed(costs: dict[str, Cost]) -> dict[str, list[float]]:
    """Return costs for JSON, with four digits."""
    return {name: [float(f"{each:.4g}") for each in cost] for name, cost in costs.items()}
