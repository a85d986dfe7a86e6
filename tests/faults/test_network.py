import hashlib
import os
import signal

import pytest

from sisock.client.client import Client
from tests.faults.helpers import (
    BIG,
    LISTED,
    TICKER,
    answers,
    promised_event,
    promised_list,
    promised_presence,
)
from tests.nodes import ROWS, START, Big

FIELDS = ("f8", "f4", "i4", "b1")
SAMPLE_BYTES = 8 + 8 + 4 + 4 + 1
SLOW = 256 * 1024
"""Bytes a second of the bottleneck."""

SLOW_BYTES = int(os.environ.get("SISOCK_TEST_SLOW_BYTES", "5000000"))
"""How much is fetched through it; all that the node has are 50 MB, which take 200 s."""


@pytest.fixture
def router(far_router):
    return far_router


@pytest.mark.parametrize("end", ["far", "near"])
def test_a_node_whose_network_vanishes_goes_and_comes_back_with_it(router, far, start, end):
    set_link = far.set_far_end if end == "far" else far.set_near_end
    node = start(router, *far.inside(*TICKER), CROSSBAR_HOST=far.near)
    node.wait_for(LISTED, 60)
    with Client(router.settings()) as client, client.watch_nodes() as events:
        promised_presence(client, "ticker")
        assert answers(client, "ticker", "count")
        set_link("down")
        promised_event(events, "ticker", present=False)
        promised_list(client)
        node.wait_for("; trying again")
        set_link("up")
        promised_event(events, "ticker", present=True)
        promised_list(client, "ticker")
        assert answers(client, "ticker", "count")
        node.signal(signal.SIGTERM)
        assert node.wait() == 0


@pytest.mark.timeout(120 + 3 * SLOW_BYTES / SLOW)
def test_a_consumer_behind_a_slow_network_gets_everything(router, far, start):
    rows = min(ROWS, SLOW_BYTES // SAMPLE_BYTES)
    end = START + (rows - 0.5) / 1000
    start(router, *BIG).wait_for(LISTED, 60)
    with Client(router.settings()) as client:
        promised_presence(client, "big")
        far.limit(SLOW)
        consumer = start(
            router,
            *far.inside("tests/faults/slow_consumer.py", "big", ",".join(FIELDS), str(end)),
            user="simonsobs",
            CROSSBAR_HOST=far.near,
        )
        assert consumer.wait(60 + 3 * SLOW_BYTES / SLOW) == 0, consumer.output
        # A reconnected client would have lost its request: it is the first session that got all.
        assert consumer.output.split() == [
            *("received", str(rows), digest(rows)),
            *("still", "joined:", "big"),
        ]
    passed, waited = far.queued()
    assert passed >= rows * SAMPLE_BYTES
    assert waited > 0, "there was no bottleneck"


def digest(rows: int) -> str:
    """The sum over the samples that the consumer prints."""
    total = hashlib.sha256()
    for name in FIELDS:
        total.update(Big.t[:rows].tobytes())
        total.update(Big.columns[name][:rows].tobytes())
    return total.hexdigest()
