"""Rows b1, b2, b3 and raw: one panel of ten fields and 24 hours at 1 Hz through the bridge."""

from __future__ import annotations

import math
import statistics
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from benchmarks.nodes import DAY, DAYS, FIELDS, START, ten_days
from benchmarks.report import Figure, compared, measured
from benchmarks.stack import (
    WITHOUT_CACHE,
    Bridge,
    Connection,
    Stack,
    alternate,
    panel,
    seconds_of,
    wait_until_idle,
)
from benchmarks.victoria import Victoria, last_path, raw_path

POINTS = 1000
SHIFT = 600
TARGETS = [f"days::{name}" for name in FIELDS]
SELECTOR = '{node="days"}'
NO_CACHE = {"nocache": 1}
"""What VictoriaMetrics is told where the bridge has no cache."""


def view(number: int, shift: float = SHIFT) -> tuple[float, float]:
    """Return start and end of a day, each view so many seconds later than the one before."""
    return START + number * shift, START + number * shift + DAY


@contextmanager
def bridges() -> Iterator[tuple[Bridge, Bridge]]:
    """Start a bridge and one that keeps nothing, on a node of ten days."""
    with Stack() as stack:
        node = stack.start_node("days", "-m", "benchmarks.nodes", "days")
        both = stack.start_bridge(), stack.start_bridge(**WITHOUT_CACHE)
        wait_until_idle(node)
        yield both


@contextmanager
def bridges_and_victoria() -> Iterator[tuple[Bridge, Bridge, Victoria]]:
    """Start the same, and VictoriaMetrics with the same samples."""
    with (
        tempfile.TemporaryDirectory() as folder,
        Victoria(Path(folder)) as victoria,
        bridges() as both,
    ):
        victoria.load("days", *ten_days())
        yield *both, victoria


def query(connection: Connection, start: float, end: float) -> bytes:
    """Ask a bridge for a panel of all fields."""
    return connection.query(panel(TARGETS, start, end, POINTS))


def last_values(connection: Connection, start: float, end: float, **more: int) -> bytes:
    """Ask VictoriaMetrics for the last value of each step, the cheapest that it can give."""
    return connection.ask(last_path(SELECTOR, start, end, POINTS, **more))


def check_extremes(connection: Connection) -> None:
    """See that few points have each field's smallest and largest value of the view."""
    t, columns = ten_days()
    start, end = view(0)
    inside = slice(*np.searchsorted(t, [start, end]))
    for series in orjson.loads(query(connection, start, end)):
        values = [value for value, _ in series["datapoints"]]
        column = columns[series["target"].partition("::")[2]][inside]
        assert len(values) <= POINTS, len(values)
        assert min(values) <= column.min() and max(values) >= column.max(), series["target"]


def new_views(rounds: int) -> Iterator[Figure]:
    """Measure views never seen, against VictoriaMetrics: rows b1 and b2."""
    with bridges_and_victoria() as (cached, uncached, victoria):
        check_extremes(Connection(uncached.port))
        count = 3 * rounds
        what = "10 fields, 24 h at 1,000 points, each view 600 s later"
        took = alternate(*_views(cached, victoria, {}), count)
        yield against("b1", what, {}, took, "<= 1.0 x")
        took = alternate(*_views(uncached, victoria, NO_CACHE), count)
        yield against("b2", what, NO_CACHE, took, "<= 1.2 x")
        # These begin behind all that was asked for: nothing of them is known.
        first = math.ceil((DAY + count * SHIFT) / DAY)
        took = alternate(*_views(cached, victoria, {}, first, DAY), DAYS - first - 1)
        yield against("b1", "the same, each view a day later", {}, took)


def _views(
    bridge: Bridge, victoria: Victoria, more: dict[str, int], first: int = 0, shift: float = SHIFT
) -> tuple[Callable[[int], Any], Callable[[int], Any]]:
    ours, other = Connection(bridge.port), Connection(victoria.port)
    return (
        lambda number: query(ours, *view(first + number, shift)),
        lambda number: last_values(other, *view(first + number, shift), **more),
    )


def against(
    name: str, what: str, more: dict[str, int], took: tuple[list, list], target: str = ""
) -> Figure:
    """Make a row against VictoriaMetrics."""
    other = "query_range, last value"
    if more:
        what, other = f"{what}, cache off", f"{other}, nocache=1"
    return compared(name, what, *took, other, target)


def same_view(rounds: int) -> Iterator[Figure]:
    """Measure a view asked for again: row b3."""
    with bridges() as (cached, _):
        connection = Connection(cached.port)
        query(connection, *view(0))
        took = [seconds_of(query, connection, *view(0)) for _ in range(5 * rounds)]
        middle = statistics.median(took) * 1e3
        yield measured("b3", "10 fields, 24 h at 1,000 points, again", middle, "ms", "<= 2 ms")


def raw_against_orjson(rounds: int) -> Iterator[Figure]:
    """Measure all samples of a day, against orjson that writes the same arrays: row raw."""
    with bridges() as (cached, _):
        connection = Connection(cached.port)
        answer = orjson.loads(raw(connection, 0))
        arrays = [np.array(series["datapoints"], dtype="<f8") for series in answer]
        assert sum(map(len, arrays)) == len(FIELDS) * DAY

        def write(_: int) -> None:
            for array in arrays:
                orjson.dumps(array, option=orjson.OPT_SERIALIZE_NUMPY)

        took = alternate(partial(raw, connection), write, rounds)
        what = "864,000 raw samples, each request the first of its view"
        yield compared("raw", what, *took, "orjson alone", "<= 1.2 x")


def raw(connection: Connection, number: int) -> bytes:
    """Ask a bridge for all samples of a view."""
    return connection.query(panel(TARGETS, *view(number)))


def raw_against_victoria(rounds: int) -> Iterator[Figure]:
    """Measure the same against VictoriaMetrics' export."""
    with bridges_and_victoria() as (cached, _, victoria):
        other = Connection(victoria.port)
        check_raw(other)
        ours = partial(raw, Connection(cached.port))
        took = alternate(ours, lambda n: other.ask(raw_path(SELECTOR, *view(n))), rounds)
        yield compared("raw", "864,000 raw samples", *took, "/api/v1/export", ">= 1 x")


def check_raw(connection: Connection) -> None:
    """See that VictoriaMetrics has the same samples."""
    t, columns = ten_days()
    lines = connection.ask(raw_path(SELECTOR, START, START + DAY)).splitlines()
    assert len(lines) == len(FIELDS)
    for series in map(orjson.loads, lines):
        count = len(series["timestamps"])
        assert count >= DAY
        assert np.array_equal(series["values"], columns[series["metric"]["__name__"]][:count])
        assert np.array_equal(series["timestamps"], t[:count] * 1000)
