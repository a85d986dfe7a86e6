"""Watches go on after router and node were killed: each sample once, in order, and gaps as such."""

from itertools import pairwise

from sisock import Client, TwistedClient
from sisock.client.merge import Gap
from sisock.connection.runtime import reactor_thread
from sisock.testing import wait_until
from tests.conftest import in_reactor
from tests.faults.helpers import LISTED, kill_router

NUMBERED = ["tests/nodes.py", "numbered"]


def take_until(stream, numbers, number):
    """Take samples until one of at least this number has come; no gap may come."""
    while not numbers or numbers[-1] < number:
        sample = stream.next(60)
        assert not isinstance(sample, Gap), sample
        numbers.append(int(sample.values["n"]))


def test_no_sample_is_missed_while_the_router_is_killed(own_router, start):
    start(own_router, *NUMBERED).wait_for(LISTED, 60)
    reactor, heard, numbers = reactor_thread(), [], []

    asynchronous = TwistedClient(own_router.settings(), reactor=reactor)
    in_reactor(asynchronous.connect)
    in_reactor(asynchronous.watch, "numbered", heard.append)
    with Client(own_router.settings()) as client, client.watch("numbered", "n") as stream:
        take_until(stream, numbers, 50)
        kill_router(own_router)
        own_router.start()
        take_until(stream, numbers, numbers[-1] + 300)
    assert all(after == before + 1 for before, after in pairwise(numbers))
    last = numbers[-1]
    wait_until(lambda: heard[-1].values["n"] >= last, 60, "the last sample at both clients")
    counted = [int(sample.values["n"]) for sample in heard]
    assert all(after == before + 1 for before, after in pairwise(counted))
    in_reactor(asynchronous.close)


def test_a_node_that_was_killed_is_a_gap_and_then_goes_on(own_router, start):
    node = start(own_router, *NUMBERED)
    node.wait_for(LISTED, 60)
    with Client(own_router.settings()) as client, client.watch("numbered") as stream:
        samples = [stream.next(60) for _ in range(20)]
        node.end()
        start(own_router, *NUMBERED).wait_for(LISTED, 60)
        while not isinstance(samples[-1], Gap):
            samples.append(stream.next(60))
        gap, after = samples.pop(), [stream.next(60) for _ in range(20)]
    assert (gap.start, gap.end) == (samples[-1].t, after[0].t)
    # Of the new process nothing is missed.
    assert [sample.values["n"] for sample in after] == list(range(1, 21))
