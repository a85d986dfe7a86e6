"""Call nodes like a consumer of 2018: with plain WAMP, without sisock's client."""

from __future__ import annotations

from typing import Any

from autobahn.twisted.component import Component
from twisted.internet import defer, threads
from twisted.internet.ssl import Certificate, optionsForClientTLS, trustRootFromCertificates

from sisock.connection.runtime import reactor_thread
from sisock.errors import RouterUnreachable
from sisock.testing.router import RouterProcess
from sisock.wire.protocol import uri

TIMEOUT = 20  # seconds that the router or a node may take for one answer


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
        host, port = settings.host, settings.port
        certificate = Certificate.loadPEM(settings.home.ca_certificate.read_bytes())
        tls = optionsForClientTLS(host, trustRootFromCertificates([certificate]))
        transport = {
            "type": "websocket",
            "url": f"wss://{host}:{port}/ws",
            "endpoint": {"type": "tcp", "host": host, "port": port, "tls": tls},
            "serializers": [serializer],
            "max_retries": 0,
        }
        login = {"wampcra": {"authid": settings.user, "secret": settings.secret}}
        component = Component(None, transport, realm=settings.realm, authentication=login)
        self._session = threads.blockingCallFromThread(self._reactor, self._join, component)

    def _join(self, component: Component) -> defer.Deferred:
        joined: defer.Deferred = defer.Deferred()

        def fail(why: Any) -> None:
            if not joined.called:
                joined.errback(RouterUnreachable(str(why)))

        component.on("join", lambda session, details: joined.callback(session))
        component.on("leave", lambda session, why: fail(f"{why.reason}: {why.message}"))
        self._ended = component.start(self._reactor).addErrback(lambda why: fail(why.value))
        return joined.addTimeout(TIMEOUT, self._reactor)

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
            return self._ended.addTimeout(TIMEOUT, self._reactor)

        threads.blockingCallFromThread(self._reactor, end)

    def __enter__(self) -> Part1Consumer:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()
