"""However many ask for the same buckets at the same time, a node is asked once."""

import orjson
import pytest
from twisted.internet import defer

from sisock.bridge.answers import NOTICE
from sisock.bridge.http import Request
from sisock.bridge.metrics import Metrics
from sisock.bridge.panels import Panels
from sisock.errors import InvalidArgument, NodeTimeout
from tests.unit.bridge_nodes import Node, World


class SlowNode(Node):
    """Answers when it is told to."""

    def __init__(self):
        super().__init__(dict.fromkeys("xyz", "a"), {"a": []}, final_to=1e9)
        self.calls = []
        self.fields = []

    def get_data(self, fields, start, end, **how):
        self.fields.append(fields)
        asked = defer.Deferred()
        asked.addCallback(lambda _: super(SlowNode, self).get_data(fields, start, end, **how))
        self.calls.append(asked)
        return asked

    def answer(self, *t, call=-1):
        self.times["a"] = list(t)
        self.calls[call].callback(None)


class Dashboard(World):
    """A bridge's panels, its one node and the clock."""

    def __init__(self, **more):
        self.node = SlowNode()
        super().__init__(("bucket", "progressive"), n=self.node, **more)
        self.panels = Panels(self.bridge, Metrics())
        self.asked = []

    @property
    def calls(self):
        self.clock.pump([0.0, 0.01, 0.01])
        return self.node.calls

    def ask(self, end=110_000, points=100, name="x", **more):
        body = {
            "targets": [{"target": f"n::{name}"}],
            "range": {"from": 100_000, "to": end},
            "maxDataPoints": points,
            **more,
        }
        return self.post(orjson.dumps(body))

    def post(self, body):
        """Post a panel's request; returns the Deferred of its answer."""
        request = Request("", "POST", body=body)
        self.asked.append(defer.ensureDeferred(self.panels.query(request)))
        return self.asked[-1]

    def leave(self):
        """Have all clients leave."""
        for each in self.asked:
            each.addErrback(lambda _: None).cancel()


@pytest.fixture(params=[1 << 20, 1], ids=["cache", "no_cache"])
def world(request):
    world = Dashboard(cache_bytes=request.param)
    yield world
    world.leave()


def result(deferred):
    found = []
    deferred.addBoth(found.append)
    (only,) = found
    return only


def times(deferred):
    (series,) = orjson.loads(b"".join(result(deferred).parts))
    return [ms / 1000 for _, ms in series["datapoints"]]


def test_panels_that_ask_at_once_share_a_call(world):
    asking = [world.ask(requestId=f"Q{i}", startTime=i) for i in range(5)]
    assert len(world.calls) == 1
    asking += [world.ask() for _ in range(5)]
    assert len(world.calls) == 1
    world.node.answer(102.0)
    assert [times(each) for each in asking] == [[102.0]] * 10


def test_fields_of_panels_within_a_millisecond_are_asked_in_one_call(world):
    world.ask(points=9)
    assert len(world.calls) == 1
    # While a call is under way, the next one waits for others.
    asking = [world.ask(name=name) for name in "xyx"]
    world.clock.advance(0.0005)
    asking.append(world.ask(name="z"))
    assert len(world.calls) == 2
    assert world.node.fields == [["x"], ["x", "y", "z"]]
    # Of what is under way the fields are shared, and only others asked for.
    later = world.ask(name="(x|y)")
    assert len(world.calls) == 2
    world.node.answer(102.0)
    assert [times(each) for each in asking] == [[102.0]] * 4
    assert len(orjson.loads(b"".join(result(later).parts))) == 2


def test_who_asks_alone_waits_for_no_others(world):
    world.ask(name="x")
    world.ask(name="y")
    world.clock.advance(0.0)
    assert world.node.fields == [["x", "y"]]


def test_panels_that_arrive_in_one_turn_after_another_share_a_call(world):
    def arrive(name, *others):
        world.ask(name=name)
        if others:
            world.clock.callLater(0, arrive, *others)

    arrive("x", "y", "z")
    world.clock.advance(0.0)
    assert world.node.fields == [["x", "y", "z"]]


def test_panels_that_came_together_wait_for_each_other_the_next_time(world):
    for name, number in (("x", 1), ("y", 2)):
        world.ask(name=name)
        assert len(world.calls) == number
    for call in (0, 1):
        world.node.answer(102.0, call=call)
    world.ask(name="x", points=9)
    world.clock.advance(0.0005)
    world.ask(name="y", points=9)
    assert len(world.calls) == 3
    assert world.node.fields[-1] == ["x", "y"]
    world.node.answer(102.0)
    for end in (200_000, 400_000):
        world.ask(points=9, end=end)
        asked = len(world.calls)
        world.node.answer(102.0)
    world.ask(points=9, end=800_000)
    world.clock.advance(0.0)
    assert len(world.node.calls) == asked + 1, "one that comes alone does not wait again"


@pytest.mark.parametrize("different", [{"end": 190_000}, {"points": 9}])
def test_other_buckets_are_asked_for_by_another_call(world, different):
    world.ask()
    world.ask(**different)
    assert len(world.calls) == 2


def test_all_samples_are_asked_for_by_each_request(world):
    both = [world.ask(points=None), world.ask(points=None)]
    assert len(world.calls) == 2
    for call in (0, 1):
        world.node.answer(101.0, call=call)
    for each in both:
        each.addErrback(lambda failure: pytest.fail(str(failure)))
        assert each.called


def test_a_node_that_came_anew_is_asked_at_once(world):
    asking = world.ask()
    assert len(world.calls) == 1
    world.session.come("n", world.node)
    again = world.ask()
    assert len(world.calls) == 2
    world.node.answer(102.0)
    assert times(again) == [102.0]
    world.node.answer(101.0, call=0)
    # Its reply is of the old generation, and so is neither kept nor given.
    if not world.bridge.tiles.nbytes:
        assert len(world.calls) == 3
        world.node.answer(102.0)
    assert times(asking) == [102.0]


def test_the_call_goes_on_until_the_last_client_has_left(world):
    first, second = world.ask(), world.ask(name="(x|y)")
    assert len(world.calls) == 1
    first.addErrback(lambda _: None).cancel()
    assert not world.calls[0].called
    second.addErrback(lambda _: None).cancel()
    assert world.calls[0].called
    asking = world.ask()
    assert len(world.calls) == 2
    world.node.answer(103.0)
    assert times(asking) == [103.0]


def test_a_client_that_leaves_at_once_asks_nothing(world):
    world.ask().addErrback(lambda _: None).cancel()
    assert world.calls == []


def test_trouble_is_everybodys_and_not_kept(world):
    asking = [world.ask() for _ in range(3)]
    world.calls[-1].errback(NodeTimeout("too slow"))
    assert [result(each).headers for each in asking] == [{NOTICE: "too slow"}] * 3
    asking = world.ask()
    assert len(world.calls) == 2
    world.node.answer(104.0)
    assert times(asking) == [104.0]


def test_a_wrong_request_is_wrong_for_each(world):
    for _ in range(2):
        assert result(world.ask(points="many")).check(InvalidArgument)
    assert world.calls == []


def test_a_body_of_any_depth_is_answered(world):
    raw = orjson.dumps({"targets": []})[:-1] + b',"scopedVars":' + b"[" * 500 + b"]" * 500 + b"}"
    answer = result(world.post(raw))
    assert b"".join(answer.parts) == b"[]"


def post(world, name="x", **more):
    """Post a panel's request, perhaps without a number of points."""
    body = {"targets": [{"target": f"n::{name}"}], "range": {"from": 1000, "to": 9000}, **more}
    return world.post(orjson.dumps(body))


def test_equal_requests_in_one_turn_share_an_answer():
    world = Dashboard()
    asking = [post(world, maxDataPoints=100) for _ in range(3)]
    assert len(world.calls) == 1
    world.node.answer(2.0)
    cold = [result(each).body for each in asking]
    world.clock.advance(0.0)
    one, other = (result(post(world, maxDataPoints=points)) for points in (100, 101))
    assert result(post(world, maxDataPoints=100)) is one
    assert other is not one
    world.clock.advance(0.0)
    again = result(post(world, maxDataPoints=100))
    assert again is not one
    assert cold == [one.body] * 3 == [again.body] * 3


def test_equal_requests_end_when_the_last_client_leaves(world):
    first, second = (post(world, maxDataPoints=100) for _ in range(2))
    (call,) = world.calls
    first.addErrback(lambda _: None).cancel()
    assert not call.called
    second.addErrback(lambda _: None).cancel()
    assert call.called


def test_an_answer_that_is_written_as_it_comes_is_no_common_one(world):
    both = [post(world), post(world)]
    assert len(world.calls) == 2
    for call in (0, 1):
        world.node.answer(2.0, call=call)
    one, other = (result(each) for each in both)
    assert one is not other
    assert one.body is None
