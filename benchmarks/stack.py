"""Router, nodes and bridges as processes of their own, as in the demo, and clients of a bridge."""

from __future__ import annotations

import contextlib
import http.client
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import psutil

import sisock
from sisock.testing import RouterProcess, free_port, wait_until
from tests.conftest import Program, wait_for_nodes

WITHOUT_CACHE = {"SISOCK_CACHE_MB": "0.000001"}
"""What starts a bridge that keeps no samples."""

CONSUMER, SERVER = "simonsobs", "server"


@dataclass(frozen=True)
class Bridge:
    """A running bridge."""

    program: Program
    port: int


class Stack(contextlib.ExitStack):
    """A router on this computer, and what is started on it; all ends with it."""

    def __enter__(self) -> Stack:
        super().__enter__()
        self.folder = Path(self.enter_context(tempfile.TemporaryDirectory()))
        self.router = self.enter_context(self.make_router())
        return self

    def make_router(self) -> RouterProcess:
        """Make the router, not started yet."""
        return RouterProcess()

    def client(self, use_socket: bool = True) -> sisock.Client:
        """Connect a consumer, on the Unix socket or by TLS."""
        return sisock.Client(self.router.settings(use_socket=use_socket))

    @property
    def worker(self) -> psutil.Process:
        """The process of the router that passes everything on."""
        (worker,) = psutil.Process(self.router.pid).children()
        return worker

    def start(
        self, *command: str, user: str = SERVER, use_socket: bool = True, **variables: str
    ) -> Program:
        """Start a program, on the Unix socket or by TLS."""
        environ = {**self.router.environ(user, use_socket), **variables}
        log = self.folder / f"{len(list(self.folder.iterdir()))}.log"
        program = Program(list(command), environ, log)
        self.callback(program.end)
        return program

    def start_node(self, name: str, *command: str, **variables: str) -> Program:
        """Start a node and wait until it is in the hub's list."""
        program = self.start(*command, **variables)
        with self.client() as client:
            wait_for_nodes(client, name, seconds=300)
        return program

    def start_bridge(self, *before: str, **variables: str) -> Bridge:
        """Start a bridge and wait until it is ready; `before` is what its command begins with."""
        port = free_port()
        command = (*before, "grafana_http_json.py")
        given = {"PORT": str(port), "LOGLEVEL": "warn", **variables}
        program = self.start(*command, user=CONSUMER, **given)
        url = f"http://127.0.0.1:{port}/readyz"
        wait_until(lambda: answers(url), 60, "the start of the bridge")
        return Bridge(program, port)


def answers(url: str) -> bool:
    """Return whether a server answers with status 200."""
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except urllib.error.URLError:
        return False


def wait_until_idle(program: Program, seconds: float = 1800) -> None:
    """Wait until a program has used next to no CPU for two seconds: until it has prepared all."""
    process = psutil.Process(program.process.pid)

    def is_idle() -> bool:
        before = process.cpu_times()
        time.sleep(2)
        after = process.cpu_times()
        return after.user + after.system - before.user - before.system < 0.1

    wait_until(is_idle, seconds, "the end of its preparations")


class Connection:
    """A client of an HTTP server, with a connection of its own that stays."""

    def __init__(self, port: int) -> None:
        self._link = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
        self._link.connect()

    def ask(self, path: str, body: bytes | None = None, **headers: str) -> bytes:
        """Return the answer to one request, to its last byte."""
        if body:
            headers["Content-Type"] = "application/json"
        try:
            self._link.request("POST" if body else "GET", path, body, headers)
            response = self._link.getresponse()
            answer = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise RuntimeError(f"{path}: no answer") from error
        if response.status != 200:
            raise RuntimeError(f"{path}: {response.status} {answer[:300]!r}")
        return answer

    def query(self, body: bytes) -> bytes:
        """Return a bridge's answer to a panel."""
        return self.ask("/query", body)


def seconds_of(action: Callable[..., Any], *args: Any) -> float:
    """Return the seconds that a call takes."""
    began = time.perf_counter()
    action(*args)
    return time.perf_counter() - began


def alternate(
    ours: Callable[[int], Any], other: Callable[[int], Any], rounds: int
) -> tuple[list[float], list[float]]:
    """Return the seconds of two sides in turn, each given the number of the round.

    Round 0 of each is left out.
    """
    sides: tuple[list[float], list[float]] = ([], [])
    ours(0), other(0)
    for number in range(1, rounds + 1):
        sides[0].append(seconds_of(ours, number))
        sides[1].append(seconds_of(other, number))
    return sides


def panel(targets: list[str], start: float, end: float, points: int | None = None) -> bytes:
    """Return a panel's request for ``/query``; for all samples without a number of points."""
    body: dict[str, Any] = {
        "range": {"from": _iso(start), "to": _iso(end)},
        "targets": [{"target": target, "refId": str(i)} for i, target in enumerate(targets)],
    }
    if points:
        body |= {"maxDataPoints": points, "intervalMs": 1000 * (end - start) / points}
    return orjson.dumps(body)


def _iso(t: float) -> str:
    return datetime.fromtimestamp(t, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
