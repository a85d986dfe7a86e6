"""Data node of a table or query of a database: SQLite, PostgreSQL or DuckDB."""

from __future__ import annotations

import argparse
import math
import threading
import time
from pathlib import Path
from typing import Any

import sisock
from sisock.archive.overview import decimate_windows
from sisock.sources.databases import open_database, quote
from sisock.sources.options import Described
from sisock.sources.sql import UNITS, Column, Wanted, find_columns
from sisock.store.background import WorkLog
from sisock.wire.protocol import check_interval
from sisock.wire.reply import Decimated

LOOK_EVERY = 10.0


class Sql(sisock.ArchiveNode):
    """A table or query of a database: SQLite, PostgreSQL or DuckDB.

        python data_nodes/sql.py --database sqlite:/data/site.db --table weather --time t

    Columns are fields, or with --key and --value the rows of each key. Samples stay in the
    database: it is asked for an interval, and decimates itself.
    """

    name = "sql"
    pyramid = False

    def __init__(self, database: str, time: str, config: Path | None = None, **flags: Any) -> None:
        self._flags, self._described = flags, Described(config)
        self._lock, self._due = threading.Lock(), -math.inf
        self._columns: dict[str, Column] = {}
        self._warn = sisock.RepeatedWarning(self.log)
        if (flags["table"] is None) == (flags["query"] is None):
            raise sisock.SisockError("name a --table, or give a --query")
        if (flags["key"] is None) != (flags["value"] is None):
            raise sisock.SisockError("--key and --value need each other")
        table = ".".join(quote(part) for part in (flags["table"] or "").split("."))
        query, unit = flags["query"] or f"select * from {table}", UNITS[flags["time_unit"]]
        self._wanted = Wanted(query, time, unit, flags["key"], flags["value"])
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
                    self._columns = dict(find_columns(self._database, self._wanted))
                    self.trouble = None
                except Exception as error:  # each database has its own
                    self.trouble = f"{type(error).__name__}: {str(error).strip()}"
                    self._warn(self.trouble)
                self._due = time.monotonic() + (1.0 if self.trouble else LOOK_EVERY)
            return {name: self._entry(name, column) for name, column in self._columns.items()}

    def read(self, field: str, start: float, end: float) -> tuple[Any, Any]:
        """Ask for the rows of an interval."""
        return self._columns[field].samples(start, end)

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
        asked = interval.start, interval.end
        listed = self.list_fields(*asked)
        for name in (name for name in field if name in listed):
            column = self._columns[name]
            if column.type == "string":
                log = WorkLog(self.log, f"reading {name!r} to decimate it")
                found[name] = decimate_windows(column.read(*asked), bucket, max_points, log)
            else:
                found[name] = column.decimated(*asked, bucket, max_points)
        return found

    def _entry(self, name: str, column: Column) -> dict[str, Any]:
        table = self._flags["table"] or "query"
        line = {} if self._flags["key"] else {"timeline": table}
        return {"type": column.type, **line, **self._described[name]}


if __name__ == "__main__":
    sisock.run(Sql)
