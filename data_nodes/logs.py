"""Data node of numbers and states in text logs."""

from __future__ import annotations

import argparse
import gzip
import importlib.util
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from itertools import compress
from pathlib import Path
from typing import IO, Any

import numpy as np

import sisock
from sisock.archive.text import whole_lines
from sisock.archive.timestamps import guess_style, seconds
from sisock.sources.options import Described

with suppress(ImportError):  # see prepare
    import pyarrow as pa

TIME = r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?"
HEAD_BYTES, CHUNK_BYTES, MAX_LINE = 1 << 16, 1 << 20, 1 << 14


class Logs(sisock.TableArchive):
    r"""Numbers and states in text logs, with the logs that were rotated away.

    Each named group of a --pattern is a field, with a sample for each line that fits. For example

        python data_nodes/logs.py /var/log/pump.log --pattern 'pressure=(?P<pressure>\S+) bar' \
            --pattern 'valve (?P<valve>open|closed)'

    Rotated logs are those with more behind the name: pump.log.1, pump.log.2.gz, pump.log-20260101.
    """

    name = "logs"

    def __init__(self, path: Path, pattern: list[str], time: str, **flags: Any) -> None:
        self._path, self._style, self._zone = path, flags["time_format"], flags["zone"]
        self._described = Described(flags["config"])
        try:
            self._patterns, self._time = [re.compile(each) for each in pattern], re.compile(time)
        except re.error as error:
            raise sisock.SisockError(f"--pattern or --time: {error}") from None
        self._names = [name for each in self._patterns for name in each.groupindex]
        if not self._names or len(set(self._names)) < len(self._names):
            raise sisock.SisockError("--pattern needs named groups, as (?P<level>\\S+), each once")
        self.version = repr((1, pattern, time, sorted(flags.items(), key=str)))

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Add the flags that say which log it is, and what is in its lines."""
        add = parser.add_argument
        add("path", type=Path, help="the log that is written now; it may come later")
        add(
            "--pattern", action="append", required=True, help="regular expression with named groups"
        )
        add("--time", default=TIME, help="regular expression of a line's time (default: ISO 8601)")
        add("--time-format", metavar="FORMAT", help="as of tables.py; may be without the year")
        add("--zone", default="UTC", help="time zone of times without one (default: %(default)s)")
        add("--config", type=Path, metavar="FILE", help="TOML file of types, units and limits")

    def prepare(self) -> None:
        """Check that what reads the times is there."""
        if importlib.util.find_spec("pyarrow") is None:
            raise sisock.SisockError("pyarrow is missing: pip install 'sisock[logs]'")

    def list_tables(self) -> dict[str, list[Path]]:
        """Find the log and the rotated ones, in the order of their times."""
        if not self._path.parent.is_dir():
            raise sisock.SisockError(f"{self._path.parent} is not there")
        firsts, seen, self.left_out = {}, set(), {}
        for path in sorted(self._path.parent.glob(f"{self._path.name}*")):
            try:
                head = self._head(path)
                if head in seen:
                    continue  # it is being copied
                seen.add(head)
                t, _ = self._parse(head, path)
            except FileNotFoundError:
                continue  # rotated just now
            except (OSError, EOFError) as error:
                self.left_out[path] = f"{type(error).__name__}: {error}"
                continue
            if len(t):
                firsts[path] = float(t[0]), path == self._path, path
        if not firsts and not self.left_out:
            self.left_out[self._path] = "no line has a time and fits a pattern"
        return {self.name: sorted(firsts, key=firsts.__getitem__)} if firsts else {}

    def describe_table(self, table: str, paths: Sequence[Path]) -> dict[str, dict[str, Any]]:
        """Return a field for each group: of numbers, unless its first texts are none."""
        entries = {}
        heads = [self._parse(self._head(path), path)[1] for path in paths]
        for name in self._names:
            found = [text for texts in heads for text in texts[name] if text is not None]
            is_number = not found or any(map(_is_number, found))
            kind = {"type": "number" if is_number else "string"}
            entries[name] = kind | {"timeline": name} | self._described[name]
        self._kinds = {name: entry["type"] for name, entry in entries.items()}
        return entries

    def parse_table(self, table: str, path: Path, offset: int) -> Iterator[tuple[Any, Any, Any]]:
        """Parse the lines that fit."""
        with ExitStack() as stack:
            file = self._open(path, stack, offset)
            for lines, end in whole_lines(file, offset, MAX_LINE, CHUNK_BYTES):
                t, texts = self._parse(lines, path)
                for name, found in texts.items():
                    is_there = np.array([text is not None for text in found], dtype=bool)
                    values: list[Any] = [text for text in found if text is not None]
                    if self._kinds[name] != "string":
                        values = [float(v) if _is_number(v) else np.nan for v in values]
                    yield t[is_there], {name: values}, None
                yield t[:0], {}, None if path.suffix == ".gz" else end

    def _parse(self, lines: bytes, path: Path) -> tuple[np.ndarray, dict[str, list[str | None]]]:
        """Return the times of the lines that fit, and of each the texts of all fields."""
        times, texts = [], {name: [] for name in self._names}
        for line in lines.decode("utf-8", "replace").splitlines():
            groups: dict[str, str] = {}
            for pattern in self._patterns:
                if match := pattern.search(line):
                    groups |= match.groupdict()
            time = self._time.search(line) if groups else None
            if time:
                times.append(time[time.lastindex or 0])
                for name, found in texts.items():
                    found.append(groups.get(name))
        t = self._seconds(times, path)
        good = np.isfinite(t)
        keep = {name: list(compress(found, good)) for name, found in texts.items()}
        return t[good], keep

    def _seconds(self, times: list[str], path: Path) -> np.ndarray:
        style = self._style or guess_style(times[:100])
        if style is None or "%" not in style or "%y" in style.lower():
            return seconds(pa.array(times, pa.string()), style, self._zone)
        # Without a year: that of the last line, or the one before it.
        written = path.stat().st_mtime
        year = datetime.fromtimestamp(written, UTC).year
        t, before = (
            seconds(pa.array([f"{each} {text}" for text in times]), f"%Y {style}", self._zone)
            for each in (year, year - 1)
        )
        return np.where(t > written + 86400, before, t)

    def _head(self, path: Path) -> bytes:
        with ExitStack() as stack:
            return self._open(path, stack, 0).read(HEAD_BYTES).rpartition(b"\n")[0]

    def _open(self, path: Path, stack: ExitStack, offset: int) -> IO[bytes]:
        file: Any = stack.enter_context(path.open("rb"))
        file.seek(offset)
        return stack.enter_context(gzip.GzipFile(fileobj=file)) if path.suffix == ".gz" else file


def _is_number(text: str) -> bool:
    try:
        return "_" not in text and np.isfinite(float(text))
    except ValueError:
        return False


if __name__ == "__main__":
    sisock.run(Logs)
