"""Node classes of 2018 and 2019 run with `sisock.run`, and every sample is right."""

import json
import subprocess
import sys

import numpy as np
import pytest
from twisted.internet import defer, threads

from sisock.client import reactor_thread
from sisock.connection import RouterConnection
from sisock.testing import wait_until
from tests.conftest import TOP, wait_for_nodes
from tests.integration.peers import data, results
from tests.old_nodes import FEED, START


def old(start, router, kind):
    return start(router, "tests/old_nodes.py", kind, PYTHONPATH=str(TOP))


def publish(router, message):
    """Publish as an agent does; the session ends again."""
    published = defer.Deferred()
    reactor = reactor_thread()

    async def joined(session):
        session.publish(FEED, message)
        published.callback(None)

    connection = RouterConnection(router.settings("server"), joined, reactor=reactor)

    async def work():
        running = defer.ensureDeferred(connection.run())
        await published
        await connection.stop()
        await running

    threads.blockingCallFromThread(reactor, lambda: defer.ensureDeferred(work()))


def test_fields_of_one_timeline_come_at_their_own_times(router, client, start):
    old(start, router, "weather")
    wait_for_nodes(client, "old_weather")
    got = client.get("old_weather", ["wind", "rain"], start=START, end=START + 240)
    for name, minutes in (("wind", [0, 1, 2]), ("rain", [0, 2, 3])):
        there = np.isfinite(got[name].values)
        assert got[name].t[there].tolist() == [START + 60 * m for m in minutes]
        assert got[name].values[there].tolist() == [100.0 + m for m in minutes]
    ((reply,)) = results(router, data("old_weather", ["wind", "rain"], START, START + 240))
    assert reply["data"]["rain"] == [100.0, None, 102.0, 103.0], "as a peer of that time has it"
    assert reply["timeline"]["minutes"]["t"] == [START + 60 * m for m in range(4)]


def test_a_node_that_reads_in_threads_and_ignores_times_is_clipped(router, client, start):
    old(start, router, "radiometer")
    wait_for_nodes(client, "old_radiometer")
    got = client.get("old_radiometer", "pwv", start=START + 60, end=START + 180)["pwv"]
    assert got.values.tolist() == [1.0, 2.0]
    assert got.units == "mm"


def test_a_node_that_subscribes_does_so_again_after_each_join(own_router, start):
    from sisock.client import Client

    node = old(start, own_router, "thermometry")
    node.wait_for("subscribed")
    with Client(own_router.settings()) as client:
        wait_for_nodes(client, "old_thermometry")
        publish(own_router, {"a": 1.5, "b": 2.5})
        wait_until(lambda: len(client.fields("old_thermometry")) == 2, 30, "the fields")
        own_router.stop()
        own_router.start()
        wait_until(lambda: node.output.count("subscribed") == 2, 30, "the second subscription")
        wait_for_nodes(client, "old_thermometry")
        publish(own_router, {"a": 3.5})
        wait_until(lambda: len(client.get("old_thermometry", "a")["a"]) == 2, 30, "the sample")
        got = client.get("old_thermometry", ["a", "b"])
        assert got["a"].values.tolist() == [1.5, 3.5]
        assert got["b"].values.tolist() == [2.5]
    assert "Traceback" not in node.output


@pytest.mark.parametrize("realm", ["sisock", "test_realm"])
def test_the_old_names_are_there(realm):
    script = (
        "import sisock, json; b = sisock.base; print(json.dumps([sisock.REALM, b.REALM, b.BASE_URI,"
        " b.uri('x'), sisock.uri('x'), b.sisock_to_unix_time(5), sisock.sisock_to_unix_time(5)]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], env={"WAMP_REALM": realm}, capture_output=True, text=True
    )
    base = "org.simonsobservatory"
    assert json.loads(done.stdout) == [realm, realm, base, base + ".x", base + ".x", 5, 5]
