"""A consumer of the base protocol alone: lists, in JSON, a call for each part of the time.

``python -m benchmarks.lists NODE FIELDS START STEP CALLS TIMES`` asks for each field in CALLS parts
of STEP seconds, TIMES over, and prints the seconds of each time and the samples, all as one line
of JSON. They have to be small, as one reply is at most 1,000,000 bytes of JSON.
With ``--grafana`` the samples are written as Grafana's JSON, as a bridge over lists has to.
"""

from __future__ import annotations

import argparse
import json
import sys
import time

from autobahn.twisted.websocket import WampWebSocketClientFactory
from autobahn.wamp.serializer import JsonSerializer
from twisted.internet import defer
from twisted.internet.task import react

from benchmarks.stack import CONSUMER
from sisock.connection.session import Session
from sisock.connection.settings import load_settings
from sisock.connection.transport import make_endpoint
from sisock.wire.protocol import node_uri


class Consumer:
    """Asks, and leaves."""

    def __init__(self, options: argparse.Namespace, reactor) -> None:
        self.options = options
        self.done = defer.Deferred()
        settings = load_settings(CONSUMER)
        self.session = Session(settings, reactor, self.joined, lambda *_: None)
        url = f"wss://{settings.host}/ws"
        factory = WampWebSocketClientFactory(
            lambda: self.session, url=url, serializers=[JsonSerializer()]
        )
        make_endpoint(settings, reactor).connect(factory).addErrback(self.done.errback)

    def joined(self, _session: Session) -> None:
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
            reply = await self.session.call(procedure, [field], start, start + given.step)
            values += reply["data"][field]
            (line,) = reply["timeline"].values()
            t += line["t"]
        if given.grafana:
            points = [[value, 1000 * at] for value, at in zip(values, t, strict=True)]
            json.dumps([{"target": f"{given.node}::{field}", "datapoints": points}])
        return len(t)


async def main(reactor, options):
    """Connect, and wait until the consumer is done."""
    await Consumer(options, reactor).done


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    for name, kind in {
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
