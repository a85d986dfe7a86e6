"""The Grafana bridge: seconds and samples of panels, against orjson alone on the same arrays.

Router, nodes and bridge run as processes, as in the demo; clients are threads of this one, on the
same cores. "Not cached" is a bridge with no memory for a cache, so every request goes to the node.
"""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from benchmarks.report import percentile, publish, table
from sisock.client import Client
from sisock.testing import RouterProcess
from tests.bridge.conftest import JULY_15, RunningBridge, iso_range
from tests.conftest import TOP, Program, wait_for_nodes
from tests.nodes import START

ROUNDS = 40
WEEKS = iso_range(JULY_15 - 86400, JULY_15 + 13 * 86400)
FIELDS = ["humidity", "pressure", "radiometer", "temperature", "windspeed"]

ONE = ({"range": iso_range(START, START + 20), "targets": [{"target": "big::f8"}]},)
FIVE = ({"range": WEEKS, "targets": [{"target": f"apex_archive::apex_{f}"} for f in FIELDS]},)
TEN = tuple(
    {"range": WEEKS, "targets": [{"target": f"apex_archive::apex_{FIELDS[i % 5]}"}]}
    for i in range(10)
)


class Panel:
    """A client with a connection of its own."""

    def __init__(self, port: int) -> None:
        self._link = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def ask(self, body: bytes) -> tuple[float, bytes]:
        """Seconds to the last byte, and the answer."""
        began = time.perf_counter()
        self._link.request("POST", "/query", body, {"Content-Type": "application/json"})
        answer = self._link.getresponse().read()
        return time.perf_counter() - began, answer


def orjson_alone(bodies: list[bytes], port: int) -> tuple[float, int]:
    """Seconds that orjson takes for the datapoints of these requests, and their number."""
    arrays = []
    for body in bodies:
        for series in json.loads(Panel(port).ask(body)[1]):
            arrays.append(np.array(series["datapoints"], dtype="<f8"))
    times = []
    for _ in range(9):
        began = time.perf_counter()
        for array in arrays:
            orjson.dumps(array, option=orjson.OPT_SERIALIZE_NUMPY)
        times.append(time.perf_counter() - began)
    return statistics.median(times), sum(map(len, arrays))


def measure(port: int, panels: tuple[dict[str, Any], ...], dashboards: int) -> list[str]:
    """One row: all panels of a dashboard at once, by so many dashboards at once."""
    bodies = [orjson.dumps({**panel, "intervalMs": 0}) for panel in panels]
    alone, samples = orjson_alone(bodies, port)
    clients = [Panel(port) for _ in range(len(bodies) * dashboards)]
    jobs = list(zip(clients, itertools.cycle(bodies), strict=False))
    took, rounds = [], []
    with ThreadPoolExecutor(len(clients)) as pool:
        for _ in range(max(ROUNDS // dashboards, 5)):
            began = time.perf_counter()
            took += [seconds for seconds, _ in pool.map(lambda job: job[0].ask(job[1]), jobs)]
            rounds.append(time.perf_counter() - began)
    whole = statistics.median(rounds)
    per_second = samples * dashboards / whole
    return [
        f"{samples * dashboards:,}",
        f"{percentile(took, 0.5) * 1e3:.1f}",
        f"{percentile(took, 0.99) * 1e3:.1f}",
        f"{per_second / 1e6:.2f}",
        f"{whole / (alone * dashboards):.1f}",
    ]


@contextlib.contextmanager
def running() -> Iterator[dict[str, int]]:
    """Router, nodes and two bridges; gives the bridges' ports."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        router = stack.enter_context(RouterProcess())
        for command in (["data_nodes/weather.py"], ["tests/nodes.py", "big"]):
            words = [str(TOP / command[0]), *command[1:]]
            log = folder / f"{Path(command[0]).stem}.log"
            stack.callback(Program(words, router.environ("server"), log).end)
        with Client(router.settings()) as client:
            wait_for_nodes(client, "apex_archive", "big")
        ports = {}
        for name, megabytes in (("not cached", "0.000001"), ("cached", "256")):
            (folder / name).mkdir()
            bridge = RunningBridge(
                router, folder / name, SISOCK_CACHE_MB=megabytes, LOGLEVEL="warn"
            )
            stack.callback(bridge.program.end)
            bridge.wait_until_healthy()
            ports[name] = bridge.port
        yield ports


def main() -> None:
    """Measure everything and publish the table."""
    rows = []
    with running() as ports:
        for what, panels, dashboards in (
            ("one target of 20,000 samples", ONE, 1),
            ("five fields of two weeks", FIVE, 1),
            ("ten panels at once", TEN, 1),
            ("one target, 8 clients", ONE, 8),
            ("one target, 32 clients", ONE, 32),
        ):
            for name, port in ports.items():
                rows.append([what, name, *measure(port, panels, dashboards)])
    header = ["figure", "cache", "samples", "p50 ms", "p99 ms", "million samples/s", "x orjson"]
    publish("bridge", table(header, rows))


if __name__ == "__main__":
    main()
