"""Report a program's health over a Unix socket.

For the health checks of containers: ``python -m sisock.connection.health`` connects to the socket
given by ``SISOCK_HEALTH``, prints the program's answer, and exits with status 1 unless it is "ok".
A program that hangs does not answer. The answer's second line contains figures as JSON, for
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
TIMEOUT = 5.0  # seconds within which a healthy program answers

Check = Callable[[], "str | Awaitable[str]"]  # returns `OK`, or a sentence that says what is wrong


async def serve_health(
    check: Check,
    reactor: Any,
    figures: Callable[[], dict[str, Any]] = dict,
    path: str | None = None,
) -> None:
    """Answer health checks on a socket: `path`, or that of ``SISOCK_HEALTH`` if set.

    Raises SettingsError if the socket cannot be created.
    """
    from twisted.internet import defer, endpoints, protocol

    path = path or os.environ.get(VARIABLE)
    if not path or is_served(path):  # another program in the container may listen there already
        return

    class Answer(protocol.Protocol):
        def connectionMade(self) -> None:
            result = defer.maybeDeferred(check)
            result.addErrback(lambda failure: failure.getErrorMessage() or failure.type.__name__)
            result.addCallback(self.answer)

        def answer(self, text: str) -> None:
            lines = f"{' '.join(text.splitlines())}\n{json.dumps(figures())}\n"
            self.transport.write(lines.encode())
            self.transport.loseConnection()

    with suppress(FileNotFoundError):
        Path(path).unlink()  # left over from a run that was killed

    class Health(protocol.Factory):  # Twisted logs the name of this class
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


def ask_figures(path: str) -> tuple[str, dict[str, Any]]:
    """Return the answer and the figures of the program that listens on a socket."""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(TIMEOUT)
            connection.connect(path)
            with connection.makefile(encoding="utf-8") as answer:
                text, line = answer.readline().strip(), answer.readline()
        figures = json.loads(line or "{}")
        return text or "it ended without an answer", figures if isinstance(figures, dict) else {}
    except (OSError, ValueError) as error:
        return f"no answer on {path}: {getattr(error, 'strerror', None) or error}", {}


def main() -> None:
    """Print the program's answer; exit with status 0 if it is healthy."""
    path = os.environ.get(VARIABLE)
    answer = ask_figures(path)[0] if path else f"{VARIABLE} must name the program's socket"
    print(answer)
    sys.exit(answer != OK)


if __name__ == "__main__":
    main()
