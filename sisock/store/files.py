"""Store byte arrays that only grow, in files or in memory; name and lock their folders."""

from __future__ import annotations

import fcntl
import mmap
import os
import threading
import zlib
from collections import OrderedDict
from pathlib import Path
from typing import IO
from urllib.parse import quote

MAX_NAME = 150  # characters of a folder's name; file systems allow 255 bytes
MAX_MAPS = 128  # files that are mapped at once; each map holds a file descriptor
_SMALL = 1 << 12  # bytes; an array up to this size is in the catalogue: a file costs more time
_MAP_FROM = 1 << 15  # bytes from which a file is mapped; a smaller one is read


def file_name(name: str) -> str:
    """Return a file name for a timeline or node, a different one for each."""
    quoted = quote(name, safe="")
    if len(quoted) > MAX_NAME:
        quoted = f"{quoted[:MAX_NAME]}-{zlib.crc32(name.encode()):08x}"
    return quoted


def lock_folder(folder: Path) -> IO[bytes]:
    """Lock a folder until the returned file is closed; raises BlockingIOError if it is locked."""
    locked = open(folder / "lock", "ab")  # noqa: SIM115 - stays open
    try:
        fcntl.flock(locked, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        locked.close()
        raise
    return locked


class CannotStore(OSError):
    """The folder cannot be written: it is full or gone, or its catalogue is damaged."""


class Files:
    """Read and write the arrays of one folder, by name; without a folder all are in memory."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self._held: dict[str, bytes] = {}
        self._maps: OrderedDict[str, mmap.mmap] = OrderedDict()
        self._lock = threading.Lock()

    def write(self, name: str, offset: int, data: memoryview) -> None:
        """Write bytes, without fsync: checksums show what a power failure destroyed."""
        held = self._held.get(name, None if offset else b"")
        if held is not None:
            whole = held[:offset] + data
            if self.folder is None or len(whole) <= _SMALL:
                self._held[name] = whole
                return
            offset, data = 0, memoryview(whole)
        descriptor = os.open(f"{self.folder}/{name}", os.O_WRONLY | os.O_CREAT, 0o666)
        try:
            while len(data):
                written = os.pwrite(descriptor, data, offset)
                offset, data = offset + written, data[written:]
        finally:
            os.close(descriptor)
        self._held.pop(name, None)

    def read(self, name: str, size: int) -> bytes | mmap.mmap:
        """Return at least `size` bytes, from memory, a map or a file; they stay valid."""
        held = self._held.get(name)
        if held is not None:
            return held
        with self._lock:
            mapped = self._maps.get(name)
            if mapped is not None and len(mapped) >= size:
                self._maps.move_to_end(name)
                return mapped
        with open(f"{self.folder}/{name}", "rb", buffering=0) as file:
            # A map that reaches beyond its file kills the process that reads there.
            if os.fstat(file.fileno()).st_size < size:
                raise OSError(f"{name} is shorter than {size} bytes")
            if size < _MAP_FROM:
                return file.read(size)
            mapped = mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ)
        with self._lock:
            self._maps[name] = mapped
            self._maps.move_to_end(name)
            while len(self._maps) > MAX_MAPS:
                self._maps.popitem(last=False)
        return mapped

    def release(self) -> None:
        """Give back the memory of mapped files; they are read again when needed."""
        with self._lock:
            maps = list(self._maps.values())
        for each in maps:
            each.madvise(mmap.MADV_DONTNEED)

    def held(self, name: str, size: int) -> bytes | None:
        """Return the bytes of an array that has no file."""
        held = self._held.get(name)
        return None if held is None else held[:size]

    def remove(self, name: str) -> None:
        """Remove an array, if it exists; bytes that were read from it stay valid."""
        with self._lock:
            self._maps.pop(name, None)
        if self._held.pop(name, None) is None:
            Path(f"{self.folder}/{name}").unlink(missing_ok=True)

    def keep_only(self, names: set[str]) -> None:
        """Remove the files of all other arrays."""
        for name in os.listdir(self.folder) if self.folder is not None else ():
            if name.endswith((".t", ".values")) and name not in names:
                self.remove(name)
