"""What the bare peers share: Part 1 of the protocol on autobahn alone, nothing of sisock."""

import argparse
import os
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import txaio
from autobahn.twisted.wamp import ApplicationRunner, ApplicationSession
from autobahn.wamp import auth
from autobahn.wamp.serializer import CBORSerializer, JsonSerializer, MsgPackSerializer
from autobahn.wamp.types import ComponentConfig
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError, DNSLookupError
from twisted.internet.ssl import Certificate, optionsForClientTLS, trustRootFromCertificates
from twisted.internet.task import deferLater

REALM = "sisock"
# Here, as the serializers' module can be used only if autobahn.twisted was imported before it.
SERIALIZERS = {"json": JsonSerializer, "cbor": CBORSerializer, "msgpack": MsgPackSerializer}


class NotJoined(Exception):
    """The router could not be reached or did not let the peer in."""


class Peer(ApplicationSession):
    """A session that joins with WAMP-CRA and then does its `work`."""

    def __init__(self, config):
        super().__init__(config)
        self.joined = False
        self.worked = Deferred()
        self.left = None

    def onConnect(self):
        """Ask to join, as the authid of the command line."""
        self.join(REALM, ["wampcra"], self.config.extra.authid)

    def onChallenge(self, challenge):
        """Sign the router's challenge with the secret."""
        return auth.compute_wcs(os.environ["WAMP_SECRET"], challenge.extra["challenge"])

    async def onJoin(self, details):
        """Do the work; leave if it fails, as autobahn would only log it and stay."""
        self.joined = True
        try:
            await self.work()
        except Exception:
            self.worked.errback()
            if self.is_attached():
                self.leave()
        else:
            self.worked.callback(None)

    def onLeave(self, details):
        """Keep the reason for `run`."""
        self.left = details
        return super().onLeave(details)

    def send_with(self, keywords, request, *args, **options):
        """Make a request with any keywords, also with names of autobahn's own arguments."""
        send = self._transport.send

        def send_message(message):
            message.kwargs = keywords
            send(message)

        self._transport.send = send_message
        try:
            return request(*args, **options)
        finally:
            self._transport.send = send

    async def work(self):
        """What the peer does once it has joined."""
        raise NotImplementedError


def uri(suffix):
    """The whole URI of a suffix such as `data_node.add`."""
    return "org.simonsobservatory." + suffix


def unix_time(sisock_time):
    """The UNIX time of a sisock time."""
    return sisock_time if sisock_time > 0 else time.time() + sisock_time


def say(text, stream=None):
    """Write a line at once, past Twisted's logging, which takes over `sys.stdout`."""
    print(text, file=stream or sys.__stdout__, flush=True)


def parser(description, authid):
    """The command line that all peers have."""
    arguments = argparse.ArgumentParser(description=description)
    arguments.add_argument("--url", required=True, help="ws:// or wss:// URL of the router")
    arguments.add_argument("--ca", type=Path, help="PEM file of the CA to trust, for wss://")
    arguments.add_argument("--authid", default=authid, help="default: %(default)s")
    return arguments


def trust(options):
    """TLS options that trust only the given CA, and check the host name."""
    if options.ca is None:
        return None
    ca = Certificate.loadPEM(options.ca.read_bytes())
    return optionsForClientTLS(
        urlsplit(options.url).hostname, trustRoot=trustRootFromCertificates([ca])
    )


async def run(reactor, peer, options, serializers=None):
    """Connect one session of the class `peer`, until its connection ends; for `task.react`."""
    txaio.start_logging(out=sys.stderr, level="warn")
    session = peer(ComponentConfig(REALM, options))
    runner = ApplicationRunner(options.url, REALM, serializers=serializers, ssl=trust(options))
    # The runner's own loop would go on for ever after a failed TLS or WebSocket handshake.
    try:
        protocol = await runner.run(session, start_reactor=False)
    except (ConnectError, DNSLookupError) as error:
        raise NotJoined(str(error)) from error
    await protocol.is_closed
    if session.joined:
        await session.worked
    else:
        # Autobahn sets the reason after it has said that it is closed.
        await deferLater(reactor, 0)
        left = session.left
        raise NotJoined(f"{left.reason}: {left.message}" if left else protocol.wasNotCleanReason)
