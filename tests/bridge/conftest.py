"""The running bridge, on the weather and sensors nodes and a real router."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from sisock.client.client import Client
from sisock.testing import RouterProcess, free_port, wait_until
from tests.conftest import TOP, Program, wait_for_nodes


@dataclass
class Answer:
    """What came back over HTTP."""

    status: int
    headers: Any
    body: bytes

    @property
    def json(self) -> Any:
        """The body, in which no token of JSON may be odd."""

        def refuse(token: str) -> None:
            raise AssertionError(f"the answer holds {token}, which breaks a panel")

        return json.loads(self.body, parse_constant=refuse)


class RunningBridge:
    """``grafana_http_json.py`` as a process."""

    def __init__(self, router: RouterProcess, folder: Any, **variables: str) -> None:
        self.port = int(variables.get("PORT") or free_port())
        environ = {**router.environ("simonsobs"), "PORT": str(self.port), **variables}
        self.program = Program([str(TOP / "grafana_http_json.py")], environ, folder / "bridge.log")

    def ask(
        self,
        path: str,
        body: Any = None,
        method: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """Send one request; a dictionary as JSON, bytes as they are."""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}",
            data=data,
            method=method or ("GET" if body is None else "POST"),
            headers={"Content-Type": "application/json", **(headers or {})},
        )
        try:
            with urllib.request.urlopen(request, timeout=40) as response:
                return Answer(response.status, response.headers, response.read())
        except urllib.error.HTTPError as error:
            return Answer(error.code, error.headers, error.read())

    def is_healthy(self) -> bool:
        """Whether it has router and hub."""
        try:
            return self.ask("/readyz").status == 200
        except urllib.error.URLError:
            assert self.program.process.poll() is None, self.program.output
            return False

    def wait_until_healthy(self, seconds: float = 40) -> None:
        """Wait until it has router and hub."""
        wait_until(self.is_healthy, seconds, f"health of the bridge:\n{self.program.output}")

    def known(self) -> dict[str, str]:
        """Generations of the nodes that it knows, by name."""
        return {node["name"]: node["generation"] for node in self.ask("/nodes").json}

    def wait_for_node(self, name: str) -> None:
        """Wait until it knows a node: it hears of one a little later than the hub's list has it."""
        wait_until(lambda: name in self.known(), 40, f"the bridge to hear of {name}")

    def query(self, *targets: Any, **more: Any) -> list[Any]:
        """Ask ``/query`` as a panel does; texts stand for targets."""
        given = [
            {"target": t, "refId": chr(65 + i), "type": "timeserie"} if isinstance(t, str) else t
            for i, t in enumerate(targets)
        ]
        answer = self.ask("/query", {"range": DAY, "intervalMs": 1, "targets": given, **more})
        assert answer.status == 200, answer.body
        return answer.json


def iso_range(start: float, end: float) -> dict[str, Any]:
    """A range as Grafana sends it."""

    def iso(t: float) -> str:
        seconds, ms = divmod(round(t * 1000), 1000)
        return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{ms:03d}Z"

    return {"from": iso(start), "to": iso(end), "raw": {"from": "now-6h", "to": "now"}}


JULY_15 = 1500076800
DAY = iso_range(JULY_15, JULY_15 + 86400)


@pytest.fixture(scope="session")
def start_bridge(
    router: RouterProcess, tmp_path_factory: Any
) -> Iterator[Callable[..., RunningBridge]]:
    """Start further bridges with settings of their own."""
    bridges: list[RunningBridge] = []

    def start(on: RouterProcess | None = None, **variables: str) -> RunningBridge:
        bridges.append(RunningBridge(on or router, tmp_path_factory.mktemp("bridge"), **variables))
        bridges[-1].wait_until_healthy()
        return bridges[-1]

    yield start
    for bridge in bridges:
        bridge.program.end()


@pytest.fixture(scope="session")
def bridge(router: RouterProcess, start_bridge: Any, tmp_path_factory: Any) -> Iterator[Any]:
    """The bridge that most tests share, with the demo's two nodes."""
    nodes = []
    for name, node in (("weather", "apex_archive"), ("sensors", "sensors")):
        log = tmp_path_factory.mktemp(name) / "log"
        nodes.append(Program([str(TOP / f"data_nodes/{name}.py")], router.environ("server"), log))
        with Client(router.settings()) as client:
            wait_for_nodes(client, node)
    yield start_bridge()
    for program in nodes:
        program.end()
