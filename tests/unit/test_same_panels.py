"""However many ask for the same panel, its nodes are asked once a second."""

from types import SimpleNamespace

import orjson
import pytest
from twisted.internet import defer, task

from sisock.bridge.bridge import Bridge
from sisock.bridge.metrics import Metrics
from sisock.bridge.panels import Panels
from sisock.bridge.web_answer import NOTICE
from sisock.client.events import parse_node
from sisock.errors import InvalidArgument, NodeTimeout
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

    def answer(self, t, finalized_until=None):
        lines = {"a": {"t": t, "finalized_until": finalized_until}}
        self.calls[-1].callback({"data": {"x": t}, "timeline": lines})


class World:
    """A bridge's panels, its one node and the clock."""

    def __init__(self, monkeypatch, cache_bytes=1 << 20):
        self.now = 1000.0
        clock = SimpleNamespace(monotonic=lambda: self.now)
        monkeypatch.setattr("sisock.bridge.recent.time", clock)
        self.bridge = Bridge(SimpleNamespace(), 10, cache_bytes, reactor=task.Clock())
        self.node = self.bridge.connection.session = SlowNode()
        self.bridge.node_list.replace([parse_node(entry("n", ["max_points"]))])
        self.panels = Panels(self.bridge, Metrics())

    @property
    def calls(self):
        return self.node.calls

    def ask(self, end=110_000, points=100, **more):
        body = {
            "targets": [{"target": "n::x"}],
            "range": {"from": 100_000, "to": end},
            "maxDataPoints": points,
            **more,
        }
        return defer.ensureDeferred(self.panels.query(orjson.dumps(body)))


@pytest.fixture
def world(monkeypatch):
    return World(monkeypatch)


def result(deferred):
    found = []
    deferred.addBoth(found.append)
    (only,) = found
    return only


def times(deferred):
    (series,) = orjson.loads(b"".join(result(deferred).parts))
    return [ms / 1000 for _, ms in series["datapoints"]]


def test_those_who_ask_at_once_share_a_call(world):
    asking = [world.ask(requestId=f"Q{i}", startTime=i) for i in range(5)]
    other = world.ask(end=120_000)
    assert len(world.calls) == 2
    world.node.answer([101.0])
    world.calls.pop()
    world.node.answer([102.0])
    assert [times(each) for each in asking] == [[102.0]] * 5
    assert times(other) == [101.0]


@pytest.mark.parametrize("different", [{"end": 109_999}, {"points": 99}, {"intervalMs": 3}])
def test_who_asks_for_something_else_is_answered_for_himself(world, different):
    world.ask()
    world.ask(**different)
    assert len(world.calls) == 2


def test_final_samples_are_given_again_for_a_second(world):
    for seconds, calls in ((0.0, 1), (0.9, 1), (0.2, 2), (0.9, 2)):
        world.now += seconds
        asking = world.ask()
        assert len(world.calls) == calls
        if not world.calls[-1].called:
            world.node.answer([100.0 + calls])
        assert times(asking) == [100.0 + calls]


def test_samples_that_may_change_are_asked_for_each_time(world):
    for value in (101.0, 102.0):
        asking = world.ask()
        world.node.answer([100.0, value], finalized_until=101.0)
        assert times(asking) == [100.0, value]


def test_all_samples_are_asked_for_each_time(world):
    for calls in (1, 2):
        both = [world.ask(points=None), world.ask(points=None)]
        assert len(world.calls) == 2 * calls
        for call in world.calls[-2:]:
            call.callback({"data": {"x": [1.0]}, "timeline": {"a": {"t": [100.0 + calls]}}})
        assert [times(each)[-1] for each in both] == [100.0 + calls] * 2


def test_a_node_that_came_anew_is_asked_at_once(world):
    asking = world.ask()
    world.node.answer([101.0])
    assert times(asking) == [101.0]
    world.bridge.node_list.add(parse_node(entry("n", ["max_points"])))
    asking = world.ask()
    world.node.answer([102.0])
    assert times(asking) == [102.0]


def test_without_memory_only_those_who_wait_share(monkeypatch):
    world = World(monkeypatch, cache_bytes=1)
    for calls in (1, 2):
        asking = [world.ask(), world.ask()]
        assert len(world.calls) == calls
        world.node.answer([101.0])
        assert [times(each) for each in asking] == [[101.0]] * 2


def test_the_call_goes_on_until_the_last_has_left(world):
    first, second = world.ask(), world.ask()
    first.addErrback(lambda _: None).cancel()
    assert not world.calls[0].called
    second.addErrback(lambda _: None).cancel()
    assert world.calls[0].called
    asking = world.ask()
    world.node.answer([103.0])
    assert times(asking) == [103.0]


def test_trouble_is_everybodys_and_not_kept(world):
    asking = [world.ask() for _ in range(3)]
    world.calls[-1].errback(NodeTimeout("too slow"))
    assert [result(each).headers for each in asking] == [{NOTICE: "too slow"}] * 3
    asking = world.ask()
    world.node.answer([104.0])
    assert times(asking) == [104.0]


def test_a_wrong_request_is_wrong_for_each(world):
    for _ in range(2):
        assert result(world.ask(points="many")).check(InvalidArgument)
    assert world.calls == []


def test_a_body_of_any_depth_is_answered(world):
    raw = orjson.dumps({"targets": []})[:-1] + b',"scopedVars":' + b"[" * 500 + b"]" * 500 + b"}"
    assert list(result(defer.ensureDeferred(world.panels.query(raw))).parts) == [b"[]"]
