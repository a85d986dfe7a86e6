"""Append samples to a file immediately, in records that can be found again after damage."""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from functools import reduce
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from sisock.history.columns import Column, Rows

_MAGIC = b"\x93sisock\n"
_HEAD = struct.Struct("<8sII")
"""Header of a record: the magic bytes, then length and CRC-32 of the rest."""

_LENGTH = struct.Struct("<I")
"""Length of the description (JSON); times, columns, and strings as JSON follow it."""

_AT_ONCE = 1 << 16  # maximum samples of a record: a damaged byte costs no more


def sync_folder(folder: Path) -> None:
    """Sync a folder, so that new and renamed files survive a power failure."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def records(data: bytes, lost: Callable[[int, int], None]) -> Iterator[tuple[str, Rows]]:
    """Yield timeline and samples of a journal's records; join successive similar records.

    Calls `lost` with the start and end of each damaged range of bytes.
    """
    for head, group in groupby(_bodies(data, lost), key=itemgetter(0)):
        yield _decode(head, [body for _, body in group])


def _bodies(data: bytes, lost: Callable[[int, int], None]) -> Iterator[tuple[bytes, bytes]]:
    """Yield description and samples of each undamaged record."""
    position = sound = 0
    while position < len(data):
        start = position + _HEAD.size
        magic, length, checksum = _HEAD.unpack(data[position:start].ljust(_HEAD.size))
        body = data[start : start + length]
        if magic != _MAGIC or len(body) != length or zlib.crc32(body) != checksum:
            position = data.find(_MAGIC, position + 1)
            position = len(data) if position < 0 else position
            continue
        if sound < position:
            lost(sound, position)
        position = sound = start + length
        at = _LENGTH.size + _LENGTH.unpack_from(body)[0]
        yield body[_LENGTH.size : at], body[at:]
    if sound < position:
        lost(sound, position)


def _decode(head: bytes, bodies: list[bytes]) -> tuple[str, Rows]:
    timeline, described, strings = orjson.loads(head)
    fixed = sum(size for _, _, size in described)
    packed = np.frombuffer(b"".join(body[:fixed] for body in bodies), np.uint8)
    rows, at, columns = packed.reshape(len(bodies), fixed), 0, {}
    for name, dtype, size in described:
        columns[name] = np.frombuffer(rows[:, at : at + size].tobytes(), dtype)
        at += size
    t = columns.pop(None)
    texts = [orjson.loads(body[fixed:]) for body in bodies] if strings else []
    for name in strings:
        columns[name] = np.array([text for each in texts for text in each[name]], dtype=object)
    return timeline, (t, columns)


class Journal:
    """A file that samples are appended to, and that is read only after a restart.

    One thread at a time may call `write`; another may call `sync` and `close`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: io.FileIO | None = None
        self._is_new = self._is_dirty = False

    def write(self, timeline: str, t: np.ndarray, columns: Mapping[str, Column]) -> None:
        """Append samples. Raises OSError if that fails; it may be tried again."""
        strings = [name for name, column in columns.items() if column.dtype.kind == "O"]
        fixed = {None: t} | {name: columns[name] for name in columns if name not in strings}
        for start in range(0, len(t), _AT_ONCE):
            part = slice(start, start + _AT_ONCE)
            data: list[Any] = [column[part].view(np.uint8).data for column in fixed.values()]
            described = [
                (name, column.dtype.str, len(each))
                for (name, column), each in zip(fixed.items(), data, strict=True)
            ]
            if strings:
                data.append(orjson.dumps({name: columns[name][part].tolist() for name in strings}))
            head = orjson.dumps((timeline, described, strings))
            self._append([_LENGTH.pack(len(head)), head, *data])

    def open(self) -> None:
        """Open or create the file. Its content may not be synced yet."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = open(self.path, "ab", buffering=0)  # noqa: SIM115 - until it is closed
        self._is_new = self._is_dirty = True

    def sync(self) -> None:
        """Sync the file, so that it survives a power failure; raises OSError."""
        if self._file is not None and not os.fstat(self._file.fileno()).st_nlink:
            self.close()
            raise OSError(f"{self.path} was removed")
        if self._file is not None and self._is_dirty:
            self._is_dirty = False  # the next sync covers what is written meanwhile
            os.fsync(self._file.fileno())
            if self._is_new:
                sync_folder(self.path.parent)
                sync_folder(self.path.parent.parent)
                self._is_new = False

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _append(self, body: list[Any]) -> None:
        if self._file is None:
            self.open()
        assert self._file is not None
        checksum = reduce(lambda before, each: zlib.crc32(each, before), body, 0)
        head = _HEAD.pack(_MAGIC, sum(map(len, body)), checksum)
        data = memoryview(b"".join([head, *body]))
        before = self._file.tell()
        self._is_dirty = True
        try:
            while len(data):
                data = data[self._file.write(data) :]
        except OSError:
            self._file.truncate(before)
            raise
