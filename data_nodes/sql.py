"""Data node of a table or query of a database: SQLite, PostgreSQL or DuckDB."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sisock
from sisock.archive.database import DatabaseNode, Series
from sisock.sources.options import Described
from sisock.sources.sql import open_database, quote
from sisock.sources.sql_column import Column, kind_of_time, type_of_value

SAMPLE_ROWS = 100
UNITS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}


class Sql(DatabaseNode):
    """A table or query of a database: SQLite, PostgreSQL or DuckDB.

        sisock node sql --database sqlite:/data/site.db --table weather --time t

    Each column is a field; with --key and --value, the rows of each key are one. Samples stay in
    the database, which also decimates them.
    """

    name = "sql"

    def __init__(self, database: str, time: str, config: Path | None = None, **flags: Any) -> None:
        super().__init__()
        self._time, self._flags, self._described = time, flags, Described(config)
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
        self.searches_when_idle = self._database.is_shared

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Add the flags that name the database, its table and columns."""
        add = parser.add_argument
        database = "sqlite:PATH, duckdb:PATH, or postgresql://USER@HOST/NAME"
        add("--database", required=True, help=database)
        add("--table", help="table or view to serve")
        add("--query", help="SELECT to serve instead of a table")
        add("--time", default="time", help="column of the times (default: %(default)s)")
        add("--time-unit", choices=UNITS, default="s", help="unit of times that are numbers")
        add("--key", metavar="COLUMN", help="column that names the field of a row")
        add("--value", metavar="COLUMN", help="column of its value")
        add("--config", type=Path, metavar="FILE", help="TOML file of units and limits")

    def find_fields(self) -> dict[str, tuple[Series, dict[str, Any]]]:
        """Find the fields: one per column, or one per key."""
        return dict(self._find())

    def _find(self) -> Iterator[tuple[str, tuple[Column, dict[str, Any]]]]:
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
        """Return a value of a column, to tell its type; None if it has none."""
        if not (found := [value for value in values if value is not None]):
            query = (
                f"select {quote(name)} from ({self._query}) as q where {quote(name)} is not null"
            )
            found = [row[0] for row in self._database.columns(query, 1)[1]]
        return next(iter(found), None)


if __name__ == "__main__":
    sisock.run(Sql)
