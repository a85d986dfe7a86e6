"""What a watcher of nodes hears though nobody could tell it, and what it does not hear."""

import os
import signal

import pytest

from sisock import Client, TwistedClient
from sisock.connection.runtime import reactor_thread
from sisock.errors import RouterUnreachable
from sisock.testing import RouterProcess, wait_until
from tests.conftest import in_reactor, wait_for_nodes
from tests.faults.helpers import (
    LISTED,
    PROMISE,
    TICKER,
    interrupt_router,
    kill_router,
    promised_event,
    promised_list,
)


def replay(events, nodes):
    """Apply the events that came, up to now, to the names of nodes that were there."""
    names, heard = set(nodes), []
    while True:
        try:
            event = events.next(0.1)
        except TimeoutError:
            return names, heard
        heard.append((event.node.name, event.present))
        (names.add if event.present else names.discard)(event.node.name)


@pytest.fixture
def two_nodes(own_router, start):
    stayer = start(own_router, *TICKER, "--name", "stayer")
    leaver = start(own_router, *TICKER, "--name", "leaver")
    for program in (stayer, leaver):
        program.wait_for(LISTED, 60)
    return stayer, leaver


@pytest.mark.parametrize("end_router", [kill_router, interrupt_router], ids=lambda f: f.__name__)
def test_a_node_that_ends_while_the_router_is_away(own_router, start, two_nodes, end_router):
    with Client(own_router.settings()) as client, client.watch_nodes() as events:
        end_router(own_router)
        two_nodes[1].end()
        own_router.start()
        promised_event(events, "leaver", present=False)
        start(own_router, *TICKER, "--name", "newcomer").wait_for(LISTED, 60)
        promised_event(events, "newcomer", present=True)
        promised_list(client, "newcomer", "stayer")
        # The one that only had to join again has neither gone nor come.
        assert replay(events, []) == (set(), [])


def test_a_node_that_ends_while_the_hub_is_away(start):
    with RouterProcess(hub=False) as router, Client(router.settings()) as client:
        hub = start(router, "hub.py")
        hub.wait_for("the hub is ready")
        start(router, *TICKER, "--name", "stayer").wait_for(LISTED, 60)
        leaver = start(router, *TICKER, "--name", "leaver")
        leaver.wait_for(LISTED, 60)
        with client.watch_nodes() as events:
            hub.end()
            leaver.end()
            start(router, "hub.py").wait_for("the hub is ready")
            promised_event(events, "leaver", present=False)
            promised_list(client, "stayer")
            assert replay(events, ["stayer"]) == ({"stayer"}, [])


def test_nodes_that_were_there_before_have_not_come(router, start):
    start(router, *TICKER, "--name", "stayer").wait_for(LISTED, 60)
    with Client(router.settings()) as client, client.watch_nodes() as events:
        start(router, *TICKER, "--name", "newcomer").wait_for(LISTED, 60)
        promised_event(events, "newcomer", present=True)
        _, heard = replay(events, [])
        assert "stayer" not in [name for name, _ in heard]


def test_a_subscription_that_failed_is_not_made_later(own_router, start):
    reactor, heard = reactor_thread(), []

    start(own_router, *TICKER).wait_for(LISTED, 60)
    client = TwistedClient(own_router.settings(), timeout=1, reactor=reactor)
    in_reactor(client.connect)
    assert [node.name for node in in_reactor(client.nodes)] == ["ticker"]
    os.killpg(own_router.pid, signal.SIGSTOP)
    try:
        with pytest.raises(RouterUnreachable, match="does not answer"):
            in_reactor(client.watch, "ticker", heard.append)
    finally:
        os.killpg(own_router.pid, signal.SIGCONT)
    own_router.stop()
    own_router.start()
    with Client(own_router.settings()) as other:
        wait_for_nodes(other, "ticker")

    def is_back():
        try:
            return in_reactor(client.nodes)
        except RouterUnreachable:
            return False

    wait_until(is_back, PROMISE, "the client's return")
    with Client(own_router.settings()) as other, other.watch("ticker") as stream:
        stream.next(40)
    in_reactor(client.close)
    assert heard == []
