"""Guard the router's connections against strangers, stalled readers and harmful arguments.

This is the layer below TLS on each port. A stranger is a client that has not logged in.
"""

from __future__ import annotations

import ctypes
import gc
import resource
from collections.abc import Iterable
from typing import Any

from autobahn.wamp import message
from autobahn.wamp.exception import ProtocolError
from crossbar.common.twisted import endpoint
from twisted.internet import reactor

from sisock.connection.runtime import make_logger
from sisock.wire.protocol import ERROR_INVALID_ARGUMENT

LOGIN_TIMEOUT = 20
"""Seconds from the start of a connection to the login, including all handshakes."""

ANSWER_TIMEOUT = 60
"""Seconds from a complete HTTP request to the next one."""

MAX_STRANGER_BYTES = 64 << 10
"""Bytes that a connection may send before its login, or in one HTTP request."""

MAX_MESSAGE_BYTES = 1 << 20
"""Bytes of a message from a client other than a node: those of consumers are calls."""

MAX_TOPIC = 1000
"""Characters of a topic."""

MAX_SIGNATURE = 4096
"""Characters of a signature; a ticket may be long."""

MAX_SUBSCRIPTIONS = 100_000
"""Subscriptions of all clients other than nodes; beyond this, the one with the most has to go."""

MANY_SUBSCRIPTIONS = 100
"""Subscriptions of a client; at each multiple of this, the sum over all clients is checked."""

MAX_UNREAD_BYTES = 128 << 20
"""Unread bytes of all clients together; beyond this, the client with the most is disconnected."""

LARGE = 256 << 10  # unread bytes of one client; beyond this, the sum over all clients is checked
SPARE_FILES = 200  # number of open files reserved for other purposes than connections

MAX_DEPTH = 200
"""Levels of nesting in arguments; CBOR's decoder supports 400 for the whole message."""

_HARMFUL_KEYWORDS = {"self", "fun", "f"}
"""Keywords that equal argument names of autobahn's functions: they end the receiver's session."""

_PLAIN = {float, int, bool, bytes, type(None)}

log = make_logger()


class Door(endpoint._CountedConnection):
    """A connection that is closed unless its client logs in soon, and sends little before."""

    _is_told = False

    def makeConnection(self, transport: Any) -> None:
        """Start the time limit for the login."""
        self._allowance = MAX_STRANGER_BYTES
        self._deadline = reactor.callLater(
            LOGIN_TIMEOUT, self.refuse, f"it did not log in within {LOGIN_TIMEOUT} s"
        )
        self.factory.strangers[self] = None
        super().makeConnection(transport)

    def dataReceived(self, data: bytes) -> None:
        """Pass on data; close a stranger's connection after too many bytes or an error."""
        if not self.is_stranger:
            super().dataReceived(data)
            return
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
        """Whether the client has not logged in yet and its connection is open."""
        return self in self.factory.strangers

    def renew(self) -> None:
        """Allow another HTTP request after a complete one."""
        if self.is_stranger:
            self._allowance = MAX_STRANGER_BYTES
            self._deadline.reset(ANSWER_TIMEOUT)

    def end_wait(self) -> None:
        """End the time limit: the client has logged in or disconnected."""
        self.factory.strangers.pop(self, None)
        if self._deadline.active():
            self._deadline.cancel()

    def refuse(self, reason: str) -> None:
        """Close a stranger's connection."""
        if self.is_stranger:
            self.end_wait()
            self.close(reason)

    def close(self, reason: str) -> None:
        """Close the connection at once, with one line in the log."""
        self.tell(reason)
        self._forget()
        # Free the place before Twisted has closed the socket.
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
        """Free the unread bytes: a cycle of references would keep them in memory."""
        self.end_wait()
        self._forget()
        super().connectionLost(reason)

    def _forget(self) -> None:
        if self.unread > MAX_UNREAD_BYTES // 8:
            reactor.callLater(0, return_memory)
        self.transport.dataBuffer, self.transport.offset = b"", 0
        self.transport._tempDataBuffer, self.transport._tempDataLen = [], 0


class Doors(endpoint.MaxConnectionsFactory):
    """Keep the connections of one listening port."""

    protocol = Door

    def __init__(self, factory: Any, max_connections: int, *args: Any) -> None:
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        super().__init__(factory, min(max_connections, files - SPARE_FILES), *args)
        self.strangers: dict[Door, None] = {}

    def buildProtocol(self, address: Any) -> Any:
        """Accept a connection; if all places are taken, close the oldest stranger's connection."""
        if len(self.protocols) >= self.max_connections and self.strangers:
            next(iter(self.strangers)).refuse("it had to make room for another")
        return super().buildProtocol(address)

    def unregisterProtocol(self, door: Door) -> None:
        """Free the place of a connection."""
        self.protocols.pop(door, None)

    def relieve(self) -> None:
        """Disconnect the client with the most unread bytes if there are too many in total."""
        if sum(door.unread for door in self.protocols) > MAX_UNREAD_BYTES:
            door = max(self.protocols, key=lambda door: door.unread)
            door.close(f"it does not read: {door.unread >> 20} MiB are unread")


def find_door(transport: Any) -> Door | None:
    """Find the connection below a protocol's transport, which may be TLS."""
    while transport is not None:
        if isinstance(door := getattr(transport, "protocol", None), Door):
            return door
        transport = getattr(transport, "transport", None)
    return None


def return_memory() -> None:
    """Return freed memory to the system; otherwise the C library would keep it."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def is_harmless(session: Any, transport: Any, msg: Any) -> bool:
    """Return whether a message may be handled; answer harmful arguments with an error.

    Raises ProtocolError for messages that Crossbar would log, or believe.
    """
    if isinstance(msg, message.Authenticate) and not (
        len(msg.signature) <= MAX_SIGNATURE and msg.signature.isprintable()
    ):
        raise ProtocolError("a signature must be one line")  # Crossbar logs wrong signatures
    if isinstance(msg, message.Hello) and session._session_id is not None:
        raise ProtocolError("the session has begun already")
    if getattr(msg, "forward_for", None):
        raise ProtocolError("only routers may forward messages")
    if getattr(msg, "payload", None) is not None:
        raise ProtocolError("encrypted payloads are not supported")
    is_payload = session._session_id is not None and isinstance(msg, message.Call | message.Publish)
    if not is_payload or (fault := find_fault(msg.args, msg.kwargs)) is None:
        return True
    if isinstance(msg, message.Call) or msg.acknowledge:
        kind, uri = msg.MESSAGE_TYPE, ERROR_INVALID_ARGUMENT
        transport.send(message.Error(kind, msg.request, uri, args=[fault]))
    return False


def find_fault(args: Any, kwargs: Any) -> str | None:
    """Return why a message's arguments would harm its receiver or cannot be sent, or None."""
    for name in kwargs or ():
        if name in _HARMFUL_KEYWORDS:
            return f"there is no keyword argument {name!r}"
    level: list[Any] = [args, kwargs]
    for _ in range(MAX_DEPTH):
        for value in level:
            if isinstance(value, str) and value.encode(errors="replace").decode() != value:
                return "text must not hold half a surrogate pair"
        level = [
            child
            for value in level
            for child in _children(value)
            if type(child) not in _PLAIN and not (type(child) is str and child.isascii())
        ]
        if not level:
            return None
    return f"arguments must not be nested deeper than {MAX_DEPTH} levels"


def _children(value: Any) -> Iterable[Any]:
    """Return what a list or a dict contains."""
    if isinstance(value, dict):
        return [*value, *value.values()]
    return value if isinstance(value, list | tuple) else ()
