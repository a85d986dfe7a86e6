"""Data node of a table or query of a database: SQLite, PostgreSQL or DuckDB."""

from __future__ import annotations

import argparse
import math
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import sisock
from sisock.archive.overview import decimate_windows
from sisock.sources.options import Described
from sisock.sources.sql import Column, kind_of_time, open_database, quote, type_of_value
from sisock.store.background import WorkLog
from sisock.wire.grid import bucket_size_for
from sisock.wire.protocol import check_interval
from sisock.wire.reply import Decimated, just_after

LOOK_EVERY = 10.0
SAMPLE_ROWS = 100
UNITS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}


class Sql(sisock.ArchiveNode):
    """A table or query of a database: SQLite, PostgreSQL or DuckDB.

        python data_nodes/sql.py --database sqlite:/data/site.db --table weather --time t

    Columns are fields, or with --key and --value the rows of each key. Samples stay in the
    database: it is asked for an interval, and decimates itself.
    """

    name = "sql"
    pyramid = False

    def __init__(self, database: str, time: str, config: Path | None = None, **flags: Any) -> None:
        self._time, self._flags, self._described = time, flags, Described(config)
        self._lock, self._due = threading.Lock(), -math.inf
        self._columns: dict[str, tuple[Column, dict[str, Any]]] = {}
        self._warn = sisock.RepeatedWarning(self.log)
        if (flags["table"] is None) == (flags["query"] is None):
            raise sisock.SisockError("name a --table, or give a --query")
        if (flags["key"] is None) != (flags["value"] is None):
            raise sisock.SisockError("--key and --value need each other")
        table = ".".join(quote(part) for part in (flags["table"] or "").split("."))
        self._query = flags["query"] or f"select * from {table}"
        try:
            self._database = open_database(database)
        except ValueError as error:
            raise sisock.SisockError(f"--database: {error}") from None

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Add the flags that name the database, and what of it to serve."""
        add = parser.add_argument
        database = "sqlite:PATH, duckdb:PATH, or postgresql://USER@HOST/NAME"
        add("--database", required=True, help=database)
        add("--table", help="table or view to serve")
        add("--query", help="or: a select")
        add("--time", default="time", help="column of the times (default: %(default)s)")
        add("--time-unit", choices=UNITS, default="s", help="of times that are numbers")
        add("--key", metavar="COLUMN", help="column that names the field of a row")
        add("--value", metavar="COLUMN", help="column of its value")
        add("--config", type=Path, metavar="FILE", help="TOML file of units and limits")

    def list_fields(self, start: float, end: float) -> dict[str, dict[str, Any]]:
        """List the columns, or the keys, as they were a few seconds ago."""
        with self._lock:
            if time.monotonic() >= self._due:
                try:
                    self._columns = dict(self._look())
                    self.trouble = None
                except Exception as error:  # each database has its own
                    self.trouble = f"{type(error).__name__}: {str(error).strip()}"
                    self._warn(self.trouble)
                self._due = time.monotonic() + (1.0 if self.trouble else LOOK_EVERY)
            return {name: entry for name, (_, entry) in self._columns.items()}

    def read(self, field: str, start: float, end: float) -> tuple[Any, Any]:
        """Ask for the rows of an interval."""
        parts = list(self._columns[field][0].read(start, end))
        if not parts:
            return [], []
        return tuple(np.concatenate(each) for each in zip(*parts, strict=True))

    def get_decimated(
        self,
        field: list[str],
        start: float,
        end: float,
        bucket: float | None = None,
        max_points: int | None = None,
    ) -> dict[str, Decimated]:
        """Have the database decimate numbers and booleans; texts are decimated here."""
        interval, found = check_interval(start, end), {}
        listed = self.list_fields(interval.start, interval.end)
        for name in (name for name in field if name in listed):
            column, ends = self._columns[name][0], (interval.start, interval.end)
            if column.type == "string":
                log = WorkLog(self.log, f"reading {name!r} to decimate it")
                found[name] = decimate_windows(column.read(*ends), bucket, max_points, log)
            else:
                found[name] = self._decimate(name, column, *ends, bucket, max_points)
        return found

    def _decimate(
        self,
        name: str,
        column: Column,
        start: float,
        end: float,
        bucket: float | None,
        max_points: int | None,
    ) -> Decimated:
        ends: list[tuple[Any, Any]] = []
        if max_points is not None:
            count, first, last = column.count(start, end)
            if count <= max_points:
                t, values = self.read(name, start, end)
                return Decimated(t, values, None, just_after(t[-1] if count else None))
            bucket = bucket_size_for(first, last, max_points)
            ends = [self.read(name, t, math.nextafter(t, math.inf)) for t in (first, last)]
        t, values = column.decimate(start, end, bucket or 1.0)
        if ends:
            (t0, v0), (t1, v1) = ends
            before, after = int(t[0] != t0[0]), int(t[-1] != t1[-1])
            t = np.concatenate([t0[:before], t, t1[len(t1) - after :]])
            values = np.concatenate([v0[:before], values, v1[len(v1) - after :]])
        return Decimated(t, values, bucket, just_after(float(t[-1]) if len(t) else None))

    def _look(self) -> Iterator[tuple[str, tuple[Column, dict[str, Any]]]]:
        """Find the fields."""
        names, rows = self._database.columns(self._query, SAMPLE_ROWS)
        some = {name: self._some(name, [row[i] for row in rows]) for i, name in enumerate(names)}
        key, value, table = self._flags["key"], self._flags["value"], self._flags["table"]
        for name in (self._time, key, value):
            if name is not None and name not in some:
                raise ValueError(f"there is no column {name!r}, only {', '.join(names)}")
        kind = kind_of_time(some[self._time])
        times = self._time, kind, UNITS[self._flags["time_unit"]] if kind == "number" else 1.0
        source = self._database, self._query, times
        if key is None:
            for name in names:
                if name != self._time and (type_of := type_of_value(some[name])):
                    entry = {"type": type_of, "timeline": table or "query"}
                    yield name, (Column(*source, (name, type_of)), entry | self._described[name])
            return
        type_of = type_of_value(some[value]) or "number"
        keys = f"select distinct {quote(key)} from ({self._query}) as q"
        for (found,) in (row for rows in self._database.rows(keys) for row in rows):
            if found is not None:
                entry = {"type": type_of} | self._described[str(found)]
                column = Column(*source, (value, type_of), (key, found))
                yield str(found), (column, entry)

    def _some(self, name: str, values: list[Any]) -> Any:
        """Return a value of a column that tells its type."""
        if not (found := [value for value in values if value is not None]):
            query = (
                f"select {quote(name)} from ({self._query}) as q where {quote(name)} is not null"
            )
            found = [row[0] for row in self._database.columns(query, 1)[1]]
        return next(iter(found), None)


if __name__ == "__main__":
    sisock.run(Sql)
