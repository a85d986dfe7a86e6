"""The kit for node authors, `sisock.testing`."""

import json
import threading
from dataclasses import replace

import pytest
from autobahn.wamp.exception import ApplicationError

import sisock
from sisock.errors import RouterUnreachable
from sisock.testing import Clock, Part1Consumer, free_port, run_on_clock, serve_node, wait_until
from tests import forkserver


class Ramp(sisock.LiveNode):
    """Each reading is one more than the one before."""

    name = "kit_ramp"
    interval = 1.0
    fields = {"n": {"units": "K"}}
    n = 0

    def read(self):
        self.n += 1
        return {"n": self.n}


class Pushed(sisock.LiveNode):
    name = "kit_pushed"
    description = "pushed"
    interval = None
    fields = {"x": {"units": "V"}}


def test_a_clock_moves_a_node_that_reads():
    clock = Clock()
    with run_on_clock(Ramp(), clock) as node:

        def passes():
            clock.advance(node.interval)
            return node.status()["samples"] >= 3

        wait_until(passes, 30, "three readings")
    assert node.n >= 3


def test_what_threads_hand_over_runs_when_the_clock_moves():
    clock, ran = Clock(), []
    thread = threading.Thread(target=clock.callFromThread, args=(ran.append, "thread"))
    thread.start()
    thread.join()
    clock.callFromThread(ran.append, "test")
    assert ran == ["test"]
    clock.callLater(0.3, ran.append, "later")
    clock.pass_time(0.2)
    assert ran == ["test", "thread"]
    clock.pass_time(0.2)
    assert ran == ["test", "thread", "later"]


def test_a_node_is_served_for_a_client_and_for_one_of_part_1(sisock_router):
    node = Pushed()
    with serve_node(sisock_router, node) as client:
        node.push({"x": [1.0, 2.0]}, [1e9, 1e9 + 1])
        wait_until(lambda: len(client.get("kit_pushed", "x", 1, "now")["x"]), 40, "samples")
        assert client.latest("kit_pushed")["x"].units == "V"
        with Part1Consumer(sisock_router) as consumer:
            assert "kit_pushed" in [entry["name"] for entry in consumer.nodes()]
            fields, timelines = consumer.get_fields("kit_pushed")
            line = fields["x"]["timeline"]
            assert timelines[line]["field"] == ["x"]
            reply = consumer.get_data("kit_pushed", ["x"], 1, 0)
            assert reply["data"]["x"] == [1.0, 2.0]
            assert reply["timeline"][line]["t"] == [1e9, 1e9 + 1]
            with pytest.raises(ApplicationError):
                consumer.call("consumer.kit_nowhere.get_data", ["x"], 1, 0)
    with sisock.Client(sisock_router.settings()) as client:
        gone = lambda: "kit_pushed" not in [each.name for each in client.nodes()]  # noqa: E731
        wait_until(gone, 40, "the end of the node")


def test_a_consumer_that_cannot_join_says_why(sisock_router):
    with pytest.raises(RouterUnreachable, match="no_such_realm"):
        Part1Consumer(Elsewhere(sisock_router))


PORTS = "from sisock.testing import free_port; print([free_port() for _ in range(400)])"


def test_a_free_port_is_given_to_nobody_else():
    mine = [free_port() for _ in range(400)]
    theirs = json.loads(forkserver.run(["-c", PORTS], {}).stdout)
    assert len({*mine, *theirs}) == 800


class Elsewhere:
    """The same router, with a realm that it does not have."""

    def __init__(self, router):
        self.router = router

    def settings(self):
        return replace(self.router.settings(), realm="kit_nowhere")
