"""Nodes that the bridge's unit tests make, and a session to them without a router."""

from types import SimpleNamespace

import numpy as np
from twisted.internet import defer, task

from sisock.bridge.bridge import Bridge
from sisock.wire.reply import Reply, Timeline


def described(interval=1.0, **timeline_of):
    lines = {
        line: [n for n in timeline_of if timeline_of[n] == line] for line in timeline_of.values()
    }
    return [
        {
            name: {"description": None, "timeline": line, "type": "number", "units": None}
            for name, line in timeline_of.items()
        },
        {line: {"interval": interval, "field": names} for line, names in lines.items()},
    ]


class Node:
    """Samples of each timeline at some times; the values are the times, unless there is one."""

    values = generation = None

    def __init__(self, timeline_of, times, final_to=None, interval=1.0):
        self.timeline_of, self.times, self.interval = timeline_of, times, interval
        self.final_to = final_to
        self.asked = []

    def get_fields(self, start, end):
        return described(self.interval, **self.timeline_of)

    def get_data(self, fields, start, end, min_stride=None, bucket=None, max_points=None, **_):
        self.asked.append((start, end))
        reply = Reply({name: [] for name in fields})
        for name in fields:
            line = self.timeline_of[name]
            t = np.array([t for t in self.times[line] if start <= t < end])
            if min_stride:
                t = t[:: round(min_stride)]
            if len(t):
                reply.timelines[line] = Timeline(t, self.final_to)
                reply.follows[name] = line
                reply.data[name] = t if self.values is None else np.full(len(t), self.values)
        if bucket or max_points:
            reply = reply.decimate(bucket, max_points)
            if self.final_to is not None:
                reply.final_to = dict.fromkeys(fields, self.final_to)
        return reply.to_wire()


class Session:
    """A session to some nodes."""

    def __init__(self, nodes, features=(), reactor=None):
        self.nodes, self.features, self.subscribed = nodes, features, {}
        self.reactor = reactor or task.Clock()

    def subscribe(self, handler, topic):
        self.subscribed[topic.rsplit("_", 1)[1]] = handler
        return defer.succeed(None)

    def request(self, procedure, *args, timeout=None, on_progress=None, **keywords):
        if procedure.endswith("get_data_node"):
            return defer.succeed([self.entry(name) for name in self.nodes])
        _, name, verb = procedure.rsplit(".", 2)
        return defer.maybeDeferred(getattr(self.nodes[name], verb), *args, **keywords)

    def entry(self, name):
        own = getattr(self.nodes.get(name), "generation", None)
        about = {} if own is None else {"generation": own}
        return {"name": name, "description": "", "features": list(self.features), **about}

    def come(self, name, node):
        """Have a node come, or come again."""
        self.nodes[name] = node
        self.subscribed["added"](self.entry(name))

    def go(self, name):
        """Have a node go."""
        del self.nodes[name]
        self.subscribed["subtracted"](self.entry(name))


class World:
    """A bridge that is joined to some nodes, and its clock, which is its time too."""

    def __init__(self, features=("bucket",), cache_bytes=1 << 20, max_samples=1000, **nodes):
        self.clock = task.Clock()
        self.clock.advance(10_000.0)
        self.bridge = Bridge(
            [SimpleNamespace(site=None)],
            10,
            cache_bytes,
            max_samples,
            self.clock,
            self.clock.seconds,
        )
        self.session = Session(nodes, features, self.clock)
        site = self.bridge.sites[""]
        site.connection.session = self.session
        self.result(site.directory.joined(self.session))

    def result(self, coroutine):
        """Return the result of a coroutine that waits for nothing but the clock."""
        done = defer.ensureDeferred(coroutine)
        found = []
        done.addBoth(found.append)
        for _ in range(100):
            if found:
                break
            self.clock.advance(0.05)
        assert found, "it waits"
        return found[0].raiseException() if hasattr(found[0], "raiseException") else found[0]
