"""What the tests of faults share: the programs, and waits that hold sisock to its promise."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import psutil

from sisock.client.client import Client
from sisock.client.streams import Stream
from sisock.errors import HubMissing, RouterUnreachable
from sisock.testing import RouterProcess, wait_until

PROMISE = 15 if "SISOCK_TEST_STEPS" in os.environ else 60
"""Seconds within which the hub's list is right again, whatever happened.

`reliability.md` promises 15 s to programs that get a processor when they need one. The long trials
hold sisock to them; otherwise many tests share the processors, and it takes what it takes.
"""

WEATHER = ["data_nodes/weather.py"]
SENSORS = ["data_nodes/sensors.py"]
BIG = ["tests/nodes.py", "big"]
TICKER = ["tests/nodes.py", "ticker"]

LISTED = "is in the hub's list"
"""What a node says: the promise does not count the time that Python takes to start."""


@contextmanager
def unstarted_router(hub: bool = True) -> Iterator[RouterProcess]:
    """A router whose home and port are there, for a test that starts it later."""
    with ExitStack() as stack:
        router = RouterProcess(hub)
        stack.push(router)
        yield router


def kill_router(router: RouterProcess) -> None:
    """End a router's controller and its worker without any goodbye."""
    os.killpg(router.pid, signal.SIGKILL)
    router.stop()


def interrupt_router(router: RouterProcess) -> None:
    """End a router as Ctrl-C does."""
    router.stop(signal.SIGINT)


def listed(client: Client) -> list[str]:
    """Names in the hub's list, each as often as it is there; none while router or hub is away."""
    try:
        return [node.name for node in client.nodes()]
    except (HubMissing, RouterUnreachable):
        return []


def promised(condition: Callable[[], Any], what: str) -> Any:
    """Wait for what sisock promises within `PROMISE`."""
    began = time.monotonic()
    value = wait_until(condition, PROMISE, what)
    # A condition that waits for an answer itself may be late and still come true.
    taken = time.monotonic() - began
    assert taken <= PROMISE, f"{what} took {taken:.1f} s"
    return value


def promised_list(client: Client, *names: str) -> None:
    """Wait until exactly these nodes are listed, each once; for a router of the test's own."""
    promised(lambda: sorted(listed(client)) == sorted(names), f"the hub's list {names}")


def promised_presence(client: Client, name: str) -> None:
    """Wait until a node is listed."""
    promised(lambda: name in listed(client), f"{name} in the hub's list")


def promised_absence(client: Client, name: str) -> None:
    """Wait until a node is no longer listed."""
    promised(lambda: name not in [node.name for node in client.nodes()], f"the end of {name}")


def promised_event(events: Stream, name: str, present: bool, since: float | None = None) -> None:
    """Wait until a watcher of the hub hears that a node has come, or gone.

    The promise counts from now, or from `since`, a `time.monotonic()`.
    """
    end = (time.monotonic() if since is None else since) + PROMISE
    while True:
        event = events.next(max(0.0, end - time.monotonic()))
        if (event.node.name, event.present) == (name, present):
            return


def answers(client: Client, name: str, field: str) -> bool:
    """Whether a node is asked successfully for samples; a live one may first have to take some."""
    samples = lambda: len(client.get(name, field, start=1, end=0)[field])  # noqa: E731
    return wait_until(samples, 30, f"a sample of {name}") > 0


def own_memory(process: psutil.Process) -> int:
    """Bytes that a process and its children hold, without the files that they map."""
    total = 0
    for each in [process, *process.children(recursive=True)]:
        with open(f"/proc/{each.pid}/status") as status:
            total += sum(int(line.split()[1]) for line in status if line.startswith("RssAnon"))
    return total * 1024
