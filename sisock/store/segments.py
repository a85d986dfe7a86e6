"""Files of samples that never change: columns, their decimated levels, and a checksum a block.

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
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from sisock.store.columns import (
    TIMES,
    Column,
    Pair,
    Part,
    decimate,
    from_bytes,
    join,
    missing,
    pick,
    to_bytes,
)
from sisock.store.journal import sync_folder
from sisock.wire.grid import bucket_of
from sisock.wire.protocol import MAX_EXPONENT, MIN_EXPONENT

BLOCK = 8192
_MAGIC = b"\x93sisocks"
_HEAD = struct.Struct("<8sIII")
"""Magic bytes, the lengths of description and table, and the CRC-32 of both."""

_TABLE = np.dtype([("checksum", "<u4"), ("first", "<f8"), ("end", "<u8")])
_DESCRIPTION_BYTES = 200
"""What an array's entry in the description takes, without its name."""

_LEVEL_STEP, _MIN_SPACINGS = 4, 4
"""Exponents between the bucket sizes of two levels; mean spacings in the finest one's buckets."""


class Damaged(Exception):
    """A block of a file is not what was written."""


def _read(path: Path, size: int, offset: int) -> bytes:
    """Read of a file, which is not kept open: there may be thousands."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return os.pread(descriptor, size, offset)
    finally:
        os.close(descriptor)


class _Array:
    """Columns of one length in a file, by blocks."""

    def __init__(self, path: Path, entry: dict[str, Any], table: np.ndarray) -> None:
        self.w: float = entry["w"]
        self.count: int = entry["count"]
        self.dtypes = [np.dtype(each) for each in entry["dtypes"]]
        self._path = path
        self._table = table[entry["from"] :][: -(-self.count // BLOCK)]
        self._starts = np.concatenate([[entry["at"]], self._table["end"]]).astype(int).tolist()

    def __len__(self) -> int:
        return len(self._table)

    def first(self, block: int) -> float:
        """Return the first time of a block."""
        return float(self._table["first"][block])

    def find(self, time: float) -> int:
        """Return the number of the block in which the first sample not before a time may be."""
        return max(int(np.searchsorted(self._table["first"], time, side="right")) - 1, 0)

    def read(self, block: int) -> list[Column]:
        """Return the columns of a block; raises `Damaged`."""
        start, end = self._starts[block : block + 2]
        try:
            data = _read(self._path, end - start, start)
        except OSError as error:
            raise Damaged(str(error)) from None
        if len(data) < end - start or zlib.crc32(data) != self._table["checksum"][block]:
            raise Damaged(f"bytes {start} to {end} are not what was written")
        view, columns = memoryview(data), []
        count = min(BLOCK, self.count - block * BLOCK)
        for dtype in self.dtypes:
            size = len(view) if dtype.kind == "O" else count * dtype.itemsize
            columns.append(from_bytes(view[:size], dtype))
            view = view[size:]
        return columns

    def between(self, start: float, end: float) -> Iterator[Pair]:
        """Yield the samples of an interval, if it is one with times; raises `Damaged`."""
        for block in range(self.find(start), len(self)):
            if self.first(block) >= end:
                break
            t, *columns = self.read(block)
            part = slice(*np.searchsorted(t, [start, end]))
            yield pick((t, columns[0] if columns else None), part)


class Segment(Part):
    """A file of samples of one timeline; `warn` logs what of it is damaged.

    ValueError says that it is none, or that both headers are damaged.
    """

    def __init__(self, path: Path, warn: Callable[[str], None]) -> None:
        self.path = path
        self._warn = warn
        self._warned: set[tuple[str | None, int]] = set()
        self.bytes = path.stat().st_size
        content, table = self._header()
        self.timeline: str = content["timeline"]
        self.low, self.high, self.rank = content["numbers"]
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

    def find(self, time: float) -> int:
        """Return the index of the first sample that is not before a time."""
        block = self._times.find(time)
        t = self._block(None, self._times, block)
        return block * BLOCK + (0 if t is None else int(np.searchsorted(t, time)))

    def time(self, index: int) -> float:
        """Return the time of a sample; in a damaged block that of its first one."""
        block = index // BLOCK
        t = self._block(None, self._times, block)
        return self._times.first(block) if t is None else float(t[index % BLOCK])

    def read(
        self, fields: Iterable[str], start: float, end: float
    ) -> Iterator[tuple[np.ndarray, list[Column | None]]]:
        """Yield the samples of an interval: times, and a column for each field."""
        chosen = [(name, self._values.get(name)) for name in fields]
        for block in range(self._times.find(start), len(self._times)):
            if self._times.first(block) >= end:
                break
            t = self._block(None, self._times, block)
            if t is not None:
                part = slice(*np.searchsorted(t, [start, end]))
                found = [
                    None if each is None else self._block(name, each, block)
                    for name, each in chosen
                ]
                yield t[part], [None if column is None else column[part] for column in found]

    def gather(self, field: str, start: float, end: float, w: float) -> Iterator[Pair]:
        """Yield what gives the same buckets of size `w` as the samples of an interval."""
        held = self._levels.get(field if field in self._values else None, [])
        while True:
            usable = [level for level in held if level.w <= w]
            try:
                yield from list(self._cover(field, usable, start, end))
                return
            except _BadLevel as bad:
                self._warn(f"{self.path}: a level of {field!r} is made anew: {bad.__cause__}")
                if bad.level in held:
                    held.remove(bad.level)

    def _cover(self, field: str, levels: list[_Array], start: float, end: float) -> Iterator[Pair]:
        """Cover an interval by the coarsest level with whole buckets in it, ends by finer ones."""
        if start >= end:
            return
        if not levels:
            yield from self.pairs(field, start, end)
            return
        (level, *finer), w = levels, levels[0].w
        # Beyond the samples all buckets are empty.
        low = -math.inf if start <= self.first else -float(bucket_of(-start, w)) * w
        high = math.inf if end > self.last else float(bucket_of(end, w)) * w
        if low >= high:
            yield from self._cover(field, finer, start, end)
            return
        yield from self._cover(field, finer, start, low)
        try:
            yield from level.between(low, high)
        except Damaged as error:
            raise _BadLevel(level) from error
        yield from self._cover(field, finer, high, end)

    def _block(self, field: str | None, array: _Array, block: int) -> Column | None:
        try:
            return array.read(block)[0]
        except Damaged as error:
            if (field, block) not in self._warned:
                self._warned.add((field, block))
                what = "samples" if field is None else f"values of {field!r}"
                self._warn(f"{self.path}: up to {BLOCK} {what} are lost: {error}")
            return None

    def _header(self) -> tuple[dict[str, Any], np.ndarray]:
        for is_last in (False, True):
            position = self.bytes - _HEAD.size if is_last else 0
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
                    self._warn(f"{self.path}: its first header is damaged, the other one serves")
                content = orjson.loads(data[: sizes[0]])
                return content, np.frombuffer(data[sizes[0] :], _TABLE)
        raise ValueError(f"{self.path} has no header that is sound")


class _BadLevel(Exception):
    def __init__(self, level: _Array) -> None:
        self.level = level


class _NeedsFloats(Exception):
    def __init__(self, field: str) -> None:
        self.field = field


def write(
    path: Path,
    timeline: str,
    parts: Sequence[Part],
    rank: int,
    go_on: Callable[[], None],
) -> None:
    """Write the samples of parts that follow one another to a new file, in little memory.

    `go_on` is called now and then, and may raise to end it; OSError says why it cannot be done.
    """
    dtypes: dict[str, np.dtype] = {}
    for part in parts:
        for name, dtype in part.dtypes.items():
            dtypes[name] = np.result_type(dtypes.get(name, dtype), dtype)
    for name in dtypes:
        if any(name not in part.dtypes for part in parts):
            dtypes[name] = missing(dtypes[name], 0).dtype
    about = {
        "timeline": timeline,
        "numbers": (parts[0].low, parts[-1].high, rank),
        "ends": (parts[0].first, parts[-1].last),
    }
    temporary = path.with_suffix(".part")
    is_written = False
    while not is_written:
        with open(temporary, "w+b") as file:
            try:
                _Writer(file, parts, dtypes, go_on).write(about)
                is_written = True
            except _NeedsFloats as damage:
                dtypes[damage.field] = TIMES
            file.flush()
            os.fsync(file.fileno())
    temporary.rename(path)
    sync_folder(path.parent)


class _Writer:
    """Writes one file."""

    def __init__(
        self,
        file: Any,
        parts: Sequence[Part],
        dtypes: dict[str, np.dtype],
        go_on: Callable[[], None],
    ) -> None:
        self._go_on = go_on
        self._file = file
        self._parts = parts
        self._dtypes = dtypes
        self._entries: list[dict[str, Any]] = []
        self._table: list[tuple[int, float, int]] = []
        self._first, self._last = parts[0].first, parts[-1].last
        self._count = sum(part.count for part in parts)

    def write(self, about: dict[str, Any]) -> None:
        """Write all arrays, and the header behind and before them."""
        sizes = self._sizes()
        blocks, fields = -(-self._count // BLOCK) + 1, len(self._dtypes) + 1
        names = sum(len(orjson.dumps(name)) for name in self._dtypes)
        arrays = (fields * _DESCRIPTION_BYTES + names) * (len(sizes) + 1)
        # Levels are at most as long as what they are made of, all together.
        room = 1024 + len(orjson.dumps(about)) + arrays
        room += _TABLE.itemsize * fields * (2 * blocks + len(sizes))
        self._file.seek(-(-room // 4096) * 4096)
        count = self._array(None, 0.0, [TIMES], ([t] for t, _ in self._samples(None)))
        for name, dtype in self._dtypes.items():
            values = ([c] for _, c in self._samples(name))
            if self._array(name, 0.0, [dtype], values) != count:
                raise OSError("a block could be read only once")
        for field in (None, *self._dtypes):
            self._make_levels(field, sizes)
        table = np.array(self._table, dtype=_TABLE).tobytes()
        head = orjson.dumps({**about, "arrays": self._entries})
        packed = _HEAD.pack(_MAGIC, len(head), len(table), zlib.crc32(head + table))
        self._file.write(head + table + packed)
        self._file.seek(0)
        self._file.write(packed + head + table)

    def _sizes(self) -> list[float]:
        """Choose the bucket sizes: from a few mean spacings to the length of the samples."""
        span = self._last - self._first
        least = max(_MIN_SPACINGS * span / self._count, 2.0**MIN_EXPONENT)
        finest = math.ceil(math.log2(least) / _LEVEL_STEP) * _LEVEL_STEP
        every = (2.0**exponent for exponent in range(finest, MAX_EXPONENT + 1, _LEVEL_STEP))
        return [w for w in every if w < span]

    def _make_levels(self, field: str | None, sizes: list[float]) -> None:
        dtypes = [TIMES] if field is None else [TIMES, self._dtypes[field]]
        below, count = self._samples(field), self._count
        for w in sizes:
            kept = decimate_all(below, w)
            at, blocks = self._file.tell(), len(self._table)
            made = self._array(field, w, dtypes, ([t, c][: len(dtypes)] for t, c in kept))
            if 2 * made > count:
                self._file.seek(at)
                self._file.truncate()
                del self._entries[-1], self._table[blocks:]
                below = self._samples(field) if count == self._count else self._reread()
                continue
            count = made
            below = self._reread()

    def _reread(self) -> Iterator[Pair]:
        """Yield what was written last."""
        self._file.flush()
        path = Path(self._file.name)
        array = _Array(path, self._entries[-1], np.array(self._table, dtype=_TABLE))
        return array.between(-math.inf, math.inf)

    def _samples(self, field: str | None) -> Iterator[Pair]:
        """Yield all samples, the values in the type in which they are stored."""
        fields = [] if field is None else [field]
        for part in self._parts:
            for t, columns in part.read(fields, -math.inf, math.inf):
                yield t, None if field is None else self._cast(columns[0], field, len(t))

    def _cast(self, column: Column | None, field: str, count: int) -> Column:
        dtype = self._dtypes[field]
        if column is None:
            column = missing(dtype, count)
        if not np.can_cast(column.dtype, dtype, "same_kind"):
            raise _NeedsFloats(field)  # as some of its integers are damaged, and now missing
        return column.astype(dtype, copy=False)

    def _array(
        self, field: str | None, w: float, dtypes: list[np.dtype], parts: Iterable[list[Any]]
    ) -> int:
        """Write columns of one length, by blocks, and return that length."""
        at, start, count = self._file.tell(), len(self._table), 0
        for columns in rebatch(parts):
            self._go_on()
            data = b"".join(map(to_bytes, columns))
            first = float(columns[0][0]) if columns[0].dtype == TIMES else 0.0
            self._file.write(data)
            self._table.append((zlib.crc32(data), first, self._file.tell()))
            count += len(columns[0])
        entry = {"field": field, "w": w, "dtypes": [d.str for d in dtypes]}
        self._entries.append({**entry, "count": count, "at": at, "from": start})
        return count


def rebatch(parts: Iterable[list[Column]]) -> Iterator[list[Column]]:
    """Yield the same columns in blocks of `BLOCK`, but the last."""
    held: list[list[Column]] = []
    count = 0
    for part in parts:
        held.append(part)
        count += len(part[0])
        if count < BLOCK:
            continue
        whole = [np.concatenate(each) for each in zip(*held, strict=True)]
        stop = count - count % BLOCK
        for start in range(0, stop, BLOCK):
            yield [column[start : start + BLOCK] for column in whole]
        held, count = [[column[stop:] for column in whole]], count - stop
    if count:
        yield [np.concatenate(each) for each in zip(*held, strict=True)]


def decimate_all(parts: Iterable[Pair], w: float) -> Iterator[Pair]:
    """Decimate samples that come in parts, in memory for a part and a bucket."""
    held: Pair = np.empty(0), None
    for part in parts:
        if not len(part[0]):
            continue
        whole = join([held, part])
        t, column = pick(whole, decimate(*whole, w))
        cut = int(np.searchsorted(t, float(bucket_of(t[-1], w)) * w))
        yield pick((t, column), slice(cut))
        held = pick((t, column), slice(cut, None))
    yield held
