"""Rows extremes: databases that decimate for their nodes, against their own plain aggregation."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import psycopg
import pyarrow

from benchmarks.report import Figure, compared
from benchmarks.stack import seconds_of
from sisock.archive.database import DatabaseNode
from sisock.wire.grid import bucket_size_for
from tests.sources.test_influxdb import Influx
from tests.sources.test_influxdb import make as make_influx
from tests.sources.test_prometheus import Metrics, prometheus, victoria
from tests.sources.test_prometheus import make as make_prometheus
from tests.sources.test_sql import Postgres
from tests.sources.test_sql import make as make_sql

START, POINTS, PART = 1_700_000_000, 1000, 100_000
COUNT = 10_000_000
W = bucket_size_for(START, START + COUNT - 1, POINTS)

Plain = Callable[[], Any]
"""Asks a database for the smallest and the largest value of each bucket, without their times."""


def parts(count: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield times, one a second, and values of a slow wave with noise on it."""
    for first in range(0, count, PART):
        number = np.arange(first, min(first + PART, count))
        noise = np.random.default_rng(first).integers(0, 5000, len(number))
        yield START + number, (500_000 + 4e5 * np.sin(number / 1e5) + noise).round() / 1000


def in_sqlite(folder: Path) -> tuple[DatabaseNode, str, Plain]:
    path = folder / "site.sqlite"
    database = sqlite3.connect(path)
    database.execute("create table wave (t real primary key, x real) without rowid")
    for t, x in parts(COUNT):
        rows = zip(t.tolist(), x.tolist(), strict=True)
        database.executemany("insert into wave values (?, ?)", rows)
    database.commit()
    query = f"select cast(t / {W} as integer) as i, min(x), max(x) from wave group by i"
    return make_sql(f"sqlite:{path}", table="wave"), "x", lambda: database.execute(query).fetchall()


def in_duckdb(folder: Path) -> tuple[DatabaseNode, str, Plain]:
    path = str(folder / "site.duckdb")
    with duckdb.connect(path) as database:
        database.execute("create table wave (t double, x double)")
        for t, x in parts(COUNT):
            rows = pyarrow.table({"t": t, "x": x})
            database.execute("insert into wave select * from rows")
            del rows
    query = f"select floor(t / {W}) as i, min(x), max(x) from wave group by i"

    def plain() -> Any:
        with duckdb.connect(path, read_only=True, config={"threads": 2}) as asked:
            return asked.execute(query).fetchall()

    return make_sql(f"duckdb:{path}", table="wave"), "x", plain


@contextmanager
def in_postgresql(folder: Path) -> Iterator[tuple[DatabaseNode, str, Plain]]:
    server = Postgres()
    server.start()
    server.execute("create table wave (t double precision, x double precision)")
    with psycopg.connect(server.url, autocommit=True) as connection:
        with connection.cursor() as cursor, cursor.copy("copy wave from stdin") as copy:
            for t, x in parts(COUNT):
                rows = zip(t.tolist(), x.tolist(), strict=True)
                copy.write("".join(f"{time}\t{value}\n" for time, value in rows))
        connection.execute("create index on wave (t)")
        connection.execute("vacuum analyze wave")
        query = f"select floor(t / {W}::float8) as i, min(x), max(x) from wave group by i"
        node = make_sql(server.url, table="wave")
        yield node, "x", lambda: connection.execute(query).fetchall()
    server.stop()


@contextmanager
def in_influxdb(folder: Path) -> Iterator[tuple[DatabaseNode, str, Plain]]:
    server = Influx(folder)
    server.start()
    server.query("CREATE DATABASE site")
    for t, x in parts(COUNT):
        rows = zip(t.tolist(), x.tolist(), strict=True)
        server.write("site", *(f"wave x={value} {time}000000000" for time, value in rows))
    within = f"time >= {START}000000000 AND time < {START + COUNT}000000000"
    query = f"SELECT min(x), max(x) FROM wave WHERE {within} GROUP BY time({int(W)}s) fill(none)"
    yield make_influx(server.url, "site"), "wave.x", lambda: server.query(query, db="site")
    server.stop()


@contextmanager
def in_metrics(server: Metrics) -> Iterator[tuple[DatabaseNode, str, Plain]]:
    server.start()
    for t, x in parts(COUNT):
        samples = zip((t * 1000).tolist(), x.tolist(), strict=True)
        server.write(({"__name__": "wave"}, list(samples)))
    node = make_prometheus(server.url, "wave")

    def plain() -> None:
        for extreme in ("min", "max"):
            query = f"query={extreme}_over_time(wave[{int(W)}s])&step={int(W)}&nocache=1"
            server.ask(f"/api/v1/query_range?{query}&start={START}&end={START + COUNT}")

    yield node, "wave", plain
    server.stop()


@contextmanager
def in_file(make: Any, folder: Path) -> Iterator[tuple[DatabaseNode, str, Plain]]:
    yield make(folder)


OPENED: dict[str, Any] = {
    "sqlite": lambda folder: in_file(in_sqlite, folder),
    "duckdb": lambda folder: in_file(in_duckdb, folder),
    "postgresql": in_postgresql,
    "influxdb": in_influxdb,
    "prometheus": lambda folder: in_metrics(prometheus(folder)),
    "victoriametrics": lambda folder: in_metrics(victoria(folder)),
}


def figures(kind: str, rounds: int) -> Iterator[Figure]:
    """Measure 10 million samples at 1,000 points, served from one kind of database."""
    with tempfile.TemporaryDirectory() as place, OPENED[kind](Path(place)) as (node, field, plain):
        ours, others = [], []
        for _ in range(rounds):
            ours.append(seconds_of(points, node, field))
            others.append(seconds_of(plain))
    what = f"{kind}, {COUNT / 1e6:.3g} million samples at {POINTS:,} points"
    yield compared("extremes", what, ours, others, "its plain extremes of buckets", "<= 2 x")


def points(node: DatabaseNode, field: str) -> None:
    """Ask a node for all there is."""
    found = node.get_decimated([field], 1, START + COUNT, max_points=POINTS)[field]
    assert found.bucket == W and POINTS / 2 < len(found.t) <= POINTS, (found.bucket, len(found.t))
