"""How many calls a request of the client costs, counted by hub and node."""

import pytest

from sisock import Client
from sisock.errors import UnknownField
from sisock.testing import RouterProcess, wait_until
from sisock.wire.protocol import node_uri, uri
from tests.integration.peers import Member

NODE = {"name": "n", "description": "", "features": ["binary", "progressive", "max_points", "live"]}
FIELDS = [
    {"x": {"description": None, "timeline": "t", "type": "number", "units": None}},
    {"t": {"interval": 1.0, "field": ["x"]}},
]
REPLY = {"data": {"x": [1.0, 2.0]}, "timeline": {"t": {"t": [5.0, 6.0], "finalized_until": None}}}


@pytest.fixture(scope="module")
def world():
    """A router, the calls that hub and node get, and a member of role server."""
    calls = []

    def counting(name, answer):
        def call(*_, **__):
            calls.append(name)
            return answer

        return call

    with RouterProcess(hub=False) as router, Member(router) as member:
        nodes = counting("nodes", [NODE])
        member.do("register", nodes, uri("consumer.get_data_node"))
        for name, answer in (("get_fields", FIELDS), ("get_data", REPLY)):
            member.do("register", counting(name, answer), node_uri("n", name))
        yield router, calls, member


@pytest.fixture
def counted(world):
    """A client, the calls that hub and node get from now on, and the member."""
    router, calls, member = world
    # Of its own for each test: it reads the list again after half a minute.
    with Client(router.settings()) as client:
        client.nodes()
        client.fields("n")
        calls.clear()
        yield client, calls, member


def test_a_get_of_a_known_node_is_one_call(counted):
    client, calls, _ = counted
    for keywords in ({}, {"min_stride": 1}, {"max_points": 100}, {"bucket": 0.5}):
        got = client.get("n", "x", 1, 10, **keywords)
        assert got["x"].t.tolist() == [5, 6]
        assert calls == ["get_data"]
        calls.clear()


def test_to_watch_a_known_node_asks_nobody(counted):
    client, calls, member = counted
    with client.watch("n") as all_fields, client.watch("n", "x") as one:
        member.do("publish", node_uri("n", "data"), REPLY)
        assert all_fields.next(40).t == one.next(40).t == 5
    assert calls == []


def test_an_unknown_field_is_asked_for_again(counted):
    client, calls, _ = counted
    with pytest.raises(UnknownField):
        client.get("n", "y", 1, 10)
    assert calls == ["get_fields"]


def test_a_node_that_comes_anew_is_asked_for_its_fields_once(counted):
    client, calls, member = counted
    member.do("publish", uri("consumer.data_node_subtracted"), NODE)
    member.do("publish", uri("consumer.data_node_added"), NODE)

    def is_asked_again():
        client.get("n", "x", 1, 10)
        return "get_fields" in calls

    wait_until(is_asked_again, 40, "the node's fields")
    calls.clear()
    client.get("n", "x", 1, 10)
    assert calls == ["get_data"]


def test_what_the_user_asks_is_always_asked(counted):
    client, calls, _ = counted
    assert [node.name for node in client.nodes()] == ["n"]
    assert set(client.fields("n")) == {"x"}
    assert calls == ["nodes", "get_fields"]
