"""Memory of node and router while hundreds of megabytes go through them, and a reader stops."""

import os
import signal
import time

import psutil
import pytest

from sisock.client.client import Client
from sisock.testing import RouterProcess, wait_until
from sisock.wire.protocol import USER_CONSUMER, USER_SERVER
from tests.conftest import TOP, Program, wait_for_nodes
from tests.faults.helpers import own_memory
from tests.integration.peers import Member
from tests.nodes import START

COUNT = int(os.environ.get("SISOCK_TEST_MAPPED", "24000000"))
"""Samples of the large node, of 16 bytes each; whole millions."""

LARGE_CONSUMER = ["tests/faults/large_consumer.py"]

GROWTH = 100e6
"""Bytes by which a process may grow: a few windows of 16 MiB, each a few times over on its way."""

pytestmark = pytest.mark.timeout(400)


class Growth:
    """The most by which node and router have grown since it was made."""

    def __init__(self, router, node):
        self._processes = [psutil.Process(p.pid) for p in (router, node.process)]
        self._before = [own_memory(process) for process in self._processes]
        self.most = 0.0

    def look(self):
        """Look once."""
        now = [own_memory(process) for process in self._processes]
        self.most = max(self.most, *(n - b for n, b in zip(now, self._before, strict=True)))


@pytest.fixture(scope="module")
def own_router():
    """A router of this file's own, whose memory nobody else uses."""
    with RouterProcess() as process:
        yield process


@pytest.fixture(scope="module")
def node(own_router, tmp_path_factory):
    folder = tmp_path_factory.mktemp("mapped")
    command = [str(TOP / "tests/faults/mapped_node.py"), str(folder), str(COUNT)]
    program = Program(command, own_router.environ(USER_SERVER), folder / "log")
    with Client(own_router.settings()) as client:
        wait_for_nodes(client, "mapped", seconds=120)
        # Once through all that a request needs, so that what comes is compared with a warm node.
        client.get("mapped", "x", start=1_500_000_000, end=1_500_001_000)
    yield program
    program.end()


def test_a_reader_that_stops_in_the_middle_costs_no_memory(own_router, node, start):
    growth = Growth(own_router, node)
    consumer = start(own_router, *LARGE_CONSUMER, "stop", COUNT, user="simonsobs")
    consumer.wait_for("in the middle", 120)
    # The router gives it up when its pings are not answered, after 13 s; until then and after.
    until = time.monotonic() + 20

    def has_been_given_up():
        growth.look()
        is_told = "it answered no ping within 8 s" in own_router.log
        return is_told and time.monotonic() > until

    wait_until(has_been_given_up, 90, "the end of the reader's session", every=0.1)
    assert growth.most < GROWTH
    with Client(own_router.settings()) as other:
        assert len(other.get("mapped", "x", start=1_500_000_000, end=1_500_000_001)["x"]) == 1000
    consumer.signal(signal.SIGCONT)
    assert consumer.wait(60) != 0
    assert "lost" in consumer.output


def test_all_that_a_large_node_has_goes_through_at_constant_memory(own_router, node, start):
    growth = Growth(own_router, node)
    consumer = start(own_router, *LARGE_CONSUMER, COUNT, user="simonsobs")

    def has_all():
        growth.look()
        return f"received {COUNT}" in consumer.output

    wait_until(has_all, 240, "all samples", every=0.05)
    assert growth.most < GROWTH


def test_first_windows_whose_rest_nobody_fetches_cost_little_memory(router, start, client):
    node = start(router, "tests/nodes.py", "fresh")
    wait_for_nodes(client, "fresh")
    asked = {"on_progress": lambda piece: None, "window": 1, "encoding": "binary"}
    with Member(router, USER_CONSUMER) as consumer:
        for number in range(100):
            begin = START + 2 * number  # none is what follows another
            reply = consumer.call("consumer.fresh.get_data", ["x"], begin, START + 1e6, **asked)
            assert reply["next"] == begin + 1
    # 256 MiB for the windows that may follow, and what a request takes; all rests are 1.6 GB.
    assert own_memory(psutil.Process(node.process.pid)) < 600e6
