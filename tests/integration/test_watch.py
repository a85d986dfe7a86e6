"""Watched samples come once and in order, whatever is lost on the way, or are said to be lost."""

import gc
import math
import time

import pytest
from twisted.internet import defer

from sisock import TwistedClient
from sisock.client.merge import Gap, Merger
from sisock.client.streams import MAX_QUEUED
from sisock.client.watch import MAX_TIMELINES
from sisock.connection.runtime import reactor_thread
from sisock.errors import UnknownField
from sisock.testing import wait_until
from tests.conftest import in_reactor
from tests.integration.live_node import FIELDS, T0, Node
from tests.integration.peers import Member


@pytest.fixture
def node(router):
    with Member(router) as member:
        yield Node(member)


def times(stream, count):
    return [stream.next(40).t - T0 for _ in range(count)]


def test_what_was_lost_comes_when_the_node_is_heard_of_again(client, node):
    with client.watch(node.name) as stream:
        node.take(1, 2)
        node.take(10, line="slow")
        assert times(stream, 3) == [1, 2, 10]
        node.take(3, 4, is_published=False)
        node.take(20, line="slow", is_published=False)
        node.come_back()
        assert sorted(times(stream, 3)) == [3, 4, 20]
        node.take(5)
        sample = stream.next(40)
        assert (sample.t, sample.timeline) == (T0 + 5, "fast")
        assert sample.values == {"even": None, "text": "at 5"}
    # From the last sample on, that shows that none is missing.
    assert {start - T0 for _, start in node.asked} == {2, 10}


def test_fetched_samples_are_like_published_ones(client, node):
    with client.watch(node.name) as stream:
        node.take(1, 2, 3)
        published = [stream.next(40) for _ in range(3)]
        node.take(11, 12, 13, is_published=False)
        node.come_back()
        fetched = [stream.next(40) for _ in range(3)]
    assert [each.values["text"] for each in fetched] == ["at 11", "at 12", "at 13"]
    assert [each.values["even"] for each in fetched] == [None, 12, None]
    for one, other in zip(published, fetched, strict=True):
        assert set(one.values) == set(other.values)
        assert one.timeline == other.timeline


def test_events_that_come_during_the_question_wait_for_its_answer(client, node):
    with client.watch(node.name, "text") as stream:
        node.take(1)
        assert times(stream, 1) == [1]
        node.take(2, is_published=False)
        node.hold_answers()
        node.come_back()
        wait_until(lambda: node.held, 40, "the question")
        node.take(3)
        node.take(4)
        with pytest.raises(TimeoutError):
            stream.next(0.1)
        node.give_answers()
        assert times(stream, 3) == [2, 3, 4]


def test_a_timeline_that_begins_while_fields_are_asked_for_is_whole(client, node):
    node.fields = {"text": "fast"}
    with client.watch(node.name) as stream:
        node.take(1)
        assert times(stream, 1) == [1]
        node.hold_fields()
        node.come_back()
        wait_until(lambda: node.held, 40, "the question")
        node.fields = FIELDS
        node.take(1000, line="slow", is_published=False)
        node.take(2000, line="slow")
        node.give_answers()
        assert times(stream, 2) == [1000, 2000]


def test_an_event_that_only_says_when_has_its_samples_fetched(client, node):
    with client.watch(node.name, "text") as stream:
        node.take(1)
        assert times(stream, 1) == [1]
        for n in range(2, 6):
            node.take(n, is_published=False)
            node.publish({"timeline": {"fast": {"last": T0 + n}}})
        assert times(stream, 4) == [2, 3, 4, 5]
        node.publish({"timeline": {"fast": {"last": T0 + 5.0}}})
        node.take(6)
        assert times(stream, 1) == [6]


def test_an_event_that_cannot_be_read_is_made_up_for(client, node):
    with client.watch(node.name) as stream:
        node.take(1)
        assert times(stream, 1) == [1]
        node.take(2, is_published=False)
        node.publish({"data": {"text": ["at 2"]}, "timeline": {"fast": {"t": [math.inf]}}})
        node.take(3)
        assert times(stream, 2) == [2, 3]


def test_a_wrong_time_costs_only_itself(client, node):
    with client.watch(node.name, "text") as stream:
        node.take(1)
        node.publish({"data": {"text": ["?"]}, "timeline": {"fast": {"t": [T0 + 86400]}}})
        assert times(stream, 2) == [1, 86400]
        node.take(2, is_published=False)
        node.take(3)
        node.take(4)
        assert times(stream, 3) == [2, 3, 4]


def test_timelines_of_ever_new_names_are_forgotten(client, node):
    with client.watch(node.name) as stream:
        node.take(1)
        assert times(stream, 1) == [1]
        for first in range(0, MAX_TIMELINES + 1, 5000):
            lines = {f"line {n}": {"last": T0} for n in range(first, first + 5000)}
            node.publish({"timeline": lines})
            node.take(first + 2)
            assert times(stream, 1) == [first + 2]
        known = sum(isinstance(each, Merger) for each in gc.get_objects())
        assert known < MAX_TIMELINES + 1000


def test_what_the_node_has_forgotten_is_a_gap(client, node):
    with client.watch(node.name, ["text"]) as stream:
        node.take(1, 2)
        assert times(stream, 2) == [1, 2]
        node.taken["fast"] = []
        node.come_back()
        wait_until(lambda: node.asked, 40, "the question")
        node.take(7)
        assert stream.next(40) == Gap("fast", T0 + 2.0, T0 + 7.0)
        assert times(stream, 1) == [7]


def test_only_wanted_fields_come_and_samples_that_have_them(client, node):
    with client.watch(node.name, ["even"]) as stream:
        node.take(1, 2, 3)
        node.take(1, line="slow")
        node.take(4, is_published=False)
        node.come_back()
        samples = [stream.next(40) for _ in range(2)]
    assert [each.t - T0 for each in samples] == [2, 4]
    assert [each.values for each in samples] == [{"even": 2}, {"even": 4}]
    assert {tuple(names) for names, _ in node.asked} == {("even",)}


def test_a_field_that_is_not_there_is_refused(client, node):
    with pytest.raises(UnknownField, match="no field 'typo': `sisock fields"):
        client.watch(node.name, ["text", "typo"])


def test_a_slow_consumer_gets_all_in_its_own_time(client, node):
    events = 3 * MAX_QUEUED
    with client.watch(node.name, "text") as stream:
        for first in range(1, 10 * events, 10):
            node.take(*range(first, first + 10))
        node.take(*range(10 * events + 1, 10 * events + 5001))
        count = 10 * events + 5000
        assert times(stream, count) == list(range(1, count + 1))
        node.take(count + 1)
        assert times(stream, 1) == [count + 1]


def test_answers_come_while_a_slow_consumer_has_samples_to_handle(router, node):
    reactor, heard, had = reactor_thread(), [], []

    def hear(sample):
        heard.append(sample.t - T0)
        if len(heard) == 1:
            # The answer comes behind the events, as a ping of the router does.
            asking = defer.ensureDeferred(client.nodes())
            asking.addCallback(lambda _: had.append(len(heard)))
        end = time.monotonic() + 0.05
        while not had and time.monotonic() < end:
            pass

    client = TwistedClient(router.settings(), reactor=reactor)
    in_reactor(client.connect)
    in_reactor(client.watch, node.name, hear, ["text"])
    for n in range(150):
        node.take(n)
    wait_until(lambda: len(heard) == 150, 30, "all samples")
    assert had[0] < 150
    assert heard == list(range(150))
    in_reactor(client.close)


def test_a_watch_ends_in_the_middle_of_a_question(client, node):
    node.hold_answers()
    with client.watch(node.name) as other, client.watch(node.name, "text") as stream:
        node.take(1)
        assert times(stream, 1) == times(other, 1) == [1]
        node.take(2, is_published=False)
        node.come_back()
        wait_until(lambda: len(node.held) >= 2, 40, "both questions")
        stream.close()
        node.give_answers()
        assert times(other, 1) == [2]


def test_a_callback_may_end_its_watch(router, node):
    reactor, heard, stops = reactor_thread(), [], []

    def hear(sample):
        heard.append(sample.t - T0)
        if len(heard) == 3:
            stops[0]()

    client = TwistedClient(router.settings(), reactor=reactor)
    in_reactor(client.connect)
    stops.append(in_reactor(client.watch, node.name, hear, ["text"]))
    node.take(1)
    wait_until(lambda: heard, 40, "a sample")
    node.take(2, 3, 4, is_published=False)
    node.come_back()
    wait_until(lambda: len(heard) == 3, 40, "the others")
    node.take(5)
    in_reactor(client.latest, node.name)
    assert heard == [1, 2, 3]
    in_reactor(client.close)


def test_a_node_that_answers_with_errors_at_first_is_asked_again(client, node):
    def fail(reply):
        raise ValueError("not now")

    with client.watch(node.name, "text") as stream:
        node.take(1)
        assert times(stream, 1) == [1]
        node.take(2, is_published=False)
        node.answers = fail
        node.come_back()
        wait_until(lambda: node.asked, 40, "the question")
        node.answers = None
        assert times(stream, 1) == [2]
