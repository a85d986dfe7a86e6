"""However many ask for the same picture, its node is asked once a second."""

from types import SimpleNamespace

import pytest
from twisted.internet import defer, task

from sisock.bridge import Bridge
from sisock.errors import NodeTimeout
from sisock.protocol import Interval
from tests.unit.test_grafana_bridge import described, entry


class SlowNode:
    """A session to one node, which answers when it is told to."""

    def __init__(self):
        self.calls = []

    def request(self, procedure, *args, timeout=None, **keywords):
        if procedure.endswith("get_data_node"):
            return defer.succeed([entry("n", ["max_points"])])
        if procedure.endswith("get_fields"):
            return defer.succeed(described(x="a"))
        self.calls.append(defer.Deferred())
        return self.calls[-1]

    def answer(self, t):
        lines = {"a": {"t": t, "finalized_until": 0.0}}
        self.calls[-1].callback({"data": {"x": t}, "timeline": lines})


@pytest.fixture
def node(monkeypatch):
    node = SlowNode()
    node.now = 1000.0
    clock = SimpleNamespace(monotonic=lambda: node.now, time=lambda: node.now)
    monkeypatch.setattr("sisock.tile_query.time", clock)
    bridge = Bridge(SimpleNamespace(), 10, 1 << 20, reactor=task.Clock())
    bridge.connection.session = node
    node.clock = bridge.connection.reactor

    def ask(end=110, points=100):
        return defer.ensureDeferred(
            bridge.samples([("n", "x")], Interval(100, end), None, points)
        ).addCallback(lambda found: found.series["n", "x"].t.tolist())

    node.ask = ask
    return node


def result(deferred):
    found = []
    deferred.addBoth(found.append)
    (only,) = found
    return only


def test_those_who_ask_at_once_share_a_call(node):
    asking = [node.ask() for _ in range(5)]
    other = node.ask(end=120)
    assert len(node.calls) == 2
    node.answer([101.0])
    node.calls.pop()
    node.answer([102.0])
    assert [result(each) for each in asking] == [[102.0]] * 5
    assert result(other) == [101.0]


def test_a_picture_that_may_change_is_kept_for_a_second(node):
    for seconds, calls in ((0.0, 1), (0.9, 1), (0.2, 2), (0.9, 2)):
        node.now += seconds
        asking = node.ask()
        if len(node.calls) == calls and not node.calls[-1].called:
            node.answer([100.0 + calls])
        assert result(asking) == [100.0 + calls]
        assert len(node.calls) == calls


def test_other_points_are_another_picture(node):
    asking = node.ask()
    node.answer([101.0])
    assert result(asking) == [101.0]
    node.ask(points=50)
    assert len(node.calls) == 2


def test_the_call_goes_on_until_the_last_has_left(node):
    first, second = node.ask(), node.ask()
    first.addErrback(lambda _: None).cancel()
    assert not node.calls[0].called
    second.addErrback(lambda _: None).cancel()
    assert node.calls[0].called
    third = node.ask()
    node.answer([103.0])
    assert result(third) == [103.0]


def test_an_error_is_everybodys(node):
    asking = [node.ask() for _ in range(3)]
    node.calls[-1].errback(NodeTimeout("too slow"))
    assert [result(each).check(KeyError) for each in asking] == [KeyError] * 3
    again = node.ask()
    node.answer([104.0])
    assert result(again) == [104.0]
