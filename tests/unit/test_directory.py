"""What the directory of nodes knows, tells and asks, with a hub of the test's own."""

import pytest
from twisted.internet import defer, task

from sisock.client.directory import Directory
from sisock.errors import HubMissing, RouterUnreachable, UnknownNode
from sisock.wire.protocol import node_uri, uri

LIST = uri("consumer.get_data_node")
ANSWER = [{"x": {"timeline": "t", "type": "number"}}, {"t": {"interval": 1.0, "field": ["x"]}}]


class Hub:
    """A session on which a hub and its nodes answer when they are let."""

    def __init__(self, reactor, *nodes, is_slow=False):
        self.reactor = reactor
        self.nodes = list(nodes)
        self.is_slow = is_slow
        self.is_there = True
        self.calls = []
        self.handlers = {}
        self.pending = []

    def subscribe(self, handler, topic):
        self.handlers[topic] = handler
        return defer.succeed(None)

    def request(self, procedure, *args, timeout):
        self.calls.append(procedure)
        if not self.is_there:
            return defer.fail(defer.TimeoutError(timeout, "hub"))
        answer = list(self.nodes) if procedure == LIST else ANSWER
        waiting = defer.Deferred()
        self.pending.append((waiting, answer))
        if not self.is_slow:
            self.answer()
        return waiting

    def answer(self):
        pending, self.pending = self.pending, []
        for waiting, answer in pending:
            waiting.callback(answer)

    def publish(self, topic, entry):
        self.handlers[uri(f"consumer.data_node_{topic}")](entry)

    def add(self, entry):
        self.nodes.append(entry)
        self.publish("added", entry)

    def subtract(self, entry):
        self.nodes.remove(entry)
        self.publish("subtracted", entry)


def node(name, **keys):
    return {"name": name, "description": "d", **keys}


def result(coroutine):
    """The result of what needs not wait."""
    outcome = []
    defer.ensureDeferred(coroutine).addBoth(outcome.append)
    assert outcome, "it waits"
    if hasattr(outcome[0], "raiseException"):
        outcome[0].raiseException()
    return outcome[0]


class World:
    def __init__(self):
        self.clock = task.Clock()
        self.told = []
        self.back = []
        self.directory = Directory(
            self.clock,
            5,
            lambda node, is_present: self.told.append((node.name, is_present)),
            on_back=lambda node: self.back.append(node.name),
        )

    def join(self, *nodes, **keywords):
        hub = Hub(self.clock, *nodes, **keywords)
        joining = defer.ensureDeferred(self.directory.joined(hub))
        assert hub.is_slow or joining.called
        return hub

    def names(self):
        return [each.name for each in result(self.directory.nodes())]

    def generation(self, name):
        return self.directory.current(name).generation


@pytest.fixture
def world():
    return World()


def test_nodes_are_known_without_asking_again(world):
    hub = world.join(node("b"), node("a", features=["live"], generation="g", replicas=2))
    hub.add(node("c"))
    hub.subtract(node("b"))
    assert world.names() == ["a", "c"]
    found = result(world.directory.node("a"))
    assert (found.features, found.generation, found.replicas) == (frozenset({"live"}), "g", 2)
    assert hub.calls == [LIST]
    assert world.told == [("c", True), ("b", False)]


def test_an_unknown_name_is_asked_for_once_a_second(world):
    hub = world.join()
    for _ in range(3):
        with pytest.raises(UnknownNode):
            result(world.directory.node("late"))
    assert hub.calls == [LIST] * 2
    hub.nodes.append(node("late"))  # without an event
    world.clock.advance(1)
    assert result(world.directory.node("late")).name == "late"


def test_a_node_that_has_just_gone_is_asked_for_at_once(world):
    hub = world.join(node("a", generation="1"))
    hub.subtract(node("a", generation="1"))
    hub.nodes.append(node("a", generation="2"))
    assert result(world.directory.node("a")).generation == "2"


def test_the_list_is_read_within_thirty_seconds(world):
    hub = world.join(node("a"))
    hub.nodes[:] = [node("a", replicas=3), node("b")]
    world.clock.pump([1.0] * 30)
    assert world.directory.current("a").replicas == 3
    assert world.told == [("b", True)]


def test_a_generation_of_the_nodes_own_lasts_over_a_join(world):
    hub = world.join(node("own", generation="g"), node("none"))
    before = world.generation("none")
    hub.publish("added", node("own", generation="g"))
    world.clock.pump([1.0] * 30)
    assert world.generation("none") == before
    world.directory.left()
    hub = world.join(node("own", generation="g"), node("none"))
    assert world.generation("own") == "g"
    assert world.generation("none") not in ("", before)
    before = world.generation("none")
    hub.publish("added", node("none"))
    assert world.generation("none") != before
    assert world.told == []


def test_another_generation_goes_and_comes(world):
    world.join(node("a", generation="1"))
    world.directory.left()
    world.join(node("a", generation="2"))
    assert world.told == [("a", False), ("a", True)]


def test_nodes_that_come_back_after_a_join_have_not_gone(world):
    world.join(node("stays"), node("ends"))
    world.directory.left()
    with pytest.raises(RouterUnreachable):
        result(world.directory.nodes())
    hub = world.join()
    assert world.names() == []
    world.clock.advance(1)
    hub.add(node("stays"))
    assert world.told == []
    world.clock.pump([1.0] * 10)
    assert world.told == [("ends", False)]


def test_who_did_not_see_a_node_in_the_list_can_be_told_that_it_is_back(world):
    world.join(node("a", generation="1"), node("b", generation="1"))
    world.directory.left()
    hub = world.join(node("b", generation="1"))
    assert world.names() == ["b"]
    assert world.directory.absent() == {"a"}
    back = len(world.back)
    hub.add(node("a", generation="1"))
    assert world.back[back:] == ["a"]
    assert world.directory.absent() == set()
    assert world.told == []


def test_who_watches_without_a_hub_hears_of_every_node_that_is_back(world):
    world.join(node("a", generation="1"), node("b", generation="1"))
    world.directory.left()
    hub = Hub(world.clock)
    hub.is_there = False
    result(world.directory.joined(hub))
    assert world.directory.absent() == {"a", "b"}
    hub.is_there = True
    hub.nodes = [node("b", generation="1")]
    world.clock.advance(2)
    hub.add(node("a", generation="1"))
    assert world.back == ["b", "a"]


def test_a_list_that_was_asked_for_too_early_is_asked_for_again(world):
    hub = world.join()
    hub.is_slow = True
    early = defer.ensureDeferred(world.directory.node("other"))
    hub.nodes.append(node("late"))
    asking = [defer.ensureDeferred(world.directory.node("late")) for _ in range(2)]
    hub.answer()
    hub.answer()
    assert [each.result.name for each in asking] == ["late"] * 2
    with pytest.raises(UnknownNode):
        early.result.raiseException()
    early.addErrback(lambda failure: failure.trap(UnknownNode))
    assert hub.calls == [LIST] * 3


def test_after_a_restart_of_the_hub_nodes_have_time_to_come_back(world):
    hub = world.join(node("stays"), node("ends"))
    hub.nodes.clear()
    while len(hub.calls) == 1:
        world.clock.advance(1)
    assert world.told == []
    assert result(world.directory.node("stays")).name == "stays"
    hub.add(node("stays"))
    world.clock.pump([1.0] * 6)
    assert world.told == [("ends", False)]
    with pytest.raises(UnknownNode):
        result(world.directory.node("ends"))


def test_a_node_added_twice_tells_of_a_hub_that_restarted(world):
    hub = world.join(node("stays"), node("ended"))
    hub.nodes.clear()
    hub.add(node("stays"))
    assert world.told == []
    world.clock.pump([1.0] * 6)
    assert world.told == [("ended", False)]


def test_a_hub_that_is_missing_is_asked_again(world):
    hub = Hub(world.clock)
    hub.is_there = False
    result(world.directory.joined(hub))
    with pytest.raises(HubMissing):
        world.names()
    hub.is_there = True
    hub.nodes = [node("a")]
    world.clock.advance(2)
    assert world.told == [("a", True)]
    world.directory.left()
    assert not world.clock.getDelayedCalls()


def test_while_there_is_no_hub_a_known_node_is_as_before(world):
    world.join(node("a", generation="1"))
    world.directory.left()
    hub = Hub(world.clock)
    hub.is_there = False
    result(world.directory.joined(hub))
    assert result(world.directory.node("a")).generation == "1"
    with pytest.raises(HubMissing):
        result(world.directory.node("other"))


def test_fields_are_asked_once_in_a_generation(world):
    hub = world.join(node("a", generation="1"))
    asked = [LIST]

    def fields(*wanted):
        return set(result(world.directory.fields(world.directory.current("a"), *wanted)))

    assert fields() == fields(["x"]) == {"x"}
    asked.append(node_uri("a", "get_fields"))
    assert hub.calls == asked
    assert fields(["typo"]) == {"x"}
    world.clock.advance(5)
    fields(["x"])
    fields()
    asked += [node_uri("a", "get_fields")] * 2
    assert hub.calls == asked
    hub.publish("subtracted", node("a"))
    hub.publish("added", node("a", generation="2"))
    fields(["x"])
    asked.append(node_uri("a", "get_fields"))
    assert hub.calls == asked


def test_equal_questions_in_flight_are_shared(world):
    hub = world.join(node("a"))
    hub.is_slow = True
    known = world.directory.current("a")
    asking = [defer.ensureDeferred(world.directory.fields(known, ["x"])) for _ in range(3)]
    assert hub.calls == [LIST, node_uri("a", "get_fields")]
    hub.answer()
    assert [set(each.result) for each in asking] == [{"x"}] * 3
