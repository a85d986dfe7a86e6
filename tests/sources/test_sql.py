"""The node of databases against SQLite, DuckDB and a PostgreSQL of its own."""

import contextlib
import datetime
import os
import shlex
import shutil
import sqlite3
import sys
import tempfile
from pathlib import Path

import duckdb
import numpy as np
import psycopg
import pytest

import sisock
from sisock.sources.sql import SQLite
from sisock.sources.sql_column import Column
from sisock.testing import free_port, wait_until
from sisock.wire import grid
from tests.conftest import TOP, wait_for_nodes
from tests.sources.conftest import check
from tests.sources.processes import Server, documented_flags, example, own_flags

sys.path.insert(0, str(TOP / "data_nodes"))
from sql import Sql

BEGAN = 1_700_000_000.0
FLAGS = {"table": None, "query": None, "key": None, "value": None, "time_unit": "s"}


class Postgres(Server):
    """A PostgreSQL in a folder of its own, which does not run as root."""

    def __init__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="sisock-pg-"))
        self.port = free_port()
        self.url = f"postgresql://postgres@127.0.0.1:{self.port}/postgres"
        programs = max(Path("/usr/lib/postgresql").glob("*/bin"))
        if os.geteuid() == 0:
            shutil.chown(self.folder, "postgres")
        data, log = self.folder / "data", self.folder / "log"
        make = [f"{programs}/initdb", "-D", data, "-A", "trust", "-U", "postgres", "-N"]
        making = Server(make, log, lambda: True, "postgres")
        making.start()
        making.wait()
        settings = [f"port={self.port}", f"unix_socket_directories={self.folder}", "fsync=off"]
        options = [word for setting in settings for word in ("-c", setting)]
        command = [f"{programs}/postgres", "-D", data, *options]
        super().__init__(command, log, self.answers, "postgres")

    def answers(self):
        try:
            self.execute("select 1")
        except psycopg.OperationalError:
            return False

    def execute(self, *queries):
        with psycopg.connect(self.url, connect_timeout=2, autocommit=True) as connection:
            for query in queries:
                connection.execute(query)


@pytest.fixture(scope="session")
def postgres():
    server = Postgres()
    server.start()
    yield server
    server.stop()
    shutil.rmtree(server.folder)


def rows(count=500):
    """Rows of a wide table: time, number, integer, text; each with some that are missing."""
    for i in range(count):
        t = BEGAN + i * 1.5 + (i % 7) / 8 + (i > 300) * 5000
        x = None if i % 60 == 3 or 100 < i < 120 else ((i * 37) % 101) / 8 - 3
        yield t, x, (i * i) % 13, None if i % 90 == 5 else f"w{i // 60}"


def values(rows_of):
    """Write rows for SQL."""

    def literal(value):
        return "null" if value is None else repr(value)

    return ", ".join(f"({', '.join(map(literal, row))})" for row in rows_of)


def moments(zone=""):
    """The same with a time as databases write it, and whether the integer is even."""
    for t, x, n, word in rows():
        moment = datetime.datetime.fromtimestamp(t, datetime.UTC).isoformat()[:-6]
        yield f"{moment}{zone}", x, n, word


def in_sqlite(folder, *queries):
    path = folder / "site.db"
    with sqlite3.connect(path) as connection:
        for query in queries:
            connection.execute(query)
    connection.close()
    return f"sqlite:{path}"


def in_duckdb(folder, *queries):
    path = folder / "site.duckdb"
    with duckdb.connect(str(path)) as connection:
        for query in queries:
            connection.execute(query)
    return f"duckdb:{path}"


@pytest.fixture(params=["sqlite", "duckdb", "postgres"])
def store(request, tmp_path):
    """A function that runs queries in a database, and returns its URL."""
    if request.param == "sqlite":
        return lambda *queries: in_sqlite(tmp_path, *queries)
    if request.param == "duckdb":
        return lambda *queries: in_duckdb(tmp_path, *queries)
    server = request.getfixturevalue("postgres")
    server.execute("drop schema public cascade", "create schema public")

    def run(*queries):
        server.execute(*queries)
        return server.url

    return run


def make(url, time="t", config=None, **flags):
    return Sql(url, time, config, **{**FLAGS, **flags})


WIDE = "create table wide (t double precision, x double precision, n integer, word varchar)"


def test_a_wide_table_is_served_and_decimated_by_the_database(store):
    url = store(WIDE, f"insert into wide values {values(rows())}")
    check(lambda: make(url, table="wide"), examples=100)


def test_a_long_table_of_milliseconds_has_a_field_for_each_key(store, asked):
    every = [(int(t * 1e3), key, x) for t, x, n, _ in rows() for key in ("a b", "c'd") if n != 4]
    url = store(
        "create table long (t bigint, sensor varchar, reading double precision)",
        f"insert into long values {values(every)}".replace('"c\'d"', "'c''d'"),
    )
    how = {"table": "long", "key": "sensor", "value": "reading", "time_unit": "ms"}
    _, asking = asked(make(url, **how))
    assert set(asking.fields()) == {"a b", "c'd"}
    found = asking.samples(["a b"], 1, 0)["a b"]
    assert found == [(t / 1e3, x) for t, key, x in every if key == "a b"]
    check(lambda: make(url, **how), examples=30)


def test_times_may_be_timestamps(store, asked):
    kind = "varchar" if "sqlite" in (url := store(WIDE)) else "timestamp"
    store(
        f"create table moments (t {kind}, x double precision, n integer, word varchar)",
        f"insert into moments values {values(moments())}",
    )
    _, asking = asked(make(url, table="moments"))
    expected = [(pytest.approx(t, abs=0.6e-3), n) for t, _, n, _ in rows()]
    assert asking.samples(["n"], 1, 0)["n"] == expected
    assert asking.samples(["n"], BEGAN + 100, BEGAN + 200)["n"] == [
        pair for pair, (t, *_) in zip(expected, rows(), strict=True) if 100 <= t - BEGAN < 200
    ]
    check(lambda: make(url, table="moments"), examples=30)


def test_timestamps_with_zones_and_booleans_of_postgresql(postgres, asked):
    postgres.execute(
        "drop table if exists zoned",
        "create table zoned (t timestamptz, x double precision, n integer, word varchar, b bool)",
        f"insert into zoned (t, x, n, word) values {values(moments('+00'))}",
        "update zoned set b = n % 2 = 0 where n <> 9",
        "update zoned set x = 'NaN' where n = 3",
        "update zoned set x = '-Infinity' where n = 10",
    )
    _, asking = asked(make(postgres.url, table="zoned"))
    assert asking.fields()["b"]["type"] == "bool"
    assert asking.samples(["n"], 1, 0)["n"] == [(t, n) for t, _, n, _ in rows()]
    check(lambda: make(postgres.url, table="public.zoned"), examples=60)


def test_large_buckets_are_decimated_exactly(store):
    numbers = [(i, None if i // 700 % 5 == 1 else i * 7919 % 1009 - 9) for i in range(30_000)]
    url = store("create table large (t double precision, x double precision)",
                f"insert into large values {values((BEGAN + i, x) for i, x in numbers)}",
                "create index moment on large (t)", "analyze")  # fmt: skip
    t = BEGAN + np.arange(len(numbers))
    x = np.array([np.nan if x is None else x for _, x in numbers])
    for points in (8, 30, 250):
        found = make(url, table="large").get_decimated(["x"], 1, 0, max_points=points)["x"]
        which, w = grid.decimate_by(t, x, None, points)
        assert (found.bucket, found.t.tolist()) == (w, t[which].tolist())
        np.testing.assert_array_equal(found.values, x[which])


@pytest.mark.parametrize("indexes", [[], ["create index moment on large (t)"]])
@pytest.mark.parametrize(
    "change", ["delete from large where t = 6", "update large set x = 8 where t in (4, 6)"]
)
def test_rows_may_change_between_two_queries_of_a_plot(tmp_path, change, indexes):
    in_sqlite(tmp_path, "create table large (t real, x real)",
              f"insert into large values {values((t, t % 7) for t in range(20))}",
              *indexes)  # fmt: skip

    class Cursor(sqlite3.Cursor):
        def execute(self, query, *parameters):
            if "cross join" in query or "min(case" in query:
                in_sqlite(tmp_path, change)
            return super().execute(query, *parameters)

    class Changing(SQLite):
        @contextlib.contextmanager
        def cursor(self, is_long=False):
            with super().cursor(is_long) as cursor:
                yield cursor.connection.cursor(Cursor)

    source = Changing(str(tmp_path / "site.db")), "select * from large", ("t", "number", 1.0)
    t, x = Column(*source, ("x", "number")).decimate(4.0, 7.0, 4.0)
    assert sorted(x) == [4, 6] and set(t) <= {4, 6}


def test_a_query_is_served_over_the_wire_while_rows_are_added(router, client, start, tmp_path):
    url = in_sqlite(tmp_path, "create table weather (t, temp)", "insert into weather values (5, 1)")
    config = tmp_path / "units.toml"
    config.write_text('[fields.temp]\nunits = "K"\n')
    words = shlex.split(example("sql").replace("sqlite:/data/site.db", url))
    start(router, *words[1:], "--name", "site", "--config", config)
    wait_for_nodes(client, "site")
    assert client.fields("site")["temp"].units == "K"
    assert client.get("site", "temp", 1, 0)["temp"].values.tolist() == [1]
    in_sqlite(tmp_path, "insert into weather values (6.5, 'odd'), (7, 2.5)")
    data = client.get("site", "temp", 1, 0)["temp"]
    assert (data.t.tolist(), data.values[[0, 2]].tolist()) == ([5, 6.5, 7], [1, 2.5])
    in_sqlite(tmp_path, *[f"insert into weather values ({9 + i}, {i % 50})" for i in range(500)])
    few = client.get("site", "temp", 1, 0, max_points=20)["temp"]
    assert len(few.t) <= 20 and few.t[-1] == 508


def test_what_is_missing_is_named_until_it_is_there(store, asked):
    url = store("create table other (t double precision)")
    node, asking = asked(make(url, table="wide"))
    assert asking.fields() == {}
    assert "wide" in node.trouble
    store(WIDE.replace("t double", "time double"))
    wait_until(lambda: "there is no column 't', only time, x" in say(node, asking), 60, "it")
    store("drop table wide", WIDE, f"insert into wide values {values(rows())}")
    wait_until(lambda: set(asking.fields()) == {"x", "n", "word"}, 60, "the fields")
    assert node.trouble is None


def say(node, asking):
    asking.fields()
    return node.trouble or ""


@pytest.mark.parametrize("scheme", ["sqlite", "duckdb"])
def test_a_file_that_is_missing_is_named(scheme, asked, tmp_path):
    node, asking = asked(make(f"{scheme}:{tmp_path}/none.db", table="wide"))
    assert asking.fields() == {}
    assert "unable to open" in node.trouble or "does not exist" in node.trouble
    assert list(tmp_path.glob("none*")) == []


def test_a_duckdb_that_is_written_is_tried_again(asked, tmp_path):
    url = in_duckdb(tmp_path, WIDE, f"insert into wide values {values(rows())}")
    writing = duckdb.connect(url.partition(":")[2])
    node, asking = asked(make(url, table="wide"))
    assert "different configuration" in say(node, asking)
    writing.close()
    wait_until(lambda: "x" in asking.fields(), 60, "the fields")
    assert node.trouble is None


def test_a_postgresql_that_is_restarted_is_found_again(asked):
    server = Postgres()
    server.start()
    server.execute(WIDE, f"insert into wide values {values(rows())}")
    _, asking = asked(make(server.url, table="wide"))
    assert len(asking.samples(["n"], 1, 0)["n"]) == 500
    server.stop()
    with pytest.raises(psycopg.OperationalError, match="refused"):
        asking.samples(["n"], 1, 0)
    server.start()
    assert len(asking.samples(["n"], 1, 0)["n"]) == 500
    server.stop()
    shutil.rmtree(server.folder)


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ({}, "name a --table, or give a --query"),
        ({"table": "a", "query": "select 1"}, "name a --table"),
        ({"table": "a", "key": "k"}, "--key and --value need each other"),
        ({"table": "a", "url": "mysql://x"}, "'mysql' begins none of sqlite:PATH"),
        ({"table": "a", "url": "postgresql://u:SECRET@h/n"}, "into PGPASSWORD"),
        ({"table": "a", "url": "postgresql://h/n?password=SECRET"}, "into PGPASSWORD"),
    ],
)
def test_flags_that_cannot_be_are_an_error(flags, sentence):
    with pytest.raises(sisock.SisockError, match=sentence):
        make(**{"url": "sqlite:x", **flags})


def test_all_flags_are_documented():
    assert documented_flags("sql") == own_flags(Sql)
