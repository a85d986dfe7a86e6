"""Keep the router's process well, whatever its clients send, or fail to send, or fail to read.

`sisock.router.launch` starts Crossbar by this module, with a `Personality` that changes each worker
process before it listens. Crossbar has no settings for these things, so `install` replaces parts of
Crossbar, autobahn and Twisted, all of them there; one that no longer exists ends the start.
"""

from __future__ import annotations

import functools
import gc
import json
import resource
import sys
from typing import Any
from urllib.parse import unquote_to_bytes

from autobahn.twisted.websocket import WebSocketAdapterProtocol
from autobahn.wamp import message, serializer
from autobahn.wamp.exception import ProtocolError, SerializationError
from crossbar import personality
from crossbar.common.twisted import endpoint
from crossbar.node.main import main as run_crossbar
from crossbar.router.protocol import WampRawSocketServerProtocol, WampWebSocketServerProtocol
from crossbar.router.session import RouterSession
from crossbar.worker.transport import create_router_transport
from twisted.internet import reactor
from twisted.web import http, server

from sisock.connection.logs import DemotedLogger, make_logger
from sisock.connection.transport import leave_log_texts_plain, tune
from sisock.errors import SettingsError
from sisock.router.doors import LARGE, Doors, find_door
from sisock.wire.arguments import find_fault
from sisock.wire.protocol import ERROR_INVALID_ARGUMENT

RECURSION_LIMIT = 1000
"""Python's own. Of what Crossbar imports, py_ecc sets 100,000: 40 kB of brackets then take 48 s."""

MAX_SIGNATURE = 4096
"""Characters of what a client signs in with; a ticket may be long."""

log = make_logger()


def is_short_line(text: str) -> bool:
    """Whether a text can stand in the log as it is."""
    return len(text) <= MAX_SIGNATURE and text.isprintable()


def replace(owner: Any, name: str, make: Any) -> None:
    """Replace a function by what `make` makes of it.

    Raises
    ------
    SettingsError
        If there is no such function.
    """
    original = getattr(owner, name, None)
    if original is None:
        place = getattr(owner, "__qualname__", owner.__name__)
        raise SettingsError(
            f"{place}.{name} is gone: install the versions of crossbar, autobahn and twisted"
            " that this version of sisock was made for"
        )
    setattr(owner, name, make(original))


def tuned(original: Any) -> Any:
    """Measured: 44 ms on the first call of each connection without it, 1 ms with it."""

    def connection_made(self: Any) -> None:
        original(self)
        tune(self)

    return connection_made


def relieved(original: Any) -> Any:
    """Every message to a client passes here: its WELCOME, and those that it may not read."""

    def send(self: Any, msg: Any) -> None:
        try:
            original(self, msg)
        except SerializationError as error:
            stranger = find_door(self.transport)
            if stranger is None or not stranger.is_stranger:
                raise
            stranger.refuse(str(error))
            return
        if isinstance(msg, message.Welcome):
            self.door = find_door(self.transport)
            if self.door is not None:
                self.door.admit()
        elif self.door is not None and self.door.unread > LARGE:
            self.door.factory.relieve()

    return send


def told_in_a_line(original: Any) -> Any:
    """Autobahn waits for a stranger to answer its close frame, and logs several lines."""

    def fail_connection(self: Any, code: int = 1001, reason: str = "going away") -> None:
        door = find_door(self.transport)
        self.log = DemotedLogger()
        if door is not None and door.is_stranger:
            self.failByDrop = True
            door.refuse(reason)
        elif door is not None:
            door.tell(reason)
        original(self, code, reason)

    return fail_connection


def handshake_told_in_a_line(original: Any) -> Any:
    """Autobahn quotes whole headers."""

    def fail_handshake(self: Any, reason: str, *args: Any, **kwargs: Any) -> None:
        door = find_door(self.transport)
        if door is not None:
            door.tell(reason)
        self.log = DemotedLogger()
        original(self, reason, *args, **kwargs)

    return fail_handshake


def checked(original: Any) -> Any:
    """The caller gets an error, and the receiver nothing."""

    def on_message(self: Any, msg: Any) -> None:
        if isinstance(msg, message.Authenticate) and not is_short_line(msg.signature):
            raise ProtocolError("a signature must be one line")  # the log quotes a wrong one
        if self._session_id is not None and isinstance(msg, message.Call | message.Publish):
            fault = find_fault(msg.args, msg.kwargs)
            if fault is not None:
                if isinstance(msg, message.Call) or msg.acknowledge:
                    self._transport.send(
                        message.Error(
                            msg.MESSAGE_TYPE, msg.request, ERROR_INVALID_ARGUMENT, args=[fault]
                        )
                    )
                return
        original(self, msg)

    return on_message


def scanned_in_c(original: Any) -> Any:
    """Autobahn's scanner, in Python, is needed only for bytes, which JSON has after a NUL."""

    def loads(text: str, **options: Any) -> Any:
        if "\\u0000" in text or any(options.values()):
            return original(text, **options)
        return json.loads(text)

    return loads


def served(original: Any) -> Any:
    """A complete HTTP request gives its connection time; Twisted logs paths that no file has."""

    def process(self: Any) -> None:
        channel = self.channel
        door = find_door(channel.transport)
        if not is_path(self.path):
            self.setResponseCode(http.BAD_REQUEST)
            self.setHeader(b"content-length", b"0")
            self.finish()
        else:
            original(self)
        if door is not None and channel.transport is not None:  # a WebSocket has taken it over
            door.renew()

    return process


def is_path(path: bytes) -> bool:
    """Whether a quoted path can be that of a file."""
    try:
        return "\0" not in unquote_to_bytes(path).decode()
    except UnicodeDecodeError:
        return False


class TerseLogger:
    """Autobahn's log without the tracebacks of what clients send wrongly."""

    def error(self, *args: Any, **kwargs: Any) -> None:
        """Log at debug."""
        log.debug(*args, **kwargs)

    critical = error

    def __getattr__(self, name: str) -> Any:
        return getattr(log, name)


@functools.cache
def install() -> None:
    """Change this process.

    Raises
    ------
    SettingsError
        If what is to be changed is no longer there.
    """
    sys.setrecursionlimit(RECURSION_LIMIT)
    _, files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    leave_log_texts_plain()
    replace(endpoint, "MaxConnectionsFactory", lambda _: Doors)
    replace(WebSocketAdapterProtocol, "connectionMade", tuned)
    replace(WampWebSocketServerProtocol, "_fail_connection", told_in_a_line)
    replace(WampWebSocketServerProtocol, "failHandshake", handshake_told_in_a_line)
    WampWebSocketServerProtocol.log = TerseLogger()
    for protocol in (WampWebSocketServerProtocol, WampRawSocketServerProtocol):
        protocol.door = None
        replace(protocol, "send", relieved)
    replace(RouterSession, "onMessage", checked)
    replace(serializer, "_loads", scanned_in_c)
    replace(server.Request, "process", served)
    # One HTTP/2 connection may begin thousands of requests at once.
    http.H2_ENABLED = False
    # What the router is made of stays: to look through it for garbage takes 0.2 s each time, in
    # which nothing is passed on.
    gc.collect()
    gc.freeze()


class Personality(personality.Personality):
    """Crossbar's own, but for its listening ports."""

    @staticmethod
    def create_router_transport(  # type: ignore[override]
        worker: Any, transport_id: str, config: Any
    ) -> Any:
        """Change the process before it listens; also in a proxy worker."""
        install()
        return create_router_transport(worker, transport_id, config)


def main() -> None:
    """Run Crossbar's own command line."""
    sys.exit(run_crossbar("crossbar", sys.argv[1:], reactor, Personality))


if __name__ == "__main__":
    # Crossbar's workers import the class by its module's name.
    from sisock.router.process import main as main_by_name

    main_by_name()
