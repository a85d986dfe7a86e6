"""Call nodes like a consumer of 2018: with plain WAMP, without sisock's client."""

from __future__ import annotations

from typing import Any

from autobahn.twisted.wamp import ApplicationRunner, ApplicationSession
from autobahn.wamp import auth
from autobahn.wamp.serializer import CBORSerializer, JsonSerializer, MsgPackSerializer
from autobahn.wamp.types import Challenge, CloseDetails, ComponentConfig, SessionDetails
from twisted.internet import defer, threads
from twisted.internet.ssl import Certificate, optionsForClientTLS, trustRootFromCertificates

from sisock.connection.runtime import reactor_thread
from sisock.errors import RouterUnreachable
from sisock.testing.router import RouterProcess
from sisock.wire.protocol import uri

TIMEOUT = 20  # seconds that the router or a node may take for one answer

_SERIALIZERS = {"json": JsonSerializer, "cbor": CBORSerializer, "msgpack": MsgPackSerializer}


class Part1Consumer:
    """A consumer that knows only Part 1 of the protocol, like all programs of 2018.

    It shows what such programs get from a node: lists, not arrays, and all samples in one reply.
    `router` is a `RouterProcess`; `serializer` is "json", "cbor" or "msgpack". Use it with
    ``with``::

        with Part1Consumer(sisock_router) as consumer:
            fields, timelines = consumer.get_fields("weather")
            reply = consumer.get_data("weather", ["temperature"], -3600, 0)
            assert len(reply["data"]["temperature"]) == 60

    An error of the node or the router is autobahn's ``ApplicationError``; RouterUnreachable means
    that the consumer could not join.
    """

    def __init__(self, router: RouterProcess, serializer: str = "json") -> None:
        self._reactor = reactor_thread()
        settings = router.settings()
        url = f"wss://{settings.host}:{settings.port}/ws"
        self._session = _Session(ComponentConfig(settings.realm, settings))
        certificate = Certificate.loadPEM(settings.home.ca_certificate.read_bytes())
        trust = optionsForClientTLS(settings.host, trustRootFromCertificates([certificate]))
        kinds = [_SERIALIZERS[serializer]()]
        runner = ApplicationRunner(url, settings.realm, serializers=kinds, ssl=trust)

        def join() -> defer.Deferred:
            runner.run(self._session, start_reactor=False).addErrback(self._session.failed)
            return self._session.joined.addTimeout(TIMEOUT, self._reactor)

        threads.blockingCallFromThread(self._reactor, join)

    def nodes(self) -> list[dict[str, Any]]:
        """Ask the hub for its list of nodes."""
        return self.call("consumer.get_data_node")

    def get_fields(
        self, node: str, start: float = 1, end: float = 0
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Ask a node for its fields and timelines; times are sisock times."""
        fields, timelines = self.call(f"consumer.{node}.get_fields", start, end)
        return fields, timelines

    def get_data(
        self,
        node: str,
        fields: list[str],
        start: float,
        end: float,
        min_stride: float | None = None,
    ) -> Any:
        """Ask a node for samples: ``data`` and ``timeline``, or False if they are too many."""
        return self.call(f"consumer.{node}.get_data", fields, start, end, min_stride)

    def call(self, suffix: str, *args: Any, **kwargs: Any) -> Any:
        """Call any procedure; `suffix` is its URI without ``org.simonsobservatory.``."""

        def begin() -> defer.Deferred:
            called = self._session.call(uri(suffix), *args, **kwargs)
            return called.addTimeout(TIMEOUT, self._reactor)

        return threads.blockingCallFromThread(self._reactor, begin)

    def close(self) -> None:
        """Leave the router."""

        def end() -> defer.Deferred:
            if self._session.is_attached():
                self._session.leave()
            return self._session.ended.addTimeout(TIMEOUT, self._reactor)

        threads.blockingCallFromThread(self._reactor, end)

    def __enter__(self) -> Part1Consumer:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()


class _Session(ApplicationSession):
    """Join with WAMP-CRA."""

    def __init__(self, config: ComponentConfig) -> None:
        super().__init__(config)
        self.joined: defer.Deferred = defer.Deferred()
        self.ended: defer.Deferred = defer.Deferred()

    def onConnect(self) -> None:
        """Ask to join as the settings' user."""
        self.join(self.config.realm, ["wampcra"], self.config.extra.user)

    def onChallenge(self, challenge: Challenge) -> Any:
        """Sign the router's challenge."""
        return auth.compute_wcs(self.config.extra.secret, challenge.extra["challenge"])

    def onJoin(self, details: SessionDetails) -> None:
        """Report that the session has joined."""
        self.joined.callback(None)

    def onLeave(self, details: CloseDetails) -> None:
        """Disconnect; if the router has refused, say why."""
        self.failed(f"{details.reason}: {details.message}")
        self.disconnect()

    def onDisconnect(self) -> None:
        """Report that the session has ended."""
        self.failed("the router has closed the connection")
        self.ended.callback(None)

    def failed(self, why: Any) -> None:
        """Report why joining failed, unless it succeeded."""
        if not self.joined.called:
            self.joined.errback(RouterUnreachable(str(getattr(why, "value", why))))
