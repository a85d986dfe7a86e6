"""Watches that are closed again leave nothing behind, in the client or in the router."""

import collections
import gc
import json

import pytest
from twisted.internet import defer

from sisock import Client, TwistedClient
from sisock.connection.runtime import reactor_thread
from sisock.router.configuration import DEFAULT_CONFIGURATION
from sisock.testing import RouterProcess, wait_until
from sisock.wire.protocol import node_uri, uri
from tests.conftest import TOP, in_reactor
from tests.integration.peers import Member

CALLS = 3_000
AT_ONCE = 100
STREAMS = 300
NODE_TOPICS = ["consumer.data_node_added", "consumer.data_node_subtracted"]


@pytest.fixture
def telling(tmp_path):
    """A router that tells members of role server about its subscriptions."""
    text = DEFAULT_CONFIGURATION.read_text()
    for relative, folder in (('[".."]', f'["{TOP}"]'), ("../js", f"{TOP}/js")):
        text = text.replace(relative, folder)
    configuration = json.loads(text)
    for role in configuration["workers"][0]["realms"][0]["roles"]:
        if role["name"] == "server":
            about = {"uri": "wamp.subscription.", "match": "prefix", "allow": {"call": True}}
            role["permissions"].append(about)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(configuration))
    with RouterProcess(configuration=path) as router, Member(router) as member:
        member.add("live", features=["live"])
        yield router, member


def objects():
    """How many objects of each type there are in this process, garbage aside."""
    gc.collect()
    return collections.Counter(type(each).__name__ for each in gc.get_objects())


def left_behind(before, calls):
    """Objects that are there now and were not, but for the few that Twisted clears up in bulk."""
    return {name: n for name, n in (objects() - before).items() if n > 100 + calls / 15}


def is_subscribed(member, topic):
    return member.do("request", "wamp.subscription.lookup", topic) is not None


def assert_unsubscribed(member, *topics):
    for topic in topics:
        wait_until(lambda t=topic: not is_subscribed(member, t), 40, f"the end of {topic}")


def watch_and_close(client, calls):
    for _ in range(calls):
        client.watch("live").close()
        client.watch_nodes().close()
    client.nodes()


def test_thousands_of_watches_leave_nothing_behind(telling):
    router, member = telling
    topic, reactor = node_uri("live", "data"), reactor_thread()

    async def watch(client, calls):
        for _ in range(0, calls, AT_ONCE):
            each = [defer.ensureDeferred(client.watch("live", print)) for _ in range(AT_ONCE)]
            for watching in each:
                (await watching)()

    client = TwistedClient(router.settings(), reactor=reactor)
    in_reactor(client.connect)
    in_reactor(watch, client, AT_ONCE)
    before = objects()
    in_reactor(watch, client, CALLS)
    in_reactor(client.nodes)
    assert left_behind(before, CALLS) == {}
    assert_unsubscribed(member, topic)
    in_reactor(client.close)


def test_streams_that_are_closed_leave_nothing_behind(telling):
    router, member = telling
    with Client(router.settings()) as client:
        kept = client.watch("live")
        # What is imported at the first use is there from now on, and what a class remembers of
        # those that it was compared with.
        watch_and_close(client, 1)
        objects()
        before = objects()
        watch_and_close(client, STREAMS)
        assert left_behind(before, STREAMS) == {}
        # One that goes on still hears, whatever began and ended beside it.
        reply = {"data": {"x": [1.0]}, "timeline": {"t": {"t": [5.0]}}}
        member.do("publish", node_uri("live", "data"), reply)
        assert kept.next(40).values == {"x": 1.0}
        kept.close()
        assert_unsubscribed(member, node_uri("live", "data"))
    # The list of nodes is kept as long as there is the client.
    assert_unsubscribed(member, *map(uri, NODE_TOPICS))
