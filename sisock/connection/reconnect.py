"""How any program joins the router and stays joined: reconnecting for ever, with back-off."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from autobahn.wamp import types
from autobahn.wamp.exception import TransportLost
from twisted.internet import defer, task
from twisted.internet import error as network
from twisted.python.failure import Failure

from sisock.connection import transport
from sisock.connection.logs import RepeatedWarning, make_logger
from sisock.connection.session import Session
from sisock.connection.settings import Settings
from sisock.errors import (
    AuthenticationRejected,
    InvalidNodeName,
    RouterUnreachable,
    SettingsError,
    SisockError,
)

FIRST_DELAY = 0.5
GROWTH = 1.6
LONGEST_DELAY = 3.0
"""Seconds; small, as all must be right again within 15 s after the router is back."""

_REFUSALS = {
    "wamp.error.not_authorized",
    "wamp.error.authentication_failed",
    "wamp.error.authorization_failed",
    "wamp.error.no_auth_method",
    "wamp.error.no_such_principal",
    "wamp.error.no_such_realm",
}


def global_reactor() -> Any:
    """Twisted's reactor, imported late, as that installs it."""
    from twisted.internet import reactor

    return reactor


class RouterConnection:
    """Keeps one program joined to the router until it is stopped.

    Parameters
    ----------
    settings : Settings
        Where the router is and who we are.
    on_join : callable
        Called with each new `Session`; may be a coroutine function. An exception is logged and
        the connection begins anew.
    on_leave : callable, optional
        Called when the session is gone.
    reactor : twisted reactor, optional
        The global one if not given.
    """

    def __init__(
        self,
        settings: Settings,
        on_join: Callable[[Session], Awaitable[None] | None],
        on_leave: Callable[[], None] | None = None,
        reactor: Any = None,
    ) -> None:
        self.settings = settings
        self.reactor = global_reactor() if reactor is None else reactor
        self.session: Session | None = None
        self.last_error: SisockError | None = None
        self.on_failure: Callable[[SisockError], None] | None = None
        self._on_join = on_join
        self._on_leave = on_leave
        self._log = make_logger()
        self._warn = RepeatedWarning(self._log)
        self._stopping = False
        self._delay = FIRST_DELAY
        self._waiting: defer.Deferred | None = None
        self._ended: defer.Deferred | None = None
        self._joining: defer.Deferred | None = None
        self._join_error: SisockError | None = None
        self._fatal: SisockError | None = None

    def check_secret(self) -> None:
        """See that there is a secret, if one is needed.

        Raises
        ------
        SettingsError
            If there is none.
        """
        settings = self.settings
        if settings.secret is None and not settings.socket:
            raise SettingsError(
                f"there is no secret for the user {settings.user!r}: set WAMP_SECRET or"
                f" WAMP_SECRET_FILE, or put it into {settings.home.secret_file(settings.user)}"
            )

    async def run(self) -> None:
        """Join, and join again whenever the connection is lost, until `stop`.

        Raises
        ------
        AuthenticationRejected
            If the router refuses the user, the secret or the realm: trying again cannot help.
        InvalidNodeName
            If `on_join` does: the hub does not take the name.
        SettingsError
            If there is no secret, or a file that the connection needs cannot be used.
        """
        self.check_secret()
        while not self._stopping:
            await self._connect_once()
            if self._fatal is not None:
                raise self._fatal
            if self._stopping:
                return
            if self.on_failure is not None and self.last_error is not None:
                self.on_failure(self.last_error)
            wait = self._next_delay()
            self._warn(f"{self.last_error}; trying again until it works")
            self._log.debug("trying again in {wait:.1f} s", wait=wait)
            self._waiting = task.deferLater(self.reactor, wait)
            try:
                await self._waiting
            except defer.CancelledError:
                return
            finally:
                self._waiting = None

    async def stop(self) -> None:
        """Say goodbye and end `run`."""
        self._stopping = True
        if self._waiting is not None:
            self._waiting.cancel()
        session, ended = self.session, self._ended
        if session is not None:
            with suppress(TransportLost):
                session.leave()
        if ended is not None:
            done: defer.Deferred = defer.Deferred()
            ended.addBoth(lambda result: (done.callback(None), result)[1])
            try:
                await done.addTimeout(2, self.reactor)
            except defer.TimeoutError:
                self._log.debug("the router did not answer the goodbye")

    async def _connect_once(self) -> None:
        """Connect once and wait until that connection has ended, for whatever reason."""
        ended: defer.Deferred = defer.Deferred()
        self._ended = ended

        def lost(reason: Failure) -> None:
            if not ended.called:
                ended.callback((reason,))  # in a tuple, as a Deferred raises a bare Failure

        factory = transport.make_factory(self.settings, lambda: Session(self.settings, self), lost)
        endpoint = transport.make_endpoint(self.settings, self.reactor)
        try:
            await endpoint.connect(factory)
        except Exception:
            lost(Failure())
        (reason,) = await ended
        self._ended = None
        if self.session is not None:
            self._gone()
        self.last_error = self._join_error or self._explain(reason)

    def _explain(self, reason: Failure) -> SisockError:
        address = self.settings.address
        if reason.check(network.ConnectionDone, network.ConnectionLost, network.ConnectionAborted):
            return RouterUnreachable(f"the connection to the router at {address} was lost")
        return transport.explain(reason, self.settings)

    def _next_delay(self) -> float:
        delay, self._delay = self._delay, min(self._delay * GROWTH, LONGEST_DELAY)
        # Jitter, so that a hundred nodes do not come back in the same instant.
        return delay * random.uniform(0.5, 1.0)

    def _joined(self, session: Session) -> None:
        if self._stopping:
            session.leave()
            return
        self.session = session
        self._delay = FIRST_DELAY
        if self._join_error is None:
            self._warn.reset()
        self._join_error = None
        self._log.info("joined the router at {address}", address=self.settings.address)
        self._joining = defer.maybeDeferred(self._on_join, session)
        self._joining.addErrback(self._join_failed, session)

    def _join_failed(self, failure: Failure, session: Session) -> None:
        if failure.check(AuthenticationRejected, InvalidNodeName):
            self._fatal = failure.value
        elif session.is_attached():
            self._join_error = RouterUnreachable(failure.getErrorMessage())
            self._log.debug("{traceback}", traceback=failure.getTraceback())
            self._delay = LONGEST_DELAY
        if session.is_attached():
            session.leave()

    def _left(self, session: Session, details: types.CloseDetails) -> None:
        if session is self.session:
            self._gone()
        elif details.reason in _REFUSALS:
            self._fatal = self._rejection(details)

    def _gone(self) -> None:
        self.session = None
        if self._joining is not None:
            self._joining.cancel()
        if self._on_leave is not None:
            self._on_leave()

    def _rejection(self, details: types.CloseDetails) -> AuthenticationRejected:
        settings = self.settings
        if details.reason == "wamp.error.no_such_realm":
            return AuthenticationRejected(
                f"the router at {settings.address} has no realm {settings.realm!r}: "
                "check WAMP_REALM"
            )
        source = settings.sources.get("WAMP_SECRET", "not found")
        return AuthenticationRejected(
            f"the router at {settings.address} refuses the user {settings.user!r} with the secret "
            f"from: {source}; `sisock config` shows the settings"
        )
