"""Keep the router's process well, whatever its clients send, or fail to send, or fail to read.

`sisock.router` starts Crossbar by this module, with a `Personality` that changes each worker
process before it listens. Crossbar has no settings for these things, so `install` replaces parts of
Crossbar, autobahn and Twisted, all of them there; one that no longer exists ends the start.
"""

from __future__ import annotations

import ctypes
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
from cbor2 import CBORTag
from crossbar import personality
from crossbar.common.twisted import endpoint
from crossbar.node.main import main as run_crossbar
from crossbar.router.protocol import WampRawSocketServerProtocol, WampWebSocketServerProtocol
from crossbar.router.session import RouterSession
from crossbar.worker.transport import create_router_transport
from twisted.internet import reactor
from twisted.web import http, server

from sisock.errors import SettingsError
from sisock.logs import DemotedLogger, make_logger
from sisock.protocol import ERROR_INVALID_ARGUMENT
from sisock.transport import leave_log_texts_plain, tune

LOGIN_TIMEOUT = 20
"""Seconds from a connection's begin to its login, whichever layer takes the time."""

ANSWER_TIMEOUT = 60
"""Seconds from a complete HTTP request to the next one."""

MAX_STRANGER_BYTES = 256 << 10
"""Bytes that a connection may send before its login, or in one HTTP request."""

MAX_UNREAD_BYTES = 128 << 20
"""Bytes that wait for clients to read them; then the one that has most is closed."""

LARGE = 1 << 20
"""Bytes waiting for one client that make a look at all of them worthwhile."""

MAX_DEPTH = 200
"""Levels of nesting in arguments: CBOR's decoder takes 400, with those of the message."""

RECURSION_LIMIT = 1000
"""Python's own. Of what Crossbar imports, py_ecc sets 100,000: 40 kB of brackets then take 48 s."""

SPARE_FILES = 200
"""Open files that are not for connections."""

HARMFUL_KEYWORDS = {"self", "fun", "f"}
"""Names of arguments of autobahn's own functions: with these, the receiver's session ends."""

MAX_SIGNATURE = 4096
"""Characters of what a client signs in with; a ticket may be long."""

PLAIN = {float, int, bool, bytes, type(None)}

log = make_logger()


class Door(endpoint._CountedConnection):
    """A connection, which is closed unless it logs in soon and sends little before."""

    _is_told = False

    def makeConnection(self, transport: Any) -> None:
        """Begin to wait for the login."""
        self._allowance = MAX_STRANGER_BYTES
        self._deadline = reactor.callLater(
            LOGIN_TIMEOUT, self.refuse, f"it did not log in within {LOGIN_TIMEOUT} s"
        )
        self.factory.strangers[self] = None
        super().makeConnection(transport)

    def dataReceived(self, data: bytes) -> None:
        """Pass on what a stranger sends, as long as it is little and does no harm."""
        self._allowance -= len(data)
        if self._allowance < 0:
            self.refuse(f"it sent {MAX_STRANGER_BYTES >> 10} KiB without a login")
            return
        try:
            super().dataReceived(data)
        except Exception as error:
            self.refuse(repr(error))

    @property
    def is_stranger(self) -> bool:
        """Whether it has neither logged in nor been closed."""
        return self in self.factory.strangers

    def renew(self) -> None:
        """Allow for another HTTP request, after a complete one."""
        if self.is_stranger:
            self._allowance = MAX_STRANGER_BYTES
            self._deadline.reset(ANSWER_TIMEOUT)

    def admit(self) -> None:
        """End the wait: the client has logged in."""
        if self.is_stranger:
            self._end_wait()
            self.dataReceived = self.wrappedProtocol.dataReceived

    def refuse(self, reason: str) -> None:
        """Close a stranger's connection."""
        if self.is_stranger:
            self._end_wait()
            self.close(reason)

    def close(self, reason: str) -> None:
        """Close the connection at once, with one line in the log."""
        self.tell(reason)
        self._forget()
        # The place is free at once, not when Twisted has closed the socket.
        self.factory.unregisterProtocol(self)
        self.transport.abortConnection()

    def tell(self, reason: str) -> None:
        """Log once why the connection is closed; the reason may quote what a stranger sent."""
        if self._is_told:
            return
        self._is_told = True
        peer = self.transport.getPeer()
        address = f"{peer.host}:{peer.port}" if hasattr(peer, "port") else "the Unix socket"
        text = ascii(reason)[1:-1][:200]
        log.warn("closed a connection from {address}: {text}", address=address, text=text)

    @property
    def unread(self) -> int:
        """Bytes that the client has not read yet."""
        return len(self.transport.dataBuffer) + self.transport._tempDataLen

    def connectionLost(self, reason: Any) -> None:
        """Let go of everything: what nobody has read lies in a cycle of references."""
        self._end_wait()
        self._forget()
        super().connectionLost(reason)

    def _end_wait(self) -> None:
        if self.factory.strangers.pop(self, self) is None:
            self._deadline.cancel()

    def _forget(self) -> None:
        if self.unread > LARGE:
            reactor.callLater(0, return_memory)
        self.transport.dataBuffer, self.transport.offset = b"", 0
        self.transport._tempDataBuffer, self.transport._tempDataLen = [], 0


class Doors(endpoint.MaxConnectionsFactory):
    """The connections of one listening port."""

    protocol = Door

    def __init__(self, factory: Any, max_connections: int, *args: Any) -> None:
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        super().__init__(factory, min(max_connections, files - SPARE_FILES), *args)
        self.strangers: dict[Door, None] = {}

    def buildProtocol(self, address: Any) -> Any:
        """Make room, if there is none, by closing the stranger who came first."""
        if len(self.protocols) >= self.max_connections and self.strangers:
            next(iter(self.strangers)).refuse("it had to make room for another")
        return super().buildProtocol(address)

    def unregisterProtocol(self, door: Door) -> None:
        """Free the place of a connection."""
        self.protocols.pop(door, None)

    def relieve(self) -> None:
        """Close the client that has most to read, if all have too much."""
        if sum(door.unread for door in self.protocols) > MAX_UNREAD_BYTES:
            door = max(self.protocols, key=lambda door: door.unread)
            door.close(f"it does not read: {door.unread >> 20} MiB wait for it")


def find_door(transport: Any) -> Door | None:
    """Find the connection below a protocol's transport, which may be TLS."""
    while transport is not None:
        if isinstance(door := getattr(transport, "protocol", None), Door):
            return door
        transport = getattr(transport, "transport", None)
    return None


def return_memory() -> None:
    """Give freed memory back to the system, which the C library would keep."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def find_fault(args: Any, kwargs: Any) -> str | None:
    """Find what in a message's arguments would harm its receiver, or could not reach it."""
    for name in kwargs or ():
        if name in HARMFUL_KEYWORDS:
            return f"there is no keyword argument {name!r}"
    level: list[Any] = [args, kwargs]
    seen: set[int] = set()
    for _ in range(MAX_DEPTH):
        below: list[Any] = []
        for value in level:
            if isinstance(value, str):
                if not value.isascii() and not is_unicode(value):
                    return "text must not hold half a surrogate pair"
                continue
            children = children_of(value)
            if children and id(value) in seen:  # CBOR can write references
                return "arguments must not hold themselves, or one value twice"
            seen.add(id(value))
            below += [child for child in children if type(child) not in PLAIN]
        if not below:
            return None
        level = below
    return f"arguments must not be nested deeper than {MAX_DEPTH} levels"


def children_of(value: Any) -> list[Any]:
    """Return what a value of a message consists of."""
    if isinstance(value, dict):
        return [*value, *value.values()]
    if isinstance(value, CBORTag):
        return [value.value]
    return list(value) if isinstance(value, list | tuple | set | frozenset) else []


def is_short_line(text: str) -> bool:
    """Whether a text can stand in the log as it is."""
    return len(text) <= MAX_SIGNATURE and text.isprintable()


def is_unicode(text: str) -> bool:
    """Whether a text can be written as UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


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


class TerseLogger(DemotedLogger):
    """Autobahn's log without the tracebacks of what clients send wrongly."""

    def __init__(self) -> None:
        super().__init__()
        self.critical = self.error
        self.info, self.warn = log.info, log.warn


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
    def create_router_transport(worker: Any, transport_id: str, config: Any) -> Any:
        """Change the process before it listens; also in a proxy worker."""
        install()
        return create_router_transport(worker, transport_id, config)


def main() -> None:
    """Run Crossbar's own command line."""
    sys.exit(run_crossbar("crossbar", sys.argv[1:], reactor, Personality))


if __name__ == "__main__":
    # Crossbar's workers import the class by its module's name.
    from sisock.router_process import main as main_by_name

    main_by_name()
