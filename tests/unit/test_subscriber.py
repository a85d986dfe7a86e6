"""A subscriber node connects again and again, and says how it goes."""

from contextlib import ExitStack

import pytest
from twisted.internet import defer

import sisock
from sisock.errors import NodeContractError
from sisock.testing import Clock, run_on_clock

NOW = 1_700_000_000.0


class Log:
    """What a node logs."""

    def __init__(self):
        self.lines = []

    def info(self, text, /, **values):
        self.lines.append(text.format(**values))

    warn = debug = info


class Sent(sisock.SubscriberNode):
    """Its connections are deferreds, which the test ends."""

    name = "sent"
    channels = {"a": "x", "b": {"field": "word", "type": "string", "units": "-"}}

    def __init__(self):
        self.log = Log()
        self.connections = []

    async def subscribe(self):
        self.connections.append(defer.Deferred())
        await self.connections[-1]


@pytest.fixture
def begun():
    """Begin a node; returns it and its clock."""
    with ExitStack() as stack:

        def begin(**attributes):
            clock = Clock()
            node = type("Made", (Sent,), attributes)()
            return stack.enter_context(run_on_clock(node, clock)), clock

        yield begin


def test_it_connects_again_ever_later_until_samples_come(begun):
    node, clock = begun()
    pauses = []
    for _ in range(9):
        node.connections[-1].errback(ConnectionError("refused"))
        count, began = len(node.connections), clock.seconds()
        while len(node.connections) == count:
            clock.advance(0.1)
        pauses.append(clock.seconds() - began)
    for i, pause in enumerate(pauses):
        most = min(2.0 ** (i + 1), 60.0)
        assert most / 2 <= pause <= most + 0.2
    node.hear("a", 1.5)
    node.connections[-1].callback(None)
    clock.pass_time(1.2)
    assert len(node.connections) == 11
    texts = [line for line in node.log.lines if "connection has ended" in line]
    assert "(ConnectionError: refused); next try within 2 s" in texts[0]
    assert "(it was closed); next try within 1 s" in texts[-1]


def test_a_sample_ends_the_trouble_and_the_log_says_so(begun):
    node, clock = begun()
    node.connections[-1].errback(ConnectionRefusedError(111, "Connection refused"))
    clock.pass_time(2.2)
    assert "nothing listens there: is it on, and is the port right?" in node.trouble
    assert node.status()["error"] == node.trouble
    node.hear("a", 1.5, NOW)
    node.hear("a", 2.5, NOW + 1)
    assert (node.trouble, node.status()["error"]) == (None, None)
    assert node.log.lines.count("connected again: samples come") == 1


def test_the_trouble_says_only_what_holds_until_a_sample_comes(begun):
    node, clock = begun()
    node.connections[-1].callback(None)
    clock.pass_time(2)  # connected again, but silent
    assert node.trouble == "the connection has ended (it was closed); no sample has come since"
    assert node.status()["error"] == node.trouble


def test_dropped_samples_stay_in_the_status_after_the_trouble(begun):
    node, clock = begun()
    node.hear("a", [1, 2], [NOW, NOW])
    node.get_data(["x"], 1, 0)
    node.connections[-1].callback(None)
    clock.pass_time(2)
    assert node.status()["error"] == f"{node.trouble} (1 sample dropped since the start)"
    node.hear("a", 1.5, NOW + 1)
    assert node.status()["error"] == "1 sample dropped since the start"


def test_channels_are_fields_of_their_own_timelines(begun):
    node, _ = begun()
    node.hear("a", 1, NOW)
    node.hear("b", ["on", "off"], [NOW, NOW + 5])
    node.hear("other", 1, NOW)
    reply = node.get_data(["x", "word", "other"], 1, NOW + 10)
    values = {name: column.tolist() for name, column in reply.data.items()}
    assert values == {"x": [1.0], "word": ["on", "off"], "other": []}
    assert reply.follows == {"x": "x", "word": "word"}


def test_without_channels_each_is_a_field(begun):
    node, _ = begun(channels={})
    node.hear("temperature/4k", 4.2, NOW)
    node.hear("door", "open", NOW)
    node.hear("", 1, NOW)
    reply = node.get_data(["temperature/4k", "door"], 1, NOW + 10)
    assert reply.follows == {"temperature/4k": "temperature/4k", "door": "door"}


def test_one_line_a_minute_says_how_it_goes(begun):
    node, clock = begun()
    node.hear("a", 1.5, NOW)
    node.hear("a", 2.5, NOW)
    node.hear("other", 1)
    node.connections[-1].callback(None)
    node.get_data(["x"], 1, 0)
    clock.pass_time(60.1)
    (line,) = [line for line in node.log.lines if "fields" in line]
    assert line == "1 sample of 2 fields, 2 dropped, 1 reconnect"
    clock.pass_time(60)
    assert node.log.lines[-1] == "0 samples of 2 fields, 0 dropped, 0 reconnects"


def test_a_timeline_that_falls_silent_is_said_once(begun):
    node, clock = begun(stale_after=1e-6, channels={"a": "x"})
    node.hear("a", 1.5, NOW)
    node.get_data(["x"], 1, 0)
    clock.pass_time(5)
    texts = [line for line in node.log.lines if "timeline 'x'" in line]
    assert texts == ["timeline 'x': nothing has come for 0 s"]


@pytest.mark.parametrize(
    ("channels", "sentence"),
    [
        (["a"], "its channels must be a dict, not list"),
        ({"a": 5}, "the channel 'a' needs the name of a field, or a dict"),
        ({"a": {"unit": "K"}}, "'unit' is not one of the keys"),
        ({"a": ""}, "'' cannot be the name of a field"),
    ],
)
def test_channels_that_cannot_be_are_an_error(channels, sentence):
    node = type("Wrong", (Sent,), {"channels": channels})()
    with pytest.raises(NodeContractError, match=sentence):
        node.prepare()
