"""A node announces its generation, and a new one before it returns samples that have changed."""

from __future__ import annotations

from sisock.wire.protocol import USER_CONSUMER
from tests.conftest import wait_for_nodes
from tests.integration.peers import Member, listening
from tests.nodes import START


def generation_of(consumer, node):
    """Return the generation that the hub's list has."""
    (entry,) = [n for n in consumer.call("consumer.get_data_node") if n["name"] == node]
    return entry["generation"]


def test_each_start_is_a_generation(router, start, client):
    found = []
    with Member(router, USER_CONSUMER) as consumer:
        for node in ("generation_1", "generation_2"):
            start(router, "tests/nodes.py", "corrected", "--name", node)
            wait_for_nodes(client, node)
            found.append(generation_of(consumer, node))
    assert all(isinstance(each, str) and each for each in found)
    assert found[0] != found[1]


def test_changed_samples_are_a_new_generation_before_they_come(router, start, client):
    node = "generation_changes"
    start(router, "tests/nodes.py", "corrected", "--name", node)
    wait_for_nodes(client, node)
    known, counts = set(), []
    with (
        listening(router, "consumer.data_node_subtracted", 3) as subtracted,
        listening(router, "consumer.data_node_added", 3) as added,
        Member(router, USER_CONSUMER) as consumer,
    ):
        known.add(generation_of(consumer, node))
        for _ in range(3):
            reply = consumer.call(f"consumer.{node}.get_data", ["x"], START, START + 1)
            counts += reply["data"]["x"]
            known.add(generation_of(consumer, node))
        events = [event["args"][0] for event in subtracted() + added()]
    assert counts == [1, 2, 3]
    assert len(known) == 4
    assert [event["name"] for event in events] == [node] * 6
    assert {event["generation"] for event in events} == known
