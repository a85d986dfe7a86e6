"""Keep the router's process well and small, whatever its clients send or fail to read.

`sisock.router.launch` starts Crossbar by this module. Crossbar has no settings for these things,
so parts of Crossbar, autobahn and Twisted are replaced, see `instead_of`; one that no longer exists
ends the start. Modules that Crossbar imports and no router uses are replaced by placeholders.
"""

from __future__ import annotations

import functools
import gc
import importlib
import json
import resource
import runpy
import sys
from collections.abc import Callable
from importlib.util import find_spec
from types import ModuleType
from typing import Any
from urllib.parse import unquote_to_bytes

from sisock.connection.runtime import DemotedLogger  # first: it has Crossbar find Twisted

UNUSED = (
    "cfxdb",
    "crossbar.edge.worker.router",
    "eth_utils.pydantic",
    "txtorcon",
    "web3",
    "xbr",
    "xbr._secmod",
    "yapf.yapflib.yapf_api",
)
"""Modules for Ethereum, Tor and the like, 30 MB a process."""


class Placeholder(ModuleType):
    """A module that is not imported yet, though its submodules can be, or a name of one.

    It is imported after all when a name of it is called, or is the parent of a class.
    """

    def __init__(self, module: str, *path: str) -> None:
        super().__init__(module)
        self._path = path
        if not path and "." not in module and (spec := find_spec(module)):
            self.__path__ = list(spec.submodule_search_locations or ())

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return Placeholder(self.__name__, *self._path, name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the real one."""
        return self._load()(*args, **kwargs)

    def __ror__(self, other: Any) -> Any:
        return Any  # in the type of an argument

    def __instancecheck__(self, instance: Any) -> bool:
        return isinstance(instance, self._load())

    def __mro_entries__(self, bases: tuple) -> tuple:
        return (self._load(),)

    def _load(self) -> Any:
        sys.modules.pop(self.__name__, None)
        if "." not in self.__name__:  # a part of a package is imported without the rest
            remove_placeholders()
        limit = sys.getrecursionlimit()
        found: Any = importlib.import_module(self.__name__)
        sys.setrecursionlimit(limit)  # py_ecc sets 100,000: 40 kB of brackets then take 48 s
        return functools.reduce(getattr, self._path, found)


def remove_placeholders() -> None:
    """Let who imports such a module from now on have it; Crossbar keeps its placeholders."""
    for name in UNUSED:
        if not name.startswith("crossbar.") and isinstance(sys.modules.get(name), Placeholder):
            del sys.modules[name]


for unused in UNUSED:
    sys.modules.setdefault(unused, Placeholder(unused))

from autobahn.wamp import message, serializer
from autobahn.wamp.exception import ProtocolError, SerializationError
from crossbar import personality
from crossbar.common.twisted import endpoint
from crossbar.node import node
from crossbar.node.main import main as run_crossbar
from crossbar.router.protocol import WampRawSocketServerProtocol, WampWebSocketServerProtocol
from crossbar.router.session import RouterSession
from crossbar.worker.transport import create_router_transport
from twisted.internet import reactor
from twisted.web import http, server

from sisock.connection.transport import leave_log_texts_plain, tune
from sisock.errors import SettingsError
from sisock.router.doors import LARGE, Doors, find_door, find_fault
from sisock.wire.protocol import ERROR_INVALID_ARGUMENT

WORKER = "crossbar.worker.main"

MAX_SIGNATURE = 4096
"""Characters of what a client signs in with; a ticket may be long."""


def instead_of(owner: Any, name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Replace a function by one that is given the original, then its arguments."""
    original = getattr(owner, name, None)
    if original is None:
        raise SettingsError(
            f"{owner.__name__}.{name} is gone: install the versions of crossbar, autobahn and"
            " twisted that this version of sisock was made for"
        )

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        # No partial object: a method of a class has to be a function.
        setattr(owner, name, lambda *args, **kwargs: function(original, *args, **kwargs))
        return function

    return register


@instead_of(WampWebSocketServerProtocol, "connectionMade")
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


# Without the tracebacks of what clients send wrongly.
WampWebSocketServerProtocol.log = DemotedLogger("error", "critical")
WampWebSocketServerProtocol.door = WampRawSocketServerProtocol.door = None
# One HTTP/2 connection may begin thousands of requests at once.
http.H2_ENABLED = False


class Node(node.Node):
    """Crossbar's controller, but for how its workers start."""

    def _extend_worker_args(self, args: list[str], options: Any) -> None:
        place = args.index(WORKER) - 1
        args[place : place + 2] = sys.orig_argv[1:3]  # as this process was started itself


class Personality(personality.Personality):
    """Crossbar's own, but for its controller and its listening ports."""

    Node = Node

    @staticmethod
    def create_router_transport(  # type: ignore[override]
        worker: Any, transport_id: str, config: Any
    ) -> Any:
        """Prepare the process before it listens; also in a proxy worker."""
        sys.setrecursionlimit(1000)  # Python's own, whatever has been imported, see `Placeholder`
        _, files = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
        leave_log_texts_plain()
        # To look through what stays for garbage takes 0.2 s each time, with all waiting.
        gc.collect()
        gc.freeze()
        return create_router_transport(worker, transport_id, config)


def main() -> None:
    """Run Crossbar's own command line, or one of its workers."""
    if sys.argv[1].startswith("-"):
        remove_placeholders()
        del sys.modules[WORKER]  # or runpy warns of it
        runpy.run_module(WORKER, run_name="__main__")
    else:
        sys.exit(run_crossbar("crossbar", sys.argv[1:], reactor, Personality))
