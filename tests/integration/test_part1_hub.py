"""Part 1 of the protocol, the hub's rows: who is in the list, who is told, who is refused."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from autobahn.wamp.exception import ApplicationError

from sisock.testing import RouterProcess, free_port
from sisock.wire.protocol import USER_SERVER, uri
from tests import forkserver
from tests.conftest import node_names, wait_for_absence, wait_for_nodes
from tests.integration.peers import (
    PEERS,
    Member,
    ask,
    bare_command,
    call,
    listening,
    results,
    secret_of,
    start_bare,
)

BAD_NAMES = [
    *("", ".", "a.b", "a#b", " ", "a b", "a\tb", "a\nb", "a\u00a0b", "a::b"),
    *("get_data_node", "data_node_added", "data_node_subtracted"),
]
INVALID_NAME = uri("error.invalid_name")
INVALID_ARGUMENT = uri("error.invalid_argument")
NOT_AUTHORIZED = "wamp.error.not_authorized"
LIST = call("consumer.get_data_node")

# A server in a language whose strings may hold half of a character, as JavaScript's: JSON then
# carries it as an escape, which autobahn itself never writes.
ADDS_HALF_A_CHARACTER = """
import json
from bare import JsonSerializer, Peer, parser, run, say, uri
from autobahn.wamp import serializer
from twisted.internet.task import react

serializer._dumps = lambda value, **_: json.dumps(value)

class Node(Peer):
    async def work(self):
        for arguments in (("half \\ud83d", "a test"), ("half", "half \\ud83d")):
            try:
                await self.call(uri("data_node.add"), *arguments, self.session_id)
            except Exception as error:
                say(error)
        say("done")

async def main(reactor, options):
    await run(reactor, Node, options, [JsonSerializer()])

react(main, [parser("", "server").parse_args()])
"""


@pytest.fixture(scope="module")
def router() -> Iterator[RouterProcess]:
    """A router of this file's own, so that no other node comes or goes."""
    with RouterProcess() as process:
        yield process


@pytest.fixture(autouse=True)
def nobody_else(client):
    """Each test begins with an empty list, when the events of the one before are over."""
    wait_for_absence(client, *node_names(client))
    assert node_names(client) == set()


@pytest.fixture
def member(router):
    with Member(router) as session:
        yield session


@pytest.fixture
def other(router):
    with Member(router) as session:
        yield session


def entry(name, features=()):
    return {"name": name, "description": "a test", "features": list(features)}


def heard(events):
    """The entries of events, each of which has one positional argument and nothing else."""
    assert [event for event in events if len(event["args"]) != 1 or event["kwargs"]] == []
    return [event["args"][0] for event in events]


@pytest.mark.parametrize("serializer", ["json", "cbor"])
def test_the_list_has_name_and_description_of_each_node(router, start, client, serializer):
    start(router, "data_nodes/weather.py")
    start_bare(start, router, "bare_node")
    wait_for_nodes(client, "apex_archive", "bare")
    (listed,) = results(router, LIST, serializer=serializer)
    assert {node["name"]: node["description"] for node in listed} == {
        "apex_archive": "Archived APEX weather.",
        "bare": "bare peer",
    }


def test_the_list_is_empty_when_there_is_no_node(router):
    assert results(router, LIST) == [[]]


def test_add_is_true_and_false_for_a_name_that_another_session_has(router, member, other):
    assert member.add("one") is True
    assert other.add("one") is False
    assert results(router, LIST) == [[entry("one")]]


def test_a_session_can_add_several_nodes(router, member):
    assert member.add("one") is True
    assert member.add("two") is True
    assert results(router, LIST) == [[entry("one"), entry("two")]]


def test_subtract_is_none_and_frees_the_name_for_others(member, other):
    member.add("one")
    assert member.subtract("one") is None
    assert other.add("one") is True


def test_only_the_session_that_added_a_node_can_subtract_it(router, member, other):
    member.add("one")
    with listening(router, "consumer.data_node_subtracted", 1) as events:
        assert other.subtract("one") is None
        assert results(router, LIST) == [[entry("one")]]
        other.add("two")
        other.subtract("two")
        assert heard(events()) == [entry("two")]


def test_subtracting_a_node_that_is_not_there_changes_nothing(router, member):
    member.add("one")
    for name in ["nobody", "", None, 7, ["one"]]:
        assert member.subtract(name) is None
    assert results(router, LIST) == [[entry("one")]]


@pytest.mark.parametrize("serializer", ["json", "cbor"])
def test_consumers_hear_of_nodes_that_come_and_go_by_one_dictionary(router, member, serializer):
    with (
        listening(router, "consumer.data_node_added", 1, serializer) as added,
        listening(router, "consumer.data_node_subtracted", 1, serializer) as subtracted,
    ):
        member.add("one")
        assert heard(added()) == [entry("one")]
        member.subtract("one")
        assert heard(subtracted()) == [entry("one")]


def test_adding_again_by_the_same_session_is_true_and_publishes_nothing(router, member, other):
    with listening(router, "consumer.data_node_added", 2) as events:
        assert member.add("one") is True
        assert member.add("one") is True
        assert other.add("one") is False
        assert member.add("two") is True
        assert heard(events()) == [entry("one"), entry("two")]


def test_a_session_that_says_goodbye_takes_all_its_nodes_along(router, client):
    with listening(router, "consumer.data_node_subtracted", 2) as events:
        with Member(router) as member:
            member.add("one")
            member.add("two")
        assert heard(events()) == [entry("one"), entry("two")]
    assert node_names(client) == set()


@pytest.mark.parametrize("command", [["bare_node"], ["tests/nodes.py", "odd", "--name", "bare"]])
def test_a_node_that_is_killed_is_subtracted(router, start, client, command):
    bare = command == ["bare_node"]
    node = start_bare(start, router, "bare_node") if bare else start(router, *command)
    wait_for_nodes(client, "bare")
    with listening(router, "consumer.data_node_subtracted", 1) as events:
        node.end()
        assert [gone["name"] for gone in heard(events())] == ["bare"]
    assert results(router, LIST) == [[]]


def test_features_are_handed_on_in_the_list_and_in_both_events(router, member):
    features = ["binary", "live", "of_a_later_protocol"]
    with (
        listening(router, "consumer.data_node_added", 1) as added,
        listening(router, "consumer.data_node_subtracted", 1) as subtracted,
    ):
        member.add("one", features=features)
        assert results(router, LIST) == [[entry("one", features)]]
        member.subtract("one")
        assert heard(added()) == heard(subtracted()) == [entry("one", features)]


@pytest.mark.parametrize("features", [None, [], "binary", 7, [7, None]])
def test_a_node_without_usable_features_has_an_empty_list(router, member, features):
    assert member.add("one", features=features) is True
    assert results(router, LIST) == [[entry("one")]]


def test_our_nodes_announce_what_they_can(router, start, client):
    start(router, "tests/nodes.py", "odd")
    start(router, "tests/nodes.py", "ticker")
    wait_for_nodes(client, "odd", "ticker")
    (listed,) = results(router, LIST)
    features = {node["name"]: set(node["features"]) for node in listed}
    assert features["odd"] >= {"binary", "progressive"}
    assert features["ticker"] == features["odd"] | {"live"}


@pytest.mark.parametrize(
    "name", [*BAD_NAMES, "x" * 201, None, 7, True, ["one"], {"name": "one"}], ids=repr
)
def test_the_hub_refuses_a_name_that_is_not_one(member, client, name):
    with pytest.raises(ApplicationError) as refusal:
        member.add(name)
    assert refusal.value.error == INVALID_NAME
    assert "name" in refusal.value.args[0]
    assert node_names(client) == set()


@pytest.mark.parametrize("name", ["ü", "a-b", "a:b", "get_data", "-", "1", "x" * 200])
def test_the_hub_takes_any_other_name(member, client, name):
    assert member.add(name) is True
    assert node_names(client) == {name}


def test_our_programs_refuse_a_bad_name_before_they_connect(router, start):
    nowhere = {"CROSSBAR_TLS_PORT": str(free_port())}
    nodes = [["tests/nodes.py", "odd"], ["data_nodes/weather.py"], ["data_nodes/sensors.py"]]
    programs = [
        start(router, *nodes[i % 3], f"--name={name}", **nowhere)
        for i, name in enumerate(BAD_NAMES)
    ]
    for program in programs:
        assert program.wait(60) == 1
        assert len(program.output.splitlines()) == 1
        assert "name" in program.output


def test_a_session_cannot_act_in_the_name_of_another(router, member, other):
    member.add("one")
    for suffix, arguments in [
        ("data_node.add", ("two", "a test", member.id)),
        ("data_node.add", ("one", "a test", member.id)),
        ("data_node.subtract", ("one", member.id)),
        ("data_node.subtract", ("nobody", member.id)),
    ]:
        assert other.refusal("call", uri(suffix), *arguments) == NOT_AUTHORIZED
    assert results(router, LIST) == [[entry("one")]]


@pytest.mark.parametrize("session_id", [None, "1", True, 1.5, [1]])
def test_a_session_id_that_is_no_whole_number_is_refused(router, member, session_id):
    add = uri("data_node.add"), "one", "a test", session_id
    assert member.refusal("call", *add) == uri("error.invalid_argument")
    subtract = uri("data_node.subtract"), "one", session_id
    assert member.refusal("call", *subtract) == uri("error.invalid_argument")
    assert results(router, LIST) == [[]]


@pytest.mark.parametrize("keyword", ["colour", "details", "replica"])
def test_the_hub_refuses_a_keyword_that_it_does_not_know(router, member, keyword):
    for verb, arguments in (("add", ("one", "a test", member.id)), ("subtract", ("", member.id))):
        with pytest.raises(ApplicationError, match=keyword) as refusal:
            member.call(f"data_node.{verb}", *arguments, **{keyword: True})
        assert refusal.value.error == INVALID_ARGUMENT
    assert results(router, LIST) == [[]]


def test_the_hub_refuses_arguments_that_are_missing_or_too_many(router, member):
    for arguments in (("add", "one"), ("subtract",), ("add", "one", "", member.id, [], 5)):
        verb, *rest = arguments
        assert member.refusal("call", uri(f"data_node.{verb}"), *rest) == INVALID_ARGUMENT
    answers = ask(router, [call("consumer.get_data_node", 1), LIST])
    assert answers[0]["error"] == INVALID_ARGUMENT
    assert answers[1] == {"result": []}
    assert member.add("one") is True


def test_the_hub_refuses_a_description_that_is_too_long(router, member):
    with pytest.raises(ApplicationError, match="description") as refusal:
        member.add("one", "x" * 1001)
    assert refusal.value.error == INVALID_ARGUMENT
    assert member.add("one", "x" * 1000) is True


def test_another_description_is_in_the_list_and_nobody_is_told(router, member):
    with listening(router, "consumer.data_node_added", 2) as events:
        assert member.add("one", "before") is True
        assert member.add("one", "after") is True
        (listed,) = results(router, LIST)
        assert [node["description"] for node in listed] == ["after"]
        member.add("two")
        assert [node["name"] for node in heard(events())] == ["one", "two"]


def test_a_generation_is_handed_on_and_a_new_one_is_announced(router, member):
    member.add("none")
    with (
        listening(router, "consumer.data_node_added", 2) as added,
        listening(router, "consumer.data_node_subtracted", 1) as subtracted,
    ):
        for generation in ("first", "first", "second"):
            assert member.add("one", generation=generation) is True
        first, second = ({**entry("one"), "generation": each} for each in ("first", "second"))
        assert heard(added()) == [first, second]
        assert heard(subtracted()) == [first]
    assert results(router, LIST) == [[entry("none"), second]]


def test_a_description_that_is_no_text_is_handed_on_as_none_at_all(router, member):
    member.call("data_node.add", "one", None, member.id)
    member.call("data_node.add", "two", 7, member.id)
    (listed,) = results(router, LIST)
    assert [node["description"] for node in listed] == ["", ""]


@pytest.mark.parametrize("serializer", ["json", "cbor"])
def test_text_that_cannot_travel_does_not_cost_the_list(router, start, member, serializer):
    _, *flags = bare_command(router, "bare_node", USER_SERVER)
    secret = secret_of(router, USER_SERVER)
    command = ["-c", ADDS_HALF_A_CHARACTER, *flags]
    variables = {"WAMP_SECRET": secret, "PYTHONPATH": str(PEERS)}
    start(router, *command, modules=forkserver.PEERS, **variables).wait_for("done")
    member.add("one")
    (listed,) = results(router, LIST, serializer=serializer)
    assert entry("one") in listed
