"""One series: the times and the values of samples in two files, with a checksum for each block."""

from __future__ import annotations

import bisect
import dataclasses
import math
import sqlite3
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from sisock.store.files import CannotStore, Files
from sisock.wire.arrays import WIRE_DTYPES as STORED_DTYPES
from sisock.wire.arrays import Samples, Span, ascends

BLOCK = 8192  # samples that share a checksum

BLOCK_DTYPE = np.dtype([("t", "<u4"), ("values", "<u4"), ("first", "<f8")])
"""An entry per block: the checksums of its times and values, and its first time."""

NOTHING: Samples = np.empty(0), np.empty(0)


class Damaged(Exception):
    """Samples on disk are not what was written; they have to be stored again."""

    def __init__(self, record: Record, why: object) -> None:
        super().__init__(f"{record.files[0]} of {record.field!r}: {why}")
        self.record = record


class TypeDiffers(ValueError):
    """Values do not fit exactly into the stored type; all have to be stored again."""

    def __init__(self, field: str, stored: np.dtype, given: np.dtype) -> None:
        super().__init__(f"values of type {given} do not fit exactly among values of {stored}")
        self.field = field
        self.wider = str(np.result_type(stored, given).str)


@dataclass(frozen=True)
class Record:
    """Describe a series in the catalogue; `count` of its samples are complete.

    `key` identifies the field's samples; storing them again gives them a new one. `w` is the bucket
    size of a level in seconds, zero for the samples themselves. `dtype` is None before the first
    sample. `identity` says what the samples were made from.
    """

    key: int
    w: float
    field: str
    dtype: str | None = None
    count: int = 0
    first: float | None = None
    last: float | None = None
    identity: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def until(self) -> float:
        """Time before which a level is complete."""
        return float(self.identity.get("until", -math.inf))

    @cached_property
    def files(self) -> tuple[str, str]:
        """Names of the files of times and values."""
        return f"{self.key}-{self.w}.t", f"{self.key}-{self.w}.values"

    @cached_property
    def dtypes(self) -> tuple[np.dtype, np.dtype]:
        """Types of the times and of the values in these files."""
        return np.dtype("<f8"), np.dtype(self.dtype or "<f8")

    @cached_property
    def sizes(self) -> list[int]:
        """Number of complete bytes in each file."""
        return [self.count * dtype.itemsize for dtype in self.dtypes]


class Snapshot:
    """A series as it was at one moment; later changes do not show.

    Its files stay open from their first use on, so use it for one request or one job. `checked` is
    shared by all snapshots of the series: for times and for values, the number of samples of each
    block that were compared to the checksum.
    """

    def __init__(
        self, files: Files, record: Record, blocks: np.ndarray, checked: Sequence[dict[int, int]]
    ) -> None:
        self.record = record
        self.w, self.until = record.w, record.until
        self._files = files
        self._blocks = blocks
        self._checked = checked
        self._arrays: list[np.ndarray | None] = [None, None]

    def __len__(self) -> int:
        return self.record.count

    def find(self, time: float) -> int:
        """Return the index of the first sample that is not before a time; raises `Damaged`."""
        block = bisect.bisect_left(self._blocks["first"], time) - 1
        if block < 0:
            return 0
        start = block * BLOCK
        return start + int(self._read(0, start, min(start + BLOCK, len(self))).searchsorted(time))

    def span(self, start: float, end: float) -> Span | None:
        """Return count, first and last time of an interval's samples; raises `Damaged`."""
        first, stop = self.find(start), self.find(end)
        return (stop - first, self.time(first), self.time(stop - 1)) if first < stop else None

    def between(self, start: float, end: float) -> list[Samples]:
        """Return the samples of an interval as one part; raises `Damaged`."""
        return [self.samples(self.find(start), self.find(end))]

    def time(self, index: int) -> float:
        """Return the time of a sample; raises `Damaged`."""
        return float(self._read(0, index, index + 1)[0])

    def samples(self, start: int, stop: int) -> Samples:
        """Return times and values by index, as read-only views; raises `Damaged`."""
        return self._read(0, start, stop), self._read(1, start, stop)

    def _read(self, part: int, start: int, stop: int) -> np.ndarray:
        """Return times (`part` 0) or values (`part` 1) by index."""
        if start >= stop:
            return np.empty(0, dtype=self.record.dtypes[part])
        array, checked = self._arrays[part], self._checked[part]
        if array is None:
            array = self._arrays[part] = self._open(part)
        for block in range(start // BLOCK, (stop - 1) // BLOCK + 1):
            whole = array[block * BLOCK : (block + 1) * BLOCK]
            if checked.get(block, 0) < len(whole):
                if _checksum(whole) != self._blocks[block][part]:
                    raise Damaged(self.record, f"block {block} has a wrong checksum")
                checked[block] = len(whole)
        return array[start:stop]

    def _open(self, part: int) -> np.ndarray:
        record = self.record
        try:
            data = self._files.read(record.files[part], record.sizes[part])
            return np.frombuffer(data, record.dtypes[part], len(self))
        except (OSError, ValueError) as error:
            raise Damaged(record, error) from None


class Series:
    """Append samples to a series, in one thread at a time.

    `save` is called with each new record and its blocks.
    """

    def __init__(
        self,
        files: Files,
        save: Callable[[Record, np.ndarray], None],
        record: Record,
        blocks: bytes = b"",
    ) -> None:
        self._files = files
        self._save = save
        self._complete = record, np.frombuffer(blocks, BLOCK_DTYPE)
        self._checked: tuple[dict[int, int], ...] = {}, {}

    def __len__(self) -> int:
        return self.record.count

    @property
    def record(self) -> Record:
        """Description of the series in the catalogue."""
        return self._complete[0]

    def snapshot(self) -> Snapshot:
        """Return the series as it is now."""
        return Snapshot(self._files, *self._complete, self._checked)

    def level(self, w: float) -> Series:
        """Return an empty series for decimated samples of this one."""
        return Series(self._files, self._save, Record(self.record.key, w, self.record.field))

    def remove_files(self) -> None:
        """Remove the files; arrays that were read from them stay valid."""
        for name in self.record.files:
            self._files.remove(name)

    def append(self, t: np.ndarray, values: np.ndarray, **identity: Any) -> None:
        """Append samples, and replace the identity.

        Raises ValueError if the times do not ascend or the values are not of `STORED_DTYPES`,
        `TypeDiffers` if they do not fit the earlier ones, or `CannotStore`; then nothing changes.
        """
        record, blocks = self._complete
        dtype = np.dtype(record.dtype or values.dtype)
        changes: dict[str, Any] = {"identity": identity}
        if len(t):
            _check(record, t, values.dtype, dtype)
            first = float(t[0]) if record.first is None else record.first
            changes |= {"dtype": dtype.str, "first": first, "last": float(t[-1])}
        after = replace(record, count=len(self) + len(t), **changes)
        if after == record:
            return
        pair = np.ascontiguousarray(t, dtype="<f8"), np.ascontiguousarray(values, dtype=dtype)
        blocks = _extend(blocks, len(self), *pair)
        try:
            for name, items in zip(record.files, pair, strict=True):
                self._files.write(name, len(self) * items.itemsize, items.view(np.uint8).data)
            self._save(after, blocks)
        except (OSError, sqlite3.Error) as error:
            raise CannotStore(str(error)) from None
        self._complete = after, blocks


def _extend(blocks: np.ndarray, count: int, t: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return the blocks of `count` samples, extended by the samples after these."""
    complete = count // BLOCK
    new, position = blocks[complete:].tolist(), 0
    while position < len(t):
        room = BLOCK - (count + position) % BLOCK
        part = slice(position, position + room)
        sums = (0, 0, float(t[position])) if room == BLOCK else new.pop()
        new.append((*map(_checksum, (t[part], values[part]), sums), sums[2]))
        position += room
    return np.concatenate([blocks[:complete], np.array(new, dtype=BLOCK_DTYPE)])


def _checksum(items: np.ndarray, before: int = 0) -> int:
    """Return the CRC-32 of an array's bytes, after those of `before`."""
    return zlib.crc32(items.view(np.uint8).data, before)


def _check(record: Record, t: np.ndarray, given: np.dtype, stored: np.dtype) -> None:
    if given.str not in STORED_DTYPES:
        raise ValueError(f"values of type {given} cannot be stored")
    # numpy casts 64-bit integers to floats, which cannot represent all of them.
    is_rounded = stored.kind == "f" and given.kind in "iu" and given.itemsize == 8
    if is_rounded or not np.can_cast(given, stored):
        raise TypeDiffers(record.field, stored, given)
    is_later = record.last is None or t[0] >= record.last
    if not (is_later and np.isfinite([t[0], t[-1]]).all() and ascends(t)):
        raise ValueError("the times go back, or one is not a number")
