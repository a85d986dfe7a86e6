"""Run a program: logging, signals, and how it ends."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NoReturn

import txaio
from twisted.internet import defer
from twisted.internet.error import ReactorNotRunning
from twisted.python.failure import Failure

from sisock.connection.health import Check, serve_health
from sisock.connection.reconnect import RouterConnection
from sisock.connection.settings import Settings, load_settings
from sisock.errors import SisockError


def fail(error: BaseException) -> NoReturn:
    """End the program with one sentence and status 1."""
    print(error, file=sys.stderr, flush=True)
    raise SystemExit(1)


def settings_from_flags(args: argparse.Namespace, user: str) -> Settings:
    """Load the settings, or end the program with a sentence."""
    try:
        return load_settings(user, router=args.router, log_level=args.log_level)
    except SisockError as error:
        fail(error)


def run_program(
    connection: RouterConnection,
    started: Callable[[], Any] = lambda: None,
    health: Check | None = None,
) -> None:
    """Run the reactor with one connection to the router until a signal, or a final refusal.

    `started` is called before the router is joined, and may be a coroutine function; a
    `SisockError` of it ends the program. `health` is the check, if not the connection's own.
    """
    reactor, settings = connection.reactor, connection.settings
    txaio.start_logging(out=sys.stderr, level=settings.log_level)
    results: list[Any] = []

    def finished(result: Any) -> None:
        results.append(result)
        with suppress(ReactorNotRunning):  # a signal may have stopped it already
            reactor.stop()

    async def work() -> None:
        await serve_health(health or connection.health, reactor)
        await defer.maybeDeferred(started)
        await connection.run()

    reactor.callWhenRunning(lambda: defer.ensureDeferred(work()).addBoth(finished))
    stop = connection.stop
    reactor.addSystemEventTrigger("before", "shutdown", lambda: defer.ensureDeferred(stop()))
    reactor.run()
    for failure in results:
        if isinstance(failure, Failure):
            if settings.log_level in ("debug", "trace") or not failure.check(SisockError):
                failure.printTraceback(sys.stderr)
            fail(failure.value)
