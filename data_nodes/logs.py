"""Data node of numbers and states in text logs."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import sisock
from sisock.archive.text import open_text, whole_lines
from sisock.connection.settings import require
from sisock.sources.options import Described, add_path
from sisock.sources.tables.loglines import LogLines, is_number

TIME = r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?"
CHUNK_BYTES, MAX_LINE = 1 << 20, 1 << 14


class Logs(sisock.TableArchive):
    r"""Numbers and states in a text log and its rotated files.

    Each named group of a --pattern is a field, with a sample for each matching line. Example:

        sisock node logs /var/log/pump.log --pattern 'pressure=(?P<pressure>\S+) bar' \
            --pattern 'valve (?P<valve>open|closed)'

    Rotated files have longer names: pump.log.1, pump.log.2.gz, pump.log-20260101.
    """

    name = "logs"

    def __init__(
        self, path: str | Path | None, pattern: list[str], time: str, **flags: Any
    ) -> None:
        require("pyarrow", "logs")
        if path is None:
            raise sisock.SisockError("name a log, see --help")
        self._path, self._described = Path(path), Described(flags["config"])
        self._lines = LogLines(pattern, time, flags["time_format"], flags["zone"])
        self._kinds: dict[str, str] = {}
        self.version = repr((1, pattern, time, sorted(flags.items(), key=str)))

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Add the flags that name the log, and describe its lines."""
        add_path(parser, "the current log; it need not exist yet")
        add = parser.add_argument
        add(
            "--pattern", action="append", required=True, help="regular expression with named groups"
        )
        add("--time", default=TIME, help="regular expression for a line's time (default: ISO 8601)")
        add("--time-format", metavar="FORMAT", help="as for tables.py; may lack the year")
        add("--zone", default="UTC", help="time zone of times without one (default: %(default)s)")
        add("--config", type=Path, metavar="FILE", help="TOML file of types, units and limits")

    def list_tables(self) -> dict[str, list[Path]]:
        """Find the log and its rotated files, in the order of their times."""
        if not self._path.parent.is_dir():
            raise sisock.SisockError(f"{self._path.parent} is not there")
        firsts, seen, self.left_out = {}, set(), {}
        for path in sorted(self._path.parent.glob(f"{self._path.name}*")):
            try:
                head = self._lines.head(path)
                if head in seen:
                    continue  # it is being copied
                seen.add(head)
                t, _ = self._lines.parse(head, path)
            except FileNotFoundError:
                continue  # rotated just now
            except (OSError, EOFError) as error:
                self.left_out[path] = f"{type(error).__name__}: {error}"
                continue
            if len(t):
                firsts[path] = float(t[0]), path == self._path, path
        if not firsts and not self.left_out:
            no_match = "it has no line with a match of --pattern and a --time"
            self.left_out[self._path] = (
                no_match if any(seen) else "it does not exist yet, or has no line"
            )
        return {self.name: sorted(firsts, key=firsts.__getitem__)} if firsts else {}

    def describe_table(self, table: str, paths: Sequence[Path]) -> dict[str, dict[str, Any]]:
        """Return a field for each group: of strings if none of its first texts is a number."""
        entries = {}
        heads = [self._lines.parse(self._lines.head(path), path)[1] for path in paths]
        for name in self._lines.names:
            found = [text for texts in heads for text in texts[name] if text is not None]
            has_numbers = not found or any(map(is_number, found))
            kind = {"type": "number" if has_numbers else "string"}
            entries[name] = kind | {"timeline": name} | self._described[name]
        self._kinds = {name: entry["type"] for name, entry in entries.items()}
        return entries

    def parse_table(self, table: str, path: Path, offset: int) -> Iterator[tuple[Any, Any, Any]]:
        """Parse the matching lines."""
        with open_text(path, offset) as file:
            for lines, end in whole_lines(file, offset, MAX_LINE, CHUNK_BYTES):
                t, texts = self._lines.parse(lines, path)
                for name, found in texts.items():
                    is_there = np.array([text is not None for text in found], dtype=bool)
                    values: list[Any] = [text for text in found if text is not None]
                    if self._kinds[name] != "string":
                        values = [float(v) if is_number(v) else np.nan for v in values]
                    yield t[is_there], {name: values}, None
                yield t[:0], {}, None if path.suffix == ".gz" else end


if __name__ == "__main__":
    sisock.run(Logs)
