"""Let a program say whether it is well, over a Unix socket.

For the health checks of containers: ``python -m sisock.connection.health`` connects to the socket
that ``SISOCK_HEALTH`` names, prints what the program says, and ends with status 1 if that is not
"ok". A program that hangs does not answer. A second line has its figures, as JSON, for
``sisock status``.
"""

from __future__ import annotations

import json
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


async def serve_health(
    check: Check,
    reactor: Any,
    figures: Callable[[], dict[str, Any]] = dict,
    path: str | None = None,
) -> None:
    """Answer health checks on a socket, by default that of ``SISOCK_HEALTH``, if it names one.

    SettingsError says that the socket cannot be.
    """
    from twisted.internet import defer, endpoints, protocol

    path = path or os.environ.get(VARIABLE)
    if not path or is_served(path):  # by the first of two programs in one container
        return

    class Answer(protocol.Protocol):
        def connectionMade(self) -> None:
            asked = defer.maybeDeferred(check)
            asked.addErrback(lambda failure: failure.getErrorMessage() or failure.type.__name__)
            asked.addCallback(self.answer)

        def answer(self, text: str) -> None:
            lines = f"{' '.join(text.splitlines())}\n{json.dumps(figures())}\n"
            self.transport.write(lines.encode())
            self.transport.loseConnection()

    with suppress(FileNotFoundError):
        Path(path).unlink()  # of an earlier run that was killed

    class Health(protocol.Factory):  # so the log calls it
        protocol = Answer
        noisy = False

    try:
        await endpoints.UNIXServerEndpoint(reactor, path, mode=0o600).listen(Health())
    except Exception as error:
        raise SettingsError(f"cannot listen on {path}, which {VARIABLE} names: {error}") from None


def is_served(path: str) -> bool:
    """Return whether a program listens on a Unix socket."""
    with socket.socket(socket.AF_UNIX) as probe, suppress(OSError):
        return probe.connect_ex(path) == 0
    return False


def ask(path: str) -> str:
    """Return what the program that listens on a socket says."""
    return ask_figures(path)[0]


def ask_figures(path: str) -> tuple[str, dict[str, Any]]:
    """Return what the program that listens on a socket says, and its figures."""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(TIMEOUT)
            connection.connect(path)
            with connection.makefile(encoding="utf-8") as answer:
                said, line = answer.readline().strip(), answer.readline()
        figures = json.loads(line or "{}")
        return said or "it ended without an answer", figures if isinstance(figures, dict) else {}
    except (OSError, ValueError) as error:
        return f"no answer on {path}: {getattr(error, 'strerror', None) or error}", {}


def main() -> None:
    """Print the program's answer; status 0 if it is well."""
    path = os.environ.get(VARIABLE)
    said = ask(path) if path else f"{VARIABLE} must name the program's socket"
    print(said)
    sys.exit(said != OK)


if __name__ == "__main__":
    main()
