import signal

import pytest

from sisock.testing import wait_until
from tests.conftest import wait_for_nodes
from tests.faults.helpers import PROMISE, TICKER, WEATHER, answers, listed

BOTH = [signal.SIGTERM, signal.SIGKILL]


def features(client, name):
    (node,) = [node for node in client.nodes() if node.name == name]
    return node.features


@pytest.mark.parametrize("number", BOTH, ids=lambda s: s.name)
def test_the_second_node_of_a_name_waits_until_the_first_has_ended(router, start, client, number):
    name = f"twins_{number.name}"
    first = start(router, *TICKER, "--name", name)
    wait_for_nodes(client, name)
    second = start(router, *WEATHER, "--name", name)
    second.wait_for(f"another program serves as '{name}'; trying again")

    # The first, the only live one, is not disturbed.
    assert listed(client).count(name) == 1
    assert "live" in features(client, name)
    assert answers(client, name, "count")

    first.signal(number)
    first.wait()
    second.wait_for("is in the hub's list", seconds=PROMISE)
    assert listed(client).count(name) == 1
    assert "live" not in features(client, name)
    assert answers(client, name, "apex_temperature")


def test_the_second_node_of_a_name_reads_only_once_it_holds_it(router, start, client):
    spoken = ["tests/nodes.py", "spoken"]
    first = start(router, *spoken)
    first.wait_for("read the instrument")
    second = start(router, *spoken)
    second.wait_for("another program serves as 'spoken'; trying again")
    first.signal(signal.SIGKILL)
    second.wait_for("read the instrument", seconds=PROMISE)
    before, _, _ = second.output.partition("read the instrument")
    assert "another program serves" in before
    wait_for_nodes(client, "spoken")


def test_a_node_that_has_begun_to_read_goes_on_without_a_router(own_router, start):
    node = start(own_router, "tests/nodes.py", "spoken")
    node.wait_for("read the instrument")
    own_router.stop()
    node.wait_for("nothing listens there")
    count = node.output.count("read the instrument")
    wait_until(lambda: node.output.count("read the instrument") > count + 5, 40, "more readings")
