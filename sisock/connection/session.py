"""Define WAMP sessions that survive bad messages, keep their procedures, and time out calls."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Coroutine, Hashable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from autobahn.exception import PayloadExceededError
from autobahn.twisted.wamp import ApplicationSession
from autobahn.wamp import auth, message, types
from autobahn.wamp.exception import ApplicationError, SerializationError, TransportLost
from autobahn.wamp.request import Registration
from twisted.internet import defer, task
from twisted.python.failure import Failure

from sisock.connection.cbor import UnreadableInvocation
from sisock.connection.runtime import DemotedLogger, make_logger
from sisock.connection.settings import Settings
from sisock.errors import (
    AuthenticationRejected,
    HubMissing,
    InvalidArgument,
    NodeFailed,
    NodeGone,
    NodeTimeout,
    RouterUnreachable,
    SisockError,
    UnknownNode,
)
from sisock.wire.protocol import (
    ERROR_INVALID_ARGUMENT,
    ERROR_NO_SUCH_PROCEDURE,
    ERROR_NODE_FAILED,
    ERROR_NOT_AUTHORIZED,
    as_line,
)

CALL_TIMEOUT = 30
"""Default time limit of a call in seconds; without one, WAMP calls can hang forever."""

MIN_DELAY = 1.0
MAX_DELAY = 60.0
"""Delay in seconds before registering a lost procedure again; doubled if it is soon lost again."""

MAX_ERROR = 2000  # maximum number of characters shown of a peer's error

_CANCELED = "wamp.error.canceled"
_LOST = "the connection to the router was lost"

log = make_logger()


@dataclass
class _Held:
    """A registered procedure: options and delay to register it again, and since when it is held."""

    registration: Registration
    options: dict[str, Any]
    since: float
    delay: float = MIN_DELAY


class SteadySession(ApplicationSession):
    """A WAMP session that survives bad messages from peers, and keeps its procedures."""

    reactor: Any

    def __init__(self, config: types.ComponentConfig | None = None) -> None:
        super().__init__(config)
        self._held: dict[str, _Held] = {}
        self._has_left = False

    def onMessage(self, msg: Any) -> None:
        """Handle a message; catch errors, so that autobahn does not end the session.

        Autobahn raises for late answers, and for keywords that equal its own argument names.
        """
        if self._session_id is None and self._has_left:
            return  # a proxy of the router may deliver an answer after the goodbye
        if self._session_id is None or isinstance(msg, message.Goodbye):
            self._has_left = isinstance(msg, message.Goodbye)
            super().onMessage(msg)
            return
        try:
            if isinstance(msg, message.Unregistered) and msg.request == 0:
                self._registration_lost(self._registrations.pop(msg.registration))
            elif isinstance(msg, UnreadableInvocation):
                self._refuse(msg, "they are nested too deeply, or cannot be decoded")
            elif isinstance(msg, message.Invocation) and "details" in (msg.kwargs or ()):
                self._refuse(msg, "there is no keyword 'details'")  # autobahn uses it for its own
            else:
                super().onMessage(msg)
        except Exception as error:
            self.log.debug("dropped a {kind}: {why}", kind=type(msg).__name__, why=repr(error))
            if isinstance(msg, message.Invocation):
                names = ", ".join(str(name) for name in msg.kwargs or () if name != "details")
                self._refuse(msg, f"there is an unknown keyword among {names}")

    def _refuse(self, call: message.Invocation, why: str) -> None:
        kind, text = call.MESSAGE_TYPE, f"the arguments cannot be used: {why}"
        self._transport.send(message.Error(kind, call.request, ERROR_INVALID_ARGUMENT, [text]))

    async def hold(
        self, endpoint: Callable[..., Any], procedure: str, is_shared: bool = False
    ) -> None:
        """Register a procedure, and register it again whenever another session takes it by force.

        Several sessions can register the same shared procedure: calls go to each in turn.
        """
        shared = {"invoke": "roundrobin"} if is_shared else {}
        registration = await self._register(endpoint, procedure, **shared)
        again: dict[str, Any] = shared or {"force_reregister": True}
        self._held[procedure] = _Held(registration, again, self.reactor.seconds())

    def _register(self, endpoint: Any, procedure: str, **keywords: Any) -> defer.Deferred:
        options = types.RegisterOptions(details_arg="details", **keywords)
        registering = self.register(endpoint, procedure, options)
        return registering.addTimeout(CALL_TIMEOUT, self.reactor)

    async def release(self, procedure: str) -> None:
        """Unregister a procedure, if it is held."""
        held = self._held.pop(procedure, None)
        if held is not None and held.registration.active:
            await held.registration.unregister()

    def _registration_lost(self, registration: Registration) -> None:
        registration.active = False
        held = self._held.get(registration.procedure)
        if held is None or held.registration is not registration:
            return
        if self.reactor.seconds() - held.since > MAX_DELAY:
            held.delay = MIN_DELAY
        defer.ensureDeferred(self._take_back(registration.procedure, held))

    async def _take_back(self, procedure: str, held: _Held) -> None:
        endpoint = held.registration.endpoint.fn
        while True:
            log.warn(
                "another session has taken {procedure} by force: taking it back in {delay:g} s",
                procedure=procedure,
                delay=held.delay,
            )
            # Jitter, so that two competing sessions do not retry at the same time.
            await task.deferLater(self.reactor, held.delay * random.uniform(0.5, 1.0))
            held.delay = min(2 * held.delay, MAX_DELAY)
            if self._held.get(procedure) is not held or not self.is_attached():
                return
            try:
                again = self._register(endpoint, procedure, **held.options)
                held.registration = await again
            except (ApplicationError, TransportLost, defer.TimeoutError) as error:
                self.log.debug("not taken back: {why}", why=str(error))
                continue
            held.since = self.reactor.seconds()
            log.warn("{procedure} is taken back", procedure=procedure)
            return


class Session(SteadySession):
    """A WAMP session that authenticates with the settings, and limits the time of calls."""

    def __init__(
        self,
        settings: Settings,
        reactor: Any,
        on_join: Callable[[Session], None],
        on_leave: Callable[[Session, types.CloseDetails], None],
    ) -> None:
        super().__init__(types.ComponentConfig(realm=settings.realm))
        self.log = DemotedLogger()
        self.reactor = reactor
        self.settings = settings
        self._on_join = on_join
        self._on_leave = on_leave

    def onConnect(self) -> None:
        """Authenticate: anonymously on the Unix socket, otherwise with WAMP-CRA."""
        if self.settings.socket:
            self.join(self.settings.realm, ["anonymous"])
        else:
            self.join(self.settings.realm, ["wampcra"], self.settings.user)

    def onChallenge(self, challenge: types.Challenge) -> str:
        """Sign the router's challenge with the secret."""
        user, secret = self.settings.user, self.settings.secret or ""
        return auth.AuthWampCra(authid=user, secret=secret).on_challenge(self, challenge)

    def onJoin(self, details: types.SessionDetails) -> None:
        """Notify the owner of the session."""
        self._on_join(self)

    def onLeave(self, details: types.CloseDetails) -> Any:
        """Fail all pending calls, as the base class does, then notify the owner."""
        done = super().onLeave(details)
        self._on_leave(self, details)
        return done

    def onUserError(self, fail: Failure, msg: str) -> None:
        """Log at debug level only: the code that fails reports its errors itself."""
        self.log.debug("error in a handler: {text}", text=msg)

    def request(
        self,
        procedure: str,
        *args: Any,
        timeout: float | None = CALL_TIMEOUT,
        on_progress: Callable[..., Any] | None = None,
        **kwargs: Any,
    ) -> defer.Deferred:
        """Call a procedure; if `timeout` is given, end with a TimeoutError after these seconds."""
        options = types.CallOptions(on_progress=on_progress) if on_progress else None
        try:
            called = self.call(procedure, *args, options=options, **kwargs)
        except TransportLost:
            return defer.fail(RouterUnreachable(_LOST))
        return called if timeout is None else called.addTimeout(timeout, self.reactor)


@contextmanager
def translated(node: str | None) -> Iterator[None]:
    """Translate WAMP errors of a data node, or of the hub if `node` is None, to `SisockError`."""
    try:
        yield
    except defer.TimeoutError:
        if node is None:
            raise HubMissing("the hub does not answer: is its process stopped?") from None
        why = f"the data node {node!r} does not answer: is it stopped or stuck?"
        raise NodeTimeout(why) from None
    except TransportLost:
        raise RouterUnreachable(_LOST) from None
    except ApplicationError as error:
        raise _translate(error, node) from None
    except (SerializationError, PayloadExceededError) as error:
        raise NodeFailed(f"the request or its answer cannot be sent: {error}") from None


async def repeat_once(call: Callable[[], Awaitable[Any]], may_repeat: Callable[[], bool]) -> Any:
    """Call a node; if the node ends meanwhile, call once more, as another replica may answer."""
    try:
        return await call()
    except (UnknownNode, NodeGone):
        if not may_repeat():
            raise
    return await call()


def _translate(error: ApplicationError, node: str | None) -> SisockError:
    uri, text = error.error, as_line(" ".join(map(str, error.args)), MAX_ERROR)
    if uri.startswith("wamp.close."):
        return RouterUnreachable(_LOST)
    if uri == ERROR_INVALID_ARGUMENT:
        return InvalidArgument(text)
    if uri == ERROR_NOT_AUTHORIZED:
        return AuthenticationRejected(f"the router does not allow this user to do this: {text}")
    if node is None:
        why = f"the hub does not answer ({uri}): is it being restarted?"
        if uri == ERROR_NO_SUCH_PROCEDURE:
            advice = "it is loaded by its configuration, or started with `python hub.py`"
            why = f"no hub is on the router: {advice}"
        return HubMissing(why)
    if uri == ERROR_NO_SUCH_PROCEDURE:
        return UnknownNode(f"the data node {node!r} is not available, or has just ended")
    if uri == _CANCELED:
        return NodeGone(f"the data node {node!r} went away while it was asked")
    is_known = uri == ERROR_NODE_FAILED
    why = f"failed: {text}" if is_known else f"answers with the error {uri}: {text}"
    return NodeFailed(f"the data node {node!r} {why}")


async def subscribed(subscribing: defer.Deferred, timeout: float, reactor: Any) -> Any:
    """Wait for a subscription; raises RouterUnreachable or AuthenticationRejected."""
    with translated(None):
        try:
            return await subscribing.addTimeout(timeout, reactor)
        except defer.TimeoutError:
            raise RouterUnreachable("the router does not answer a subscription") from None


async def gather(calls: Iterable[Any]) -> list[Any]:
    """Wait for all calls; if one fails, cancel the others and raise its error."""
    started = [defer.ensureDeferred(call) for call in calls]
    if len(started) == 1:
        return [await started[0]]  # the usual case, in a third of the time
    try:
        return await defer.gatherResults(started, consumeErrors=True)
    except defer.FirstError as error:
        for call in started:
            call.cancel()
        raise error.subFailure.value from None


class SingleFlight:
    """Share one call among all that ask the same while it runs."""

    def __init__(self) -> None:
        self._waiting: dict[Hashable, list[defer.Deferred]] = {}

    def __contains__(self, key: Hashable) -> bool:
        return key in self._waiting

    def ask(self, key: Hashable, ask: Callable[[], Coroutine]) -> defer.Deferred:
        """Return the result of the running call with this key, or start one with `ask`."""
        waiter: defer.Deferred = defer.Deferred()
        waiting = self._waiting.setdefault(key, [])
        waiting.append(waiter)

        def tell(answer: Any) -> None:
            for each in self._waiting.pop(key):
                each.callback(answer)

        if len(waiting) == 1:
            defer.ensureDeferred(ask()).addBoth(tell)
        return waiter
