"""A procedure that another member of role server takes by force is taken back."""

import re

import pytest
from autobahn.wamp.types import RegisterOptions

from sisock.testing import RouterProcess, wait_until
from sisock.wire.protocol import USER_SERVER, uri
from tests.conftest import node_names, wait_for_nodes
from tests.faults.helpers import PROMISE
from tests.integration.peers import Member

HUB = ["data_node.add", "data_node.subtract", "consumer.get_data_node"]
NODE = ["consumer.robbed.get_fields", "consumer.robbed.get_data"]
FORCED = RegisterOptions(force_reregister=True)


def stolen(*_, **__):
    return "stolen"


def answer(member, procedure):
    """What a procedure answers to arguments that its owner refuses."""
    return member.refusal("request", uri(procedure), "one", "two", "three", "four", "five", "six")


def is_stolen(member, procedure):
    return answer(member, procedure) is None


def steal(thief, procedure):
    thief.do("register", stolen, uri(procedure), options=FORCED)


@pytest.fixture(scope="module")
def hubless():
    with RouterProcess(hub=False) as process:
        yield process


def check_taken_back(router, victim_log, procedures):
    with Member(router) as witness:
        for procedure in procedures:
            with Member(router) as thief:
                steal(thief, procedure)
                wait_until(lambda p=procedure: not is_stolen(witness, p), PROMISE, "the return")
                text = f"taken {uri(procedure)} by force"
                wait_until(lambda t=text: t in victim_log(), 20, text)
            # The thief has left, and the procedure stayed.
            assert answer(witness, procedure) == uri("error.invalid_argument")


def test_the_embedded_hub_takes_its_procedures_back(router, client):
    check_taken_back(router, lambda: router.log, HUB)
    assert isinstance(client.nodes(), list)


def test_hub_and_node_take_their_procedures_back(hubless, start):
    hub = start(hubless, "hub.py")
    hub.wait_for("the hub is ready")
    node = start(hubless, "tests/nodes.py", "odd", "--name", "robbed")
    node.wait_for("is in the hub's list", 60)
    check_taken_back(hubless, lambda: hub.output, HUB)
    check_taken_back(hubless, lambda: node.output, NODE)
    for program in (hub, node):
        assert program.output.count("joined the router") == 1


def test_two_that_take_a_name_from_each_other_slow_down(router, start, client):
    node = start(router, "tests/nodes.py", "odd", "--name", "robbed")
    wait_for_nodes(client, "robbed")
    with Member(router) as thief:
        # Each time that the node is back, it is robbed at once.
        for _ in range(3):
            steal(thief, NODE[0])
            wait_until(lambda: not is_stolen(thief, NODE[0]), 30, "the return")
        said = re.findall(r"by force: taking it back in (\d+) s", node.output)
        assert said == ["1", "2", "4"]
    assert "robbed" in node_names(client)


def test_a_node_that_ends_while_it_is_robbed_takes_nothing_back(router, start, client):
    node = start(router, "tests/nodes.py", "odd", "--name", "robbed")
    wait_for_nodes(client, "robbed")
    with Member(router, USER_SERVER) as thief:
        steal(thief, NODE[0])
        node.wait_for("by force")
        node.signal(15)
        assert node.wait() == 0
        assert is_stolen(thief, NODE[0])
