"""Rows b, c, e: panels of a day through the bridge, against orjson and VictoriaMetrics."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from benchmarks.nodes import DAY_FIELDS, DAY_SECONDS, START, Day
from benchmarks.report import Figure, milliseconds, ratio
from benchmarks.stack import NO_CACHE, Connection, Stack, panel, seconds_of
from benchmarks.victoria import Victoria, last_path, raw_path

ROUNDS = 11
DASHBOARD_ROUNDS = 7
END = START + DAY_SECONDS
POINTS = 1000
ALL = [f"day::{name}" for name in Day.columns]
RAW = panel(ALL, START, END)
THINNED = panel(ALL, START, END, POINTS)
SINGLE = [panel([target], START, END, POINTS) for target in ALL]
CACHES = {"the cache has it": {}, "no cache": NO_CACHE}
CACHES_OF_VICTORIA: tuple[dict[str, int], ...] = ({}, {"nocache": 1})


@contextmanager
def bridges() -> Iterator[dict[str, int]]:
    """A bridge with a cache and one without, on the day; gives their ports."""
    with Stack() as stack:
        node = stack.start_node("day", "-m", "benchmarks.nodes", "day")
        node.wait_for("overviews are ready", 60)
        yield {name: stack.start_bridge(**more).port for name, more in CACHES.items()}


def alternate(ours: Callable[[], Any], other: Callable[[], Any], rounds: int) -> tuple[list, list]:
    """Seconds of two sides in turn, after each has answered once."""
    sides: tuple[list[float], list[float]] = ([], [])
    ours(), other()
    for _ in range(rounds):
        sides[0].append(seconds_of(ours))
        sides[1].append(seconds_of(other))
    return sides


def beside_orjson() -> list[Figure]:
    """Row b: the bridge and what orjson alone takes to write the same arrays."""
    with bridges() as ports:
        return [_beside_orjson(name, Connection(port)) for name, port in ports.items()]


def _beside_orjson(cache: str, bridge: Connection) -> Figure:
    answer = orjson.loads(bridge.ask("/query", RAW))
    arrays = [np.array(series["datapoints"], dtype="<f8") for series in answer]
    assert sum(map(len, arrays)) == DAY_FIELDS * DAY_SECONDS

    def write() -> None:
        for array in arrays:
            orjson.dumps(array, option=orjson.OPT_SERIALIZE_NUMPY)

    took, alone = alternate(partial(bridge.ask, "/query", RAW), write, ROUNDS)
    what = f"bridge, 864,000 raw samples, {cache}"
    other = f"orjson alone: {milliseconds(alone)}"
    return Figure("b", what, milliseconds(took), other, ratio(took, alone), "<= 2 x")


def beside_victoria() -> list[Figure]:
    """Rows b, c and e against VictoriaMetrics."""
    with (
        bridges() as ports,
        tempfile.TemporaryDirectory() as folder,
        Victoria(Path(folder)) as victoria,
    ):
        victoria.load("day", Day.t, Day.columns)
        check_raw(victoria.port)
        measures = (raw, thinned, dashboards)
        return [row for measure in measures for row in measure(ports, victoria.port)]


def check_raw(port: int) -> None:
    """See that it has the same samples."""
    lines = Connection(port).ask(raw_path('{node="day"}', START, END)).splitlines()
    assert len(lines) == DAY_FIELDS
    for series in map(orjson.loads, lines):
        assert np.array_equal(series["values"], Day.columns[series["metric"]["__name__"]])
        assert np.array_equal(series["timestamps"], Day.t * 1000)


def raw(ports: dict[str, int], other: int) -> Iterator[Figure]:
    """Row b: all samples to the last byte."""
    export = partial(Connection(other).ask, raw_path('{node="day"}', START, END))
    for cache, port in ports.items():
        took, others = alternate(partial(Connection(port).ask, "/query", RAW), export, ROUNDS)
        yield versus("b", f"864,000 raw samples, {cache}", took, others, "/api/v1/export")


def thinned(ports: dict[str, int], other: int) -> Iterator[Figure]:
    """Row c: a thousand points of each field."""
    for (cache, port), more in zip(ports.items(), CACHES_OF_VICTORIA, strict=True):
        bridge, victoria = Connection(port), Connection(other)
        path = last_path('{node="day"}', START, END, POINTS, **more)
        kept = "min and max kept" if extremes_kept(bridge) else "min and max lost"
        took, others = alternate(
            partial(bridge.ask, "/query", THINNED), partial(victoria.ask, path), 5 * ROUNDS
        )
        what = f"the same at 1,000 points, {cache}, {kept}"
        yield versus("c", what, took, others, how_asked(more))


def how_asked(more: dict[str, int]) -> str:
    """What the other side is asked for."""
    return "query_range, last value" + (", nocache=1" if more else "")


def extremes_kept(bridge: Connection) -> bool:
    """Whether the thinned answer has each field's smallest and largest value, in 1,000 points."""
    for series in orjson.loads(bridge.ask("/query", THINNED)):
        values = [value for value, _ in series["datapoints"]]
        column = Day.columns[series["target"].partition("::")[2]]
        if len(values) > POINTS or min(values) != column.min() or max(values) != column.max():
            return False
    return True


def dashboards(ports: dict[str, int], other: int) -> Iterator[Figure]:
    """Row e: ten panels at once, by one dashboard and by many."""
    for count in (1, 32):
        with ThreadPoolExecutor(count * DAY_FIELDS) as pool:
            for (cache, port), more in zip(ports.items(), CACHES_OF_VICTORIA, strict=True):
                paths = [last_path(name, START, END, POINTS, **more) for name in Day.columns]
                ours = at_once(pool, port, [("/query", body) for body in SINGLE], count)
                others = at_once(pool, other, [(path,) for path in paths], count)
                rounds = DASHBOARD_ROUNDS * (5 if count == 1 else 1)
                took = alternate(ours, others, rounds)
                what = f"{count} dashboard{'s' * (count > 1)} of ten panels at once, {cache}"
                yield versus("e", what, *took, how_asked(more))


def at_once(
    pool: ThreadPoolExecutor, port: int, requests: list[tuple], count: int
) -> Callable[[], Any]:
    """All requests of so many dashboards at the same time, each on its own connection."""
    jobs = [(Connection(port), each) for _ in range(count) for each in requests]
    return lambda: list(pool.map(lambda job: job[0].ask(*job[1]), jobs))


def versus(
    letter: str, what: str, ours: list[float], others: list[float], how: str, target: str = ">= 1 x"
) -> Figure:
    """A row against VictoriaMetrics; the ratio says how many times as fast we are."""
    other = f"{how}: {milliseconds(others)}"
    return Figure(letter, what, milliseconds(ours), other, ratio(others, ours), target)
