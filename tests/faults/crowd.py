"""Two thousand nodes and five hundred watchers on one router; part of `make test-faults`."""

import os
import resource
import time
from contextlib import contextmanager

import psutil
import pytest

from sisock.client.client import Client
from sisock.testing import RouterProcess, wait_until
from tests.faults.helpers import listed, own_memory

NODES = int(os.environ.get("SISOCK_TEST_NODES", "2000"))
WATCHERS = int(os.environ.get("SISOCK_TEST_WATCHERS", "500"))
PER_PROCESS = 250

pytestmark = pytest.mark.timeout(1200)


@contextmanager
def timed(what):
    """Print how long something takes."""
    began = time.monotonic()
    yield
    print(f"    {what}: {time.monotonic() - began:.2f} s", flush=True)


@pytest.fixture
def router():
    with RouterProcess() as process:
        yield process


def members(router, start, *arguments, **options):
    """Start a process with many members; nodes on the Unix socket, as on the router's computer."""
    socket = str(router.home.router_socket) if arguments[0] == "nodes" else ""
    command = ("-m", "tests.faults.crowd_members", *map(str, arguments))
    return start(router, *command, CROSSBAR_SOCKET=socket, **options)


def heard(processes):
    """How many watchers have heard of the new node."""
    return sum(process.output.count("heard ") for process in processes)


def test_a_crowd_joins_is_listed_and_vanishes(router, start):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert hard >= NODES + WATCHERS + 100, f"this machine allows {hard} open files: ulimit -Hn"
    print(f"\na crowd of {NODES} nodes and {WATCHERS} watchers (open files: {soft} of {hard})")
    empty = own_memory(psutil.Process(router.pid))
    with Client(router.settings(), timeout=60) as client:
        with timed("until all nodes are listed"):
            nodes = [
                members(router, start, "nodes", first, min(PER_PROCESS, NODES - first))
                for first in range(0, NODES, PER_PROCESS)
            ]
            wait_until(lambda: len(listed(client)) == NODES, 300, "a list of all nodes", every=0.5)
        with timed("until all watchers watch"):
            watchers = [
                members(router, start, "watchers", WATCHERS // 2, f"node{NODES}", user="simonsobs")
                for _ in range(2)
            ]
            for process in watchers:
                process.wait_for("all watch", 300)
        full = own_memory(psutil.Process(router.pid))
        print(f"    the router's memory: {empty / 1e6:.0f} MB empty, {full / 1e6:.0f} MB full")
        with timed("the list, once"):
            assert len(client.nodes()) == NODES
        one_more = members(router, start, "nodes", NODES, 1)
        wait_until(lambda: heard(watchers) > 0, 60, "the first watcher's event")
        with timed("from the first watcher that hears of one more node to the last"):
            wait_until(lambda: heard(watchers) == WATCHERS, 60, "the event at all watchers")
        with timed("until the list is empty after all nodes were killed"):
            for process in [*nodes, one_more]:
                process.end()
            wait_until(lambda: client.nodes() == [], 120, "an empty list", every=0.1)
        assert all(process.process.poll() is None for process in watchers)
    print(
        f"    the router's memory at the end: {own_memory(psutil.Process(router.pid)) / 1e6:.0f} MB"
    )
