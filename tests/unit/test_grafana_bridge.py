"""What the bridge asks of nodes, and what it makes of their answers, without router and HTTP."""

from types import SimpleNamespace

import pytest
from autobahn.wamp.exception import TransportLost
from twisted.internet import defer, task

from sisock.bridge.annotations import find_annotations
from sisock.bridge.bridge import Bridge
from sisock.bridge.find import find
from sisock.bridge.targets import parse_target
from sisock.errors import InvalidArgument, RouterUnreachable
from sisock.wire.protocol import Interval


def described(**timeline_of):
    lines = {
        line: [n for n in timeline_of if timeline_of[n] == line] for line in timeline_of.values()
    }
    return [
        {
            name: {"description": None, "timeline": line, "type": "number", "units": None}
            for name, line in timeline_of.items()
        },
        {line: {"interval": 1.0, "field": names} for line, names in lines.items()},
    ]


class Node:
    """Samples of each timeline at some times; the values are the times."""

    def __init__(self, timeline_of, times, until=None, empty=()):
        self.timeline_of, self.times, self.until, self.empty = timeline_of, times, until, empty
        self.asked = []

    def get_fields(self, start, end):
        return described(**self.timeline_of)

    def get_data(self, fields, start, end, min_stride=None):
        self.asked.append((start, end))
        data, lines = {name: [] for name in fields}, {}
        for name in fields:
            line = self.timeline_of[name]
            t = [t for t in self.times[line] if start <= t < end]
            if min_stride:
                t = [each for i, each in enumerate(t) if i % round(min_stride) == 0]
            if t:
                lines[line] = {"t": t, "finalized_until": self.until}
                data[name] = [] if name in self.empty else t
        return {"data": data, "timeline": lines}


class Session:
    """A session to some nodes."""

    def __init__(self, nodes, features=()):
        self.nodes, self.features, self.subscribed = nodes, features, []
        self.reactor = task.Clock()

    def subscribe(self, handler, topic):
        self.subscribed.append(topic)
        return defer.succeed(None)

    def request(self, procedure, *args, timeout=None, **keywords):
        if procedure.endswith("get_data_node"):
            return defer.succeed([entry(name, self.features) for name in self.nodes])
        _, name, verb = procedure.rsplit(".", 2)
        return defer.maybeDeferred(getattr(self.nodes[name], verb), *args)


def entry(name, features=()):
    return {"name": name, "description": "", "features": list(features)}


@pytest.fixture
def make_bridge():
    def make(features=(), **nodes):
        bridge = Bridge(SimpleNamespace(), 10, 1 << 20, reactor=task.Clock())
        bridge.connection.session = Session(nodes, features)
        return bridge

    return make


def result(coroutine, clock=None):
    """The result of a coroutine that need not wait, but for a clock."""
    done = defer.ensureDeferred(coroutine)
    found = []
    done.addBoth(found.append)
    for _ in range(100):
        if found or clock is None:
            break
        clock.advance(0.1)
    assert found, "it waits"
    return found[0].raiseException() if hasattr(found[0], "raiseException") else found[0]


def samples(bridge, node, names, start, end, stride=None, points=None):
    wanted = [(node, name) for name in names]
    found = result(bridge.samples(wanted, Interval(start, end), stride, points))
    return {name: found.series[node, name].t.tolist() for name in names}


def test_a_kept_line_that_ends_elsewhere_does_not_shift_the_others_spacing(make_bridge):
    times = {"a": [float(t) for t in range(100, 200)], "b": [float(t) for t in range(100, 150)]}
    node = Node({"x": "a", "y": "b"}, times)
    bridge = make_bridge(["progressive"], n=node)
    samples(bridge, "n", "xy", 100, 200, 10)
    times["b"] += [float(t) for t in range(150, 200)]
    again = samples(bridge, "n", "xy", 100, 200, 10)
    assert again["x"] == again["y"] == [100.0 + 10 * i for i in range(10)]
    assert node.asked[-1] == (100, 200)


def test_a_field_without_samples_does_not_disable_the_cache_of_its_call(make_bridge):
    node = Node({"x": "a", "y": "a"}, {"a": [100.0, 110.0, 120.0]}, until=120.0, empty="y")
    bridge = make_bridge(["progressive"], n=node)
    assert samples(bridge, "n", "xy", 100, 130) == {"x": [100.0, 110.0, 120.0], "y": []}
    assert samples(bridge, "n", "xy", 100, 130)["x"] == [100.0, 110.0, 120.0]
    assert node.asked == [(100, 130), (120, 130)]


@pytest.mark.parametrize("points", [None, 100])
def test_a_node_that_takes_back_what_was_final_is_asked_for_everything(make_bridge, points):
    times = {"a": [100.0, 110.0, 120.0]}
    node = Node({"x": "a"}, times, until=120.0)
    bridge = make_bridge(["progressive", "max_points"], n=node)
    samples(bridge, "n", "x", 100, 130, points=points)
    times["a"][:], node.until = [100.0, 105.0, 125.0], 105.0
    assert samples(bridge, "n", "x", 100, 130, points=points)["x"] == [100.0, 105.0, 125.0]
    assert node.asked[-2:] == [(120, 130), (100, 130)]


@pytest.mark.parametrize("points", [None, 100])
def test_that_there_is_nothing_is_kept_once_it_is_known_to_be_final(make_bridge, points):
    node = Node({"x": "a"}, {"a": [150.0, 160.0, 190.0]}, until=190.0)
    bridge = make_bridge(["progressive", "max_points"], n=node)
    for _ in range(2):
        assert samples(bridge, "n", "x", 100, 130, points=points) == {"x": []}
    samples(bridge, "n", "x", 150, 195, points=points)
    for _ in range(3):
        assert samples(bridge, "n", "x", 100, 130, points=points) == {"x": []}
    assert node.asked == [(100, 130), (100, 130), (150, 195), (100, 130)]


def test_an_interval_without_length_is_asked_of_nobody(make_bridge):
    node = Node({"x": "a"}, {"a": [100.0]})
    assert samples(make_bridge(["progressive"], n=node), "n", "x", 100, 100) == {"x": []}
    assert node.asked == []


def test_too_many_samples_are_refused(make_bridge):
    bridge = make_bridge(n=Node({"x": "a"}, {"a": [1.0, 2.0, 3.0]}))
    bridge._most_samples = 2
    with pytest.raises(InvalidArgument, match="ask for less"):
        samples(bridge, "n", "x", 1, 9)


@pytest.mark.parametrize("error", [KeyError("odd"), AssertionError(), RecursionError()])
def test_whatever_fails_in_one_nodes_answer_costs_only_that_node(make_bridge, error):
    good, bad = (Node({"x": "a"}, {"a": [100.0]}) for _ in range(2))

    def fail(*_):
        raise error

    bad.get_data = fail
    bridge = make_bridge(good=good, bad=bad)
    wanted = [("good", "x"), ("bad", "x")]
    found = result(bridge.samples(wanted, Interval(1, 200), None))
    assert found.series["good", "x"].t.tolist() == [100.0]
    assert ("bad", "x") not in found.series
    assert "'bad'" in found.notices[0]


def test_a_router_lost_meanwhile_is_an_error_and_no_empty_series(make_bridge):
    node = Node({"x": "a"}, {"a": [100.0]})
    bridge = make_bridge(n=node)

    def lost(*_):
        raise TransportLost()

    node.get_data = lost
    with pytest.raises(RouterUnreachable):
        samples(bridge, "n", "x", 1, 200)


def test_only_nodes_that_a_wildcard_can_mean_are_asked_for_their_fields(make_bridge):
    nodes = {name: Node({"x": "a"}, {"a": []}) for name in ("one", "two", "three")}
    asked = []
    for name, node in nodes.items():
        node.get_fields = lambda *_, name=name: (asked.append(name), described(x="a"))[1]
    bridge = make_bridge(**nodes)

    def found(*texts):
        return result(find(bridge, {text: parse_target(text) for text in texts}))[0]

    assert found("two::x", "nowhere::y")["two::x"] == [("two", "x")]
    assert asked == []
    assert found("t*::x")["t*::x"] == [("three", "x"), ("two", "x")]
    assert sorted(asked) == ["three", "two"]
    result(find_annotations(bridge, "gaps two::x", Interval(1, 2)))
    assert "one" not in asked


@pytest.mark.parametrize("name", ["a*", "a?", "[a]", "a]b", "{a,b}", "(a|b)", "a|b", "a\\b", "(a)"])
def test_a_field_that_is_there_as_written_is_meant_whatever_its_name(make_bridge, name):
    bridge = make_bridge(n=Node({name: "t", "a": "t", "ab": "t", "b": "t"}, {"t": []}))
    text = f"n::{name}"
    assert result(find(bridge, {text: parse_target(text)}))[0] == {text: [("n", name)]}
    escaped = "n::" + "".join(f"\\{c}" if c in "*?[](){}|\\" else c for c in name)
    assert result(find(bridge, {escaped: parse_target(escaped)}))[0] == {escaped: [("n", name)]}


def changes(bridge):
    return [(change.node, change.present) for change in bridge.node_list.changes]


def test_comings_and_goings_are_recorded_whoever_finds_them(make_bridge, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr("sisock.bridge.nodes.time", SimpleNamespace(time=lambda: now[0]))
    node = Node({"x": "a"}, {"a": []})
    bridge = make_bridge(first=node)
    session = bridge.connection.session
    result(bridge.refresh_nodes())
    assert changes(bridge) == []
    session.nodes = {"second": node}
    result(bridge.refresh_nodes())
    assert changes(bridge) == [("first", False), ("second", True)]
    bridge._node_added(entry("second"))
    assert len(changes(bridge)) == 2
    bridge._node_subtracted(entry("second"))
    bridge._node_added(entry("second"))
    assert len(changes(bridge)) == 2
    bridge._left()
    assert changes(bridge)[2:] == [("second", False)]
    now[0] += 5
    result(bridge._joined(session))
    assert changes(bridge)[3:] == [("second", True)]


def test_what_was_known_before_the_subscription_is_forgotten(make_bridge):
    bridge = make_bridge(n=Node({"x": "a"}, {"a": []}))
    result(bridge.refresh_nodes())
    known = bridge.nodes["n"]
    result(bridge._joined(bridge.connection.session))
    assert bridge.nodes["n"] is not known


def test_a_request_while_a_node_comes_anew_gets_its_samples(make_bridge, monkeypatch):
    # However long this takes in truth, it is within the time in which a node comes anew.
    monkeypatch.setattr("sisock.bridge.nodes.time", SimpleNamespace(time=lambda: 1000.0))
    node = Node({"x": "a"}, {"a": [100.0]})
    bridge = make_bridge(n=node)
    clock, session = bridge.connection.reactor, bridge.connection.session
    result(bridge.refresh_nodes())
    answer = node.get_data

    def gone_meanwhile(*args):
        node.get_data = answer
        session.nodes = {}
        bridge._node_subtracted(entry("n"))
        clock.callLater(0.3, come)
        return answer(*args)

    def come():
        session.nodes = {"n": node}
        bridge._node_added(entry("n"))

    node.get_data = gone_meanwhile
    found = result(bridge.samples([("n", "x")], Interval(1, 200), None), clock)
    assert found.series["n", "x"].t.tolist() == [100.0]
    assert found.notices == []
    session.nodes = {}
    bridge._node_subtracted(entry("n"))
    clock.callLater(0.3, come)
    found = result(bridge.samples([("n", "x")], Interval(1, 200), None), clock)
    assert found.series["n", "x"].t.tolist() == [100.0]


def test_a_node_that_goes_meanwhile_is_noticed(make_bridge, monkeypatch):
    monkeypatch.setattr("sisock.bridge.nodes.COMES_ANEW_WITHIN", 0.0)
    node = Node({"x": "a"}, {"a": [100.0]})
    bridge = make_bridge(n=node)
    answer = node.get_data
    node.get_data = lambda *a: (bridge._node_subtracted(entry("n")), answer(*a))[1]
    found = result(bridge.samples([("n", "x")], Interval(1, 200), None))
    assert found.series == {}
    assert "has just gone" in found.notices[0]


def test_a_gap_that_goes_on_is_shown_and_failing_nodes_are_told(make_bridge):
    node = Node({"x": "a"}, {"a": [100.0, 101.0, 110.0, 111.0]})
    bad = Node({"x": "a"}, {"a": []})
    bad.get_data = lambda *_: 1 / 0
    bridge = make_bridge(good=node, bad=bad)
    events, notices = result(find_annotations(bridge, "gaps *::x", Interval(100, 120)))
    assert [(e["time"], e["timeEnd"]) for e in events] == [(101000, 110000), (111000, 120000)]
    assert "'bad'" in notices[0]
    events, _ = result(find_annotations(bridge, "gaps good::x", Interval(100, 116)))
    assert len(events) == 1
    assert result(find_annotations(bridge, "gaps good::x", Interval(300, 400)))[0] == []
