"""Tables in files: text with columns, Parquet and Feather; needs pyarrow."""

from __future__ import annotations

import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np

from sisock.archive.timestamps import DAYS, guess_style, numbers, seconds
from sisock.errors import SisockError

with suppress(ImportError):  # the extra ``tables``
    import pyarrow as pa
    import pyarrow.compute as pc
    from pyarrow import parquet

TIME_NAMES = ("time", "timestamp", "datetime", "date", "utc", "mjd", "jd", "t")
"""Names of a column of times that nobody named, the likeliest first; else it is the first one."""

HEAD_ROWS, BATCH_ROWS, BUFFER = 40, 1 << 16, 1 << 16

UNREADABLE = (OSError, EOFError, ValueError, NotImplementedError, zlib.error)
"""Exceptions of files that are damaged or not whole; those of pyarrow are among them."""

_UNITS = re.compile(r"(.*?)\s*[\[(]([^\[\]()]*)[\])]\s*")

Chunk = tuple[Any, int | None]
"""A table of pyarrow with columns "0", "1" and so on, and the byte from which on to go on."""


class NoRows(Exception):
    """There are no rows yet."""


@dataclass(frozen=True)
class Times:
    """Where the times are: in these columns, guessed if there are none; see `seconds`.

    SisockError says that there is no such zone.
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
    """One file, of which the beginning was read: raises `NoRows`, SisockError and `UNREADABLE`.

    `types` are "number", "bool" or "string", None of a column without values; `first` is the time
    of the first row.
    """

    def __init__(self, path: Path, times: Times) -> None:
        self.path = path
        self.types: dict[str, str | None] = {}
        self.units: dict[str, str | None] = {}
        self._column: dict[str, str] = {}
        self._zone, self._names = times.zone, {*TIME_NAMES, *times.columns}
        headers, units, head = self._read_head()
        if not head.num_rows:
            raise NoRows
        self._time = _find(times.columns, headers)
        name = split_units(headers[int(self._time[0])])[0].lower()
        self._style = times.style or (name if name in DAYS else None)
        if self._style is None and pa.types.is_string(self._times_of(head).type):
            self._style = guess_style(self._times_of(head).to_pylist())
        found = self._seconds(head)
        if not np.isfinite(found).any():
            found = self._times_of(head)[:3].to_pylist()
            raise SisockError(f"the first rows have no times: {found}; see --time, --time-format")
        self.first = float(found[np.isfinite(found)][0])
        for column, header, given in zip(head.column_names, headers, units, strict=True):
            kind = self._type_of(head[column].combine_chunks())
            name, units_of = split_units(header)
            if column not in self._time and name and kind != "other":
                name = f"{name} {int(column) + 1}" if name in self._column else name
                self._column[name] = column
                self.types[name], self.units[name] = kind, given or units_of

    def batches(
        self, offset: int, types: Mapping[str, str], is_whole: bool, warn: Callable[[str], None]
    ) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray], int | None]]:
        """Parse the file as `TableArchive.parse_table` must, its columns as of these types.

        Rows without a time or with too few or too many values are left out, and values that are
        none are missing, with one warning for all. `is_whole` says that the last line is whole.
        """
        bad: Counter[str] = Counter()
        try:
            for table, end in self._chunks(offset, is_whole, bad):
                t = self._seconds(table)
                good = np.isfinite(t)
                bad["rows"] += len(t) - int(good.sum())
                whole: dict[str, np.ndarray] = {}
                for name in types.keys() & self._column.keys():
                    values, is_there = _convert(table[self._column[name]], types[name], bad)
                    if is_there.all():
                        whole[name] = values[good]
                    else:
                        which = good & is_there
                        yield t[which], {name: values[which]}, None
                yield t[good], whole, end
        except UNREADABLE as error:
            warn(f"{self.path} cannot be read to its end: {error}")
        if bad.total():
            rows, count = bad["rows"], bad["values"]
            warn(f"{self.path}: {rows} malformed rows are skipped, {count} values are missing")

    def _read_head(self) -> tuple[list[str], list[str | None], Any]:
        """Return the columns' headers, their units, if known, and the first rows as a table."""
        raise NotImplementedError

    def _chunks(self, offset: int, is_whole: bool, bad: Counter[str]) -> Iterator[Chunk]:
        """Read the file from a byte on, and count what is left out."""
        raise NotImplementedError

    def _type_of(self, array: Any) -> str | None:
        """Return the type of a column, "other" if it cannot be served."""
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
        return pc.binary_join_element_wise(first, *others, " ") if others else first

    def _seconds(self, table: Any) -> np.ndarray:
        return seconds(self._times_of(table), self._style, self._zone)


class ColumnarFile(TableFile):
    """A Parquet or Feather file."""

    def _read_head(self) -> tuple[list[str], list[str | None], Any]:
        schema, batches = self._open()
        keys = (b"units", b"unit")
        about = [column.metadata or {} for column in schema]
        units = [next((each[key].decode() for key in keys if key in each), None) for each in about]
        head = pa.Table.from_batches([next(batches, pa.record_batch([], []))])
        return list(schema.names), units, _numbered(head).slice(0, HEAD_ROWS)

    def _chunks(self, offset: int, is_whole: bool, bad: Counter[str]) -> Iterator[Chunk]:
        size = self.path.stat().st_size
        if offset < size:
            batches = self._open()[1]
            before = next(batches, None)
            for batch in batches:
                yield _numbered(pa.Table.from_batches([before])), None
                before = batch
            if before is not None:
                yield _numbered(pa.Table.from_batches([before])), size

    def _open(self) -> tuple[Any, Iterator[Any]]:
        """Return the schema, and an iterator over the rows."""
        if self.path.suffix.lower() in (".parquet", ".pq"):
            # Otherwise it reads all rows of a group at once, and decodes each column in a thread.
            file = parquet.ParquetFile(self.path, buffer_size=BUFFER, pre_buffer=False)
            return file.schema_arrow, file.iter_batches(BATCH_ROWS, use_threads=False)
        reader = pa.ipc.open_file(pa.OSFile(str(self.path)))
        return reader.schema, map(reader.get_batch, range(reader.num_record_batches))


def use_little_memory() -> None:
    """Have pyarrow give back what it does not use, in all of the program."""
    pa.set_memory_pool(pa.system_memory_pool())


def split_units(header: str) -> tuple[str, str | None]:
    """Return name and units of a header like ``temp [K]``."""
    match = _UNITS.fullmatch(header)
    return (match[1], match[2] or None) if match else (header.strip(), None)


def _find(columns: Sequence[str], headers: Sequence[str]) -> list[str]:
    """Return which columns have the times."""
    names = [split_units(header)[0] for header in headers]
    lower = [name.lower() for name in names]
    if columns:
        for name in columns:
            if name not in names and name not in headers:
                raise SisockError(f"it has no column {name!r}, but {', '.join(map(repr, names))}")
        return [str((names if name in names else headers).index(name)) for name in columns]
    if {"date", "time"} <= set(lower):
        return [str(lower.index("date")), str(lower.index("time"))]
    return [str(next((lower.index(each) for each in TIME_NAMES if each in lower), 0))]


def _numbered(table: Any) -> Any:
    return table.rename_columns([str(number) for number in range(table.num_columns)])


def _convert(array: Any, kind: str, bad: Counter[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return the values of a column, and whether they are there, of those that must be."""
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
    found = numbers(array)
    bad["values"] += int(np.isnan(found).sum()) - array.null_count
    return found, everywhere
