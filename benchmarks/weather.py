"""Row lists: five fields of two weeks of the weather archive, against lists through JSON."""

from __future__ import annotations

import json
import statistics

import orjson

from benchmarks.report import Figure, compared
from benchmarks.stack import CONSUMER, WITHOUT_CACHE, Connection, Stack, panel, seconds_of

TIMES = 5
"""Repetitions within a round: the time of one request is short."""

NODE = "apex_archive"
FIELDS = [f"apex_{name}" for name in ("humidity", "pressure", "radiometer", "temperature")]
FIELDS.append("apex_windspeed")
START, WEEKS = 1_499_990_400, 14 * 86_400
REQUEST = panel([f"{NODE}::{field}" for field in FIELDS], START, START + WEEKS)


def bridge_seconds(connection: Connection) -> float:
    """Return the median time of a request, to the last byte."""
    return statistics.median(seconds_of(connection.ask, "/query", REQUEST) for _ in range(TIMES))


def count_samples(answer: bytes) -> int:
    """Return the number of samples in an answer, without the missing ones."""
    points = [point for series in orjson.loads(answer) for point in series["datapoints"]]
    return sum(value is not None for value, _ in points)


def list_seconds(stack: Stack) -> tuple[float, int]:
    """Return the median time of a consumer of lists that writes Grafana's JSON, and its samples."""
    given = [NODE, ",".join(FIELDS), START, WEEKS, 1, TIMES]
    program = stack.start("-m", "benchmarks.lists", *map(str, given), "--grafana", user=CONSUMER)
    program.wait(120)
    answer = json.loads(program.output)
    return statistics.median(answer["seconds"]), answer["samples"]


def figures(rounds: int) -> list[Figure]:
    """Measure."""
    bridge: dict[str, list[float]] = {"no cache": [], "again": []}
    lists = []
    with Stack() as stack:
        stack.start_node(NODE, "data_nodes/weather.py")
        ports = [stack.start_bridge(**more).port for more in (WITHOUT_CACHE, {})]
        clients = dict(zip(bridge, map(Connection, ports), strict=True))
        samples = count_samples(clients["no cache"].ask("/query", REQUEST))
        for _ in range(rounds):
            for name, client in clients.items():
                bridge[name].append(bridge_seconds(client))
            seconds, count = list_seconds(stack)
            assert count == samples, (count, samples)
            lists.append(seconds)
    return [_row(samples, name, took, lists) for name, took in bridge.items()]


def _row(samples: int, cache: str, took: list[float], lists: list[float]) -> Figure:
    what = f"five fields of two weeks by the bridge ({samples:,} samples), {cache}"
    return compared("lists", what, took, lists, "JSON lists", ">= 8 x")
