"""Router, nodes and bridges as processes of their own, as in the demo, and clients of a bridge."""

from __future__ import annotations

import contextlib
import http.client
import tempfile
import time
from pathlib import Path
from typing import Any

import orjson
import psutil

from sisock.client.client import Client
from sisock.connection.settings import Settings
from sisock.testing import RouterProcess
from tests.bridge.conftest import RunningBridge, iso_range
from tests.conftest import Program, wait_for_nodes

NO_CACHE = {"SISOCK_CACHE_MB": "0.000001"}
"""What starts a bridge that keeps no samples."""


class Stack(contextlib.ExitStack):
    """A router on this computer, and what is started on it; all ends with it."""

    def __enter__(self) -> Stack:
        super().__enter__()
        self.folder = Path(self.enter_context(tempfile.TemporaryDirectory()))
        self.router = self.enter_context(RouterProcess())
        return self

    def settings(self, use_socket: bool = True) -> Settings:
        """Settings of a consumer, on the Unix socket or by TLS."""
        return self.router.settings(use_socket=use_socket)

    @property
    def worker(self) -> psutil.Process:
        """The process of the router that passes everything on."""
        (worker,) = psutil.Process(self.router.pid).children()
        return worker

    def start(self, *command: str, **variables: str) -> Program:
        """Start a program on the Unix socket."""
        environ = {**self.router.environ("server", use_socket=True), **variables}
        log = self.folder / f"{len(list(self.folder.iterdir()))}.log"
        program = Program(list(command), environ, log)
        self.callback(program.end)
        return program

    def start_node(self, name: str, *command: str, **variables: str) -> Program:
        """Start a node and wait until it is in the hub's list."""
        program = self.start(*command, **variables)
        with Client(self.settings()) as client:
            wait_for_nodes(client, name, seconds=300)
        return program

    def start_bridge(self, **variables: str) -> RunningBridge:
        """Start a bridge on the Unix socket and wait until it is ready."""
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        path = str(self.router.home.router_socket)
        bridge = RunningBridge(
            self.router, folder, CROSSBAR_SOCKET=path, LOGLEVEL="warn", **variables
        )
        self.callback(bridge.program.end)
        bridge.wait_until_healthy()
        return bridge


class Connection:
    """A client of an HTTP server, with a connection of its own that stays."""

    def __init__(self, port: int) -> None:
        self._link = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
        self._link.connect()

    def ask(self, path: str, body: bytes | None = None) -> bytes:
        """The answer to one request, to its last byte."""
        headers = {"Content-Type": "application/json"} if body else {}
        self._link.request("POST" if body else "GET", path, body, headers)
        response = self._link.getresponse()
        answer = response.read()
        if response.status != 200:
            raise RuntimeError(f"{path}: {response.status} {answer[:300]!r}")
        return answer


def seconds_of(action: Any, *args: Any) -> float:
    """Seconds that a call takes."""
    began = time.perf_counter()
    action(*args)
    return time.perf_counter() - began


def panel(targets: list[str], start: float, end: float, points: int | None = None) -> bytes:
    """A panel's request for ``/query``; for all samples if there is no number of points."""
    thinned = (
        {"maxDataPoints": points, "intervalMs": 1000 * (end - start) / points} if points else {}
    )
    asked = [{"target": target, "refId": str(i)} for i, target in enumerate(targets)]
    return orjson.dumps({"range": iso_range(start, end), "targets": asked, **thinned})
