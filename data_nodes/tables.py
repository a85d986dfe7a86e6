"""Data node of tables in files: CSV and other text with columns, Parquet, Feather."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import sisock
from sisock.archive.ingest import SETTLED, stamp_of
from sisock.connection.settings import require
from sisock.sources.options import Described, add_path, given_path
from sisock.sources.tables.delimited import COLUMNAR, TEXT, find_tables, table_of, try_to_open
from sisock.sources.tables.parquet import TableFile, Times, use_little_memory


class Tables(sisock.TableArchive):
    """Tables in files: CSV, TSV, text in columns (also .gz), Parquet, Feather.

        sisock node tables /data/weather --name weather --time timestamp

    Serves one file, or all files of a folder and its subfolders. Files with paths that differ only
    in dates or numbers of four digits form one table, such as a file per day. Each column is a
    field, with units from a header like `temp [K]`. New files and rows show within a second.
    """

    name = "tables"

    def __init__(
        self,
        path: str | Path | None,
        time: str | None = None,
        time_format: str | None = None,
        zone: str = "UTC",
        config: Path | None = None,
    ) -> None:
        require("pyarrow", "tables")
        use_little_memory()
        self._path, self._described = given_path(path), Described(config)
        self.description = self.description or f"Tables in {path}"
        self._times = Times(tuple(time.split(",")) if time else (), time_format, zone)
        self.version = repr((3, self._times))
        self._seen: dict[Path, tuple[list[int], TableFile | str | None]] = {}
        self._types: dict[str, dict[str, str]] = {}
        self._last: dict[str, Path] = {}

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Add the flags that name the files, and the columns of their times."""
        add_path(parser, "a file, or a folder of files")
        add = parser.add_argument
        columns = "column of the times, or date,time (default: guessed by name, or the first)"
        add("--time", metavar="COLUMN", help=columns)
        style = "s, ms, us, ns, mjd, jd, iso, or a strptime format (default: guessed)"
        add("--time-format", metavar="FORMAT", help=style)
        add("--zone", default="UTC", help="time zone of times without one (default: %(default)s)")
        add("--config", type=Path, metavar="FILE", help="TOML file of units and limits")

    def list_tables(self) -> dict[str, list[Path]]:
        """Find the files, and put those of each table in the order of their times."""
        seen, self.left_out, tables = {}, {}, {}
        for path in find_tables(self._path):
            stamp = stamp_of(path)[:3]
            known, file = self._seen.get(path, (None, None))
            seen[path] = stamp, file if known == stamp else try_to_open(path, self._times)
            if isinstance(seen[path][1], TableFile):
                tables.setdefault(table_of(path, self._path), []).append(seen[path][1])
            elif seen[path][1] is not None:
                self.left_out[path] = seen[path][1]
        if not tables and not self.left_out:
            self.left_out[self._path] = f"no file of {', '.join((*TEXT, *COLUMNAR))} has rows yet"
        self._seen = seen
        return {
            name: [file.path for file in sorted(files, key=lambda file: (file.first, file.path))]
            for name, files in tables.items()
        }

    def describe_table(self, table: str, paths: Sequence[Path]) -> dict[str, dict[str, Any]]:
        """Return a field for each column of any of the files."""
        self._last[table], types, units = paths[-1], {}, {}
        for file in (self._seen[path][1] for path in paths):
            for column, kind in file.types.items():
                types[column] = types.get(column) or kind
                units[column] = units.get(column) or file.units[column]
        self._types[table] = {column: kind or "number" for column, kind in types.items()}
        return {
            (name := _field(table, column)): {
                "type": kind,
                "units": units[column],
                "timeline": table or "time",
                **self._described[name],
            }
            for column, kind in self._types[table].items()
        }

    def parse_table(self, table: str, path: Path, offset: int) -> Iterator[tuple[Any, Any, Any]]:
        """Parse a file; its last line counts as complete an hour after the last write."""
        stamp, file = self._seen[path]
        is_whole = path != self._last[table] or time.time() - stamp[0] / 1e9 > SETTLED
        warn = sisock.RepeatedWarning(self.log)
        for t, columns, end in file.batches(offset, self._types[table], is_whole, warn):
            yield t, {_field(table, name): values for name, values in columns.items()}, end


def _field(table: str, column: str) -> str:
    return f"{table}.{column}" if table else column


if __name__ == "__main__":
    sisock.run(Tables)
