"""Calls, events and answers that autobahn cannot take cost nobody else anything."""

from __future__ import annotations

import pytest

from sisock.client.client import Client
from sisock.errors import NodeFailed
from sisock.testing import RouterProcess, free_port
from sisock.wire.protocol import USER_SERVER, uri
from tests.conftest import TOP, Program, wait_for_nodes
from tests.integration.peers import (
    PEERS,
    Member,
    ask,
    bare_command,
    call,
    data,
    fields,
    listening,
    results,
    secret_of,
)

INVALID_ARGUMENT = uri("error.invalid_argument")
KEYWORDS = ["fun", "self", "f", "details", "colour"]

# A node that answers with lists in lists, which JSON carries and CBOR's decoder does not follow.
ANSWERS_NESTED = """
from bare import JsonSerializer, Peer, parser, run, say, uri
from twisted.internet.task import react

class Node(Peer):
    async def work(self):
        for verb in ("get_fields", "get_data"):
            await self.register(self.nested, uri("consumer.nested." + verb))
        await self.call(uri("data_node.add"), "nested", "", self.session_id)
        say("added")

    def nested(self, *args):
        answer = 1
        for _ in range(450):
            answer = [answer]
        return answer

async def main(reactor, options):
    await run(reactor, Node, options, [JsonSerializer()])

react(main, [parser("", "server").parse_args()])
"""


def nested(depth=450):
    value = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.fixture(scope="module")
def hubless():
    """A router as another installation has it, which passes everything on."""
    with RouterProcess(hub=False, plain=True) as process:
        yield process


@pytest.fixture(scope="module")
def programs(hubless, tmp_path_factory):
    """A hub that runs by itself, two nodes and the bridge, none of which may lose its session."""
    folder = tmp_path_factory.mktemp("programs")
    commands = {
        "hub": (USER_SERVER, "hub.py"),
        "odd": (USER_SERVER, "tests/nodes.py", "odd"),
        "ticker": (USER_SERVER, "tests/nodes.py", "ticker"),
        "bridge": ("simonsobs", "grafana_http_json.py"),
    }
    started = {
        name: Program(
            [str(TOP / command[0]), *command[1:]],
            {**hubless.environ(user), "PORT": str(free_port())},
            folder / name,
        )
        for name, (user, *command) in commands.items()
    }
    with Client(hubless.settings()) as client:
        started["hub"].wait_for("the hub is ready")
        wait_for_nodes(client, "odd", "ticker")
    started["bridge"].wait_for("joined the router")
    yield started
    for program in started.values():
        program.end()


def assert_undisturbed(programs):
    for name, program in programs.items():
        assert program.process.poll() is None, f"{name} ended"
        assert program.output.count("joined the router") == 1, name


def odd_calls(procedures):
    """Each procedure with each keyword, and with arguments nested too deeply."""
    return [
        request
        for make in procedures
        for request in (*(make(**{name: 1}) for name in KEYWORDS), make(nested()))
    ]


@pytest.mark.parametrize("serializer", ["json", "msgpack"])
def test_odd_arguments_of_a_call_are_refused_by_hub_and_node(hubless, programs, serializer):
    by_consumers = odd_calls(
        [
            lambda *args, **kwargs: call("consumer.get_data_node", *args, **kwargs),
            lambda *args, **kwargs: fields("odd", *(args or (1,)), 0, **kwargs),
            lambda *args, **kwargs: data("odd", *(args or (["count"],)), 1, 0, **kwargs),
        ]
    )
    by_servers = odd_calls(
        [
            lambda *args, **kwargs: call("data_node.add", *(args or ("x",)), "", 1, **kwargs),
            lambda *args, **kwargs: call("data_node.subtract", *(args or ("x",)), 1, **kwargs),
        ]
    )
    answers = ask(hubless, by_consumers, serializer)
    answers += ask(hubless, by_servers, serializer, authid=USER_SERVER)
    wrong = [answer for answer in answers if answer.get("error") != INVALID_ARGUMENT]
    assert wrong == []
    assert len(answers) == 5 * 6
    assert all(answer["args"][0] for answer in answers)
    assert_undisturbed(programs)
    (listed,) = results(hubless, call("consumer.get_data_node"))
    assert {node["name"] for node in listed} == {"odd", "ticker"}


def test_the_embedded_hub_refuses_odd_arguments_too(router):
    requests = odd_calls([lambda *args, **kwargs: call("consumer.get_data_node", *args, **kwargs)])
    answers = ask(router, requests)
    assert [answer.get("error") for answer in answers] == [INVALID_ARGUMENT] * 6
    assert "details" in answers[3]["args"][0]
    assert "colour" in answers[4]["args"][0]


def test_odd_events_are_ignored_by_nodes_bridge_and_client(hubless, programs):
    topics = ["data_node.hub_ready", "consumer.data_node_added", "consumer.data_node_subtracted"]
    published = [
        {"publish": topic, "args": args, "kwargs": kwargs}
        for topic in [*topics, "consumer.ticker.data"]
        for args, kwargs in [
            *(([{"name": "odd", "description": ""}], {name: 1}) for name in ("fun", "self", "f")),
            ([nested()], {}),
        ]
    ]
    with (
        Client(hubless.settings()) as client,
        client.watch_nodes(),
        client.watch("ticker") as samples,
    ):
        samples.next(40)
        answers = ask(hubless, published, authid=USER_SERVER)
        assert answers == [{"result": None}] * len(published)
        samples.next(40)
        assert {node.name for node in client.nodes()} >= {"odd", "ticker"}
    with listening(hubless, "consumer.ticker.data", 1) as events:
        assert len(events()) == 1
    assert_undisturbed(programs)


def test_an_answer_that_cannot_be_decoded_fails_that_call_alone(hubless, programs, start):
    _, *flags = bare_command(hubless, "bare_node", USER_SERVER)
    secret = secret_of(hubless, USER_SERVER)
    node = start(hubless, "-c", ANSWERS_NESTED, *flags, WAMP_SECRET=secret, PYTHONPATH=str(PEERS))
    node.wait_for("added")
    with Client(hubless.settings()) as client, client.watch("ticker") as samples:
        with pytest.raises(NodeFailed, match="cannot be decoded"):
            client.fields("nested")
        assert samples.next(40)
    with Member(hubless) as member:
        member_id = member.id
        error = member.refusal("request", uri("consumer.nested.get_data"))
        assert error == uri("error.node_failed")
        assert isinstance(member.call("consumer.get_data_node"), list)
        assert member.id == member_id
    assert_undisturbed(programs)
