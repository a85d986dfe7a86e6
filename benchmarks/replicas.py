"""Rows replicas: reads of an archive that one, two or three processes serve by one name.

Each read is a day of ten fields at a thousand points. What limits is said with each row: on two
cores, three replicas, the router and the clients share these.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from benchmarks.counts import CountedStack, cpu_seconds
from benchmarks.nodes import DAY, FIELDS, START
from benchmarks.report import Figure
from sisock import Client
from sisock.testing import wait_until

MOST = 3
CLIENTS, READS, POINTS = 6, 300, 1000
SHIFT = 600
"""Seconds between two reads: each is another day."""


def figures(_rounds: int) -> Iterator[Figure]:
    """Measure reads with one, two and three replicas."""
    with CountedStack() as stack, stack.client() as client:
        pids: list[int] = []
        for count in range(1, MOST + 1):
            command = ("-m", "benchmarks.nodes", "days", "--replica")
            cache = str(stack.folder / f"cache{count}")
            pids.append(stack.start(*command, SISOCK_CACHE=cache).process.pid)
            wait_until(lambda n=count: replicas(client) == n, 120, f"{count} replicas")
            yield measure(stack, client, pids)


def replicas(client: Client) -> int:
    """Return the number of replicas of the archive in the hub's list."""
    return sum(node.replicas or 0 for node in client.nodes())


def measure(stack: CountedStack, client: Client, pids: list[int]) -> Figure:
    """Read, and say who took how much of a core."""

    def read(number: int) -> None:
        start = START + number * SHIFT
        client.get("days", FIELDS, start, start + DAY, max_points=POINTS)

    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(read, range(CLIENTS)))
        before = cpu_seconds(os.getpid())
        with stack.counted(*pids) as work:
            list(pool.map(read, range(READS)))
        own = cpu_seconds(os.getpid()) - before
    nodes, router, clients = (n / work.seconds for n in (work.cpu[2], work.cpu[0], own))
    shown = (
        f"{READS / work.seconds:,.0f} reads/s; cores: {nodes:.2g} nodes, {router:.2g} router,"
        f" {clients:.2g} clients; {1e3 * work.cpu[2] / READS:.2g} ms of a node's CPU each"
    )
    plural = "s" * (len(pids) > 1)
    what = f"{CLIENTS} clients, {len(pids)} replica{plural}: a day of 10 fields at 1,000 points"
    return Figure("replicas", what, shown, READS / work.seconds)
