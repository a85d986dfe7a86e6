"""Keep the router's process well, whatever its clients send, or fail to send, or fail to read.

`sisock.router.launch` starts Crossbar by this module, with a `Personality` that changes each worker
process before it listens. Crossbar has no settings for these things, so `install` replaces parts of
Crossbar, autobahn and Twisted; one that no longer exists ends the start.
"""

from __future__ import annotations

import functools
import gc
import json
import resource
import runpy
import sys
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote_to_bytes

from sisock.router import placeholders

placeholders.install()

from autobahn.twisted.websocket import WebSocketAdapterProtocol
from autobahn.wamp import message, serializer
from autobahn.wamp.exception import ProtocolError, SerializationError
from cbor2 import CBORTag
from crossbar import personality
from crossbar.common.twisted import endpoint
from crossbar.node import node
from crossbar.node.main import main as run_crossbar
from crossbar.router.protocol import WampRawSocketServerProtocol, WampWebSocketServerProtocol
from crossbar.router.session import RouterSession
from crossbar.worker.transport import create_router_transport
from twisted.internet import reactor
from twisted.web import http, server

from sisock.connection.logs import DemotedLogger
from sisock.connection.transport import leave_log_texts_plain, tune
from sisock.errors import SettingsError
from sisock.router.doors import LARGE, Doors, find_door
from sisock.wire.protocol import ERROR_INVALID_ARGUMENT

WORKER = "crossbar.worker.main"

MAX_SIGNATURE = 4096
"""Characters of what a client signs in with; a ticket may be long."""

MAX_DEPTH = 200
"""Levels of nesting in arguments: CBOR's decoder takes 400, with those of the message."""

_HARMFUL_KEYWORDS = {"self", "fun", "f"}
"""Names of arguments of autobahn's own functions: with these, the receiver's session ends."""

_PLAIN = {float, int, bool, bytes, type(None)}

_replacements: list[tuple[Any, str, Callable[..., Any]]] = []


def instead_of(owner: Any, name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Have `install` replace a function by one that is given the original, then its arguments."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        _replacements.append((owner, name, function))
        return function

    return register


@instead_of(WebSocketAdapterProtocol, "connectionMade")
def connection_made(original: Any, self: Any) -> None:
    """Measured: 44 ms on the first call of each connection without it, 1 ms with it."""
    original(self)
    tune(self)


@instead_of(WampWebSocketServerProtocol, "send")
@instead_of(WampRawSocketServerProtocol, "send")
def send(original: Any, self: Any, msg: Any) -> None:
    """Every message to a client passes here: its WELCOME, and those that it may not read."""
    try:
        original(self, msg)
    except SerializationError as error:
        stranger = find_door(self.transport)
        if stranger is None or not stranger.is_stranger:
            raise
        return stranger.refuse(str(error))
    if isinstance(msg, message.Welcome):
        self.door = find_door(self.transport)
        if self.door is not None:
            self.door.end_wait()
    elif self.door is not None and self.door.unread > LARGE:
        self.door.factory.relieve()


@instead_of(WampWebSocketServerProtocol, "_fail_connection")
def fail_connection(original: Any, self: Any, code: int = 1001, reason: str = "going away") -> None:
    """Autobahn waits for a stranger to answer its close frame, and logs several lines."""
    door = find_door(self.transport)
    self.log = DemotedLogger()
    if door is not None:
        self.failByDrop |= door.is_stranger
        door.tell(reason)
        door.refuse(reason)
    original(self, code, reason)


@instead_of(WampWebSocketServerProtocol, "failHandshake")
def fail_handshake(original: Any, self: Any, reason: str, *args: Any, **kwargs: Any) -> None:
    """Autobahn quotes whole headers."""
    door = find_door(self.transport)
    if door is not None:
        door.tell(reason)
    self.log = DemotedLogger()
    original(self, reason, *args, **kwargs)


@instead_of(RouterSession, "onMessage")
def on_message(original: Any, self: Any, msg: Any) -> None:
    """Refuse arguments that receivers cannot bear: the caller gets an error, and they nothing."""
    if isinstance(msg, message.Authenticate) and not (
        len(msg.signature) <= MAX_SIGNATURE and msg.signature.isprintable()
    ):
        raise ProtocolError("a signature must be one line")  # the log quotes a wrong one
    is_payload = self._session_id is not None and isinstance(msg, message.Call | message.Publish)
    if not is_payload or (fault := find_fault(msg.args, msg.kwargs)) is None:
        original(self, msg)
    elif isinstance(msg, message.Call) or msg.acknowledge:
        kind, uri = msg.MESSAGE_TYPE, ERROR_INVALID_ARGUMENT
        self._transport.send(message.Error(kind, msg.request, uri, args=[fault]))


def find_fault(args: Any, kwargs: Any) -> str | None:
    """Find what in a message's arguments would harm its receiver, or could not reach it."""
    for name in kwargs or ():
        if name in _HARMFUL_KEYWORDS:
            return f"there is no keyword argument {name!r}"
    level: list[Any] = [args, kwargs]
    seen: set[int] = set()
    for _ in range(MAX_DEPTH):
        below: list[Any] = []
        for value in level:
            if isinstance(value, str):
                if not value.isascii() and value.encode(errors="replace").decode() != value:
                    return "text must not hold half a surrogate pair"
                continue
            children: list[Any] = []
            if isinstance(value, dict):
                children = [*value, *value.values()]
            elif isinstance(value, CBORTag):
                children = [value.value]
            elif isinstance(value, list | tuple | set | frozenset):
                children = list(value)
            if children and id(value) in seen:  # CBOR can write references
                return "arguments must not hold themselves, or one value twice"
            seen.add(id(value))
            below += [child for child in children if type(child) not in _PLAIN]
        if not below:
            return None
        level = below
    return f"arguments must not be nested deeper than {MAX_DEPTH} levels"


@instead_of(serializer, "_loads")
def loads(original: Any, text: str, **options: Any) -> Any:
    """Autobahn's scanner, in Python, is needed only for bytes, which JSON has after a NUL."""
    if "\\u0000" in text or any(options.values()):
        return original(text, **options)
    return json.loads(text)


@instead_of(server.Request, "process")
def process(original: Any, self: Any) -> None:
    """A complete HTTP request gives its connection time; Twisted logs paths that no file has."""
    channel = self.channel
    door = find_door(channel.transport)
    if is_path(self.path):
        original(self)
    else:
        self.setResponseCode(http.BAD_REQUEST)
        self.setHeader(b"content-length", b"0")
        self.finish()
    if door is not None and channel.transport is not None:  # a WebSocket has taken it over
        door.renew()


def is_path(path: bytes) -> bool:
    """Return whether a quoted path can be that of a file."""
    try:
        return "\0" not in unquote_to_bytes(path).decode()
    except UnicodeDecodeError:
        return False


@instead_of(endpoint, "MaxConnectionsFactory")
def make_doors(original: Any, *args: Any) -> Doors:
    """Count and guard connections, see `sisock.router.doors`."""
    return Doors(*args)


def _replace(owner: Any, name: str, function: Callable[..., Any]) -> None:
    original = getattr(owner, name, None)
    if original is None:
        raise SettingsError(
            f"{owner.__name__}.{name} is gone: install the versions of crossbar, autobahn and"
            " twisted that this version of sisock was made for"
        )

    def replacement(*args: Any, **kwargs: Any) -> Any:
        return function(original, *args, **kwargs)

    setattr(owner, name, replacement)


@functools.cache
def install() -> None:
    """Change this process; SettingsError says that what is to be changed is no longer there."""
    sys.setrecursionlimit(1000)  # Python's own, which py_ecc makes 100,000; see placeholders
    _, files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    leave_log_texts_plain()
    for replacement in _replacements:
        _replace(*replacement)
    # Without the tracebacks of what clients send wrongly.
    WampWebSocketServerProtocol.log = DemotedLogger("error", "critical")
    WampWebSocketServerProtocol.door = WampRawSocketServerProtocol.door = None
    # One HTTP/2 connection may begin thousands of requests at once.
    http.H2_ENABLED = False
    # To look through what stays for garbage takes 0.2 s each time, in which nothing is passed on.
    gc.collect()
    gc.freeze()


class Node(node.Node):
    """Crossbar's controller, but for how its workers start."""

    def _extend_worker_args(self, args: list[str], options: Any) -> None:
        args[args.index(WORKER)] = __spec__.name


class Personality(personality.Personality):
    """Crossbar's own, but for its controller and its listening ports."""

    Node = Node

    @staticmethod
    def create_router_transport(  # type: ignore[override]
        worker: Any, transport_id: str, config: Any
    ) -> Any:
        """Change the process before it listens; also in a proxy worker."""
        install()
        return create_router_transport(worker, transport_id, config)


def main() -> None:
    """Run Crossbar's own command line, or one of its workers."""
    if sys.argv[1].startswith("-"):
        placeholders.remove()
        del sys.modules[WORKER]  # or runpy warns of it
        runpy.run_module(WORKER, run_name="__main__")
    else:
        sys.exit(run_crossbar("crossbar", sys.argv[1:], reactor, Personality))


if __name__ == "__main__":
    # Crossbar's workers import the class by its module's name.
    from sisock.router.process import main as main_by_name

    main_by_name()
