"""All samples are written while they arrive, at the pace of the client, and never end short."""

import numpy as np
import orjson
import pytest
from autobahn.wamp.exception import ApplicationError
from twisted.internet import defer

from sisock.bridge.http import Request
from sisock.bridge.metrics import Metrics
from sisock.bridge.panels import Panels
from sisock.bridge.streams import open_streams
from sisock.errors import InvalidArgument, NodeFailed
from sisock.wire.protocol import ERROR_NODE_FAILED, Interval
from sisock.wire.reply import Reply, Timeline
from tests.unit.bridge_nodes import Node, Session, World

WINDOW = 1 << 16
"""Samples; those of two windows are more bytes than may wait for a client."""


class Windowed(Session):
    """A session whose one node answers in windows, when it is told to."""

    def request(self, procedure, *args, timeout=None, on_progress=None, **keywords):
        if not procedure.endswith("get_data"):
            return super().request(procedure, *args, timeout=timeout, **keywords)
        done = defer.Deferred()
        self.nodes["n"].windows.append((args[0], args[1], on_progress, done))
        return done


class Slow(Node):
    """The node; by default a field of it is long."""

    def __init__(self, interval=0.1):
        super().__init__(dict.fromkeys("xy", "a"), {}, interval=interval)
        self.windows = []

    def send(self, t, following=None, window=-1, is_last=True):
        """Answer a window with samples; perhaps there is more."""
        fields, _, progress, done = self.windows[window]
        t = np.asarray(t, dtype=float)
        reply = Reply(
            dict.fromkeys(fields, t), {"a": Timeline(t)}, dict.fromkeys(fields, "a")
        ).to_wire(True)
        if following is not None:
            reply |= {"next": following, "end": 9e8}
        done.callback(reply) if is_last else progress(reply)

    def fail(self):
        self.windows[-1][-1].errback(ApplicationError(ERROR_NODE_FAILED, "it broke"))


class Asked(World):
    """A request for all samples of fields, and what comes of it."""

    def __init__(self, *names, interval=0.1):
        self.node = Slow(interval)
        super().__init__(("progressive", "binary"), max_samples=10**7, n=self.node)
        session = Windowed({"n": self.node}, ("progressive", "binary"), self.clock)
        site = self.bridge.sites[""]
        site.connection.session = session
        self.result(site.directory.joined(session))
        body = {"targets": [{"target": f"n::{name}"} for name in names]}
        body["range"] = {"from": 1000, "to": 9_000_000}
        panels = Panels(self.bridge, Metrics())
        self.answers, self.parts, self.errors = [], [], []
        self.asking = defer.ensureDeferred(panels.query(Request("", body=orjson.dumps(body))))
        self.asking.addCallbacks(self.answers.append, self.errors.append)

    def read(self):
        """Begin to read the answer."""

        async def read():
            async for part in self.answers[0].parts:
                self.parts.append(part)

        self.reading = defer.ensureDeferred(read())
        self.reading.addErrback(lambda failure: self.errors.append(failure.value))
        self.clock.pump([0.0] * 200)

    @property
    def datapoints(self):
        return [len(each["datapoints"]) for each in orjson.loads(b"".join(self.parts))]


def test_the_status_is_known_with_the_first_samples_of_each_call():
    asked = Asked("x", "y", interval=0.005)
    assert [fields for fields, *_ in asked.node.windows] == [["x"], ["y"]]
    asked.node.send([1, 2], 3.0, window=0)
    assert asked.answers == []
    asked.node.send([1, 2], window=1)
    (answer,) = asked.answers
    assert (answer.status, answer.headers) == (200, {})
    asked.read()
    assert b"[1.0, 1000], [2.0, 2000]" in b"".join(asked.parts)
    assert b"n::y" not in b"".join(asked.parts)
    asked.node.send([3, 4, 5])
    asked.clock.pump([0.0] * 200)
    assert asked.datapoints == [5, 2]


def test_a_window_that_overtakes_another_is_written_behind_it():
    asked = Asked("x")
    asked.node.send([1, 2], 5.0, is_last=False)
    asked.node.send([5, 6])
    asked.read()
    asked.node.send([3, 4], 5.0, window=0)
    asked.clock.pump([0.0] * 20)
    (series,) = orjson.loads(b"".join(asked.parts))
    assert [value for value, _ in series["datapoints"]] == [1, 2, 3, 4, 5, 6]


def test_short_fields_share_a_call():
    asked = Asked("x", "y", "x", interval=1.0)
    assert [fields for fields, *_ in asked.node.windows] == [["x", "y"]]
    asked.node.send([1, 2, 3])
    asked.read()
    assert asked.datapoints == [3, 3, 3]


def test_an_error_before_the_first_samples_is_a_notice():
    asked = Asked("x")
    asked.node.fail()
    (answer,) = asked.answers
    assert "it broke" in str(answer.headers)
    assert b'"datapoints":[]' in b"".join(answer.parts)


def test_samples_without_a_timeline_are_an_error():
    asked = Asked("x")
    asked.node.windows[0][-1].callback({"data": {"x": [1.0]}, "timeline": {}})
    (answer,) = asked.answers
    assert "no timeline of the reply is its own" in str(answer.headers)


def test_an_error_behind_them_is_no_short_answer():
    asked = Asked("x")
    asked.node.send([1, 2], 3.0)
    asked.read()
    asked.node.fail()
    asked.clock.pump([0.0] * 20)
    assert [type(error) for error in asked.errors] == [NodeFailed]
    with pytest.raises(orjson.JSONDecodeError):
        orjson.loads(b"".join(asked.parts))


def test_no_window_is_asked_for_that_the_client_has_no_room_for():
    asked = Asked("x", interval=0.001)
    asked.node.send(1 + np.arange(WINDOW) / 100, 2000.0)
    assert len(asked.node.windows) == 2
    asked.node.send(2000 + np.arange(WINDOW) / 100, 4000.0)
    # However long the client takes, it is not the node that is late.
    asked.clock.pump([1.0] * 60)
    assert len(asked.node.windows) == 2
    asked.read()
    assert len(asked.node.windows) == 3
    asked.node.send([4000.0])
    asked.clock.pump([0.0] * 200)
    assert asked.datapoints == [2 * WINDOW + 1]


def test_a_client_that_leaves_ends_the_calls():
    asked = Asked("x")
    asked.node.send([1, 2], 3.0)
    assert not asked.node.windows[-1][-1].called
    asked.read()
    assert not asked.node.windows[-1][-1].called
    asked.reading.cancel()
    assert asked.node.windows[-1][-1].called


def test_a_long_field_that_is_wanted_twice_is_asked_for_once():
    asked = Asked("x", "x")
    for first in (1, 2000):
        asked.node.send(first + np.arange(WINDOW) / 100, first + 1999.0)
    asked.read()
    assert len(asked.node.windows) == 3
    asked.node.send([4000.0])
    asked.clock.pump([0.0] * 300)
    assert asked.datapoints == [2 * WINDOW + 1] * 2


def test_memory_is_counted_before_the_answer_begins():
    asked = Asked("x", interval=1.0)
    share, t = asked.bridge.memory.share(), 1e9 + np.arange(60_000) + 1 / 3
    interval = Interval(1e9, 1e9 + len(t))
    opening = open_streams(asked.bridge, share, [("n", "x")], interval, None)
    opened = defer.ensureDeferred(opening)
    counted = share.nbytes
    asked.node.send(t)
    assert opened.called
    assert share.nbytes == counted > 0


def test_too_many_samples_of_a_node_without_windows_are_refused():
    node = Node({"x": "a"}, {"a": [float(t) for t in range(1, 1002)]})
    world = World((), max_samples=1000, n=node)
    body = orjson.dumps({"targets": [{"target": "n::x"}], "range": {"from": 1, "to": 2_000_000}})
    with pytest.raises(InvalidArgument, match="ask for less"):
        world.result(Panels(world.bridge, Metrics()).query(Request("", body=body)))
