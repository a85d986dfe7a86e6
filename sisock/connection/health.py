"""A program's own word on whether it is well, asked for over a Unix socket.

For the health checks of containers: ``python -m sisock.connection.health`` connects to the socket
that ``SISOCK_HEALTH`` names, prints what the program says, and ends with status 1 if that is not
"ok".
A program that hangs does not answer.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sisock.connection.reconnect import RouterConnection

VARIABLE = "SISOCK_HEALTH"

WELL = "ok"

PATIENCE = 5.0
"""Seconds in which a program that is well answers."""

Check = Callable[[], "str | Awaitable[str]"]
"""Says `WELL`, or in a sentence what is not."""


async def serve_health(
    check: Check, reactor: Any, environ: Mapping[str, str] | None = None
) -> None:
    """Answer health checks, if ``SISOCK_HEALTH`` names a socket for them.

    Parameters
    ----------
    check : callable
        Asked each time; may be a coroutine function.

    Raises
    ------
    SettingsError
        If the socket cannot be made.
    """
    from twisted.internet import defer, endpoints, protocol

    from sisock.errors import SettingsError

    path = (os.environ if environ is None else environ).get(VARIABLE)
    # A second program in one container leaves the socket to the first.
    if not path or _is_served(path):
        return

    class Answer(protocol.Protocol):
        def connectionMade(self) -> None:
            defer.maybeDeferred(check).addErrback(_in_words).addBoth(self._say)

        def _say(self, text: str) -> None:
            self.transport.write(f"{text}\n".encode())
            self.transport.loseConnection()

    with suppress(FileNotFoundError):
        Path(path).unlink()  # of an earlier run that was killed
    factory = protocol.Factory.forProtocol(Answer)
    factory.noisy = False
    try:
        await endpoints.UNIXServerEndpoint(reactor, path, mode=0o600).listen(factory)
    except Exception as error:
        raise SettingsError(f"cannot listen on {path}, which {VARIABLE} names: {error}") from None


def connection_health(connection: RouterConnection) -> str:
    """Whether a program is joined to the router."""
    if connection.session is not None:
        return WELL
    return str(connection.last_error or "not joined to the router yet")


def _in_words(failure: Any) -> str:
    return failure.getErrorMessage() or failure.type.__name__


def _is_served(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as probe, suppress(OSError):
        return probe.connect_ex(path) == 0
    return False


def ask(path: str) -> str:
    """Ask the program that listens on a socket; returns what it says."""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(PATIENCE)
            connection.connect(path)
            with connection.makefile(encoding="utf-8") as answer:
                return answer.readline().strip() or "it ended without an answer"
    except OSError as error:
        return f"no answer on {path}: {error.strerror or error}"


def main() -> None:
    """Print the program's word; status 0 if it is well."""
    path = os.environ.get(VARIABLE)
    said = ask(path) if path else f"{VARIABLE} must name the program's socket"
    print(said)
    sys.exit(said != WELL)


if __name__ == "__main__":
    main()
