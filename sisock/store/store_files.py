"""The files of a sample store: data that only grow, a manifest that is replaced, a lock."""

from __future__ import annotations

import fcntl
import json
import mmap
import os
import zlib
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np

from sisock.errors import SettingsError

FORMAT = 1
"""Version of the files; a store of another one counts as damaged."""

DATA_SUFFIX = ".cache"
MANIFEST = "manifest.json"
_ASIDE = "manifest.json.new"
_LOCK = "lock"

_END_BYTES = 1 << 16
"""Bytes at either end of a large file of which the checksum is taken."""

_MAP_FROM = 1 << 15
"""A smaller file is read, as a memory map holds a file descriptor."""


class StoreDamaged(Exception):
    """A file of the store is not what its manifest says."""


@dataclass(frozen=True)
class Manifest:
    """What is committed.

    Attributes
    ----------
    identity : dict
        Of the store's user.
    dtype : str or None
        Type of the values in numpy's notation, if there are any.
    open_gap : int or None
        Index where the run of missing samples began that the series ends with.
    files : dict
        Name of each data file to its number of items and its checksum.
    """

    identity: dict[str, Any] = field(default_factory=dict)
    dtype: str | None = None
    open_gap: int | None = None
    files: dict[str, tuple[int, int]] = field(default_factory=dict)


def write_manifest_aside(folder: Path, manifest: Manifest) -> None:
    """Make the next manifest durable, and all files' names; `replace_manifest` puts it in force."""
    with open(folder / _ASIDE, "wb") as file:
        file.write(_encode(asdict(manifest)))
        file.flush()
        os.fsync(file.fileno())
    sync_folder(folder)


def replace_manifest(folder: Path) -> None:
    """Put the manifest in force that was written aside; durable after `sync_folder`."""
    os.replace(folder / _ASIDE, folder / MANIFEST)


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest that is in force.

    Raises
    ------
    StoreDamaged
        If there is none, or not one that was written so.
    """
    try:
        encoded = (folder / MANIFEST).read_bytes()
        content = json.loads(encoded)["manifest"]
        # Encoded again it must be the same to the byte, checksum and format included.
        if encoded != _encode(content):
            raise StoreDamaged(MANIFEST)
    except (FileNotFoundError, ValueError, TypeError, KeyError, RecursionError):
        raise StoreDamaged(MANIFEST) from None
    files = {name: (count, checksum) for name, (count, checksum) in content.pop("files").items()}
    return Manifest(files=files, **content)


def _encode(content: dict[str, Any]) -> bytes:
    checksum = zlib.crc32(json.dumps(content, sort_keys=True).encode())
    document = {"format": FORMAT, "crc32": checksum, "manifest": content}
    return json.dumps(document, sort_keys=True, indent=1).encode()


def sync_folder(folder: Path) -> None:
    """Make the names of the folder's files durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def lock_folder(folder: Path) -> IO[bytes]:
    """Lock the folder for as long as the file is open that is returned.

    Raises
    ------
    SettingsError
        If it is locked already.
    """
    lock = open(folder / _LOCK, "ab")  # noqa: SIM115 - stays open
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise SettingsError(
            f"the cache folder {folder} is in use by another process: end that one, or give this"
            " one a cache folder of its own"
        ) from None
    return lock


class DataFile:
    """A file of items of one type that only grows.

    Parameters
    ----------
    path : Path
    dtype : dtype
        Of the items.
    only_ends : bool
        Whether the checksum is of the first and the last 64 KiB, not of everything.
    committed : tuple of int, optional
        Number of items and checksum, as the manifest has them.

    Attributes
    ----------
    count : int
        Number of items written.
    """

    def __init__(
        self, path: Path, dtype: np.dtype, only_ends: bool, committed: tuple[int, int] = (0, 0)
    ) -> None:
        self.path = path
        self.dtype = dtype
        self.count, self._checksum = committed
        self._only_ends = only_ends
        self._descriptor: int | None = None

    def append(self, items: np.ndarray) -> None:
        """Write items behind those that are there; what is beyond is overwritten."""
        if self._descriptor is None:
            self._descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT, 0o666)
        data = np.ascontiguousarray(items, dtype=self.dtype).view(np.uint8).data
        if not self._only_ends:
            self._checksum = zlib.crc32(data, self._checksum)
        offset = self.count * self.dtype.itemsize
        while len(data):
            written = os.pwrite(self._descriptor, data, offset)
            offset, data = offset + written, data[written:]
        self.count += len(items)

    def sync(self) -> None:
        """Make durable what was appended."""
        if self._descriptor is not None:
            os.fsync(self._descriptor)
            self.close()

    def close(self) -> None:
        """Write no more for now."""
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, None
            os.close(descriptor)

    def view(self) -> np.ndarray:
        """All items, read-only; shape (count,)."""
        size = self.count * self.dtype.itemsize
        with open(self.path, "rb") as file:
            if size < _MAP_FROM:
                return np.frombuffer(file.read(size), dtype=self.dtype)
            mapped = mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ)
        return np.frombuffer(mapped, dtype=self.dtype)

    def record(self) -> tuple[int, int]:
        """Number of items and checksum, for the manifest."""
        return self.count, self._ends_checksum() if self._only_ends else self._checksum

    def cut(self) -> None:
        """Remove from the file what is behind the items that count."""
        self.close()
        size = self.count * self.dtype.itemsize
        if self.path.stat().st_size > size:
            os.truncate(self.path, size)

    def check(self) -> None:
        """Compare the file to the committed number of items and checksum.

        Raises
        ------
        StoreDamaged
            If they differ, or the file is missing.
        """
        try:
            if self.path.stat().st_size < self.count * self.dtype.itemsize:
                raise StoreDamaged(self.path.name)
            if self._only_ends:
                checksum = self._ends_checksum()
            else:
                checksum = zlib.crc32(self.view().view(np.uint8).data)
        except FileNotFoundError:
            raise StoreDamaged(self.path.name) from None
        if checksum != self._checksum:
            raise StoreDamaged(self.path.name)

    def _ends_checksum(self) -> int:
        data = self.view().view(np.uint8).data
        return zlib.crc32(data[-_END_BYTES:], zlib.crc32(data[:_END_BYTES]))
