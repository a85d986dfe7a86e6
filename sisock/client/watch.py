"""Subscriptions that outlive the session they were made on, and the nodes that come and go."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from twisted.internet import defer

from sisock.client.events import Node, NodeEvent, parse_node
from sisock.connection.logs import make_logger
from sisock.connection.session import Session
from sisock.connection.wire_errors import translated
from sisock.errors import HubMissing, RouterUnreachable, SisockError
from sisock.wire.protocol import uri

READ_AGAIN = 30.0
"""Seconds between readings of the hub's list: nobody tells a consumer of a hub that restarted."""

SETTLE = 5.0
"""Seconds after a restart of router or hub in which the nodes add themselves again."""

HUB_RETRY = 2.0

log = make_logger()


async def list_nodes(session: Session, timeout: float) -> list[Node]:
    """Ask the hub for the data nodes that are there.

    Raises
    ------
    HubMissing
        If it does not answer.
    """
    with translated(None):
        listed = await session.request(uri("consumer.get_data_node"), timeout=timeout)
    try:
        return [parse_node(entry) for entry in listed]
    except (AttributeError, KeyError, TypeError):
        raise HubMissing("what answers as the hub does not give a list of data nodes") from None


def _call(what: str, function: Callable[..., Any], *args: Any) -> None:
    try:
        function(*args)
    except Exception as error:
        why = f"{type(error).__name__}: {error}"
        log.error("an event of {what} is lost: {why}", what=what, why=why)


class Watch:
    """Calls back with the events of a topic, on one session after the other.

    Parameters
    ----------
    topic : str
        Full URI.
    handler : callable
        Called with the positional argument of each event; if it raises, that event is lost and
        the log says so.
    lock : DeferredLock
        Of all subscriptions of the client: autobahn mixes one up that begins with one that ends.
    timeout : float
        Seconds that the router may take.
    """

    def __init__(
        self, topic: str, handler: Callable[[Any], None], lock: defer.DeferredLock, timeout: float
    ) -> None:
        self._topic = topic
        self._handler = handler
        self._lock = lock
        self._timeout = timeout
        self._subscription: Any = None
        self._session: Session | None = None
        self._ended = False

    async def begin(self, session: Session) -> None:
        """Subscribe on a session, once.

        Raises
        ------
        RouterUnreachable, AuthenticationRejected
            If the router does not answer, or refuses.
        """
        if self._session is session:
            return
        self._session, self._subscription = session, None
        subscribing = self._lock.run(session.subscribe, self._event, self._topic)
        with translated(None):
            try:
                self._subscription = await subscribing.addTimeout(self._timeout, session.reactor)
            except defer.TimeoutError:
                raise RouterUnreachable("the router does not answer a subscription") from None
        if self._ended:
            self.end()

    def end(self) -> None:
        """Unsubscribe."""
        self._ended = True
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            self._lock.run(_unsubscribe, subscription).addErrback(lambda _: None)

    def _event(self, *args: Any, **_: Any) -> None:
        if not self._ended:
            _call(self._topic, self._handler, *args[:1])


def _unsubscribe(subscription: Any) -> Any:
    return subscription.unsubscribe() if subscription.active else None


class NodeWatch:
    """Calls back with each node that comes or goes, whether or not an event told of it.

    The hub's list is read after each join, whenever a node is added that was there already (its
    hub restarted), and now and then; a node is gone once it is missing from a settled list.

    Parameters
    ----------
    callback : callable
        Called with each `NodeEvent`.
    lock, timeout
        See `Watch`.
    """

    def __init__(
        self, callback: Callable[[NodeEvent], None], lock: defer.DeferredLock, timeout: float
    ) -> None:
        self._callback = callback
        self._timeout = timeout
        self._topics = [
            Watch(uri(f"consumer.data_node_{topic}"), handler, lock, timeout)
            for topic, handler in (("added", self._added), ("subtracted", self._subtracted))
        ]
        self._known: dict[str, Node] | None = None
        self._session: Session | None = None
        self._settles_at = 0.0
        self._next_look: Any = None

    async def begin(self, session: Session) -> None:
        """Subscribe on a session; nodes that are there the first time have not come."""
        for topic in self._topics:
            await topic.begin(session)
        self._session = session
        if self._known is None:
            try:
                listed = await list_nodes(session, self._timeout)
            except HubMissing:
                listed = []
            self._known = {node.name: node for node in listed}
        self._settle_within(SETTLE)
        self._look_in(0)

    def end(self) -> None:
        """Unsubscribe, and look no more."""
        self._session = None
        self._cancel_look()
        for topic in self._topics:
            topic.end()

    def _added(self, entry: Any) -> None:
        node = parse_node(entry)
        if self._known is not None and node.name in self._known:
            self._settle_within(SETTLE)
            self._look_in(SETTLE)
        self._came(node)

    def _subtracted(self, entry: Any) -> None:
        self._went(parse_node(entry).name)

    def _came(self, node: Node) -> None:
        if self._known is not None and self._known.get(node.name) != node:
            self._known[node.name] = node
            _call("nodes", self._callback, NodeEvent(node, True))

    def _went(self, name: str) -> None:
        node = self._known.pop(name, None) if self._known is not None else None
        if node is not None:
            _call("nodes", self._callback, NodeEvent(node, False))

    def _cancel_look(self) -> None:
        if self._next_look is not None and self._next_look.active():
            self._next_look.cancel()

    def _look_in(self, seconds: float) -> None:
        self._cancel_look()
        if self._session is not None and self._session.is_attached():
            self._next_look = self._session.reactor.callLater(
                seconds, lambda: defer.ensureDeferred(self._look())
            )

    def _settle_within(self, seconds: float) -> None:
        if self._session is not None:
            self._settles_at = self._session.reactor.seconds() + seconds

    async def _look(self) -> None:
        session = self._session
        if session is None or not session.is_attached():
            return  # the next join looks
        began = session.reactor.seconds()
        try:
            listed = {node.name: node for node in await list_nodes(session, self._timeout)}
        except SisockError:
            self._settle_within(HUB_RETRY + SETTLE)
            self._look_in(HUB_RETRY)
            return
        for node in listed.values():
            self._came(node)
        if began < self._settles_at:
            self._look_in(max(0.0, self._settles_at - session.reactor.seconds()))
            return
        for name in (self._known or {}).keys() - listed.keys():
            self._went(name)
        # Jitter, so that not all consumers ask in the same instant.
        self._look_in(READ_AGAIN * random.uniform(0.7, 1.0))
