"""Keep a catalogue of the series in a node's folder, or somewhere else if there is no folder."""

from __future__ import annotations

import json
import marshal
import os
import sqlite3
import tempfile
import threading
import zlib
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np

from sisock.connection.settings import find_setting
from sisock.store.files import Files, file_name, lock_folder
from sisock.store.pyramid import Pyramid
from sisock.store.series import Damaged, Record, Series

FORMAT = 2  # version of the files; those of another version are removed

_DATABASE = "catalogue.sqlite"
_SET_UP = """
CREATE TABLE IF NOT EXISTS series (
    key INTEGER, w REAL, record BLOB, blocks BLOB, small_t BLOB, small_values BLOB,
    checksum INTEGER, PRIMARY KEY (key, w));
"""


def cache_folder(node: str) -> Path:
    """Make and return the folder in which a node may keep what can be made again."""
    base = Path(find_setting("SISOCK_CACHE")).expanduser()
    folder = base / file_name(node)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


class Catalogue:
    """Record which series a folder (or memory) has, and how much of each is complete."""

    def __init__(self, folder: Path | None) -> None:
        self.pyramids: dict[str, Pyramid] = {}
        self.files = Files(folder)
        self._path = None if folder is None else folder / _DATABASE
        self._lock = threading.Lock()
        # The checksums show what a power failure destroyed.
        self._database = open_database(self._path or ":memory:", FORMAT, _SET_UP, "OFF")
        # Later keys are newer.
        rows = self._database.execute("SELECT * FROM series ORDER BY key, w DESC").fetchall()
        found: defaultdict[int, list[Series]] = defaultdict(list)
        for *row, checksum in rows:
            if checksum == _checksum(row):
                found[row[0]].append(self._load(*row))
        for series in found.values():
            # Levels come before their samples, and are useless if the samples' row is damaged.
            if not series[-1].record.w:
                self.pyramids[series[-1].record.field] = Pyramid(series)
        used = {pyramid.base.record.key for pyramid in self.pyramids.values()}
        for key in {row[0] for row in rows} - used:
            self._forget(key)
        self._next_key = max(used, default=0) + 1
        kept = {name for each in self.pyramids.values() for name in each.file_names()}
        self.files.keep_only(kept)

    def make(self, field: str) -> Pyramid:
        """Return a new, empty pyramid for a field; views of the old one stay valid."""
        old = self.pyramids.get(field)
        if old is not None:
            self._forget(old.base.record.key)
            old.remove_with_last_reader()
        series = Series(self.files, self._save, Record(self._next_key, 0.0, field))
        self.pyramids[field] = Pyramid([series])
        self._next_key += 1
        return self.pyramids[field]

    def is_gone(self) -> bool:
        """Return whether somebody has removed the database."""
        return self._path is not None and not self._path.exists()

    def close(self) -> None:
        """Close the database."""
        with self._lock:
            self._database.close()

    def _load(self, key: int, w: float, content: bytes, blocks: bytes, *small: Any) -> Series:
        record = Record(key, w, *json.loads(content))
        for name, data in zip(record.files, small, strict=True):
            if data is not None:
                self.files.write(name, 0, memoryview(data))
        return Series(self.files, self._save, record, blocks)

    def _save(self, record: Record, blocks: np.ndarray) -> None:
        if self._path is None:
            return
        if self.is_gone():
            raise OSError(f"{self._path} was removed")
        key, w, *others = vars(record).values()
        small = [self.files.held(*each) for each in zip(record.files, record.sizes, strict=True)]
        row = [key, w, json.dumps(others).encode(), blocks.tobytes(), *small]
        query = "REPLACE INTO series VALUES (?, ?, ?, ?, ?, ?, ?)"
        with self._lock, self._database:
            self._database.execute(query, (*row, _checksum(row)))

    def _forget(self, key: int) -> None:
        with self._lock, self._database:
            self._database.execute("DELETE FROM series WHERE key = ?", (key,))


def _checksum(row: list[Any]) -> int:
    """Return the CRC-32 of a row of any values."""
    return zlib.crc32(marshal.dumps(row, 2))


def open_database(
    path: Path | str, version: int, set_up: str, synchronous: str, may_remove: bool = True
) -> sqlite3.Connection:
    """Open a database of one process; replace it with a new one if damaged or of another version.

    `set_up` makes the tables that do not exist; `synchronous` is the pragma of this name.
    """
    connection = sqlite3.connect(path, check_same_thread=False)
    try:
        for pragma in ("locking_mode=EXCLUSIVE", "journal_mode=WAL", f"synchronous={synchronous}"):
            connection.execute(f"PRAGMA {pragma}")
        (found,) = connection.execute("PRAGMA user_version").fetchone()
        connection.executescript(set_up)
        (state,) = connection.execute("PRAGMA quick_check").fetchone()
        if state != "ok" or found not in (0, version):
            raise sqlite3.DatabaseError(f"it is damaged, or of version {found}")
        connection.execute(f"PRAGMA user_version={version}")
        return connection
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:  # its text may quote the damage
        connection.close()
        if not may_remove or not _is_due_to_damage(error, path):
            raise
    for suffix in ("", "-wal", "-shm", "-journal"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)
    return open_database(path, version, set_up, synchronous, may_remove=False)


def _is_due_to_damage(error: Exception, path: Path | str) -> bool:
    """Return whether a database is damaged, and not locked, write-protected, or the disk full."""
    if not isinstance(error, sqlite3.OperationalError):
        return True
    # A damaged header may say that the file is read-only, or of a format to come.
    names = "SQLITE_READONLY", "SQLITE_ERROR"
    # Without a name, the text of the check itself was damaged.
    name = getattr(error, "sqlite_errorname", names[-1])
    return name in names and os.access(path, os.W_OK)


class Store:
    """Keep the series of a node in its folder, else in a temporary one, else in memory.

    `warn` logs once why the node's folder cannot be used.
    """

    def __init__(self, node: str, warn: Callable[[str], None]) -> None:
        self._node = node
        self._warn = warn
        self._lock = threading.RLock()
        self._places = [self._own_folder, self._temporary_folder, lambda: None]
        self._catalogue: Catalogue | None = None
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self._locked: IO[bytes] | None = None

    def open(self, field: str) -> Pyramid:
        """Return a field's pyramid, which may be empty."""
        with self._lock:
            return self._open().pyramids.get(field) or self.make(field)

    def make(self, field: str) -> Pyramid:
        """Return a new, empty pyramid for a field; views of the old one stay valid."""
        with self._lock:
            while True:
                try:
                    return self._open().make(field)
                except sqlite3.Error as error:
                    self.go_elsewhere(error)

    def repair(self, field: str, damage: Damaged) -> None:
        """Drop damaged levels, or the field if its samples are damaged, unless already done."""
        pyramid = self.open(field)
        if damage.record.w:
            pyramid.drop_levels()
        elif damage.record.key == pyramid.base.record.key:
            self.make(field)

    def go_elsewhere(self, error: Exception) -> None:
        """Continue in the next place, where all fields are empty, after a failed write.

        A folder that was removed is created again.
        """
        with self._lock:
            is_gone = self._catalogue is None or self._catalogue.is_gone()
            self._catalogue = None
            if not is_gone:
                self._leave(error)

    def release(self) -> None:
        """Give back the memory of what was read."""
        catalogue = self._catalogue
        if catalogue is not None:
            catalogue.files.release()

    def close(self) -> None:
        """Release the folder, and remove it if it is temporary."""
        with self._lock:
            if self._catalogue is not None:
                self._catalogue.close()
            if self._locked is not None:
                self._locked.close()
            if self._temporary is not None:
                self._temporary.cleanup()

    def _leave(self, error: Exception) -> None:
        if len(self._places) == 1:
            raise error
        if self._places.pop(0) == self._own_folder:
            self._warn(
                f"the cache cannot be used ({error}): a temporary folder or memory replaces it,"
                " and all samples are read again at the next start; set SISOCK_CACHE to a folder"
                " that this node can write, and that no other node of this name uses"
            )

    def _open(self) -> Catalogue:
        while self._catalogue is None:
            try:
                self._catalogue = Catalogue(self._places[0]())
            except (OSError, sqlite3.Error, RuntimeError) as error:
                self._leave(error)  # RuntimeError: there is no home folder
        return self._catalogue

    def _own_folder(self) -> Path:
        folder = cache_folder(self._node)
        if self._locked is not None:
            self._locked.close()
        try:
            self._locked = lock_folder(folder)
        except BlockingIOError:
            raise OSError(f"{folder} is in use by another process") from None
        return folder

    def _temporary_folder(self) -> Path:
        self._temporary = tempfile.TemporaryDirectory("", "sisock-cache-", None, True)
        return Path(self._temporary.name)
