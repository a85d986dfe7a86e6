"""Who may do what: what the router refuses to each of the two roles, and who may join at all."""

from __future__ import annotations

import stat

import pytest
from autobahn.wamp.types import PublishOptions, RegisterOptions, SubscribeOptions

from sisock.testing import wait_until
from sisock.wire.protocol import USER_CONSUMER, USER_SERVER, uri
from tests import forkserver
from tests.conftest import wait_for_nodes
from tests.integration.peers import (
    LIMIT,
    PEERS,
    Member,
    ask,
    bare_command,
    call,
    listening,
    results,
    secret_of,
)

NOT_AUTHORIZED = "wamp.error.not_authorized"
# Nobody may use the router's own names, which is no matter of the role.
REFUSALS = {NOT_AUTHORIZED, "wamp.error.invalid_uri"}

META_PROCEDURES = [
    *(f"wamp.session.{verb}" for verb in ("list", "count", "get", "kill", "kill_all")),
    *("wamp.session.kill_by_authid", "wamp.session.kill_by_authrole"),
    *("wamp.session.add_testament", "wamp.session.flush_testaments"),
    *("wamp.registration.list", "wamp.registration.lookup", "wamp.registration.list_callees"),
    *("wamp.registration.remove_callee", "wamp.subscription.list", "wamp.subscription.match"),
    *("wamp.subscription.list_subscribers", "wamp.schema.describe", "crossbar.sys.get_status"),
]
META_TOPICS = [
    *("wamp.session.on_join", "wamp.session.on_leave"),
    *("wamp.registration.on_create", "wamp.registration.on_register"),
    *("wamp.subscription.on_create", "wamp.subscription.on_subscribe"),
]
FOREIGN = ["com.example.x", "org.simonsobservatory", "org.simonsobservatoryx.y", "x", "wamp.mine"]
OURS = [
    *("data_node.add", "data_node.subtract", "data_node.hub_ready", "consumer.get_data_node"),
    *("consumer.data_node_added", "consumer.data_node_subtracted", "consumer.permissions.data"),
    *("consumer.permissions.get_fields", "consumer.permissions.get_data"),
    *("error.invalid_name", "consumer", "consumerx.data", "x"),
]
PATTERNS = {
    "exact": [*map(uri, OURS), *META_PROCEDURES, *META_TOPICS, *FOREIGN],
    "prefix": [
        *("", "org", "org.simonsobservatory", uri(""), uri("consumer"), uri("consumer.")),
        *(
            uri("data"),
            uri("consumer.permissions."),
            "wamp.",
            "wamp.session.",
            "wamp.registration.",
        ),
    ],
    "wildcard": [
        *("..", "...data", "com..x", "org..consumer.x.data", ".simonsobservatory.consumer.x"),
        *(uri(".hub_ready"), uri("consumer..data"), "wamp..on_leave", "wamp.session."),
    ],
}
ALL = {"call", "register", "publish", "subscribe"}
ALLOWED = {
    USER_CONSUMER: {uri("consumer."): {"call", "subscribe"}},
    USER_SERVER: {uri(""): ALL, "wamp.session.": {"subscribe"}},
}
"""By role, what the protocol allows under which prefix; nothing else is allowed."""

JOINS_OTHERWISE = """
import json, sys
from bare import REALM, Peer, parser, run, say
from twisted.internet.task import react

class Other(Peer):
    def onConnect(self):
        self.join(**json.loads(self.config.extra.how))

    async def work(self):
        say("joined")
        self.leave()

arguments = parser("", "nobody")
arguments.add_argument("--how")
react(run, [Other, arguments.parse_args()])
"""


@pytest.fixture
def consumer(router):
    with Member(router, USER_CONSUMER) as session:
        yield session


@pytest.fixture
def server(router):
    with Member(router, USER_SERVER) as session:
        yield session


def refused(answers):
    """Whether every answer of the bare consumer is a refusal."""
    return {answer.get("error") for answer in answers} == {NOT_AUTHORIZED}


def not_refused(session, method, uris, *args, **kwargs):
    """Those of `uris` with which a method of the session is not refused."""
    return [
        each for each in uris if session.refusal(method, *args, each, **kwargs) != NOT_AUTHORIZED
    ]


def nothing(*args, **kwargs):
    pass


def attempt(member, user, action, where, match):
    """The error of one action of a session; None if the router lets it."""
    if action == "call":
        return member.refusal("call", where)
    if action == "publish":
        options = PublishOptions(acknowledge=True)
        return member.refusal("publish", where, 1, options=options)
    if action == "register":
        # Without force, what is there already is refused before the role is looked at.
        options = RegisterOptions(match=match, force_reregister=user == USER_CONSUMER)
    else:
        options = SubscribeOptions(match=match)
    return member.refusal(action, nothing, where, options=options)


@pytest.mark.parametrize("match", PATTERNS)
@pytest.mark.parametrize("user", ALLOWED)
def test_each_role_may_do_what_it_needs_and_nothing_else(router, user, match):
    wrong = []
    with Member(router, user) as member:
        for action in sorted(ALL if match == "exact" else {"register", "subscribe"}):
            for where in PATTERNS[match]:
                error = attempt(member, user, action, where, match)
                may = any(
                    where.startswith(prefix) and action in actions
                    for prefix, actions in ALLOWED[user].items()
                )
                if may == (error in REFUSALS):
                    wrong.append((action, where, error))
    assert wrong == []


def subscribe(suffix):
    return {"subscribe": suffix, "seconds": 0.01, "count": 1}


@pytest.mark.parametrize("serializer", ["json", "cbor"])
def test_a_consumer_may_call_and_subscribe_under_consumer(router, serializer):
    topics = ["data_node_added", "data_node_subtracted", "permissions.data"]
    requests = [call("consumer.get_data_node"), *(subscribe(f"consumer.{t}") for t in topics)]
    answers = ask(router, requests, serializer)
    assert isinstance(answers[0]["result"], list)
    # Of the hub's topics, a node of another test may be told to have gone meanwhile.
    assert all(list(answer) == ["events"] for answer in answers[1:3])
    assert answers[3:] == [{"events": []}]


def test_a_consumer_cannot_take_a_procedure_away_from_the_hub(router, consumer):
    procedures = [uri(suffix) for suffix in ("consumer.get_data_node", "data_node.add")]
    forced = RegisterOptions(force_reregister=True)
    assert not_refused(consumer, "register", procedures, nothing, options=forced) == []
    taken = {consumer.refusal("register", nothing, procedure) for procedure in procedures}
    assert taken == {"wamp.error.procedure_already_exists"}
    assert isinstance(consumer.call("consumer.get_data_node"), list)


@pytest.mark.parametrize("user", [USER_CONSUMER, USER_SERVER])
def test_nobody_can_act_as_the_router_itself(router, user):
    acknowledged = PublishOptions(acknowledge=True)
    with Member(router, user) as member:
        for name in ["wamp.session.on_leave", "wamp.session.list", "wamp.mine"]:
            invalid = {
                member.refusal("register", nothing, name),
                member.refusal("publish", name, 1, options=acknowledged),
            }
            assert invalid == {"wamp.error.invalid_uri"}


@pytest.mark.parametrize("topic", ["consumer.data_node_added", "consumer.permissions.data"])
def test_what_a_consumer_publishes_nobody_hears(router, consumer, server, topic):
    with listening(router, topic, 1) as events:
        consumer.do("publish", uri(topic), "forged")
        # So that the router is done with it before the next.
        consumer.call("consumer.get_data_node")
        server.do("publish", uri(topic), "real")
        assert events() == [{"args": ["real"], "kwargs": {}}]


def test_a_consumer_cannot_add_or_subtract_nodes(router, consumer, server):
    server.add("permissions_add")
    requests = [
        call("data_node.add", "forged", "a test", 1),
        call("data_node.add", "forged", "a test", server.id),
        call("data_node.subtract", "permissions_add", server.id),
    ]
    assert refused(ask(router, requests))
    add = uri("data_node.add"), "forged", "a test", consumer.id
    assert consumer.refusal("call", *add) == NOT_AUTHORIZED
    (listed,) = results(router, call("consumer.get_data_node"))
    names = {node["name"] for node in listed}
    assert "permissions_add" in names
    assert "forged" not in names


def test_a_consumer_may_subscribe_to_the_live_samples_of_all_nodes(consumer, server):
    heard = []
    options = SubscribeOptions(match="wildcard")
    consumer.do("subscribe", heard.append, uri("consumer..data"), options=options)
    server.do("publish", uri("consumer.permissions.data"), "a sample")
    wait_until(lambda: "a sample" in heard, LIMIT, "the sample")


@pytest.mark.parametrize(
    "authid, secret_from",
    [
        (USER_CONSUMER, None),
        (USER_SERVER, None),
        (USER_SERVER, USER_CONSUMER),
        (USER_CONSUMER, USER_SERVER),
        ("nobody", USER_SERVER),
        ("local", USER_SERVER),
        ("", USER_SERVER),
    ],
)
def test_a_wrong_secret_or_user_is_refused(router, authid, secret_from):
    secret = secret_of(router, secret_from) if secret_from else "not-the-secret"
    (answer,) = ask(router, [call("consumer.get_data_node")], authid=authid, secret=secret)
    assert answer["error"] == "join"
    assert answer["reason"].startswith("wamp.error.")
    assert secret not in answer["reason"] + router.log


@pytest.mark.parametrize(
    "how",
    [
        '{"realm": "sisock", "authmethods": ["anonymous"]}',
        '{"realm": "sisock", "authmethods": ["anonymous"], "authrole": "server"}',
        '{"realm": "sisock"}',
        '{"realm": "sisock", "authmethods": ["ticket"], "authid": "server"}',
        '{"realm": "sisock", "authmethods": ["anonymous"], "authid": "local"}',
        '{"realm": "realm1", "authmethods": ["wampcra"], "authid": "simonsobs"}',
    ],
)
def test_over_tls_nobody_joins_without_a_secret_or_elsewhere(router, how):
    command = bare_command(router, "bare_consumer", USER_CONSUMER)[1:]
    variables = {"PYTHONPATH": str(PEERS), "WAMP_SECRET": secret_of(router, USER_CONSUMER)}
    joining = forkserver.run(
        ["-c", JOINS_OTHERWISE, *command, "--how", how],
        {**router.environ(), **variables},
        modules=forkserver.PEERS,
    )
    assert joining.returncode != 0
    assert "NotJoined" in joining.stderr
    assert "wamp.error." in joining.stderr
    assert joining.stdout == ""


def test_the_directory_of_the_unix_socket_is_its_owners_alone(router):
    folder = router.home.router_socket.parent
    assert stat.S_ISSOCK(router.home.router_socket.stat().st_mode)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_over_the_unix_socket_one_joins_as_a_server_without_a_password(router, start, client):
    with Member(router, use_socket=True) as member:
        assert member.add("permissions_socket") is True
        wait_for_nodes(client, "permissions_socket")
        assert not_refused(member, "call", [*META_PROCEDURES, *FOREIGN]) == []


def test_a_node_needs_no_secret_on_the_unix_socket(router, start, client, tmp_path):
    start(
        router,
        *("tests/nodes.py", "odd", "--name=permissions_node"),
        SISOCK_HOME=str(tmp_path),
        CROSSBAR_SOCKET=str(router.home.router_socket),
    )
    wait_for_nodes(client, "permissions_node")
    (reply,) = results(router, call("consumer.permissions_node.get_data", ["count"], 1, 0))
    assert len(reply["data"]["count"]) == 5
