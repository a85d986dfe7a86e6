"""A WAMP session that signs in as the settings say, and calls with a time limit."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from autobahn.twisted.wamp import ApplicationSession
from autobahn.wamp import auth, message, types
from autobahn.wamp.exception import ApplicationError, TransportLost
from twisted.internet import defer
from twisted.python.failure import Failure

from sisock.errors import (
    RouterUnreachable,
)
from sisock.logs import DemotedLogger
from sisock.settings import Settings

if TYPE_CHECKING:
    from sisock.connection import RouterConnection

CALL_TIMEOUT = 30
"""Seconds that a call may take if nobody says otherwise: hanging is how WAMP fails."""


class Session(ApplicationSession):
    """A WAMP session that signs in as the settings say and survives late answers."""

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

    def onMessage(self, msg: Any) -> None:
        """Drop answers to requests that were given up: autobahn would drop the session."""
        if self._session_id is not None and self._is_stray(msg):
            self.log.debug("dropped an answer that nobody waits for", kind=type(msg).__name__)
            return
        super().onMessage(msg)

    def _is_stray(self, msg: Any) -> bool:
        if isinstance(msg, message.Result):
            return msg.request not in self._call_reqs
        if isinstance(msg, message.Error) and msg.request_type == message.Call.MESSAGE_TYPE:
            return msg.request not in self._call_reqs
        return isinstance(msg, message.Event) and msg.subscription not in self._subscriptions

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
