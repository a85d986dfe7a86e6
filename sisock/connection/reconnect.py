"""Join the router, rejoin with back-off whenever the connection is lost, and shut down."""

from __future__ import annotations

import argparse
import gc
import random
import re
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any, NoReturn

import txaio
from autobahn.wamp import types
from autobahn.wamp.exception import TransportLost
from twisted.internet import defer, task
from twisted.internet.error import ConnectionDone, ConnectionLost, ReactorNotRunning
from twisted.python.failure import Failure

from sisock.connection import transport
from sisock.connection.health import OK, Check, serve_health
from sisock.connection.runtime import (
    RepeatedWarning,
    global_reactor,
    keep_freed_memory,
    make_logger,
)
from sisock.connection.session import Session, gather
from sisock.connection.settings import Settings, load_settings
from sisock.errors import (
    AuthenticationRejected,
    InvalidNodeName,
    RouterUnreachable,
    SettingsError,
    SisockError,
)

MIN_DELAY = 0.5
GROWTH = 1.6
MAX_DELAY = 3.0
"""Seconds; small, because everything must work again within 15 s after the router is back."""

FINAL_DELAY = 60.0
"""Seconds before trying a site again that has refused us; the program goes on for other sites."""

_WRONG_REALM = "wamp.error.no_such_realm"
_WRONG_USER = re.compile(
    r"wamp\.error\.(not_authorized|auth\w+_failed|no_auth_method|no_such_principal)"
)

_FINAL = (AuthenticationRejected, InvalidNodeName, SettingsError)
"""Errors for which retrying is pointless."""


class RouterConnection:
    """Keep one program joined to the router until it is stopped.

    `on_join` is called with each new `Session` and may be a coroutine function; if it fails the
    program reconnects. `on_leave` is called when the session is lost.
    """

    def __init__(
        self,
        settings: Settings,
        on_join: Callable[[Session], Awaitable[None] | None],
        on_leave: Callable[[], None] = lambda: None,
        reactor: Any = None,
    ) -> None:
        self.settings = settings
        self.reactor = global_reactor() if reactor is None else reactor
        self.session: Session | None = None
        self.last_error: SisockError | None = None
        self.is_router_there = False  # the last attempt reached a router, which then hung up
        self.on_failure: Callable[[SisockError], None] | None = None
        self._on_join = on_join
        self._on_leave = on_leave
        self._log = make_logger()
        self._warn = RepeatedWarning(self._log)
        self._stopping = False
        self._delay = MIN_DELAY
        self._pause = self._connecting = self._ended = self._joining = defer.succeed(None)
        self._cause: SisockError | None = None

    def health(self) -> str:
        """Return `sisock.connection.health.OK` while joined to the router, otherwise the reason."""
        return OK if self.session else str(self.last_error or "not joined to the router yet")

    async def run(self) -> None:
        """Join, and rejoin whenever the connection is lost, until `stop`.

        Raises AuthenticationRejected if the router rejects user, secret or realm; SettingsError if
        the secret is missing or a TLS file is invalid; InvalidNodeName and SettingsError also if
        `on_join` raises them. A router that is one of several sites is tried again even then.
        """
        self.settings.check_secret()
        while not self._stopping:
            error = self.last_error = await self._connect_once()
            if isinstance(error, _FINAL):
                if self.settings.site is None:
                    raise error
                self._delay, self._cause = FINAL_DELAY, None
            if self.on_failure is not None and not self._stopping:
                self.on_failure(error)
            if self._stopping:
                return
            self._warn(f"{error}; trying again until it works")
            # Jitter, so that a hundred nodes do not reconnect in the same instant.
            self._pause = task.deferLater(self.reactor, self._delay * random.uniform(0.5, 1.0))
            self._delay = min(self._delay * GROWTH, MAX_DELAY)
            with suppress(defer.CancelledError):
                await self._pause

    async def stop(self) -> None:
        """Leave the session and end `run`."""
        self._stopping = True
        self._pause.cancel()
        self._connecting.cancel()
        if self.session is not None:
            with suppress(TransportLost):
                self.session.leave()
        done: defer.Deferred = defer.Deferred()
        self._ended.chainDeferred(done)
        with suppress(defer.TimeoutError):  # the router may not answer the goodbye
            await done.addTimeout(2, self.reactor)

    async def _connect_once(self) -> SisockError:
        """Connect, wait until the connection ends, and return the reason."""
        try:
            endpoint = transport.make_endpoint(self.settings, self.reactor)
        except SettingsError as error:
            return error
        self._ended = ended = defer.Deferred()
        reasons: list[Failure] = []

        def lost(reason: Failure) -> None:
            reasons.append(reason)
            if not ended.called:
                ended.callback(None)

        session = Session(self.settings, self.reactor, self._joined, self._left)
        url = "ws://localhost/ws" if self.settings.socket else self.settings.address
        factory = transport.make_factory(url, session, lost)
        self._connecting = endpoint.connect(factory).addErrback(lost)
        await ended
        if self.session is not None:
            self._session_lost()
        hung_up = reasons[0].check(ConnectionDone, ConnectionLost) is not None
        self.is_router_there = hung_up and self._cause is None
        return self._cause or transport.explain(reasons[0], self.settings)

    def _joined(self, session: Session) -> None:
        if self._stopping:
            session.leave()
            return
        self.session = session
        self._delay = MIN_DELAY
        if self._cause is None:
            self._warn.reset()
        self._cause = None
        self._log.info("joined the router at {address}", address=self.settings.address)
        self._joining = defer.maybeDeferred(self._on_join, session)
        self._joining.addErrback(self._join_failed, session)

    def _join_failed(self, failure: Failure, session: Session) -> None:
        if failure.check(*_FINAL):
            self._cause = failure.value
        elif session.is_attached():
            self._cause = RouterUnreachable(failure.getErrorMessage())
            self._log.debug("{traceback}", traceback=failure.getTraceback())
            self._delay = MAX_DELAY
        if session.is_attached():
            session.leave()

    def _left(self, session: Session, details: types.CloseDetails) -> None:
        if session is self.session:
            self._session_lost()
        elif details.reason == _WRONG_REALM:
            where = self.settings.setting("WAMP_REALM")
            self._reject(f"has no realm {self.settings.realm!r}: check {where}")
        elif _WRONG_USER.fullmatch(str(details.reason)):
            source = self.settings.sources["WAMP_SECRET"]
            self._reject(
                f"refuses the user {self.settings.user!r} with the secret from: {source};"
                " `sisock config` shows the settings"
            )

    def _session_lost(self) -> None:
        self.session = None
        self._joining.cancel()
        self._on_leave()

    def _reject(self, why: str) -> None:
        self._cause = AuthenticationRejected(f"the router at {self.settings.address} {why}")


def fail(error: BaseException) -> NoReturn:
    """Print an error to stderr and exit with status 1."""
    print(error, file=sys.stderr, flush=True)
    raise SystemExit(1)


def settings_from_flags(args: argparse.Namespace, user: str) -> Settings:
    """Load the settings, or print what is wrong and exit."""
    try:
        return load_settings(user, router=args.router, log_level=args.log_level)
    except SisockError as error:
        fail(error)


async def _until_signal(finish: Coroutine[Any, Any, None], reactor: Any) -> None:
    """Await a coroutine; another signal cancels it."""
    finishing = defer.ensureDeferred(finish)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: reactor.callFromThread(finishing.cancel))
    with suppress(defer.CancelledError):
        await finishing


def run_program(
    connections: RouterConnection | Sequence[RouterConnection],
    started: Callable[[], Any] = lambda: None,
    health: Check | None = None,
    figures: Callable[[], dict[str, Any]] = dict,
    finish: Callable[[], Coroutine[Any, Any, None]] | None = None,
) -> None:
    """Run the reactor with connections to one router or several, until a signal or a final error.

    `started` is called before joining and may be a coroutine function; if it raises a
    `SisockError`, the program ends. `health` is the health check (default: whether a router is
    joined), `figures` returns figures to report with it. `finish` is called before leaving the
    router; a second signal cancels it.
    """
    every = [connections] if isinstance(connections, RouterConnection) else list(connections)
    reactor, settings = every[0].reactor, every[0].settings
    txaio.start_logging(out=sys.stderr, level=settings.log_level)
    results: list[Any] = []

    def finished(result: Any) -> None:
        results.append(result)
        with suppress(ReactorNotRunning):  # a signal may have stopped it
            reactor.stop()

    def joined() -> str:
        reasons = [connection.health() for connection in every]
        return OK if OK in reasons else "; ".join(reasons)

    async def work() -> None:
        await serve_health(health or joined, reactor, figures)
        await defer.maybeDeferred(started)
        await gather(connection.run() for connection in every)

    async def stop() -> None:
        if finish is not None:
            await _until_signal(finish(), reactor)
        await gather(connection.stop() for connection in every)

    reactor.callWhenRunning(lambda: defer.ensureDeferred(work()).addBoth(finished))
    reactor.addSystemEventTrigger("before", "shutdown", lambda: defer.ensureDeferred(stop()))
    keep_freed_memory()
    gc.freeze()  # searching all imported modules for garbage stops the program for 50 ms
    reactor.run()
    for failure in results:
        if isinstance(failure, Failure):
            if settings.log_level in ("debug", "trace") or not failure.check(SisockError):
                failure.printTraceback(sys.stderr)
            fail(failure.value)
