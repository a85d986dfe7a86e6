"""The model of sites in benchmarks/ counts messages as a real router does."""

import pytest

from benchmarks.counts import CountedStack
from benchmarks.load import node_name
from benchmarks.model import Site, messages
from sisock.testing import wait_until
from tests.conftest import wait_for_nodes

EVENTS = 40
SENT_FOR = {"sent event": "received publish", "sent result": "received call"}
"""What the router sends, and for what."""


@pytest.fixture
def stack():
    with CountedStack() as running:
        yield running


def test_a_router_sends_what_the_model_says(stack):
    site = Site(nodes=6, fields=3, hertz=5, pages=4, watched=3, panels=0, is_even=True)
    watchers = stack.start("-m", "benchmarks.load", "watchers", "4", "6", "3", user="simonsobs")
    watchers.wait_for("ready", 60)
    stack.start("-m", "benchmarks.load", "nodes", "0", "6", "3", "5")
    with stack.client() as client:
        wait_for_nodes(client, *map(node_name, range(6)), seconds=60)
    with stack.counted() as work:
        enough = stack.messages()["received publish"] + EVENTS
        wait_until(lambda: stack.messages()["received publish"] > enough, 60, "events")
    predicted = messages(site.rates())
    for sent, received in SENT_FOR.items():
        ratio = predicted[sent] / predicted[received]
        assert work.messages[sent] == round(ratio * work.messages[received], 9), work.messages
