"""Write samples at once behind those before, in records that are found again after any damage."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np
import orjson

from sisock.store.columns import TIMES, Column, from_bytes, to_bytes

_MAGIC = b"\x93sisock\n"
_HEAD = struct.Struct("<8sII")
"""What a record begins with: the magic bytes, the length of the rest, and its CRC-32."""

_LENGTH = struct.Struct("<I")
"""Length of the description, JSON, which the columns follow."""

_AT_ONCE = 1 << 16
"""Samples of a record at most: so many a damaged byte costs."""

Rows = tuple[str, np.ndarray, dict[str, Column]]
"""A timeline, times, and columns by field."""


def sync_folder(folder: Path) -> None:
    """Have it survive a power failure which files are in a folder."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def records(data: bytes, lost: Callable[[int, int], None]) -> Iterator[Rows]:
    """Yield what is in the records of a journal; `lost` is told each damaged range of bytes."""
    position = damaged = 0
    while position < len(data):
        found = _parse(data, position)
        if found is None:
            position = data.find(_MAGIC, position + 1)
            position = len(data) if position < 0 else position
            continue
        if damaged < position:
            lost(damaged, position)
        rows, damaged = found
        position = damaged
        yield rows
    if damaged < position:
        lost(damaged, position)


def _parse(data: bytes, position: int) -> tuple[Rows, int] | None:
    """Return the record at a position and where it ends, or None if there is none."""
    with suppress(struct.error, ValueError, TypeError, KeyError):
        magic, length, checksum = _HEAD.unpack_from(data, position)
        body = memoryview(data)[position + _HEAD.size :][:length]
        if magic != _MAGIC or len(body) != length or zlib.crc32(body) != checksum:
            return None
        at = _LENGTH.size + _LENGTH.unpack_from(body)[0]
        timeline, size, described = orjson.loads(body[_LENGTH.size : at])
        t, at, columns = from_bytes(body[at : at + size], TIMES), at + size, {}
        for name, dtype, size in described:
            columns[name] = from_bytes(body[at : at + size], np.dtype(dtype))
            at += size
        return (timeline, t, columns), position + _HEAD.size + length
    return None


class Journal:
    """A file to which samples are written, and which is read only after a restart.

    Only one thread at a time may `write`, and one `sync` and `close`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: int | None = None
        self._is_new = self._is_dirty = False

    def write(self, timeline: str, t: np.ndarray, columns: Mapping[str, Column]) -> None:
        """Write samples; OSError says that it could not be done, and then it may be repeated."""
        for start in range(0, len(t), _AT_ONCE):
            part = slice(start, start + _AT_ONCE)
            data = [to_bytes(t[part]), *(to_bytes(column[part]) for column in columns.values())]
            sizes = map(len, data[1:])
            described = [
                (name, column.dtype.str, size)
                for (name, column), size in zip(columns.items(), sizes, strict=True)
            ]
            head = orjson.dumps((timeline, len(data[0]), described))
            self._append(b"".join([_LENGTH.pack(len(head)), head, *data]))

    def sync(self) -> None:
        """Have all that was written survive a power failure."""
        if self._file is not None and self._is_dirty:
            self._is_dirty = False  # what is written meanwhile is for the next time
            os.fsync(self._file)
            if self._is_new:
                sync_folder(self.path.parent)
                sync_folder(self.path.parent.parent)
                self._is_new = False

    def close(self) -> None:
        """Write no more."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def remove(self) -> None:
        """Remove the file: its samples are elsewhere."""
        self.close()
        self.path.unlink(missing_ok=True)

    def is_gone(self) -> bool:
        """Whether somebody has removed the file that is written to; then another one is begun."""
        if self._file is None or os.fstat(self._file).st_nlink:
            return False
        self.close()
        return True

    def read(self) -> bytes:
        """Return what is in the file, and have it survive a power failure."""
        with open(self.path, "rb") as file:
            os.fsync(file.fileno())
            return file.read()

    def size(self) -> int:
        """Return how many bytes the file has."""
        return self.path.stat().st_size if self.path.exists() else 0

    def _append(self, body: bytes) -> None:
        if self._file is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._is_new = not self.path.exists()
            self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        data = memoryview(_HEAD.pack(_MAGIC, len(body), zlib.crc32(body)) + body)
        before = os.fstat(self._file).st_size
        self._is_dirty = True
        try:
            while len(data):
                data = data[os.write(self._file, data) :]
        except OSError:
            os.ftruncate(self._file, before)
            raise
