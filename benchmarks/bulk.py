"""Row bulk: four million samples from a node through the router to a client."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import psutil

import sisock
from benchmarks.nodes import FAST_SAMPLES, START, fast_samples
from benchmarks.relay import Relay
from benchmarks.report import Figure, compared, measured, percentile
from benchmarks.stack import CONSUMER, Stack, seconds_of, wait_until_idle

LIST_SECONDS, LIST_CALLS = 20, 10
"""What a consumer of lists asks for: replies of 20,000 samples, 0.8 MB of JSON each."""


def fetch(client: sisock.Client) -> None:
    """Get everything."""
    client.get("fast", "f8", START, START + FAST_SAMPLES)


def check(client: sisock.Client) -> None:
    """See that what comes is what the node has."""
    series = client.get("fast", "f8", 1, 0)["f8"]
    t, columns = fast_samples()
    assert np.array_equal(series.t, t) and np.array_equal(series.values, columns["f8"])


@contextmanager
def watched_memory(process: psutil.Process) -> Iterator[list[int]]:
    """Note the bytes that a process has in memory, again and again while the block runs."""
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
    """Return the seconds of four million samples as lists, by those of a twentieth of them."""
    given = ["fast", "f8", START, LIST_SECONDS, LIST_CALLS, 1]
    program = stack.start("-m", "benchmarks.lists", *map(str, given), user=CONSUMER)
    program.wait(120)
    answer = json.loads(program.output)
    return answer["seconds"][0] * FAST_SAMPLES / answer["samples"]


def small_calls(stack: Stack, client: sisock.Client) -> list[float]:
    """Return the seconds of another client's small calls while this one fetches all the time."""
    program = stack.start("-m", "benchmarks.small_calls", user=CONSUMER)
    while program.process.poll() is None:
        fetch(client)
    return json.loads(program.output)


def figures(rounds: int) -> list[Figure]:
    """Measure."""
    size = FAST_SAMPLES * 16
    with Stack() as stack:
        wait_until_idle(stack.start_node("fast", "-m", "benchmarks.nodes", "fast"))
        relay = Relay(stack.folder, size)
        with stack.client() as near, stack.client(use_socket=False) as tls:
            times: dict[str, list[float]] = {"near": [], "tls": [], "relay": [], "lists": []}
            with watched_memory(stack.worker) as memory:
                check(near)
                for _ in range(rounds):
                    times["relay"].append(seconds_of(relay.fetch))
                    times["near"].append(seconds_of(fetch, near))
                    times["tls"].append(seconds_of(fetch, tls))
                    times["lists"].append(list_seconds(stack))
            calls = small_calls(stack, near)
        relay.close()
    return list(rows(times, memory, calls))


def rows(times: dict[str, list[float]], memory: list[int], calls: list[float]) -> Iterator[Figure]:
    """Return the rows of what was measured."""
    what = "4 million samples by `Client.get`"
    yield compared("bulk", what, times["near"], times["lists"], "JSON lists", ">= 100 x")
    yield compared("bulk", what, times["near"], times["relay"], "a bare relay", ">= 0.15 x")
    yield compared("bulk", "the same by TLS", times["tls"], times["near"], "the Unix socket")
    p99 = percentile(calls, 0.99) * 1e3
    yield measured("bulk", "another client's calls meanwhile, p99", p99, "ms", "< 20 ms")
    grown = (max(memory) - memory[0]) / 1e6
    yield measured("bulk", "growth of the router's memory", grown, "MB", "< 50 MB")
