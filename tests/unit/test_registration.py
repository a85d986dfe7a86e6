"""How a node gets into the hub's list, with a hub of the test's own."""

import pytest
from autobahn.wamp.exception import ApplicationError
from twisted.internet import defer, task

from sisock.errors import SettingsError
from sisock.node.registration import Registration
from sisock.wire.protocol import ERROR_INVALID_ARGUMENT, uri


class Session:
    """A session whose hub notes what it is asked; one of Part 1 knows no keywords."""

    _session_id = 5

    def __init__(self, is_of_part_1):
        self.reactor = task.Clock()
        self.is_of_part_1 = is_of_part_1
        self.asked = []

    def subscribe(self, handler, topic):
        return defer.succeed(None)

    async def hold(self, endpoint, procedure, is_shared):
        pass

    def request(self, procedure, *args, timeout, **announced):
        verb = procedure.removeprefix(uri("data_node."))
        self.asked.append((verb, announced.get("generation")))
        if announced and self.is_of_part_1:
            return defer.fail(ApplicationError(ERROR_INVALID_ARGUMENT, "unknown keyword"))
        return defer.succeed([] if verb.endswith("get_data_node") else verb == "add")


@pytest.mark.parametrize(
    ("is_of_part_1", "asked"),
    [
        # The hub itself says that the node has gone and come: it is never missing in the list.
        (False, [("add", "new")]),
        (True, [("subtract", None), ("add", "new"), ("add", None)]),
    ],
)
def test_a_new_generation_is_announced(is_of_part_1, asked):
    session = Session(is_of_part_1)
    announced = {"features": [], "generation": "old"}
    registration = Registration(
        session, "n", lambda: "d", announced, {"get_fields": None}, lambda: None
    )
    keeping = defer.ensureDeferred(registration.keep())
    assert registration.is_added
    session.asked.clear()
    defer.ensureDeferred(registration.renew("new"))
    assert (session.asked, registration.is_added) == (asked, True)
    keeping.addErrback(lambda _: None)
    keeping.cancel()


@pytest.mark.parametrize("is_of_part_1", [False, True])
def test_a_changed_description_is_sent_at_once(is_of_part_1):
    session, descriptions = Session(is_of_part_1), ["d"]
    registration = Registration(
        session, "n", lambda: descriptions[-1], {"generation": "g"}, {}, lambda: None
    )
    keeping = defer.ensureDeferred(registration.keep())
    session.asked.clear()
    registration.tell_changes()
    assert session.asked == []
    descriptions.append("d [problem: it is off]")
    registration.tell_changes()
    registration.tell_changes()
    # A hub of Part 1 cannot be told: it refuses a node that it has.
    assert session.asked == ([] if is_of_part_1 else [("add", "g")])
    keeping.addErrback(lambda _: None)
    keeping.cancel()


def test_a_replica_ends_where_the_hub_knows_none():
    async def is_same():
        return True

    announced = {"generation": "old", "replica": True}
    procedures = {"get_fields": None}
    registration = Registration(
        Session(True), "n", lambda: "d", announced, procedures, lambda: None, is_same
    )
    ended = []
    defer.ensureDeferred(registration.keep()).addErrback(
        lambda failure: ended.append(failure.value)
    )
    assert isinstance(ended[0], SettingsError)
    assert "without --replica" in str(ended[0])
