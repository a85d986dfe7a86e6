"""Run a node on a session: its procedures, its entry in the hub's list, its live topic."""

from __future__ import annotations

import inspect
import secrets
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from autobahn.wamp.exception import TransportLost
from twisted.internet import defer, task, threads
from twisted.python.threadable import isInIOThread

from sisock.connection.reconnect import RouterConnection
from sisock.connection.runtime import global_reactor
from sisock.connection.session import Session
from sisock.errors import InvalidNodeName, NodeContractError, SisockError
from sisock.node.api import DataNodeServer
from sisock.node.registration import Registration
from sisock.node.replica import serves_the_same
from sisock.node.requests import RequestHandler
from sisock.node.validation import find_misspelt
from sisock.wire import protocol
from sisock.wire.fields import with_trouble

TELL_EVERY = 1.0  # seconds between two checks whether the node's description has changed


class NodeService:
    """Run one node. The constructor raises SisockError if an attribute or method is wrong."""

    def __init__(self, node: DataNodeServer, reactor: Any = None) -> None:
        self.misspelt = find_misspelt(node)
        try:
            _check_class(node)
            node.prepare()
        except SisockError as error:
            error.args = ("; ".join([str(error), *self.misspelt]),)
            raise
        self.node = node
        self.reactor = global_reactor() if reactor is None else reactor
        self.requests = RequestHandler(node.answering(), self.reactor)
        self._generation = secrets.token_hex(8)
        self._registration: Registration | None = None
        self._has_begun = False
        self._loops: list[task.LoopingCall] = []
        node.service = self

    def open(self) -> None:
        """Open the node's files; raises SisockError if that fails."""
        for text in self.misspelt:
            self.requests.warn(text)
        self._generation = self.node.open() or self._generation

    def _begin_once(self) -> None:
        # Not before the node holds its name: a second process must not disturb the instrument.
        # Once begun, the node continues even without a connection.
        if not self._has_begun:
            self._has_begun = True
            self.node.begin(self)
            self.repeat(TELL_EVERY, self._tell_changes, now=False)

    def repeat(self, seconds: float, function: Callable[[], Any], now: bool = True) -> None:
        """Call a function in the reactor every `seconds`, until the node ends; log its errors.

        The function may be a coroutine function. It is not called again before it has finished.
        """

        def call() -> defer.Deferred:
            return defer.maybeDeferred(function).addErrback(
                lambda failure: self.requests.warn(f"{failure.type.__name__}: {failure.value}")
            )

        loop = task.LoopingCall(call)
        loop.clock = self.reactor
        loop.start(seconds, now)
        self._loops.append(loop)

    def stop(self) -> None:
        """End the node's threads and background work; call this in the reactor."""
        while self._loops:
            self._loops.pop().stop()
        self.requests.stop()
        self.node.end()

    def samples_changed(self) -> None:
        """Begin a new generation; in a thread, wait until the hub has announced it."""
        if isInIOThread():
            self._begin_generation()
        else:
            threads.blockingCallFromThread(self.reactor, self._begin_generation)

    def _begin_generation(self) -> defer.Deferred:
        self._generation = secrets.token_hex(8)
        self.requests.forget()
        if self._registration is None:
            return defer.succeed(None)
        renewing = defer.ensureDeferred(self._registration.renew(self._generation))
        # If the hub is down, consumers have no cache of this node to drop.
        return renewing.addErrback(lambda _: None)

    async def joined(self, session: Session) -> None:
        """Serve on a session for as long as it lasts."""
        node = self.node
        self._registration = Registration(
            session,
            node.name,
            self._describe,
            {
                "features": list(node.features),
                "generation": self._generation,
                **({"replica": True} if node.is_replica else {}),
            },
            {"get_fields": self.requests.get_fields, "get_data": self.requests.get_data},
            self._begin_once,
            partial(serves_the_same, session, node.name, self.requests)
            if node.is_replica
            else None,
        )
        node.joined(session)
        await self._registration.keep()

    def _describe(self) -> str:
        node = self.node
        text = node.description or inspect.cleandoc(type(node).__doc__ or "").partition("\n")[0]
        return with_trouble(text, node.trouble)

    def _tell_changes(self) -> None:
        if self._registration is not None:
            self._registration.tell_changes()

    def left(self) -> None:
        """Note that the session has ended."""
        self._registration = None

    def health(self, connection: RouterConnection) -> str:
        """Return `sisock.connection.health.OK` if consumers can find the node, or the reason."""
        if self._registration is not None and not self._registration.is_added:
            return f"joined to the router, but {self.node.name!r} is not in the hub's list"
        return connection.health()

    def status(self) -> dict[str, Any]:
        """Return the node's `status`, with the last error of its requests if it has no other."""
        status = self.node.status()
        error = status["error"] or self.node.trouble or self.requests.warn.last
        return {**status, "error": error}

    def publish(self, reply: dict[str, Any]) -> None:
        """Publish new samples on the node's live topic, once the hub has announced the node."""
        if self._registration is not None:
            # If the connection is lost, consumers ask for the missed samples later.
            with suppress(TransportLost):
                self._registration.publish(reply)


def _check_class(node: DataNodeServer) -> None:
    """Raise SisockError if a node has no valid name, or lacks a method."""
    cls = type(node).__name__
    if not node.name:
        raise InvalidNodeName(f"{cls} has no name: set its attribute name, or use --name")
    protocol.check_node_name(node.name)
    if node.is_replica and "live" in node.features:
        raise SisockError(f"{cls} takes samples itself, so it cannot be a replica of another")
    for method in sorted(set(dir(type(node))) - set(vars(node))):
        if getattr(getattr(type(node), method, None), "__isabstractmethod__", False):
            rule = f"the class {cls} has no method {method}: see docs/how-to/data-nodes.md"
            raise NodeContractError(node.name, None, rule)
