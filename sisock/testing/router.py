"""Run a real router for tests, and nodes on it."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from twisted.internet import defer, threads

from sisock.client.client import Client
from sisock.connection.health import is_served
from sisock.connection.reconnect import RouterConnection
from sisock.connection.runtime import reactor_thread
from sisock.connection.settings import Home, Settings, load_settings
from sisock.node.api import DataNodeServer
from sisock.node.service import NodeService
from sisock.router.configuration import DEFAULT_CONFIGURATION
from sisock.router.credentials import make_certificates, make_credentials
from sisock.router.launch import SECRET_VARIABLES, crossbar_command, prepare
from sisock.wire.protocol import USER_CONSUMER, USER_SERVER

_BLOCK = 32
_BLOCKS = range(15_000, 32_768 - _BLOCK, _BLOCK)
"""First ports of blocks below those that the system gives to outgoing connections."""

_claims: list[socket.socket] = []
_choosing = threading.Lock()


def _claim_ports() -> Iterator[int]:
    """Yield each port of blocks that no other process has claimed."""
    while True:
        claim = socket.socket()
        first = secrets.choice(_BLOCKS)
        try:
            claim.bind(("127.0.0.1", first))
        except OSError:
            claim.close()
            continue
        _claims.append(claim)  # kept open: whoever holds a block's first port has the block
        yield from range(first + 1, first + _BLOCK)


_claimed = _claim_ports()


def free_port() -> int:
    """Return a free TCP port of loopback, outside of the range for outgoing connections.

    No other call returns the same port, in this process or in another one that still runs.
    """
    while True:
        with _choosing:
            port = next(_claimed)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def wait_until(condition: Callable[[], Any], seconds: float, what: str, every: float = 0.02) -> Any:
    """Poll every `every` seconds until a condition is true, and return its value.

    Raises TimeoutError after `seconds`; `what` names the condition in the message.
    """
    end = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > end:
            raise TimeoutError(f"{what} did not happen within {seconds:g} s")
        time.sleep(every)
    return value


class RouterProcess:
    """A separate Crossbar router in a temporary home folder.

    Needs the extra ``router``. With `hub` false there is no hub; `configuration` is a Crossbar
    configuration, by default sisock's; `plain` starts Crossbar without sisock's additions.
    """

    def __init__(
        self, hub: bool = True, configuration: Path = DEFAULT_CONFIGURATION, plain: bool = False
    ) -> None:
        # Not pytest's tmp_path: a Unix socket's path has to be short.
        self.home = Home(Path(tempfile.mkdtemp(prefix="sisock-")))
        self.port = free_port()
        self._hub, self._configuration, self._plain = hub, configuration, plain
        self._process: Any = None
        make_credentials(self.home)
        make_certificates(self.home)

    @property
    def pid(self) -> int:
        """The process id of the router's controller."""
        return self._process.pid

    @property
    def log(self) -> str:
        """The router's log so far."""
        return (self.home.path / "router.log").read_text(errors="replace")

    def environ(self, user: str = USER_CONSUMER, use_socket: bool = False) -> dict[str, str]:
        """Return environment variables with which a program finds this router."""
        others = ("WAMP_", "CROSSBAR_", "SISOCK_SITES")
        kept = {k: v for k, v in os.environ.items() if not k.startswith(others)}
        return {
            **kept,
            "SISOCK_HOME": str(self.home.path),
            "SISOCK_CACHE": str(self.home.path / "cache"),
            "CROSSBAR_HOST": "localhost",
            "CROSSBAR_TLS_PORT": str(self.port),
            "WAMP_USER": user,
            **({"CROSSBAR_SOCKET": str(self.home.router_socket)} if use_socket else {}),
        }

    def settings(self, user: str = USER_CONSUMER, use_socket: bool = False) -> Settings:
        """Return the settings with which a client finds this router."""
        return load_settings(user, environ=self.environ(user, use_socket))

    def start(self) -> RouterProcess:
        """Start the router, and wait until it listens."""
        left_out = {*SECRET_VARIABLES, *(["SISOCK_PROXIES"] if self._plain else [])}
        environ = {k: v for k, v in os.environ.items() if k not in left_out}
        variables = prepare(self.home, self._configuration, self.port, environ)
        if not self._hub:
            written = self.home.router_directory / "config.json"
            configuration = json.loads(written.read_text())
            del configuration["workers"][0]["components"]
            written.write_text(json.dumps(configuration))
        command = crossbar_command(self.home, "warn")
        if self._plain:
            command[:3] = [str(Path(sys.executable).with_name("crossbar"))]
        with open(self.home.path / "router.log", "ab") as log:
            streams: Any = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log}
            self._process = subprocess.Popen(
                command, env=variables, start_new_session=True, **streams
            )
        wait_until(self._listens, 120, "the start of the router")
        return self

    def _listens(self) -> bool:
        if self._process.poll() is not None:
            raise RuntimeError(f"the router ended:\n{self.log}")
        with socket.socket() as probe:
            is_open = probe.connect_ex(("127.0.0.1", self.port)) == 0
        return is_open and is_served(str(self.home.router_socket))

    def stop(self, with_signal: int = signal.SIGINT) -> None:
        """Stop the router and its worker."""
        if self._process is not None:
            self._process.send_signal(with_signal)
            self._process.wait(60)
            with suppress(ProcessLookupError):
                wait_until(lambda: os.killpg(self.pid, 0), 60, "the end of the router's worker")
            self._process = None

    def __enter__(self) -> RouterProcess:
        return self.start()

    def __exit__(self, *_: Any) -> None:
        try:
            self.stop()
        finally:
            shutil.rmtree(self.home.path, ignore_errors=True)


@contextmanager
def serve_node(
    router: RouterProcess, node: DataNodeServer, seconds: float = 30
) -> Iterator[Client]:
    """Serve a node on a router for as long as the block lasts; yield a client of the router.

    The node runs in this process, and cannot be used afterwards. Raises SisockError if an attribute
    or method of the node is wrong, and TimeoutError if it is not in the hub's list after `seconds`.
    """
    reactor = reactor_thread()
    service = NodeService(node, reactor)
    service.open()
    settings = router.settings(USER_SERVER)
    connection = RouterConnection(settings, service.joined, service.left, reactor)
    running: list[defer.Deferred] = []

    def begin() -> None:
        running.append(defer.ensureDeferred(connection.run()))

    def is_listed() -> bool:
        return node.name in {each.name for each in client.nodes()}

    async def end() -> None:
        await connection.stop()
        service.stop()

    threads.blockingCallFromThread(reactor, begin)
    try:
        with Client(router.settings()) as client:
            wait_until(is_listed, seconds, f"the node {node.name!r} in the hub's list")
            yield client
    finally:
        threads.blockingCallFromThread(reactor, lambda: defer.ensureDeferred(end()))
