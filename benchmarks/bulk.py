"""Row a: four million samples from a node through the router to a client."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import psutil

from benchmarks.nodes import FAST_SAMPLES, START, Fast
from benchmarks.relay import Relay
from benchmarks.report import Figure, milliseconds, percentile, ratio
from benchmarks.stack import Stack, seconds_of
from sisock.client.client import Client

ROUNDS = 7
LIST_SECONDS, LIST_CALLS = 20, 10
"""What a consumer of lists asks for: replies of 20,000 samples, 0.8 MB of JSON each."""


def fetch(client: Client) -> None:
    """Get everything."""
    client.get("fast", "f8", START, START + FAST_SAMPLES)


def check(client: Client) -> None:
    """See that what comes is what the node has."""
    series = client.get("fast", "f8", 1, 0)["f8"]
    assert np.array_equal(series.t, Fast.t) and np.array_equal(series.values, Fast.columns["f8"])


@contextmanager
def watched_memory(process: psutil.Process) -> Iterator[list[int]]:
    """Bytes that a process has in memory, again and again while the block runs."""
    seen, over = [process.memory_info().rss], threading.Event()

    def watch() -> None:
        while not over.wait(0.02):
            seen.append(process.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield seen
    finally:
        over.set()
        watcher.join()


def list_seconds(stack: Stack) -> float:
    """Seconds of four million samples as lists, by those of a twentieth of them."""
    path = str(stack.router.home.router_socket)
    given = ["fast", "f8", START, LIST_SECONDS, LIST_CALLS, 1]
    program = stack.start("-m", "benchmarks.lists", path, *map(str, given))
    program.wait(120)
    answer = json.loads(program.output)
    return answer["seconds"][0] * FAST_SAMPLES / answer["samples"]


def small_calls(stack: Stack, client: Client) -> list[float]:
    """Seconds of another client's small calls while this one fetches all the time."""
    program = stack.start("-m", "benchmarks.small_calls")
    while program.process.poll() is None:
        fetch(client)
    return json.loads(program.output)


def figures() -> list[Figure]:
    """Measure."""
    size = FAST_SAMPLES * 16
    with Stack() as stack:
        stack.start_node("fast", "-m", "benchmarks.nodes", "fast")
        relay = Relay(stack.folder, size)
        with Client(stack.settings()) as near, Client(stack.settings(use_socket=False)) as tls:
            times = {"near": [], "tls": [], "relay": [], "lists": []}
            with watched_memory(stack.worker) as memory:
                check(near)
                for _ in range(ROUNDS):
                    times["relay"].append(seconds_of(relay.fetch))
                    times["near"].append(seconds_of(fetch, near))
                    times["tls"].append(seconds_of(fetch, tls))
                    times["lists"].append(list_seconds(stack))
            calls = small_calls(stack, near)
        relay.close()
    return list(rows(times, memory, calls))


def rows(times: dict[str, list[float]], memory: list[int], calls: list[float]) -> Iterator[Figure]:
    """The rows of what was measured."""
    shown = {name: milliseconds(seconds) for name, seconds in times.items()}
    for name, what in (("near", "4 million samples, Unix socket"), ("tls", "the same, TLS")):
        faster = ratio(times["lists"], times[name])
        # TLS stands beside it.
        targets = (">= 100 x", ">= 0.15 x") if name == "near" else ("", "")
        yield Figure("a", what, shown[name], f"JSON lists: {shown['lists']}", faster, targets[0])
        part = ratio(times["relay"], times[name])
        yield Figure("a", what, shown[name], f"bare relay: {shown['relay']}", part, targets[1])
    p99 = percentile(calls, 0.99) * 1e3
    what = "another client's small calls meanwhile, p99"
    yield Figure("a", what, f"{p99:.3g} ms", "", p99, "< 20 ms")
    grown = (max(memory) - memory[0]) / 1e6
    yield Figure("a", "growth of the router's memory", f"{grown:.3g} MB", "", grown, "< 50 MB")
