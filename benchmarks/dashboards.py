"""Rows d and e: many panels at once, against VictoriaMetrics."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from benchmarks.nodes import FIELDS
from benchmarks.panels import (
    NO_CACHE,
    POINTS,
    SELECTOR,
    TARGETS,
    against,
    bridges_and_victoria,
    last_values,
    query,
    view,
)
from benchmarks.report import Figure
from benchmarks.stack import Connection, alternate, panel
from benchmarks.victoria import last_path

CLIENTS = 32
REQUESTS = 4
"""Of each client, one after the other."""

Request = Callable[[Connection], Any]


def many_clients(rounds: int) -> Iterator[Figure]:
    """Measure 32 clients of a view, and 32 of a view each: row d."""
    same, own = [view(0)] * CLIENTS, [view(number) for number in range(CLIENTS)]
    with bridges_and_victoria() as (cached, uncached, victoria):
        for what, views, bridge, more, target in (
            ("the view of b3", same, cached, {}, ">= 7 x"),
            ("a view of its own", own, uncached, NO_CACHE, ">= 1.2 x"),
            ("a view of its own", own, cached, {}, ""),
        ):
            ours = [partial(_query, each) for each in views]
            others = [partial(_last_values, each, more) for each in views]
            with ThreadPoolExecutor(CLIENTS) as pool:
                took = alternate(
                    at_once(pool, bridge.port, ours, REQUESTS),
                    at_once(pool, victoria.port, others, REQUESTS),
                    rounds,
                )
            yield against(
                "d", f"{CLIENTS} clients, {REQUESTS} times {what} each", more, took, target
            )


def ten_panels(rounds: int) -> Iterator[Figure]:
    """Measure a dashboard of ten panels at once: row e."""
    start, end = view(0)
    with bridges_and_victoria() as (cached, uncached, victoria):
        for bridge, more, target in ((cached, {}, ">= 1.2 x"), (uncached, NO_CACHE, ">= 0.8 x")):
            bodies = [panel([target], start, end, POINTS) for target in TARGETS]
            selectors = [f"{name}{SELECTOR}" for name in FIELDS]
            paths = [last_path(one, start, end, POINTS, **more) for one in selectors]
            what = "ten panels of a field each at once, 24 h at 1,000 points"
            with ThreadPoolExecutor(len(FIELDS)) as pool:
                took = alternate(
                    at_once(pool, bridge.port, [partial(_panel, body) for body in bodies]),
                    at_once(pool, victoria.port, [partial(_ask, path) for path in paths]),
                    3 * rounds,
                )
            yield against("e", what, more, took, target)


def at_once(
    pool: ThreadPoolExecutor, port: int, requests: Sequence[Request], times: int = 1
) -> Callable[[int], Any]:
    """Return what makes all requests at the same time, each on its own connection."""
    jobs = [(Connection(port), request) for request in requests]

    def make(job: tuple[Connection, Request]) -> None:
        connection, request = job
        for _ in range(times):
            request(connection)

    return lambda _: list(pool.map(make, jobs))


def _query(interval: tuple[float, float], connection: Connection) -> bytes:
    return query(connection, *interval)


def _last_values(
    interval: tuple[float, float], more: dict[str, int], connection: Connection
) -> bytes:
    return last_values(connection, *interval, **more)


def _panel(body: bytes, connection: Connection) -> bytes:
    return connection.query(body)


def _ask(path: str, connection: Connection) -> bytes:
    return connection.ask(path)
