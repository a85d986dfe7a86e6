import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from sisock.client.client import Client
from sisock.errors import NodeFailed, NodeTimeout
from tests.conftest import wait_for_absence, wait_for_nodes
from tests.faults.helpers import (
    LISTED,
    TICKER,
    WEATHER,
    answers,
    promised_absence,
    promised_event,
    promised_presence,
)

SHORT = 4
"""Seconds after which an impatient consumer gives a node up."""


def test_a_killed_node_is_subtracted_and_its_successor_is_listed(router, start, client):
    name = "killed"
    with client.watch_nodes() as events:
        first = start(router, *WEATHER, "--name", name)
        first.wait_for(LISTED, 60)
        promised_event(events, name, present=True)
        first.signal(signal.SIGKILL)
        first.wait()
        promised_event(events, name, present=False)
        promised_absence(client, name)

        start(router, *WEATHER, "--name", name).wait_for(LISTED, 60)
        promised_event(events, name, present=True)
        promised_presence(client, name)
        assert answers(client, name, "apex_temperature")


def test_a_killed_nodes_successor_is_listed_though_it_starts_at_once(router, start, client):
    name = "killed_and_restarted"
    first = start(router, *WEATHER, "--name", name)
    wait_for_nodes(client, name)
    first.signal(signal.SIGKILL)
    second = start(router, *WEATHER, "--name", name)
    second.wait_for(LISTED, 60)
    assert answers(client, name, "apex_temperature")


def test_a_frozen_node_is_subtracted_and_comes_back_when_it_thaws(router, start, client):
    name, other = "frozen", "beside_the_frozen"
    frozen = start(router, *TICKER, "--name", name)
    start(router, *WEATHER, "--name", other)
    wait_for_nodes(client, name, other)
    with client.watch_nodes() as events, Client(router.settings(), timeout=SHORT) as impatient:
        assert answers(client, name, "count")
        frozen.signal(signal.SIGSTOP)
        stopped = time.monotonic()
        with pytest.raises((NodeTimeout, NodeFailed)):
            impatient.get(name, "count")
        assert answers(client, other, "apex_temperature")
        promised_event(events, name, present=False, since=stopped)
        promised_absence(client, name)
        assert answers(client, other, "apex_temperature")

        frozen.signal(signal.SIGCONT)
        promised_event(events, name, present=True)
        promised_presence(client, name)
        assert answers(client, name, "count")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda s: s.name)
@pytest.mark.parametrize("command", [WEATHER, TICKER], ids=["archive", "live"])
def test_an_ended_node_says_goodbye_and_is_gone_at_once(router, start, client, command, number):
    name = f"ended_{command[-1].removesuffix('.py').replace('/', '_')}_{number.name}"
    node = start(router, *command, "--name", name)
    with client.watch_nodes() as events:
        wait_for_nodes(client, name)
        node.signal(number)
        assert node.wait() == 0
        wait_for_absence(client, name)
        promised_event(events, name, present=False)
    assert "Traceback" not in node.output


def test_a_node_ends_though_its_get_data_blocks(router, start, client):
    name = "ended_in_an_answer"
    node = start(router, "tests/bridge/nodes.py", "waiting", "--name", name)
    wait_for_nodes(client, name)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(client.get, name, "x", 1, 0)
        node.wait_for("asked")
        node.signal(signal.SIGTERM)
        assert node.wait() == 0
        # The question was under way: a later one would have found no node.
        with pytest.raises(NodeFailed, match="went away while it was asked"):
            asked.result(timeout=20)
    assert "most recent call last" not in node.output


def test_a_call_given_up_by_a_caller_that_left_ends_in_order(router, start, client):
    name = "given_up"
    node = start(router, *WEATHER, "--name", name)
    wait_for_nodes(client, name)
    logged = len(router.log)
    with Client(router.settings(), timeout=SHORT) as impatient:
        assert impatient.fields(name)
        node.signal(signal.SIGSTOP)
        with pytest.raises(NodeTimeout):
            impatient.get(name, "apex_temperature", 1, 0)
    node.signal(signal.SIGCONT)  # now it answers that the call is cancelled
    assert answers(client, name, "apex_temperature")
    assert "Traceback" not in router.log[logged:]
