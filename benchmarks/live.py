"""Row live: a hundred live nodes, ten fields each at 10 Hz, and ten clients that watch them.

The nodes share ten processes and the watchers two: the router has as many sessions as without
that, and the machine can start them.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from array import array
from contextlib import suppress

import psutil
import txaio
from twisted.internet import defer, task

import sisock
from benchmarks.load import node_name
from benchmarks.report import Figure, measured, percentile
from benchmarks.stack import CONSUMER, Stack
from tests.conftest import Program, wait_for_nodes

NODES, NODE_PROCESSES = 100, 10
WATCHERS, WATCHER_PROCESSES = 10, 2
WATCHED = (10, 50)
"""Nodes of each watcher. All hundred of them are more than two cores can pass on and take apart."""

FIELDS, RATE = 10, 10
SECONDS = 30
SETTLE = 5


class Watcher:
    """One client that notes how late each sample comes and which numbers it has."""

    def __init__(self, reactor, nodes: range) -> None:
        self.client = sisock.TwistedClient(reactor=reactor)
        self.late = array("d")
        self.seen = {node_name(number): array("d") for number in nodes}
        self.counting = False

    async def begin(self) -> None:
        """Watch its nodes."""
        await self.client.connect()
        for name in self.seen:
            await self.client.watch(name, lambda sample, name=name: self._take(name, sample))

    def _take(self, name: str, sample) -> None:
        if self.counting:
            self.late.append(time.time() - sample.t)
            self.seen[name].append(sample.values["f9"])

    @property
    def lost(self) -> int:
        """Samples that did not come between the first and the last one of a node."""
        return sum(int(got[-1] - got[0]) + 1 - len(got) for got in self.seen.values())


async def watch(reactor, first: int, each: int) -> None:
    """Run one process's watchers, of `each` nodes each; print what they found."""
    starts = range(first, first + WATCHERS // WATCHER_PROCESSES)
    watched = [range(n * each % NODES, n * each % NODES + each) for n in starts]
    watchers = [Watcher(reactor, nodes) for nodes in watched]
    for watcher in watchers:
        await watcher.begin()
    print("ready", file=sys.__stdout__, flush=True)
    # The other process, too, shall watch before anything counts.
    await task.deferLater(reactor, SETTLE)
    for watcher in watchers:
        watcher.counting = True
    await task.deferLater(reactor, SECONDS)
    for watcher in watchers:
        watcher.counting = False
    late = [second for watcher in watchers for second in watcher.late]
    found = {"late": late, "lost": sum(watcher.lost for watcher in watchers)}
    print(json.dumps(found), file=sys.__stdout__, flush=True)


def figures(_rounds: int) -> list[Figure]:
    """Measure."""
    with Stack() as stack:
        nodes = []
        for first in range(0, NODES, NODES // NODE_PROCESSES):
            numbers = map(str, (first, NODES // NODE_PROCESSES, FIELDS, RATE))
            nodes.append(stack.start("-m", "benchmarks.load", "nodes", *numbers))
        with stack.client() as client:
            wait_for_nodes(client, *map(node_name, range(NODES)), seconds=60)
        return [row for each in WATCHED for row in _watched(stack, nodes, each)]


def _watched(stack: Stack, nodes: list[Program], each: int) -> list[Figure]:
    """Measure ten watchers of so many nodes each."""
    watchers = []
    for first in range(0, WATCHERS, WATCHERS // WATCHER_PROCESSES):
        words = ("-m", "benchmarks.live", str(first), str(each))
        watchers.append(stack.start(*words, user=CONSUMER))
    for program in watchers:
        with suppress(AssertionError):  # it has ended, which `_result` reports
            program.wait_for("ready", 200)
    time.sleep(SETTLE)
    pids = [[program.process.pid for program in nodes], [stack.worker.pid]]
    pids += [[program.process.pid for program in watchers]]
    before, began = list(map(_cpu_of, pids)), time.monotonic()
    time.sleep(SECONDS - SETTLE)
    passed = time.monotonic() - began
    cores = [(_cpu_of(kind) - then) / passed for kind, then in zip(pids, before, strict=True)]
    return _rows(each, cores, [_result(program) for program in watchers])


def _cpu_of(pids: list[int]) -> float:
    """Return the CPU seconds of processes so far; of those that still run."""
    times = [psutil.Process(pid).cpu_times() for pid in pids if psutil.pid_exists(pid)]
    return sum(part.user + part.system for part in times)


def _result(program: Program) -> dict:
    program.wait(SECONDS + 60)
    *_, last = lines = ["nothing", *filter(str.strip, program.output.splitlines())]
    for line in lines:
        if line.startswith("{"):
            return json.loads(line)
    raise SystemExit(f"a process of watchers ended before it had measured; it said: {last}")


def _rows(each: int, cores: list[float], found: list[dict]) -> list[Figure]:
    late = [second for result in found for second in result["late"]]
    lost = sum(result["lost"] for result in found)
    what = f"{NODES} live nodes, 10 fields at {RATE} Hz; {WATCHERS} watchers, each of {each}"
    given = f"{len(late) / SECONDS:,.0f} samples/s, {lost} lost"
    p50, p99 = (percentile(late, part) * 1e3 for part in (0.5, 0.99))
    way = f"p50 {p50:.3g} ms, p99 {p99:.3g} ms"
    read = NODES * RATE
    costs = zip(cores, (read, read, len(late) / SECONDS), strict=True)
    node, router, watcher = (f"{part / rate * 1e6:.0f} µs" for part, rate in costs)
    shown = f"{node} in the node, {router} in the router; {watcher} in each watcher"
    return [
        Figure("live", what, given, lost, "<= 0 lost"),
        Figure("live", "the same: from `read` to a watcher", way, p99, "< 100 ms"),
        Figure("live", "the same: CPU of a reading", shown, cores[1]),
        measured("live", "the same: the router's CPU", cores[1], "cores", "< 1 core"),
    ]


if __name__ == "__main__":
    gc.freeze()  # as programs do
    txaio.start_logging(level="warn")
    first, each = map(int, sys.argv[1:])
    task.react(lambda reactor: defer.ensureDeferred(watch(reactor, first, each)))
