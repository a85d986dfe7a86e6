"""Exchangeability: our parts with the bare ones, which know Part 1 of the protocol alone."""

from __future__ import annotations

import numpy as np
import pytest
from autobahn.wamp.exception import ApplicationError

from sisock import errors
from sisock.client.client import Client
from sisock.testing import RouterProcess, wait_until
from sisock.wire.protocol import USER_SERVER, uri
from tests.conftest import node_names, wait_for_nodes
from tests.integration.peers import Member, call, data, fields, listening, results, start_bare

T0 = 1_500_000_000.0
"""The first sample of the bare node."""

PROMISE = 60
"""Seconds within which all is right again after a restart; with processors to spare it is 15 s."""

LIST = call("consumer.get_data_node")
WEATHER = "data_nodes/weather.py"


@pytest.fixture(scope="module")
def router_without_hub():
    with RouterProcess(hub=False) as process:
        yield process


@pytest.fixture
def lone(router_without_hub):
    """A router on which there is no hub, also none of the test before."""
    with Member(router_without_hub) as member:
        wait_until(
            lambda: member.refusal("call", uri(LIST["call"])) == "wamp.error.no_such_procedure",
            40,
            "the end of the hub of the test before",
        )
    return router_without_hub


@pytest.fixture
def lone_client(lone):
    with Client(lone.settings()) as connected:
        yield connected


@pytest.fixture(params=["bare hub", "our hub"])
def start_hub(request, start, lone):
    """Start a hub as a program of its own, the bare one or ours, and wait for it."""

    def start_one():
        if request.param == "bare hub":
            hub = start_bare(start, lone, "bare_hub")
            hub.wait_for("hub ready")
        else:
            hub = start(lone, "hub.py")
            hub.wait_for("the hub is ready")
        return hub

    return start_one


def test_our_hub_lists_a_bare_node_for_our_client(client, bare):
    (node,) = [node for node in client.nodes() if node.name == bare]
    assert node.description == "bare peer"
    assert node.features == set()


def test_our_client_reads_the_fields_of_a_bare_node(client, bare):
    known = client.fields(bare)
    types = {"ramp": "number", "word": "string", "flag": "bool", "holes": "number"}
    assert {name: field.type for name, field in known.items()} == {**types, "wave": "number"}
    assert (known["ramp"].units, known["ramp"].interval) == ("V", 1.0)
    assert (known["word"].units, known["flag"].description) == (None, None)
    assert (known["wave"].timeline, known["wave"].interval) == ("slow", 10.0)


def test_our_client_reads_samples_of_every_type_from_a_bare_node(client, bare):
    got = client.get(bare, ["ramp", "word", "flag", "holes", "wave"], T0, T0 + 20)
    assert list(got) == ["ramp", "word", "flag", "holes", "wave"]
    assert got["ramp"].t.tolist() == [T0 + i for i in range(20)]
    assert got["ramp"].values.tolist() == [0.5 * i for i in range(20)]
    assert got["word"].values.tolist()[:4] == ["red", "green", "blue", "red"]
    assert got["flag"].values.tolist() == [True, False] * 10
    assert np.flatnonzero(np.isnan(got["holes"].values)).tolist() == [3, 8, 13, 18]
    assert got["wave"].t.tolist() == [T0, T0 + 10]
    assert (got["ramp"].units, got["wave"].timeline) == ("V", "slow")


def test_our_client_thins_by_a_bare_nodes_stride(client, bare):
    got = client.get(bare, ["ramp", "word", "wave"], T0, T0 + 100, min_stride=7)
    assert got["ramp"].t.tolist() == got["word"].t.tolist() == [T0 + i for i in range(0, 100, 7)]
    assert len(got["wave"]) == 10


def test_our_client_gets_nothing_where_a_bare_node_has_nothing(client, bare):
    got = client.get(bare, ["ramp", "word"], 1, 2)
    assert [len(series) for series in got.values()] == [0, 0]
    with pytest.raises(errors.UnknownField):
        client.get(bare, "nobody", T0, T0 + 1)


def test_false_of_a_bare_node_is_an_error_that_says_so(client, router, start):
    flags = "--name=bare_small", "--allowance=1000"
    start_bare(start, router, "bare_node", *flags).wait_for("added True")
    with pytest.raises(errors.ReplyTooLarge):
        client.get("bare_small", "ramp", T0, T0 + 1000)
    assert len(client.get("bare_small", "ramp", T0, T0 + 5)["ramp"]) == 5


def test_watching_a_node_without_live_samples_is_an_error_that_says_so(client, bare):
    with pytest.raises(errors.InvalidArgument, match="live"):
        client.watch(bare)


def test_a_foreign_node_that_fails_is_an_error_of_our_client(client, router):
    def fail(*_):
        raise ValueError("it is broken")

    with Member(router) as member:
        member.do("register", fail, uri("consumer.exchange_broken.get_fields"))
        assert member.add("exchange_broken") is True
        with pytest.raises(errors.NodeFailed, match=r"exchange_broken.*it is broken"):
            client.fields("exchange_broken")


@pytest.mark.parametrize("serializer", ["json", "cbor"])
def test_a_bare_consumer_finds_and_asks_our_nodes_and_bare_ones(
    lone, start, start_hub, lone_client, serializer
):
    start_hub()
    start(lone, WEATHER, "--name=weather")
    start_bare(start, lone, "bare_node", "--name=bare")
    wait_for_nodes(lone_client, "weather", "bare")
    listed, ours, theirs, our_reply, their_reply = results(
        lone,
        LIST,
        fields("weather", 1, 0),
        fields("bare", 1, 0),
        data("weather", ["apex_pressure"], T0, T0 + 5 * 3600, 7200),
        data("bare", ["word", "wave"], T0, T0 + 3, None),
        serializer=serializer,
    )
    assert {node["name"] for node in listed} == {"weather", "bare"}
    assert ours[0]["apex_pressure"]["units"] == "hPa"
    assert theirs[0]["ramp"]["units"] == "V"
    (pressures,) = our_reply["data"].values()
    assert len(pressures) == len(our_reply["timeline"]["hourly"]["t"]) == 3
    assert their_reply["data"] == {"word": ["red", "green", "blue"], "wave": [0.0]}


def test_our_client_gets_samples_of_our_node_by_way_of_either_hub(
    lone, start, start_hub, lone_client
):
    start_hub()
    start(lone, WEATHER, "--name=weather")
    wait_for_nodes(lone_client, "weather")
    got = lone_client.get("weather", ["apex_pressure", "apex_windspeed"], T0, T0 + 7200)
    assert len(got["apex_pressure"]) == 2
    assert len(got["apex_windspeed"]) > 100


def test_by_way_of_a_bare_hub_our_nodes_serve_part_1(lone, start, lone_client):
    start_bare(start, lone, "bare_hub").wait_for("hub ready")
    start(lone, "tests/nodes.py", "ticker")
    start(lone, "tests/nodes.py", "big")
    wait_for_nodes(lone_client, "ticker", "big")
    assert {node.features for node in lone_client.nodes()} == {frozenset()}
    wait_until(lambda: len(lone_client.get("ticker", "count")["count"]), 40, "a reading")
    with pytest.raises(errors.InvalidArgument, match="live"):
        lone_client.watch("ticker")
    with pytest.raises(errors.ReplyTooLarge):
        lone_client.get("big", "f8", 1, 0)
    assert len(lone_client.get("big", "f8", T0, T0 + 1)["f8"]) == 1000


def test_our_node_is_listed_again_after_a_restart_of_either_hub(
    lone, start, start_hub, lone_client
):
    hub = start_hub()
    node = start(lone, WEATHER, "--name=weather")
    wait_for_nodes(lone_client, "weather")
    hub.end()
    start_hub()
    wait_for_nodes(lone_client, "weather", seconds=PROMISE)
    assert node.output.count("joined the router") == 1


def test_our_node_waits_for_either_hub(lone, start, start_hub, lone_client):
    start(lone, WEATHER, "--name=weather").wait_for("no hub answers")
    start_hub()
    wait_for_nodes(lone_client, "weather", seconds=PROMISE)


def test_nodes_are_exchanged_under_one_name_with_either_hub(lone, start, start_hub, lone_client):
    start_hub()
    for _ in range(2):
        bare_node = start_bare(start, lone, "bare_node", "--name=one")
        bare_node.wait_for("added True")
        assert set(lone_client.fields("one")) >= {"ramp", "word"}
        bare_node.end()
        ours = start(lone, "tests/nodes.py", "odd", "--name=one")
        ours.wait_for("is in the hub's list")
        assert set(lone_client.fields("one")) >= {"text", "flag"}
        ours.end()
        wait_until(lambda: not node_names(lone_client), 40, "the end of our node")


def test_our_hub_says_when_it_is_ready(lone, start):
    topic = "data_node.hub_ready"
    with listening(lone, topic, 1, authid=USER_SERVER) as events:
        start(lone, "hub.py").wait_for("the hub is ready")
        assert events() == [{"args": [], "kwargs": {}}]


def test_a_bare_node_cannot_take_the_name_of_ours(lone, start, start_hub, lone_client):
    start_hub()
    start(lone, "tests/nodes.py", "odd", "--name=one")
    wait_for_nodes(lone_client, "one")
    intruder = start_bare(start, lone, "bare_node", "--name=one")
    assert intruder.wait() != 0
    assert "procedure_already_exists" in intruder.output
    assert set(lone_client.fields("one")) >= {"text", "flag"}
    assert [node.description for node in lone_client.nodes()] != ["bare peer"]


def test_our_node_takes_the_name_of_a_bare_one_only_when_that_has_gone(
    lone, start, start_hub, lone_client
):
    start_hub()
    bare_node = start_bare(start, lone, "bare_node", "--name=one")
    bare_node.wait_for("added True")
    ours = start(lone, "tests/nodes.py", "odd", "--name=one")
    ours.wait_for("another program serves as 'one'")
    assert "ramp" in lone_client.fields("one")
    bare_node.end()
    wait_until(
        lambda: [node.description for node in lone_client.nodes()] not in ([], ["bare peer"]),
        PROMISE,
        "our node in the hub's list",
    )
    assert "text" in lone_client.fields("one")


def test_a_name_in_the_hubs_list_is_taken_also_without_procedures(
    lone, start, start_hub, lone_client
):
    start_hub()
    with Member(lone) as member:
        assert member.add("one") is True
        start_bare(start, lone, "bare_node", "--name=one").wait_for("added False")
        start(lone, "tests/nodes.py", "odd", "--name=two").wait_for("is in the hub's list")
        assert member.add("three") is True
        ours = start(lone, "tests/nodes.py", "odd", "--name=three")
        ours.wait_for("the name 'three' is taken in the hub's list")
    ours.wait_for("node three is in the hub's list", PROMISE)


@pytest.mark.parametrize("error", ["wamp.error.canceled", uri("error.invalid_argument")])
def test_our_node_asks_a_hub_that_fails_its_keywords_without_them(lone, start, error):
    asked = []

    def add(*arguments, **keywords):
        asked.append((arguments[:1], sorted(keywords)))
        if keywords:
            raise ApplicationError(error, "no keywords here")
        return True

    with Member(lone) as hub:
        hub.do("register", add, uri("data_node.add"))
        start(lone, "tests/nodes.py", "odd", "--name=one").wait_for("is in the hub's list")
    assert asked == [(("one",), ["features", "generation"]), (("one",), [])]
