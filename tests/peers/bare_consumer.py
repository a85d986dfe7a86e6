"""A consumer of 2018: runs the requests given as a JSON list on stdin, one JSON line for each.

{"call": suffix, "args": [], "kwargs": {}}      -> {"result": ...}
{"subscribe": suffix, "seconds": n, "count": k} -> {"events": [{"args": [], "kwargs": {}}]}
{"register": suffix}                            -> {"result": null}
{"publish": suffix, "args": [], "kwargs": {}}   -> {"result": null}

or {"error": uri, "args": []}, or {"error": "timeout"}. A line `subscribed <suffix>` on stderr says
from when on events are heard.
"""

import argparse
import contextlib
import json
import sys

from autobahn.wamp.exception import ApplicationError, TransportLost
from autobahn.wamp.types import CloseDetails, PublishOptions
from bare import SERIALIZERS, NotJoined, Peer, parser, run, say, uri
from twisted.internet import defer, reactor
from twisted.internet.task import react

LIMIT = 20


class Consumer(Peer):
    """Runs the requests, one after the other, and leaves."""

    async def work(self):
        """Print one line per request."""
        for request in self.config.extra.requests:
            try:
                answer = await self.answer(request)
            except ApplicationError as error:
                answer = {"error": error.error, "args": error.args}
            except TransportLost:
                answer = {"error": CloseDetails.REASON_TRANSPORT_LOST, "args": []}
            except defer.TimeoutError:
                answer = {"error": "timeout"}
            # What JSON does not know has no place in Part 1: the test shall see it.
            say(json.dumps(answer, default=repr))
        if self.is_attached():
            self.leave()

    async def answer(self, request):
        """What the router answers to one request."""
        args, kwargs = request.get("args", []), request.get("kwargs", {})
        match request:
            case {"call": suffix}:
                called = self.send_with(kwargs, self.call, uri(suffix), *args)
                return {"result": await called.addTimeout(LIMIT, reactor)}
            case {"subscribe": suffix, "seconds": seconds, "count": count}:
                return {"events": await self.events(suffix, seconds, count)}
            case {"register": suffix}:
                await self.register(lambda: None, uri(suffix)).addTimeout(LIMIT, reactor)
                return {"result": None}
            case {"publish": suffix}:
                options = PublishOptions(acknowledge=True)
                published = self.send_with(
                    kwargs, self.publish, uri(suffix), *args, options=options
                )
                await published.addTimeout(LIMIT, reactor)
                return {"result": None}
        raise ValueError(f"not a request: {request}")

    async def events(self, suffix, seconds, count):
        """The first `count` events of a topic, or those of so many seconds."""
        events, enough = [], defer.Deferred()

        def heard(*args, **kwargs):
            events.append({"args": args, "kwargs": kwargs})
            if len(events) == count:
                enough.callback(None)

        subscription = await self.subscribe(heard, uri(suffix)).addTimeout(LIMIT, reactor)
        say(f"subscribed {suffix}", sys.__stderr__)
        with contextlib.suppress(defer.TimeoutError):
            await enough.addTimeout(seconds, reactor)
        await subscription.unsubscribe().addTimeout(LIMIT, reactor)
        return events[:count]


async def main(reactor, options):
    """Run the consumer; that it could not join is an answer, too."""
    try:
        await run(reactor, Consumer, options, [SERIALIZERS[options.serializer]()])
    except NotJoined as error:
        say(json.dumps({"error": "join", "reason": str(error)}))
        sys.exit(1)


if __name__ == "__main__":
    arguments = parser(__doc__, "simonsobs")
    arguments.formatter_class = argparse.RawDescriptionHelpFormatter
    arguments.add_argument("--serializer", choices=SERIALIZERS, default="json")
    options = arguments.parse_args()
    options.requests = json.load(sys.stdin)
    react(main, [options])
