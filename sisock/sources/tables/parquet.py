"""Read tables from files: the base class of all formats, and Parquet and Feather."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np

from sisock.errors import SisockError
from sisock.sources.tables.timestamps import (
    DAYS,
    MIN_GUESSED,
    count_numbers,
    guess_style,
    numbers,
    seconds,
)
from sisock.wire.times import counted

with suppress(ImportError):  # the extra ``tables``
    import pyarrow as pa
    import pyarrow.compute as pc
    from pyarrow import parquet

TIME_NAMES = ("time", "timestamp", "datetime", "date", "utc", "mjd", "jd", "t")
"""Names by which the column of times is guessed, likeliest first."""

JOINED_NAMES = (
    ("date", "time"),
    ("year", "month", "day", "hour", "minute", "second"),
    ("year", "month", "day", "hour", "minute"),
    ("year", "month", "day"),
    ("year", "doy"),
)
"""Names of columns that together are the times."""

HEAD_ROWS, BATCH_ROWS, BUFFER, MAX_NAMED = 40, 1 << 16, 1 << 16, 12

UNREADABLE = (OSError, EOFError, ValueError, NotImplementedError, zlib.error)
"""Exceptions for damaged or incomplete files, including those of pyarrow."""

_UNITS = re.compile(r"(.*?)\s*[\[(]([^\[\]()]*)[\])]\s*")
_TIME_WORD = re.compile(r"(^|[^a-z])(date|time|timestamp|datetime|utc)([^a-z]|$)")
_CLOCK = re.compile(r"\d\d?:\d\d\b.*")

Chunk = tuple[Any, int | None]
"""A pyarrow table with columns "0", "1" and so on, and the byte at which to continue, if any."""


MAX_QUOTED = 60  # characters of a malformed row that a warning shows


class NoRows(Exception):
    """The file has no rows yet."""


class Malformed:
    """Count the malformed rows and values of a file, and remember the first of each."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[int, str]] = {}

    def add(self, what: str, count: int, first: Callable[[], str]) -> None:
        """Count further ones; `first` returns the text of the first one."""
        if count:
            known, text = self._found.get(what) or (0, first())
            self._found[what] = known + count, text

    def __str__(self) -> str:
        """Return what was found; empty if nothing was."""
        verbs = {"row": "skipped", "value": "cannot read"}
        return "; ".join(
            f"{verb} {counted(self._found[what][0], f'malformed {what}')},"
            f" the first: {self._found[what][1]}"
            for what, verb in verbs.items()
            if what in self._found
        )


@dataclass(frozen=True)
class Times:
    """Describe the columns of times (guessed if not given); style and zone are those of `seconds`.

    Raises SisockError for an unknown zone.
    """

    columns: tuple[str, ...] = ()
    style: str | None = None
    zone: str = "UTC"

    def __post_init__(self) -> None:
        try:
            ZoneInfo(self.zone)
        except (OSError, ValueError, ZoneInfoNotFoundError) as error:
            raise SisockError(f"--zone: {error}") from None


class TableFile:
    """Read one file. Creation reads its beginning; raises `NoRows`, SisockError or `UNREADABLE`.

    `types` has "number", "bool" or "string" by column, None without values; `first` is the time of
    the first row.
    """

    def __init__(self, path: Path, times: Times) -> None:
        self.path = path
        self.types: dict[str, str | None] = {}
        self.units: dict[str, str | None] = {}
        self._column: dict[str, str] = {}
        self._zone, self._names = times.zone, (*map(str.lower, times.columns), *TIME_NAMES)
        headers, units, head = self._read_head()
        if not head.num_rows:
            raise NoRows
        self.first = self._find_times(times, headers, head)
        for column, header, unit in zip(head.column_names, headers, units, strict=True):
            kind = self._type_of(head[column].combine_chunks())
            name, unit_in_header = split_units(header)
            if column not in self._time and name and kind != "other":
                name = f"{name} {int(column) + 1}" if name in self._column else name
                self._column[name] = column
                self.types[name], self.units[name] = kind, unit or unit_in_header

    def batches(
        self, offset: int, types: Mapping[str, str], is_whole: bool, warn: Callable[[str], None]
    ) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray], int | None]]:
        """Parse the file as `TableArchive.parse_table` must, with these types of columns.

        Rows without a time or with a wrong number of values are left out, and invalid values are
        missing, with one warning for all. `is_whole` says that the last line is complete.
        """
        bad = Malformed()
        try:
            for table, end in self._chunks(offset, is_whole, bad):
                t = self._seconds(table)
                valid = np.isfinite(t)
                bad.add("row", len(t) - int(valid.sum()), partial(self._time_at, table, ~valid))
                complete: dict[str, np.ndarray] = {}
                for name in types.keys() & self._column.keys():
                    values, is_there = _convert(table[self._column[name]], types[name], name, bad)
                    if is_there.all():
                        complete[name] = values[valid]
                    else:
                        kept = valid & is_there
                        yield t[kept], {name: values[kept]}, None
                yield t[valid], complete, end
        except UNREADABLE as error:
            warn(f"{self.path} cannot be read to its end: {error}")
        if found := str(bad):
            warn(f"{self.path}: {found}")

    def _find_times(self, times: Times, headers: Sequence[str], head: Any) -> float:
        """Find the columns of times and their style; return the first time."""
        names = [split_units(header)[0] for header in headers]
        trouble = []
        for self._time in _candidates(times.columns, names, headers, head):
            name, found = names[int(self._time[0])].lower(), self._times_of(head)
            self._style = times.style or (name if name in DAYS else None)
            if self._style is None and pa.types.is_string(found.type):
                self._style = guess_style(found.to_pylist())
            t = self._seconds(head)
            t = t[np.isfinite(t)]
            is_number = self._style is None and not pa.types.is_temporal(found.type)
            if len(t) and not (is_number and np.abs(t).max() < MIN_GUESSED):
                return float(t[0])
            called = " and ".join(repr(names[int(number)]) for number in self._time)
            trouble.append(f"no times in {called}: {_explained(found, times.style, names)}")
        raise SisockError(trouble[0])

    def _read_head(self) -> tuple[list[str], list[str | None], Any]:
        """Return headers, units (if known) and first rows of the columns."""
        raise NotImplementedError

    def _chunks(self, offset: int, is_whole: bool, bad: Malformed) -> Iterator[Chunk]:
        """Read the file from a byte on; count malformed rows in `bad`."""
        raise NotImplementedError

    def _type_of(self, array: Any) -> str | None:
        """Return the type of a column; "other" if it cannot be served."""
        kind = array.type.value_type if pa.types.is_dictionary(array.type) else array.type
        if pa.types.is_boolean(kind):
            return "bool"
        if pa.types.is_string(kind) or pa.types.is_large_string(kind):
            return "string"
        is_number = pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal
        if any(check(kind) for check in is_number):
            return "number"
        return None if pa.types.is_null(kind) else "other"

    def _times_of(self, table: Any) -> Any:
        first, *others = (table[name].combine_chunks() for name in self._time)
        if not others:
            return first
        return pc.binary_join_element_wise(*(c.cast(pa.string()) for c in (first, *others)), " ")

    def _time_at(self, table: Any, mask: np.ndarray) -> str:
        """Return a text that names the first row of a mask by its time."""
        return f"the one with the time {quoted(self._times_of(table)[int(mask.argmax())].as_py())}"

    def _seconds(self, table: Any) -> np.ndarray:
        return seconds(self._times_of(table), self._style, self._zone)


class ColumnarFile(TableFile):
    """Read a Parquet or Feather file."""

    def _read_head(self) -> tuple[list[str], list[str | None], Any]:
        schema, batches = self._open()
        keys = (b"units", b"unit")
        metadata = [column.metadata or {} for column in schema]
        units = [next((m[key].decode() for key in keys if key in m), None) for m in metadata]
        head = pa.Table.from_batches([next(batches, pa.record_batch([], []))])
        return list(schema.names), units, _numbered(head).slice(0, HEAD_ROWS)

    def _chunks(self, offset: int, is_whole: bool, bad: Malformed) -> Iterator[Chunk]:
        size = self.path.stat().st_size
        if offset < size:
            schema, batches = self._open()
            for batch in batches:
                yield _numbered(pa.Table.from_batches([batch])), None
            yield _numbered(schema.empty_table()), size

    def _open(self) -> tuple[Any, Iterator[Any]]:
        """Return the schema, and an iterator over the rows."""
        if self.path.suffix.lower() in (".parquet", ".pq"):
            # By default it reads whole row groups, and decodes each column in a thread.
            file = parquet.ParquetFile(self.path, buffer_size=BUFFER, pre_buffer=False)
            return file.schema_arrow, file.iter_batches(BATCH_ROWS, use_threads=False)
        reader = pa.ipc.open_file(pa.OSFile(str(self.path)))
        return reader.schema, map(reader.get_batch, range(reader.num_record_batches))


def use_little_memory() -> None:
    """Make pyarrow return unused memory to the system, in the whole program."""
    pa.set_memory_pool(pa.system_memory_pool())


def split_units(header: str) -> tuple[str, str | None]:
    """Split a header like ``temp [K]`` into name and units."""
    match = _UNITS.fullmatch(header)
    return (match[1], match[2] or None) if match else (header.strip(), None)


def _candidates(
    columns: Sequence[str], names: Sequence[str], headers: Sequence[str], head: Any
) -> Iterator[list[str]]:
    """Yield numbers of columns that may be the times, likeliest first."""
    lower = [name.lower() for name in names]
    if columns:
        places = []
        for name in columns:
            among = next((each for each in (names, headers) if name in each), lower)
            same = name.lower() if among is lower else name
            if same not in among:
                raise SisockError(f"no column {name!r}; there are {', '.join(map(repr, names))}")
            places.append(str(among.index(same)))
        yield places
        return
    for joined in JOINED_NAMES:
        if set(joined) <= set(lower):
            yield [str(lower.index(name)) for name in joined]
    found = [lower.index(name) for name in TIME_NAMES if name in lower]
    found += [number for number, name in enumerate(lower) if _TIME_WORD.search(name)]
    for number in dict.fromkeys([*found, 0]):
        few = [head[i].slice(0, 1).to_pylist()[0] for i in range(number, head.num_columns)[:2]]
        date, clock = map(str, [*few, ""][:2])
        has_clock = ":" not in date and _CLOCK.fullmatch(clock.strip())
        yield [str(number), str(number + 1)] if has_clock else [str(number)]


def _explained(found: Any, style: str | None, names: Sequence[str]) -> str:
    """Explain why a column has no times, with its first value, and what to do."""
    some = found.slice(0, HEAD_ROWS).to_pylist()
    said, others = f"{some[0]!r}", ", ".join(map(repr, names[:MAX_NAMED]))
    if style is not None:
        return f"{said} does not have the --time-format {style!r}"
    if not pa.types.is_string(found.type) or 2 * count_numbers(some) > len(some):
        why, forms = "is too small for UNIX time", "mjd, jd, excel or s"
    else:
        why = "is of no known form"
        forms = "'%d/%m/%Y %H:%M' if the day is first, '%m/%d/%Y %H:%M' if the month is"
    return f"{said} {why}; say --time-format, as {forms}, or another column with --time: {others}"


def _numbered(table: Any) -> Any:
    return table.rename_columns([str(number) for number in range(table.num_columns)])


def quoted(cell: Any) -> str:
    """Quote a cell or a row for a warning; cut it if it is long."""
    text = str(cell or "")
    return repr(text if len(text) <= MAX_QUOTED else f"{text[:MAX_QUOTED]}…")


def _convert(array: Any, kind: str, name: str, bad: Malformed) -> tuple[np.ndarray, np.ndarray]:
    """Return a column's values and a mask of the existing ones; missing numbers are NaN instead."""
    array = array.combine_chunks()
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    everywhere = np.ones(len(array), dtype=bool)
    if kind == "string":
        return array.cast(pa.string()).to_numpy(zero_copy_only=False), everywhere
    if kind == "bool":
        if not pa.types.is_boolean(array.type):
            lower = pc.utf8_lower(array.cast(pa.string()))
            known = pc.is_in(lower, pa.array(["true", "false"]))
            array = pc.if_else(known, pc.equal(lower, "true"), None)
        is_there = array.is_valid().to_numpy(zero_copy_only=False)
        return array.fill_null(False).to_numpy(zero_copy_only=False), is_there
    values = numbers(array)
    if count := int(np.isnan(values).sum()) - array.null_count:
        wrong = np.isnan(values) & array.is_valid().to_numpy(zero_copy_only=False)
        first = array[int(wrong.argmax())].as_py()
        bad.add("value", count, lambda: f"{quoted(first)} in {name!r}")
    return values, everywhere
