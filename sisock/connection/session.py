"""WAMP sessions that no message can end, that keep their procedures, and that limit waiting."""

from __future__ import annotations

import io
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cbor2
from autobahn.twisted.wamp import ApplicationSession
from autobahn.wamp import auth, message, types
from autobahn.wamp.exception import ApplicationError, ProtocolError, TransportLost
from autobahn.wamp.request import Registration
from autobahn.wamp.serializer import CBORSerializer
from twisted.internet import defer, task
from twisted.python.failure import Failure

from sisock.connection.logs import DemotedLogger, make_logger
from sisock.connection.settings import Settings
from sisock.errors import (
    RouterUnreachable,
)
from sisock.wire.protocol import ERROR_INVALID_ARGUMENT, ERROR_NODE_FAILED

if TYPE_CHECKING:
    from sisock.connection.reconnect import RouterConnection

CALL_TIMEOUT = 30
"""Seconds that a call may take if nobody says otherwise: hanging is how WAMP fails."""

FIRST_DELAY = 1.0
LONGEST_DELAY = 60.0
"""Seconds before a procedure is taken back; the longer, the sooner it was lost again."""

log = make_logger()


class UnreadableInvocation(message.Invocation):
    """A call of one of our procedures whose arguments cannot be decoded."""


class TolerantSerializer(CBORSerializer):
    """CBOR; a message whose payload cannot be decoded costs an answer, not the connection.

    A peer's JSON or MessagePack may nest deeper than cbor2 follows.
    """

    def unserialize(self, payload: bytes, isBinary: bool | None = None) -> list[Any]:
        """Decode one message."""
        try:
            return super().unserialize(payload, isBinary)
        except ProtocolError:
            return self._without_payload(payload)

    def _without_payload(self, payload: bytes) -> list[Any]:
        # Behind the array's own first byte stand the message's type, its ids, and details.
        decoder = cbor2.CBORDecoder(io.BytesIO(payload[1:]))
        try:
            kind, first, second = (decoder.decode() for _ in range(3))
        except cbor2.CBORDecodeError as error:
            raise ProtocolError(f"invalid serialization of WAMP message: {error}") from None
        if kind == message.Invocation.MESSAGE_TYPE:
            return [UnreadableInvocation(first, second)]
        if kind == message.Event.MESSAGE_TYPE:
            return []
        if kind == message.Error.MESSAGE_TYPE:
            return [_undecodable(first, second)]
        if kind == message.Result.MESSAGE_TYPE:
            return [_undecodable(message.Call.MESSAGE_TYPE, first)]
        raise ProtocolError(f"a message of type {kind!r} cannot be decoded")


def _undecodable(kind: int, request: int) -> message.Error:
    return message.Error(kind, request, ERROR_NODE_FAILED, ["its answer cannot be decoded"])


@dataclass
class _Held:
    """A procedure that is ours, since when, and how long to wait before it is taken back."""

    registration: Registration
    since: float
    delay: float = FIRST_DELAY


class SteadySession(ApplicationSession):
    """A WAMP session that no message of a peer can end, and that keeps its procedures."""

    reactor: Any

    def __init__(self, config: types.ComponentConfig | None = None) -> None:
        super().__init__(config)
        self._held: dict[str, _Held] = {}

    def onMessage(self, msg: Any) -> None:
        """Handle a message; autobahn would end the session if that raises.

        It raises for late answers to requests that were given up, and for keywords that are names
        of its own arguments: `fun`, `self`, `f`.
        """
        if self._session_id is None or isinstance(msg, message.Goodbye):
            super().onMessage(msg)
            return
        try:
            if isinstance(msg, message.Unregistered) and msg.request == 0:
                self._lost(self._registrations.pop(msg.registration))
            elif isinstance(msg, UnreadableInvocation):
                self._refuse(msg, "they are nested too deeply, or cannot be decoded")
            elif isinstance(msg, message.Invocation) and "details" in (msg.kwargs or ()):
                self._refuse(msg, "there is no keyword 'details'")  # autobahn would replace it
            else:
                super().onMessage(msg)
        except Exception as error:
            self.log.debug("dropped a {kind}: {why}", kind=type(msg).__name__, why=repr(error))
            if isinstance(msg, message.Invocation):
                names = ", ".join(str(name) for name in msg.kwargs or () if name != "details")
                self._refuse(msg, f"there is an unknown keyword among {names}")

    def _refuse(self, call: message.Invocation, why: str) -> None:
        text = f"the arguments cannot be used: {why}"
        kind = message.Invocation.MESSAGE_TYPE
        self._transport.send(message.Error(kind, call.request, ERROR_INVALID_ARGUMENT, [text]))

    async def hold(self, endpoint: Callable[..., Any], procedure: str) -> None:
        """Register a procedure, and take it back whenever another session takes it by force."""
        options = types.RegisterOptions(details_arg="details")
        registration = await self.register(endpoint, procedure, options).addTimeout(
            CALL_TIMEOUT, self.reactor
        )
        self._held[procedure] = _Held(registration, self.reactor.seconds())

    async def release(self, procedure: str) -> None:
        """Unregister a procedure, if it is held."""
        held = self._held.pop(procedure, None)
        if held is not None and held.registration.active:
            await held.registration.unregister()

    def _lost(self, registration: Registration) -> None:
        registration.active = False
        held = self._held.get(registration.procedure)
        if held is None or held.registration is not registration:
            return
        if self.reactor.seconds() - held.since > LONGEST_DELAY:
            held.delay = FIRST_DELAY
        defer.ensureDeferred(self._take_back(registration.procedure, held))

    async def _take_back(self, procedure: str, held: _Held) -> None:
        endpoint = held.registration.endpoint
        options = types.RegisterOptions(force_reregister=True, details_arg=endpoint.details_arg)
        while True:
            log.warn(
                "another session has taken {procedure} by force: taking it back in {delay:g} s",
                procedure=procedure,
                delay=held.delay,
            )
            # Jitter, so that two who take it from each other do not keep step.
            await task.deferLater(self.reactor, held.delay * random.uniform(0.5, 1.0))
            held.delay = min(2 * held.delay, LONGEST_DELAY)
            if self._held.get(procedure) is not held or not self.is_attached():
                return
            try:
                held.registration = await self.register(endpoint.fn, procedure, options).addTimeout(
                    CALL_TIMEOUT, self.reactor
                )
            except (ApplicationError, TransportLost, defer.TimeoutError) as error:
                self.log.debug("not taken back: {why}", why=str(error))
                continue
            held.since = self.reactor.seconds()
            log.warn("{procedure} is taken back", procedure=procedure)
            return


class Session(SteadySession):
    """A WAMP session that signs in as the settings say, and calls with a time limit."""

    def __init__(self, settings: Settings, owner: RouterConnection) -> None:
        super().__init__(types.ComponentConfig(realm=settings.realm))
        self.log = DemotedLogger()
        self._settings = settings
        self._owner = owner
        self.reactor = owner.reactor

    def onConnect(self) -> None:
        """Sign in: without a password on the Unix socket, else by WAMP-CRA."""
        if self._settings.socket:
            self.join(self._settings.realm, ["anonymous"])
        else:
            self.join(self._settings.realm, ["wampcra"], self._settings.user)

    def onChallenge(self, challenge: types.Challenge) -> str:
        """Answer the router's challenge with the secret's signature of it."""
        key = (self._settings.secret or "").encode()
        if "salt" in challenge.extra:
            extra = challenge.extra
            key = auth.derive_key(key, extra["salt"], extra["iterations"], extra["keylen"])
        return auth.compute_wcs(key, challenge.extra["challenge"].encode()).decode("ascii")

    def onJoin(self, details: types.SessionDetails) -> None:
        """Tell the owner."""
        self._owner._joined(self)

    def onLeave(self, details: types.CloseDetails) -> Any:
        """Fail all pending calls, as the base class does, then tell the owner."""
        done = super().onLeave(details)
        self._owner._left(self, details)
        return done

    def onUserError(self, fail: Failure, msg: str) -> None:
        """Leave what autobahn would print to the code that failed."""
        self.log.debug("error in a handler: {text}", text=msg)

    def request(
        self,
        procedure: str,
        *args: Any,
        timeout: float | None = CALL_TIMEOUT,
        on_progress: Callable[..., Any] | None = None,
        **kwargs: Any,
    ) -> defer.Deferred:
        """Call a procedure with a time limit.

        Returns
        -------
        Deferred
            Fails with ``twisted.internet.defer.TimeoutError`` after `timeout` seconds, in which
            case the call is cancelled too; None leaves the limit to the caller.
        """
        options = types.CallOptions(on_progress=on_progress) if on_progress else None
        try:
            called = self.call(procedure, *args, options=options, **kwargs)
        except TransportLost:
            return defer.fail(RouterUnreachable("the connection to the router was lost"))
        return called if timeout is None else called.addTimeout(timeout, self.reactor)


def error_uri(error: BaseException) -> str | None:
    """The URI of a WAMP error, or None for any other exception."""
    return error.error if isinstance(error, ApplicationError) else None
