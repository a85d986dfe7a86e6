"""What the bridge asks of nodes, and what it makes of their answers, without router and HTTP."""

import pytest
from autobahn.wamp.exception import TransportLost

from sisock.bridge.app import call_flask, find_annotations, make_app
from sisock.bridge.http import Request
from sisock.bridge.metrics import Metrics
from sisock.bridge.query import Views
from sisock.bridge.targets import parse_target
from sisock.errors import InvalidArgument, RouterUnreachable
from sisock.wire.protocol import Interval
from tests.unit.bridge_nodes import Node, World, described


def found(world, pairs, start, end, points=None):
    """Samples of all, or of a panel with so many points."""
    share = world.bridge.memory.share()
    if points is None:
        asking = world.bridge.samples(share, pairs, Interval(start, end), None)
    else:
        asking = Views(world.bridge).find(share, pairs, Interval(start, end), points)
    return world.result(asking), share.notices


def meaning(world, *texts):
    """What targets stand for."""
    targets = {text: parse_target(text) for text in texts}
    return world.result(world.bridge.find(world.bridge.memory.share(), targets))


def annotations(world, text, start, end):
    """The events of an annotation query, and notices."""
    share = world.bridge.memory.share()
    events = world.result(find_annotations(world.bridge, share, text, Interval(start, end)))
    return events, share.notices


def times(world, node, names, start, end, points=None):
    views, _ = found(world, [(node, name) for name in names], start, end, points)
    return {name: views[node, name].samples.t.tolist() for name in names}


def test_all_samples_are_asked_for_each_time():
    node = Node({"x": "a"}, {"a": [100.0, 110.0]}, final_to=1e9)
    world = World(n=node)
    for _ in range(2):
        assert times(world, "n", "x", 100, 130) == {"x": [100.0, 110.0]}
    assert node.asked == [(100, 130)] * 2


def test_samples_may_change_where_the_node_does_not_call_them_final():
    node = Node({"x": "a"}, {"a": [100.0, 110.0, 120.0]}, final_to=112.0)
    world = World(n=node)
    assert times(world, "n", "x", 64, 130, 100)["x"] == [100.0, 110.0, 120.0]
    node.times["a"] = [100.0, 110.0, 115.0, 129.0]
    assert times(world, "n", "x", 64, 130, 100)["x"] == [100.0, 110.0, 115.0, 129.0]
    # Whole tiles of 64 s; then those from the first bucket on that was not final.
    assert node.asked == [(64, 192), (112, 192)]


def test_that_there_is_nothing_is_kept_where_it_is_final():
    node = Node({"x": "a"}, {"a": [1000.0]}, final_to=1001.0)
    world = World(n=node)
    for _ in range(2):
        assert times(world, "n", "x", 64, 128, 100) == {"x": []}
    assert node.asked == [(64, 128)]


@pytest.mark.parametrize("features", [(), ("max_points",), ("progressive",)])
def test_of_a_node_without_buckets_nothing_is_kept(features):
    node = Node({"x": "a"}, {"a": [100.0, 110.0]}, final_to=1e9)
    world = World(features, n=node)
    for _ in range(2):
        assert times(world, "n", "x", 100, 130, 100) == {"x": [100.0, 110.0]}
    assert node.asked == [(100, 130)] * 2
    assert world.bridge.tiles.nbytes == 0


def test_too_many_samples_are_refused():
    world = World(n=Node({"x": "a"}, {"a": [float(t) for t in range(1, 1002)]}))
    with pytest.raises(InvalidArgument, match="ask for less"):
        found(world, [("n", "x")], 1, 2000)


@pytest.mark.parametrize("error", [KeyError("odd"), AssertionError(), RecursionError()])
@pytest.mark.parametrize("points", [None, 100])
def test_whatever_fails_in_one_nodes_answer_costs_only_that_node(error, points):
    good, bad = (Node({"x": "a"}, {"a": [100.0]}) for _ in range(2))

    def fail(*_, **__):
        raise error

    bad.get_data = fail
    views, notices = found(World(good=good, bad=bad), [("good", "x"), ("bad", "x")], 1, 200, points)
    assert views["good", "x"].samples.t.tolist() == [100.0]
    assert ("bad", "x") not in views
    assert "'bad'" in notices[0]


@pytest.mark.parametrize("points", [None, 100])
def test_a_router_lost_meanwhile_is_an_error_and_no_empty_series(points):
    node = Node({"x": "a"}, {"a": [100.0]})

    def lost(*_, **__):
        raise TransportLost()

    node.get_data = lost
    with pytest.raises(RouterUnreachable):
        times(World(n=node), "n", "x", 1, 200, points)


def test_only_nodes_that_a_wildcard_can_mean_are_asked_for_their_fields():
    nodes = {name: Node({"x": "a"}, {"a": []}) for name in ("one", "two", "three")}
    asked = []
    for name, node in nodes.items():
        node.get_fields = lambda *_, name=name: (asked.append(name), described(x="a"))[1]
    world = World(**nodes)

    assert meaning(world, "two::x", "nowhere::y")["two::x"] == [("two", "x")]
    assert asked == []
    assert meaning(world, "t*::x")["t*::x"] == [("three", "x"), ("two", "x")]
    assert sorted(asked) == ["three", "two"]
    annotations(world, "gaps two::x", 1, 2)
    assert "one" not in asked


@pytest.mark.parametrize("name", ["a*", "a?", "[a]", "a]b", "{a,b}", "(a|b)", "a|b", "a\\b", "(a)"])
def test_a_field_that_is_there_as_written_is_meant_whatever_its_name(name):
    world = World(n=Node({name: "t", "a": "t", "ab": "t", "b": "t"}, {"t": []}))
    escaped = "".join(f"\\{c}" if c in "*?[](){}|\\" else c for c in name)
    for text in (f"n::{name}", f"n::{escaped}"):
        assert meaning(world, text) == {text: [("n", name)]}


def test_a_search_that_would_keep_others_waiting_is_refused():
    world = World(n=Node(dict.fromkeys(map(str, range(2000)), "a"), {}))
    app = make_app(world.bridge, Metrics())

    def search(pairs):
        body = b'{"target": "%b"}' % (b"{a,b}*{c,d}*" * pairs)
        return world.result(call_flask(app, Request("", "POST", b"/search", body=body)))

    assert search(1).body == b"[]"
    with pytest.raises(InvalidArgument, match="takes too long"):
        search(5)


def test_nodes_that_come_and_go_are_remembered():
    world = World(first=Node({"x": "a"}, {"a": []}))

    def changes():
        return [(each.node, each.is_present) for each in world.bridge.changes]

    assert changes() == []
    world.session.come("second", world.session.nodes["first"])
    world.session.go("first")
    assert changes() == [("second", True), ("first", False)]
    world.clock.advance(5.0)
    world.session.come("first", world.session.nodes["second"])
    assert changes()[2:] == [("first", True)]


def test_a_node_that_is_back_at_once_has_neither_gone_nor_come():
    world, node = World(a=Node({"x": "a"}, {"a": []})), Node({"x": "a"}, {"a": []})
    world.session.go("a")
    world.session.come("a", node)
    assert list(world.bridge.changes) == []
    world.session.go("a")
    world.clock.advance(1.5)
    world.session.come("a", node)
    assert [each.is_present for each in world.bridge.changes] == [False, True]


def test_nodes_that_come_and_go_hold_no_wildcard_up():
    node = Node({"x": "a"}, {"a": [100.0]})
    world = World(a=node, b=node, c=node)

    def swap(here, gone):
        if gone in world.session.nodes:
            world.session.go(gone)
        if here not in world.session.nodes:
            world.session.come(here, node)
        world.clock.callLater(0.3, swap, gone, here)

    swap("b", "c")
    assert ("a", "x") in meaning(world, "*::x")["*::x"]


def test_what_was_kept_of_a_node_is_not_of_the_next_one():
    node = Node({"x": "a"}, {"a": [100.0, 101.0]}, final_to=1e9)
    world = World(n=node)
    assert times(world, "n", "x", 64, 128, 100)["x"] == [100.0, 101.0]
    assert world.bridge.tiles.nbytes > 0
    world.session.go("n")
    world.clock.advance(1)
    node.times["a"] = [100.0, 105.0]
    world.session.come("n", node)
    assert times(world, "n", "x", 64, 128, 100)["x"] == [100.0, 105.0]


def test_a_node_that_is_back_with_the_same_data_is_not_asked_again():
    node = Node({"x": "a"}, {"a": [100.0, 101.0]}, final_to=1e9)
    node.generation = "of these data"
    world = World(n=node)
    assert times(world, "n", "x", 64, 128, 100)["x"] == [100.0, 101.0]
    world.session.go("n")
    world.clock.advance(60)
    world.session.come("n", node)
    assert times(world, "n", "x", 64, 128, 100)["x"] == [100.0, 101.0]
    assert len(node.asked) == 1


@pytest.mark.parametrize("points", [None, 100])
def test_a_request_while_a_node_comes_anew_gets_its_samples(points):
    node, old = (Node({"x": "a"}, {"a": [t]}, final_to=1e9) for t in (100.0, 90.0))
    world = World(n=old)
    answer = old.get_data

    def gone_meanwhile(*args, **keywords):
        world.session.go("n")
        world.clock.callLater(0.3, world.session.come, "n", node)
        return answer(*args, **keywords)

    old.get_data = gone_meanwhile
    views, notices = found(world, [("n", "x")], 64, 200, points)
    assert views["n", "x"].samples.t.tolist() == [100.0]
    assert notices == []
    # The lagging reply is not kept.
    assert times(world, "n", "x", 64, 200, points)["x"] == [100.0]
    world.session.go("n")
    world.clock.callLater(0.3, world.session.come, "n", node)
    assert times(world, "n", "x", 64, 200, points)["x"] == [100.0]


def test_a_wildcard_waits_for_a_node_that_comes_anew():
    node, other = Node({"x": "a"}, {"a": []}), Node({"x": "a"}, {"a": []})
    world = World(n=node, other=other)
    world.session.go("n")
    world.clock.callLater(0.3, world.session.come, "n", node)
    assert meaning(world, "n*::x", "o*::x")["n*::x"] == [("n", "x")]
    world.session.go("n")
    began = world.clock.seconds()
    assert meaning(world, "o*::x") == {"o*::x": [("other", "x")]}
    assert world.clock.seconds() == began


def test_a_sample_before_the_view_that_may_stand_for_one_in_it_is_shown():
    # Both are in one bucket and equal, of which the first is kept.
    node = Node({"x": "a"}, {"a": [100.25, 100.75, 102.0]}, final_to=1e9)
    node.values = 1.0
    assert times(World(n=node), "n", "x", 100.5, 102, 100) == {"x": [100.25]}


def test_a_node_that_goes_meanwhile_is_noticed():
    node = Node({"x": "a"}, {"a": [100.0]})
    world = World(n=node)
    answer = node.get_data

    def gone_meanwhile(*args, **keywords):
        world.session.go("n")
        return answer(*args, **keywords)

    node.get_data = gone_meanwhile
    views, notices = found(world, [("n", "x")], 1, 200)
    assert views == {}
    assert "has just gone" in notices[0]


def test_what_a_recorder_kept_of_nodes_is_shown():
    kept = Node({"nodes.a": "nodes.a", "nodes.b": "nodes.b", "x": "x"}, {})
    kept.times = {"nodes.a": [100.0, 105.0], "nodes.b": [103.0], "x": [104.0]}

    def get_data(fields, start, end, **_):
        reply = Node.get_data(kept, fields, start, end)
        for name, values in reply["data"].items():
            reply["data"][name] = [t != 105.0 for t in values]
        return reply

    kept.get_data = get_data
    world = World((), recorder=kept)

    def titles(text):
        events, _ = annotations(world, text, 90, 110)
        return [(event["time"], event["title"]) for event in events]

    of_a = [(100_000, "a appeared"), (105_000, "a vanished")]
    assert titles("nodes recorder") == sorted([*of_a, (103_000, "b appeared")])
    assert titles("nodes recorder::nodes.a") == of_a
    assert titles("nodes") == []


def test_a_gap_that_goes_on_is_shown_and_failing_nodes_are_told():
    node = Node({"x": "a"}, {"a": [100.0, 101.0, 110.0, 111.0]})
    bad = Node({"x": "a"}, {"a": []})
    bad.get_data = lambda *_, **__: 1 / 0
    world = World((), good=node, bad=bad)

    gaps, notices = annotations(world, "gaps *::x", 100, 120)
    assert [(e["time"], e["timeEnd"]) for e in gaps] == [(101000, 110000), (111000, 120000)]
    assert "'bad'" in notices[0]
    assert len(annotations(world, "gaps good::x", 100, 116)[0]) == 1
    assert annotations(world, "gaps good::x", 300, 400)[0] == []
