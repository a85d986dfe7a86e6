"""How samples are asked of nodes of every kind, with a node of the test's own."""

import math
from dataclasses import replace

import numpy as np
import pytest
from twisted.internet import defer, task

from sisock.client.fetch import fetch
from sisock.client.latest import fetch_latest
from sisock.errors import NodeContractError, NodeTimeout, ReplyTooLarge
from sisock.wire.fields import Field, KnownNode
from sisock.wire.grid import decimate, decimate_by
from sisock.wire.protocol import Interval

TIMEOUT = 30
ALL = "binary", "progressive", "max_points", "bucket"
MIB = 1 << 20
NOW = 1_500_000_000.0
YEAR = 365 * 86_400.0


def field(name="x", interval=1.0, timeline="t"):
    return Field(name, None, timeline, "number", None, interval)


def chunk(t, until=None, **keys):
    t = [float(each) for each in t]
    lines = {"t": {"t": t, "finalized_until": until}} if t else {}
    return {"data": {"x": [10 * each for each in t]}, "timeline": lines, **keys}


class Call:
    def __init__(self, args, timeout, on_progress, keywords):
        self.fields, self.start, self.end, *self.stride = args
        self.keywords = keywords
        self.on_progress = on_progress
        self.is_cancelled = False
        self.done = defer.Deferred(self._cancel)
        self.timeout = timeout

    def _cancel(self, _):
        self.is_cancelled = True

    def answer(self, *chunks):
        for each in chunks[:-1]:
            self.on_progress(each)
        self.done.callback(chunks[-1])


class Session:
    """A session on which each call is answered by the test, or by a function of it."""

    def __init__(self, answer=None):
        self.reactor = task.Clock()
        self.calls = []
        self._answer = answer

    def request(self, procedure, *args, timeout, on_progress=None, **keywords):
        assert procedure == "org.simonsobservatory.consumer.n.get_data"
        call = Call(args, timeout, on_progress, keywords)
        self.calls.append(call)
        if self._answer:
            call.answer(self._answer(call))
        return call.done if timeout is None else call.done.addTimeout(timeout, self.reactor)


def begin(session, features=ALL, fields=None, start=1.0, end=1001.0, **keywords):
    node = KnownNode("n", features=frozenset(features))
    fields = {"x": field()} if fields is None else fields
    interval = Interval(start, end)
    return defer.ensureDeferred(fetch(session, node, fields, interval, timeout=TIMEOUT, **keywords))


def latest(session, features=(), fields=None):
    node = KnownNode("n", features=frozenset(features))
    fields = {"x": field()} if fields is None else fields
    return defer.ensureDeferred(fetch_latest(session, node, fields, NOW, TIMEOUT))


def result(fetching):
    outcome = []
    fetching.addBoth(outcome.append)
    assert outcome, "it waits"
    if hasattr(outcome[0], "raiseException"):
        outcome[0].raiseException()
    return outcome[0]


def test_progress_is_of_the_samples_that_the_node_has():
    session, told = Session(), []
    has = replace(field(), last=501.0)
    fetching = begin(session, fields={"x": has}, on_progress=told.append)
    session.calls[0].on_progress(chunk([1], next=201.0, end=1001.0))
    session.calls[1].answer(chunk([501]))
    session.calls[0].answer(chunk([251]))
    result(fetching)
    assert [each.fraction for each in told] == [0.5, 1]


def test_two_windows_are_under_way_and_grow_while_they_are_fast():
    session, told = Session(), []
    fetching = begin(session, on_progress=told.append)
    calls = session.calls
    assert calls[0].keywords == {"encoding": "binary", "window": MIB}
    calls[0].on_progress(chunk([101], next=201.0, end=1001.0))
    assert (calls[1].start, calls[1].end) == (201.0, 1001.0)
    calls[1].on_progress(chunk([201], next=301.0, end=1001.0))
    assert len(calls) == 2, "a third one waits for the first"
    session.reactor.advance(0.5)
    calls[0].answer(chunk([200]))
    assert calls[2].keywords["window"] == 4 * MIB, "it would arrive in 2 s"
    session.reactor.advance(2.5)
    calls[1].answer(chunk([300]))
    calls[2].on_progress(chunk([301], next=401.0, end=1001.0))
    assert calls[3].keywords["window"] == 4 * MIB, "that was slow"
    calls[2].answer(chunk([400]))
    calls[3].answer(chunk([401]))
    got = result(fetching)["x"]
    assert got.t.tolist() == [101, 200, 201, 300, 301, 400, 401]
    assert got.values.tolist() == [10 * t for t in got.t]
    assert [each.samples for each in told] == [2, 4, 6, 7]
    assert [each.fraction for each in told] == pytest.approx([0.11, 199 / 900, 299 / 900, 1])
    assert not session.reactor.getDelayedCalls()


def test_with_a_stride_each_window_waits_and_counts_from_the_last():
    session = Session()
    fetching = begin(session, min_stride=7)
    (first,) = session.calls
    assert first.stride == [7]
    first.on_progress(chunk([5], next=20.0, end=1001.0))
    assert len(session.calls) == 1
    first.answer(chunk([12]))
    assert session.calls[1].keywords["after"] == {"t": 12.0}
    session.calls[1].answer(chunk([21]))
    assert result(fetching)["x"].t.tolist() == [5, 12, 21]


def test_a_node_that_falls_silent_is_given_up_and_its_calls_cancelled():
    session = Session()
    fetching = begin(session)
    session.calls[0].on_progress(chunk([5], next=20.0, end=1001.0))
    for _ in range(3):
        session.reactor.advance(TIMEOUT - 1)
        session.calls[0].on_progress(chunk([6]))
    assert not fetching.called
    session.reactor.advance(TIMEOUT)
    with pytest.raises(NodeTimeout, match="'n' does not answer"):
        result(fetching)
    assert [call.is_cancelled for call in session.calls] == [True, True]


@pytest.mark.parametrize("features", [(), ALL])
def test_the_last_window_is_given_up_too(features):
    session = Session()
    fetching = begin(session, features)
    if features:
        session.calls[0].on_progress(chunk([5]))
    session.reactor.advance(TIMEOUT)
    with pytest.raises(NodeTimeout):
        result(fetching)
    assert session.calls[0].is_cancelled


def test_what_on_chunk_removes_is_not_kept():
    session = Session()
    fetching = begin(session, on_chunk=lambda reply: reply.data.clear())
    session.calls[0].answer(chunk([5]), chunk([6]))
    assert len(result(fetching)["x"]) == 0


@pytest.mark.parametrize("is_first", [True, False])
def test_an_error_of_on_chunk_ends_all(is_first):
    class Mine(Exception):
        pass

    def hear(reply):
        if is_first or len(session.calls) == 2:
            raise Mine

    session = Session()
    fetching = begin(session, on_chunk=hear)
    session.calls[0].on_progress(chunk([5], next=20.0, end=1001.0))
    if not is_first:
        session.calls[0].on_progress(chunk([6]))
    with pytest.raises(Mine):
        result(fetching)
    assert all(call.is_cancelled for call in session.calls)
    for call in session.calls:
        call.on_progress(chunk([7]))  # what comes late harms nobody


@pytest.mark.parametrize(
    "head", [{"next": 1.0, "end": 9.0}, {"next": math.nan, "end": 9.0}, {"next": 5.0}]
)
def test_a_window_that_leads_nowhere_is_refused(head):
    session = Session(lambda call: chunk([5], **head))
    with pytest.raises(NodeContractError, match="next"):
        result(begin(session))


def test_a_reply_to_leave_is_cancelled():
    session = Session()
    fetching = begin(session)
    fetching.cancel()
    with pytest.raises(defer.CancelledError):
        result(fetching)
    assert session.calls[0].is_cancelled
    assert not session.reactor.getDelayedCalls()


@pytest.mark.parametrize("features", [(), ALL])
def test_false_is_an_error_that_says_so(features):
    with pytest.raises(ReplyTooLarge, match="min_stride"):
        result(begin(Session(lambda call: False), features))


def test_what_a_node_sends_beside_the_interval_is_left_out():
    session = Session(lambda call: chunk([0, 1, 1000, 1001], until=7.0))
    got = result(begin(session, ()))["x"]
    assert got.t.tolist() == [1, 1000]
    assert (got.finalized_until, got.bucket, got.final_to) == (7.0, None, None)
    assert session.calls[0].keywords == {}


@pytest.mark.parametrize("way", [{"bucket": 4.0}, {"max_points": 8}])
def test_a_node_decimates_what_it_can_in_one_window(way):
    reply = {
        "data": {"x": [1.0, 5.0]},
        "timeline": {"x": {"t": [4.0, 6.0], "finalized_until": 8.0}},
        "follows": {"x": "x"},
        "bucket": {"x": 4.0},
        "final_to": {"x": 9.0, "y": 2.0},
        "placed": ["x"],
    }
    session = Session(lambda call: reply)
    got = result(begin(session, fields={"x": field(), "y": field("y")}, **way))
    assert session.calls[0].keywords == {"encoding": "binary", **way}
    assert (got["x"].bucket, got["x"].final_to, got["x"].is_placed) == (4.0, 9.0, True)
    assert (len(got["y"]), got["y"].final_to, got["y"].is_placed) == (0, 2.0, False)


@pytest.mark.parametrize("features", [(), ("progressive",)])
@pytest.mark.parametrize("way", [{"bucket": 8.0}, {"max_points": 50}])
def test_the_client_decimates_what_the_node_cannot(features, way):
    t = np.arange(1.0, 1001.0)
    session = Session(lambda call: chunk(t))
    got = result(begin(session, features, **way))["x"]
    which, size = decimate(t, 10 * t, 8.0), 8.0
    if "max_points" in way:
        which, size = decimate_by(t, 10 * t, None, 50)
    assert got.t.tolist() == t[which].tolist()
    assert (got.bucket, got.final_to) == (size, None)
    assert [call.stride for call in session.calls] == [[]]


def test_a_node_that_cannot_decimate_spaces_samples_of_dense_fields_only():
    session = Session(lambda call: {"data": {}, "timeline": {}})
    fields = {"many": field("many", 0.01, "a"), "few": field("few", 1.0, "b")}
    fields["unknown"] = field("unknown", None, "c")
    got = result(begin(session, (), fields, max_points=100))
    assert list(got) == ["many", "few", "unknown"]
    asked = [(call.fields, call.stride) for call in session.calls]
    assert asked == [(["many", "unknown"], [1000 / 50_000]), (["few"], [])]


def test_a_reply_over_the_allowance_is_asked_for_with_fewer_samples():
    def answer(call):
        return False if not call.stride or call.stride[0] < 0.1 else chunk([5])

    session = Session(answer)
    got = result(begin(session, (), {"x": field(interval=0.05)}, max_points=100))
    assert got["x"].t.tolist() == [5]
    assert [call.stride for call in session.calls] == [[], [0.1]]
    with pytest.raises(ReplyTooLarge):
        result(begin(Session(lambda call: False), (), max_points=100))


def test_part_1_fields_of_one_timeline_are_asked_for_one_by_one():
    def answer(call):
        (name,) = call.fields
        t = [5.0, 6.0] if name == "a" else [5.0]
        return {"data": {name: t}, "timeline": {"t": {"t": t, "finalized_until": None}}}

    session = Session(answer)
    got = result(begin(session, (), {name: field(name) for name in "ab"}))
    assert [call.fields for call in session.calls] == [["a"], ["b"]]
    assert [series.t.tolist() for series in got.values()] == [[5, 6], [5]]


def part_1_answer(call, first, last, last_value):
    """Answer as a node with a sample each second, and at most 40,000 samples in a reply."""
    t = np.arange(max(math.ceil(call.start), first), min(math.ceil(call.end), last + 1))
    if len(t) > 40_000:
        return False
    values = [1.0 if each <= last_value else None for each in t]
    lines = {"t": {"t": t.tolist(), "finalized_until": None}} if len(t) else {}
    return {"data": dict.fromkeys(call.fields, values), "timeline": lines}


def test_the_latest_value_of_years_is_found_in_few_calls():
    last = NOW - 2.5e6
    session = Session(lambda call: part_1_answer(call, NOW - YEAR, last, last - 90_000))
    assert result(latest(session))["x"].t.tolist() == [last - 90_000]
    assert len(session.calls) < 60


def test_a_year_without_any_value_is_not_searched_to_its_end():
    session = Session(lambda call: part_1_answer(call, NOW - YEAR, NOW, 0))
    assert len(result(latest(session))["x"]) == 0
    assert len(session.calls) < 100


def test_fields_that_ended_at_different_times_are_all_found():
    ends = {f"x{days}": NOW - 86_400.0 * days for days in range(1, 40, 3)}

    def answer(call):
        (name,) = call.fields
        return part_1_answer(call, NOW - YEAR, ends[name], ends[name])

    found = result(latest(Session(answer), fields={name: field(name) for name in ends}))
    assert {name: series.t.tolist() for name, series in found.items()} == {
        name: [end] for name, end in ends.items()
    }


def test_a_node_that_can_only_decimate_sends_few_samples_for_the_latest():
    session = Session(lambda call: chunk([5]))
    result(latest(session, ("progressive", "max_points")))
    assert {call.keywords["max_points"] for call in session.calls} == {8}
