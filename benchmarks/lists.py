"""A consumer of the base protocol alone: lists, in JSON, a call for each part of the time.

``python -m benchmarks.lists SOCKET NODE FIELDS START STEP CALLS TIMES`` asks for each field in
CALLS parts of STEP seconds, TIMES over, and prints the seconds of each time and the samples, all
as one line of JSON. They have to be small, as one reply is at most 1,000,000 bytes of JSON.
With ``--grafana`` the samples are written as Grafana's JSON, as a bridge over lists has to.
"""

from __future__ import annotations

import argparse
import json
import sys
import time

from autobahn.twisted.wamp import ApplicationSession
from autobahn.twisted.websocket import WampWebSocketClientFactory
from autobahn.wamp.serializer import JsonSerializer
from autobahn.wamp.types import ComponentConfig
from twisted.internet import defer, endpoints
from twisted.internet.task import react

from sisock.wire.protocol import REALM, node_uri


class Consumer(ApplicationSession):
    """Asks, and leaves."""

    def __init__(self, options: argparse.Namespace) -> None:
        super().__init__(ComponentConfig(REALM))
        self.options = options
        self.done = defer.Deferred()

    def onConnect(self):
        """Join without a password, as on the Unix socket."""
        self.join(REALM, ["anonymous"])

    def onJoin(self, details):
        """Ask; the result or the failure ends the program."""
        defer.ensureDeferred(self.work()).chainDeferred(self.done)

    async def work(self):
        """Ask for everything, time after time."""
        seconds = []
        for _ in range(self.options.times):
            began = time.perf_counter()
            samples = sum([await self.ask(field) for field in self.options.fields.split(",")])
            seconds.append(time.perf_counter() - began)
        print(json.dumps({"seconds": seconds, "samples": samples}), file=sys.__stdout__)

    async def ask(self, field: str) -> int:
        """Ask for one field, and return the number of its samples."""
        given, procedure = self.options, node_uri(self.options.node, "get_data")
        t, values = [], []
        for i in range(given.calls):
            start = given.start + i * given.step
            reply = await self.call(procedure, [field], start, start + given.step)
            values += reply["data"][field]
            (line,) = reply["timeline"].values()
            t += line["t"]
        if given.grafana:
            points = [[value, 1000 * at] for value, at in zip(values, t, strict=True)]
            json.dumps([{"target": f"{given.node}::{field}", "datapoints": points}])
        return len(t)


async def main(reactor, options):
    """Connect, and wait until the consumer is done."""
    consumer = Consumer(options)
    factory = WampWebSocketClientFactory(
        lambda: consumer, url="ws://localhost/ws", serializers=[JsonSerializer()]
    )
    await endpoints.UNIXClientEndpoint(reactor, options.socket).connect(factory)
    await consumer.done


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    for name, kind in {
        "socket": str,
        "node": str,
        "fields": str,
        "start": float,
        "step": float,
        "calls": int,
        "times": int,
    }.items():
        parser.add_argument(name, type=kind)
    parser.add_argument("--grafana", action="store_true")
    react(main, [parser.parse_args()])
