"""A watch whose samples come faster than they are handled: the router's pings are not kept waiting.

The pings come behind the events, on the same connection: so events are taken at once.
"""

from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet import defer, task

from sisock.client.merge import MAX_EVENTS, read_events
from sisock.client.watch import Watch
from sisock.connection.runtime import TURN, Turns
from sisock.errors import NodeContractError
from sisock.wire.fields import KnownNode
from tests.unit.test_fetch import chunk, field, result

SLOW = TURN / 3.5
"""Seconds that a slow consumer takes for a sample: in a turn it takes four."""


class Reactor(task.Clock):
    """A reactor whose time moves only when it is told; it would read its sockets between turns."""

    def __init__(self):
        super().__init__()
        self.due = []

    def callLater(self, delay, function, *args):
        if delay:
            return super().callLater(delay, function, *args)
        return self.due.append(function)

    def turn(self, count=1):
        for _ in range(count):
            due, self.due = self.due, []
            for function in due:
                function()


class Node:
    """A live node with all samples it ever took; also the session and the site to reach it."""

    timeout = 30

    def __init__(self, clock):
        self.reactor, self.directory, self.turns = clock, self, Turns(clock)
        self.watches, self.locks = set(), defaultdict(defer.DeferredLock)
        self.times, self.asked, self.events = [], [], []

    async def session(self):
        return self

    def uri(self, node, verb):
        return node

    async def node(self, node):
        return KnownNode(node, features=frozenset({"live"}))

    async def fields(self, node):
        return {"x": field(interval=1e5)}  # so rare that one call asks for all samples since 1970

    ask_fields = fields

    def subscribe(self, hear, topic):
        self.events.append(hear)
        return defer.succeed(self)

    def unsubscribe(self):
        return defer.succeed(None)

    def request(self, procedure, fields, start, end, **_):
        self.asked.append(start)
        return defer.succeed(chunk([t for t in self.times if start <= t < end]))

    def take(self, count):
        for _ in range(count):
            t = len(self.times) + 1.0
            self.times.append(t)
            self.events[-1](event([t]))


def event(t, **data):
    return {"data": data or {"x": [10 * each for each in t]}, "timeline": {"t": {"t": t}}}


class Consumer:
    """A watch of a node, and what it passes on; each sample may take it some seconds."""

    def __init__(self, seconds=0.0):
        self.clock = Reactor()
        self.turn = self.clock.turn
        self.node = Node(self.clock)
        self.seconds, self.batches, self.samples = seconds, [], []
        self.watch = Watch(self.node, "n", self.take, since=0.0)
        self.join()

    def join(self):
        result(defer.ensureDeferred(self.watch.begin(self.node)))

    def take(self, batch):
        self.batches.append(len(batch))
        return self.node.turns.each(self.take_one, batch.samples())

    def take_one(self, sample):
        self.samples.append(sample)
        self.clock.advance(self.seconds)

    @property
    def times(self):
        return [sample.t for sample in self.samples]


def test_events_that_wait_are_passed_on_as_one_batch():
    consumer = Consumer()
    consumer.node.take(100)
    assert consumer.batches == []  # whatever came behind them, such as a ping, is read first
    consumer.turn()
    assert consumer.batches == [100]
    assert consumer.times == consumer.node.times
    assert [sample.values for sample in consumer.samples[:2]] == [{"x": 10.0}, {"x": 20.0}]


def test_a_slow_consumer_takes_only_part_of_each_turn():
    consumer = Consumer(SLOW)
    consumer.node.take(40)
    had = []
    while len(consumer.samples) < 40:
        consumer.node.take(1)
        consumer.turn()
        had.append(len(consumer.samples))
    assert had[:3] == [4, 8, 12]
    consumer.turn(20)
    assert consumer.times == consumer.node.times
    assert consumer.node.asked == []


def test_other_watches_have_their_turn_while_one_is_slow():
    consumer = Consumer(SLOW)
    quick = []
    other = Watch(consumer.node, "n", lambda batch: quick.extend(batch.t), since=0.0)
    result(defer.ensureDeferred(other.begin(consumer.node)))
    consumer.node.events[0](event([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]))
    consumer.node.events[1](event([1.0]))
    consumer.turn(2)
    assert quick == [1.0]
    assert len(consumer.samples) < 12


def test_events_beyond_measure_are_dropped_and_their_samples_asked_for():
    consumer = Consumer()
    consumer.node.take(1)
    consumer.turn()
    consumer.node.take(10 * MAX_EVENTS)
    consumer.turn()
    assert consumer.times == consumer.node.times
    # Once for each time that too many waited, from the last sample on; not for each event.
    assert len(consumer.node.asked) <= 10
    consumer.node.take(1)
    consumer.turn()
    assert consumer.times == consumer.node.times


def test_events_do_not_pile_up_behind_a_consumer_that_stopped():
    consumer, room = Consumer(), defer.Deferred()
    rooms = [room]
    watch = Watch(
        consumer.node,
        "n",
        lambda batch: consumer.batches.append(len(batch)) or (rooms.pop() if rooms else None),
        since=0.0,
    )
    result(defer.ensureDeferred(watch.begin(consumer.node)))
    for _ in range(2 * MAX_EVENTS):
        consumer.node.take(1)
        consumer.turn()
    assert consumer.batches == [1]
    room.callback(None)
    consumer.turn()
    assert sum(consumer.batches) == 2 * MAX_EVENTS
    # Most came in one answer of the node, from the last sample on that was passed on.
    assert consumer.node.asked == [1.0]


def test_a_new_session_does_not_overtake_the_rest_of_a_batch():
    consumer = Consumer(SLOW)
    consumer.node.take(20)
    consumer.turn()
    assert len(consumer.samples) == 4
    consumer.node.take(5)  # heard by the old session, not handled yet
    consumer.node.times += [26.0, 27.0]  # missed
    consumer.join()
    consumer.node.take(3)
    consumer.turn(20)
    assert consumer.times == consumer.node.times
    assert len(consumer.times) == 30


def test_an_error_of_a_consumer_that_was_slow_ends_nothing():
    clock = Reactor()
    node, taken, rooms = Node(clock), [], []

    def take(batch):
        taken.extend(batch.t)
        rooms.append(defer.Deferred())
        return rooms[-1]

    watch = Watch(node, "n", take, since=0.0)
    result(defer.ensureDeferred(watch.begin(node)))
    node.take(1)
    clock.turn()
    node.take(2)
    clock.turn()
    assert taken == [1.0]
    rooms[0].errback(ValueError("no space left"))
    assert taken == [1.0, 2.0, 3.0]


def test_a_watch_that_ended_passes_nothing_on():
    consumer = Consumer()
    consumer.node.take(3)
    consumer.watch.end()
    consumer.node.take(3)
    consumer.turn()
    assert consumer.batches == []


def test_a_step_that_fails_does_not_keep_others_from_their_turn():
    clock, done = Reactor(), []
    turns = Turns(clock)
    turns.add(lambda: 1 / 0)
    turns.add(lambda: done.append(1))
    with pytest.raises(ZeroDivisionError):
        clock.turn()
    clock.turn()
    assert done == [1]


def test_a_subscription_waits_only_for_one_of_the_same_node():
    consumer, asked = Consumer(), []

    def subscribe(hear, topic):
        asked.append((topic, defer.Deferred()))
        return asked[-1][1]

    consumer.node.subscribe = subscribe
    for name in ("a", "b", "b", "c"):
        watch = Watch(consumer.node, name, consumer.take)
        defer.ensureDeferred(watch.begin(consumer.node))
    assert [topic for topic, _ in asked] == ["a", "b", "c"]
    asked[1][1].callback(consumer.node)
    assert [topic for topic, _ in asked] == ["a", "b", "c", "b"]


NUMBERS = st.one_of(st.none(), st.booleans(), st.integers(-5, 5), st.floats(-5, 5), st.just("a"))
EVENTS = st.builds(
    lambda t, data, line: {"data": data, "timeline": {line: {"t": t}}},
    st.lists(st.integers(1, 20).map(float), max_size=3).map(sorted),
    st.dictionaries(st.sampled_from("xyz"), st.lists(NUMBERS, max_size=3), max_size=2),
    st.sampled_from(["t", "u"]),
)


def flat(found):
    """Samples in order, and whether an event could not be read."""
    samples = []
    try:
        for batch in found:
            samples += batch.samples()
    except NodeContractError:
        return samples, True
    return samples, False


@given(st.lists(st.one_of(EVENTS, st.sampled_from([None, {}, {"data": 1, "timeline": 1}]))))
def test_joined_events_have_the_samples_of_single_ones(events):
    one_by_one = flat(batch for each in events for batch in read_events([each], "n", {}))
    assert flat(read_events(events, "n", {})) == one_by_one
