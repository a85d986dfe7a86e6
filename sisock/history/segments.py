"""Write and read files of samples that never change, with decimated levels of each field.

Such a file begins and ends with the same header: a description in JSON, and a table of all blocks
(CRC-32, first time, end in the file). Each array lies in blocks of 8192 samples.
"""

from __future__ import annotations

import math
import os
import struct
import weakref
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import IO, Any, TypeAlias

import numpy as np
import orjson

from sisock.history.columns import TIMES, Column, Rows, Table, decimate, join, missing, take
from sisock.history.journal import sync_folder
from sisock.store.pyramid import cover, level_sizes
from sisock.wire.arrays import Span

BLOCK = 8192
_MAGIC = b"\x93sisocks"
_HEAD = struct.Struct("<8sIII")
"""Magic bytes, the lengths of description and table, and the CRC-32 of both."""

_TABLE = np.dtype([("checksum", "<u4"), ("first", "<f8"), ("end", "<u8")])

_DESCRIPTION_BYTES = 200  # maximum of an array's entry in the description, without its name


class DamagedBlock(Exception):
    """A block of a file is not what was written."""


def _read(path: Path, size: int, offset: int) -> bytes:
    """Read bytes of a file without keeping it open: there may be thousands of files."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return os.pread(descriptor, size, offset)
    finally:
        os.close(descriptor)


def _to_bytes(column: Column) -> bytes:
    """Return a column as bytes, for `_from_bytes`."""
    return orjson.dumps(column.tolist()) if column.dtype.kind == "O" else column.tobytes()


def _from_bytes(data: memoryview, dtype: np.dtype) -> Column:
    """Return a column from its bytes: a read-only view, except for strings."""
    if dtype.kind != "O":
        return np.frombuffer(data, dtype)
    return np.array(orjson.loads(data), dtype=object)


class _Array:
    """Read columns of the same length from a file, by blocks."""

    until = math.inf

    def __init__(self, path: Path, entry: dict[str, Any], table: np.ndarray) -> None:
        self.field: str | None = entry["field"]
        self.w: float = entry["w"]
        self.count: int = entry["count"]
        self.dtypes = [np.dtype(each) for each in entry["dtypes"]]
        self._path = path
        self._table = table[entry["from"] :][: -(-self.count // BLOCK)]
        self._at: int = entry["at"]

    def __len__(self) -> int:
        return len(self._table)

    def first(self, block: int) -> float:
        """Return the first time of a block."""
        return float(self._table["first"][block])

    def find(self, time: float) -> int:
        """Return the block with the first sample at or after a time, if any block has it."""
        return max(int(np.searchsorted(self._table["first"], time, side="right")) - 1, 0)

    def read(self, block: int) -> list[Column]:
        """Return the columns of a block; raises `DamagedBlock`."""
        end = int(self._table["end"][block])
        start = int(self._table["end"][block - 1]) if block else self._at
        try:
            data = _read(self._path, end - start, start)
        except OSError as error:
            raise DamagedBlock(error) from None
        if len(data) < end - start or zlib.crc32(data) != self._table["checksum"][block]:
            raise DamagedBlock(f"bytes {start} to {end} are not what was written")
        view, columns = memoryview(data), []
        count = min(BLOCK, self.count - block * BLOCK)
        for dtype in self.dtypes:
            size = len(view) if dtype.kind == "O" else count * dtype.itemsize
            columns.append(_from_bytes(view[:size], dtype))
            view = view[size:]
        return columns

    def between(self, start: float, end: float) -> Iterator[Rows]:
        """Yield a level's samples of an interval; raises `DamagedBlock`."""
        for block in range(self.find(start), len(self)):
            if self.first(block) >= end:
                break
            t, *columns = self.read(block)
            part = slice(*np.searchsorted(t, [start, end]).tolist())
            named = dict(zip([self.field], columns, strict=False)) if self.field else {}
            yield take((t, named), part)


class Segment:
    """Read a file of samples of one timeline. `warn` logs damage.

    Its samples come from the journals `first_journal` to `last_journal`, which its name has.

    Raises ValueError if the file is of another kind, or both headers are damaged.
    """

    def __init__(self, path: Path, warn: Callable[[str], None]) -> None:
        self.path = path
        self._warn = warn
        self.size = path.stat().st_size
        content, table = self._header()
        self.timeline: str = content["timeline"]
        self.first_journal, self.last_journal = map(int, path.name.split("-")[1:])
        self.first, self.last = content["ends"]
        self._values: dict[str, _Array] = {}
        self._levels: dict[str | None, list[_Array]] = {}
        for entry in content["arrays"]:
            array = _Array(path, entry, table)
            if array.w:
                self._levels.setdefault(entry["field"], []).insert(0, array)
            elif entry["field"] is None:
                self._times = array
            else:
                self._values[entry["field"]] = array
        self.count = self._times.count

    def remove(self) -> None:
        """Remove the file as soon as nobody reads it any more."""
        weakref.finalize(self, self.path.unlink, missing_ok=True)

    @property
    def dtypes(self) -> dict[str, np.dtype]:
        """Type of each field's column."""
        return {name: array.dtypes[0] for name, array in self._values.items()}

    def span(self, start: float, end: float) -> Span | None:
        """Return count, first and last time of an interval's samples, None without samples."""
        low, stop = self._find(start), self._find(end)
        return (stop - low, self._time(low), self._time(stop - 1)) if low < stop else None

    def read(self, fields: Iterable[str], start: float, end: float) -> Iterator[Rows]:
        """Yield the samples of an interval, without those in damaged blocks."""
        chosen = [(name, self._values[name]) for name in fields if name in self._values]
        for block in range(self._times.find(start), len(self._times)):
            if self._times.first(block) >= end:
                break
            t = self._block(None, self._times, block)
            if t is not None:
                part = slice(*np.searchsorted(t, [start, end]).tolist())
                found = ((name, self._block(name, array, block)) for name, array in chosen)
                yield take((t, {name: c for name, c in found if c is not None}), part)

    def gather(self, field: str, start: float, end: float, w: float) -> Iterator[Rows]:
        """Yield samples that decimate to the interval's buckets of size `w`, from levels if any."""
        held = self._levels.get(field if field in self._values else None, [])
        # Buckets beyond the samples are empty, so that levels may cover them.
        low = -math.inf if start <= self.first else start
        high = math.inf if end > self.last else end
        usable = [level for level in held if level.w <= w]
        try:
            yield from list(cover(usable, low, high, partial(self.read, [field])))
        except DamagedBlock as error:
            self._warn(f"{self.path}: levels of {field!r} are damaged, and not used: {error}")
            held.clear()
            yield from self.read([field], start, end)

    def _find(self, time: float) -> int:
        """Return the index of the first sample that is not before a time."""
        if not self.first < time <= self.last:
            return self.count if time > self.last else 0
        block = self._times.find(time)
        t = self._block(None, self._times, block)
        return block * BLOCK + (0 if t is None else int(np.searchsorted(t, time)))

    def _time(self, index: int) -> float:
        """Return the time of a sample; in a damaged block, that of the block's first one."""
        t = self._block(None, self._times, index // BLOCK)
        if t is None:
            return self._times.first(index // BLOCK)
        return float(t[index % BLOCK])

    def _block(self, field: str | None, array: _Array, block: int) -> Column | None:
        try:
            return array.read(block)[0]
        except DamagedBlock as error:
            what = "samples" if field is None else f"values of {field!r}"
            self._warn(f"{self.path}: up to {BLOCK} {what} are lost: {error}")
            return None

    def _header(self) -> tuple[dict[str, Any], np.ndarray]:
        for is_last in (False, True):
            position = self.size - _HEAD.size if is_last else 0
            head = _read(self.path, _HEAD.size, max(position, 0))
            if len(head) < _HEAD.size:
                continue
            magic, *sizes, checksum = _HEAD.unpack(head)
            start = position - sum(sizes) if is_last else _HEAD.size
            if magic != _MAGIC or start < 0:
                continue
            data = _read(self.path, sum(sizes), start)
            if zlib.crc32(data) == checksum and len(data) == sum(sizes):
                if is_last:
                    self._warn(f"{self.path}: its first header is damaged: its last one is used")
                content = orjson.loads(data[: sizes[0]])
                return content, np.frombuffer(data[sizes[0] :], _TABLE)
        raise ValueError(f"{self.path} has no undamaged header")


Part: TypeAlias = Table | Segment


def write(path: Path, timeline: str, parts: Sequence[Part]) -> None:
    """Write the samples of successive parts to a new file, with one field in memory at a time.

    Raises OSError if the file cannot be written.
    """
    ends = parts[0].first, parts[-1].last
    temporary = path.with_suffix(".part")
    with open(temporary, "wb") as file:
        _write(file, {"timeline": timeline, "ends": ends}, parts)
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)
    sync_folder(path.parent)


def _write(file: IO[bytes], about: dict[str, Any], parts: Sequence[Part]) -> None:
    fields = sorted({name for part in parts for name in part.dtypes})
    blocks = sum(part.count for part in parts) // BLOCK + 1
    # A field has fewer than 16 levels, each at most half as long as the one below.
    room = sum(
        len(orjson.dumps(name)) + _DESCRIPTION_BYTES for name in (about["timeline"], *fields)
    )
    file.seek(16 * room + (len(fields) + 1) * (2 * blocks + 16) * _TABLE.itemsize)
    entries: list[dict[str, Any]] = []
    table: list[tuple[int, float, int]] = []
    for field, w, columns in _arrays(parts, fields):
        dtypes = [column.dtype.str for column in columns]
        entry = {"field": field, "w": w, "dtypes": dtypes, "count": len(columns[0])}
        entries.append({**entry, "at": file.tell(), "from": len(table)})
        for start in range(0, len(columns[0]), BLOCK):
            block = [column[start : start + BLOCK] for column in columns]
            data = b"".join(map(_to_bytes, block))
            file.write(data)
            first = block[0][0] if w or field is None else 0
            table.append((zlib.crc32(data), first, file.tell()))
    content = orjson.dumps({**about, "arrays": entries}), np.array(table, dtype=_TABLE).tobytes()
    header = b"".join(content)
    head = _HEAD.pack(_MAGIC, *map(len, content), zlib.crc32(header))
    file.write(header + head)
    file.seek(0)
    file.write(head + header)


def _arrays(
    parts: Sequence[Part], fields: list[str]
) -> Iterator[tuple[str | None, float, list[Column]]]:
    """Yield field, bucket size and columns of each array.

    First the times, then values and levels of each field, then levels for fields without values.
    """
    t, _ = _whole(parts, [])
    yield None, 0.0, [t]
    for field in fields:
        times, columns = _whole(parts, [field])
        column = columns.get(field, missing(TIMES, len(times)))
        if len(column) != len(t):
            raise OSError("a block of times could not be read again")
        yield field, 0.0, [column]
        for w, times, values in _levels(t, column):
            yield field, w, [times, values]
    for w, times, _ in _levels(t, None):
        yield None, w, [times]


def _whole(parts: Sequence[Part], fields: list[str]) -> Rows:
    return join(rows for part in parts for rows in part.read(fields, -math.inf, math.inf))


def _levels(t: np.ndarray, column: Column | None) -> Iterator[tuple[float, np.ndarray, Any]]:
    """Yield bucket size and samples of each level that is short enough."""
    for w in level_sizes(float(t[-1] - t[0]), len(t)):
        kept = decimate(t, column, w)
        if 2 * len(kept) <= len(t):
            t, column = t[kept], None if column is None else column[kept]
            yield w, t, column
