"""Let a program say whether it is well, over a Unix socket.

For the health checks of containers: ``python -m sisock.connection.health`` connects to the socket
that ``SISOCK_HEALTH`` names, prints what the program says, and ends with status 1 if that is not
"ok". A program that hangs does not answer.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from sisock.errors import SettingsError

VARIABLE = "SISOCK_HEALTH"
OK = "ok"
TIMEOUT = 5.0
"""Seconds in which a program that is well answers."""

Check = Callable[[], "str | Awaitable[str]"]
"""Returns `OK`, or in a sentence what is wrong."""


async def serve_health(check: Check, reactor: Any) -> None:
    """Answer health checks, if ``SISOCK_HEALTH`` names a socket; SettingsError if it cannot be."""
    from twisted.internet import defer, endpoints, protocol

    path = os.environ.get(VARIABLE)
    if not path or is_served(path):  # by the first of two programs in one container
        return

    class Answer(protocol.Protocol):
        def connectionMade(self) -> None:
            asked = defer.maybeDeferred(check)
            asked.addErrback(lambda failure: failure.getErrorMessage() or failure.type.__name__)
            asked.addCallback(lambda text: self.transport.write(f"{text}\n".encode()))
            asked.addCallback(lambda _: self.transport.loseConnection())

    with suppress(FileNotFoundError):
        Path(path).unlink()  # of an earlier run that was killed
    factory = protocol.Factory.forProtocol(Answer)
    factory.noisy = False
    try:
        await endpoints.UNIXServerEndpoint(reactor, path, mode=0o600).listen(factory)
    except Exception as error:
        raise SettingsError(f"cannot listen on {path}, which {VARIABLE} names: {error}") from None


def is_served(path: str) -> bool:
    """Return whether a program listens on a Unix socket."""
    with socket.socket(socket.AF_UNIX) as probe, suppress(OSError):
        return probe.connect_ex(path) == 0
    return False


def ask(path: str) -> str:
    """Return what the program that listens on a socket says."""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(TIMEOUT)
            connection.connect(path)
            with connection.makefile(encoding="utf-8") as answer:
                return answer.readline().strip() or "it ended without an answer"
    except OSError as error:
        return f"no answer on {path}: {error.strerror or error}"


def main() -> None:
    """Print the program's answer; status 0 if it is well."""
    path = os.environ.get(VARIABLE)
    said = ask(path) if path else f"{VARIABLE} must name the program's socket"
    print(said)
    sys.exit(said != OK)


if __name__ == "__main__":
    main()
