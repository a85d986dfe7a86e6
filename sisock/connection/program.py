"""What every program has in common: flags, logging, signals, and how it ends."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, NoReturn

import txaio
from twisted.internet import defer
from twisted.internet.error import ReactorNotRunning
from twisted.python.failure import Failure

from sisock.connection.health import Check, connection_health, serve_health
from sisock.connection.reconnect import RouterConnection
from sisock.connection.settings import LOG_LEVELS, Settings, load_settings
from sisock.errors import SisockError


def add_common_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags that every program takes."""
    parser.add_argument(
        "--router",
        metavar="ADDRESS",
        help="host, host:port, [IPv6 address], or the path of the router's Unix socket"
        " (default: CROSSBAR_HOST, CROSSBAR_TLS_PORT, CROSSBAR_SOCKET)",
    )
    parser.add_argument(
        "--log-level", choices=LOG_LEVELS, help="how much to log (default: LOGLEVEL, or info)"
    )


def fail(error: BaseException) -> NoReturn:
    """End the program with one sentence and status 1."""
    print(f"{error}", file=sys.stderr, flush=True)
    raise SystemExit(1)


def settings_from_flags(args: argparse.Namespace, user: str) -> Settings:
    """Load the settings, or end the program with a sentence."""
    try:
        return load_settings(user, router=args.router, log_level=args.log_level)
    except SisockError as error:
        fail(error)


def run_program(
    connection: RouterConnection, started: Callable[[], Any], health: Check | None = None
) -> None:
    """Run the reactor with one connection to the router until a signal, or a final refusal.

    Parameters
    ----------
    connection : RouterConnection
        To be run.
    started : callable
        Called once the reactor runs, before the router is joined; may be a coroutine function.
        If it fails with a `SisockError` the program ends with that.
    health : callable, optional
        Says whether the program is well, for `sisock.connection.health`; if not given, it is well
        while it is joined to the router.
    """
    reactor, settings = connection.reactor, connection.settings
    txaio.start_logging(out=sys.stderr, level=settings.log_level)
    failures: list[Failure] = []

    def finished(result: Any) -> None:
        if isinstance(result, Failure):
            failures.append(result)
        with suppress(ReactorNotRunning):  # a signal may have stopped it already
            reactor.stop()

    async def work() -> None:
        connection.check_secret()
        await serve_health(health or partial(connection_health, connection), reactor)
        await defer.maybeDeferred(started)
        await connection.run()

    reactor.callWhenRunning(lambda: defer.ensureDeferred(work()).addBoth(finished))
    reactor.addSystemEventTrigger(
        "before", "shutdown", lambda: defer.ensureDeferred(connection.stop())
    )
    reactor.run()
    if failures:
        _report(failures[0], settings)


def _report(failure: Failure, settings: Settings) -> NoReturn:
    if settings.log_level in ("debug", "trace") or not failure.check(SisockError):
        failure.printTraceback(sys.stderr)
    fail(failure.value)
