"""Index where in the `.g3` files of a folder samples are."""

from __future__ import annotations

import json
import os
import random
import sqlite3
import threading
import time
from collections.abc import Callable, Container, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sisock.sources.g3.frames import DATA, STATUS, blocks_of, read_frames, times_of, type_of
from sisock.store.catalogue import cache_folder, open_database

ABANDONED = 600.0
"""Seconds without a change after which an unfinished last frame counts as broken."""

_TABLES = """
CREATE TABLE IF NOT EXISTS file (
    id INTEGER PRIMARY KEY, path TEXT UNIQUE, stamp TEXT, reached INTEGER, feeds TEXT);
CREATE TABLE IF NOT EXISTS block (
    id INTEGER PRIMARY KEY, feed TEXT, name TEXT, about TEXT, UNIQUE (feed, name));
CREATE TABLE IF NOT EXISTS frame (
    block INTEGER, last REAL, first REAL, count INTEGER, file INTEGER, offset INTEGER,
    PRIMARY KEY (block, last, file, offset)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS of_file ON frame (file);
"""
_SET_UP = 1, _TABLES, "NORMAL"
"""Version, tables, and the pragma `synchronous`."""


@dataclass
class Block:
    """Describe a block of a feed: its samples, and its fields with their types."""

    id: int
    feed: str
    name: str
    first: float = np.inf
    last: float = -np.inf
    longest: float = 0.0
    count: int = 0
    fields: dict[str, str] = field(default_factory=dict)

    @property
    def interval(self) -> float | None:
        """Mean spacing of the samples in seconds."""
        return (self.last - self.first) / (self.count - 1) if self.count > 1 else None

    def take(self, found: Any, changes: Changes) -> tuple[float, float, int]:
        """Add a frame's samples; return their last and first time, and their number."""
        t = times_of(found)
        first, last = float(t.min()), float(t.max())
        if first <= self.last:
            changes.is_other, changes.blocks[self.id] = True, self
        self.first, self.last = min(first, self.first), max(last, self.last)
        self.longest, self.count = max(self.longest, last - first), self.count + len(t)
        for name in found.keys():  # noqa: SIM118 - it is not iterable
            if name not in self.fields:
                self.fields[name] = type_of(found[name])
        return last, first, len(t)


@dataclass
class File:
    """A file that is indexed up to the byte `reached`."""

    id: int | None
    path: str
    stamp: str = ""
    reached: int = 0
    feeds: str = "{}"

    def is_new(self, stamp: tuple[int, int, int], broken: Container[str]) -> bool:
        """Return whether the file has to be read, as parts or its damage are unknown."""
        is_whole = self.reached == stamp[1] or self.path in broken
        return self.stamp != repr(stamp) or not is_whole

    def is_other(self, stamp: tuple[int, int, int]) -> bool:
        """Return whether the path now names another file, not one that has only grown."""
        return bool(self.stamp) and (
            not self.stamp.endswith(f" {stamp[2]})") or stamp[1] < self.reached
        )


@dataclass
class Changes:
    """The result of an update: number of changed files, and blocks with changed samples."""

    files: int = 0
    is_other: bool = False
    blocks: dict[int, Block] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)


def find_files(tree: Path) -> Iterator[tuple[str, tuple[int, int, int]]]:
    """Yield the files of a tree, each with modification time, size and inode."""
    for folder, _, names in os.walk(tree):
        for name in names:
            if name.endswith(".g3"):
                with suppress(OSError):  # it is gone already
                    status = os.stat(path := os.path.join(folder, name))
                    yield path, (status.st_mtime_ns, status.st_size, status.st_ino)


def open_index(node: str, tree: Path, warn: Callable[[str], None]) -> Index:
    """Open the index in the node's folder, a new one if damaged, or else one in memory."""
    try:
        return Index(open_database(cache_folder(node) / "g3.sqlite", *_SET_UP), tree)
    except (OSError, RuntimeError, sqlite3.Error) as error:
        warn(f"the index is kept in memory, and built again at each start: {error}")
        return Index(open_database(":memory:", *_SET_UP), tree)


class Index:
    """Record in a database where in the files of a tree the samples of each block are.

    `blocks` holds all blocks by feed and name, `broken` the errors by path. `generation` changes
    whenever the database is created again.
    """

    def __init__(self, database: sqlite3.Connection, tree: Path) -> None:
        self._tree, self._lock = tree.resolve(), threading.RLock()
        self._database = database
        ((self.generation,),) = self._ask("PRAGMA application_id")
        if not self.generation:
            self.generation = random.getrandbits(30) + 1
            self._database.execute(f"PRAGMA application_id={self.generation}")
        self.blocks: dict[tuple[str, str], Block] = {}
        for number, feed, name, about in self._ask("SELECT * FROM block"):
            self.blocks[feed, name] = Block(number, feed, name, **json.loads(about))
        self.broken: dict[str, str] = {}

    def close(self) -> None:
        """Close the database, so that another process may use it."""
        with self._lock:
            self._database.close()

    def update(self, tell: Callable[[int, int], None]) -> Changes:
        """Read new data; `tell` is called with the number of files done, and of all files."""
        if not self._tree.is_dir():
            raise FileNotFoundError(f"{self._tree}: no such folder")
        found, changes = dict(find_files(self._tree)), Changes()
        known = {row[1]: File(*row) for row in self._ask("SELECT * FROM file")}
        for path, file in list(known.items()):
            if path not in found or file.is_other(found[path]):
                self._forget(known.pop(path), changes)
                changes.files += 1
        files = [known.get(path) or File(None, path) for path in sorted(found)]
        new = [file for file in files if file.is_new(found[file.path], self.broken)]
        for done, file in enumerate(new):
            tell(done, len(new))
            self._read(file, found[file.path], changes)
        changes.files += len(new)
        newest, before = max(found, default=None), time.time() - ABANDONED
        for path, why in list(self.broken.items()):
            if path in found and (path != newest or found[path][0] / 1e9 < before):
                changes.wrong.append(f"{path}: {why}")
        return changes

    def frames(
        self, blocks: Iterable[Block], start: float, end: float
    ) -> Iterable[tuple[str, int]]:
        """Return path and byte of the frames with samples in an interval, in time order."""
        query = (
            "SELECT last, path, offset FROM frame JOIN file ON file = id"
            " WHERE block = ? AND last >= ? AND last < ? AND first < ?"
        )
        found: set[tuple[float, str, int]] = set()
        for block in blocks:
            found.update(self._ask(query, block.id, start, end + block.longest + 1.0, end))
        return dict.fromkeys((path, offset) for _, path, offset in sorted(found))

    def last(self, blocks: Iterable[Block]) -> float | None:
        """Return the last time in the frames of blocks that `frames` finds; None without any."""
        query = "SELECT max(last) FROM frame WHERE block = ?"
        found = [self._ask(query, block.id)[0][0] for block in blocks]
        return max((last for last in found if last is not None), default=None)

    def _ask(self, query: str, *values: Any) -> list[Any]:
        with self._lock:
            return self._database.execute(query, values).fetchall()

    def _read(self, file: File, stamp: tuple[int, int, int], changes: Changes) -> None:
        """Index the frames of a file after the known ones, in one transaction."""
        feeds, rows = json.loads(file.feeds), []
        touched: dict[int, Block] = {}
        self.broken.pop(file.path, None)
        try:
            for begin, end, frame in read_frames(file.path, file.reached):
                kind = frame and frame.get("hkagg_type")
                if kind == STATUS:
                    for each in frame["providers"]:
                        feeds[str(each["prov_id"].value)] = each["description"].value
                elif kind == DATA:
                    prov = str(frame["prov_id"])
                    feed = frame.get("address") or feeds.get(prov, f"provider {prov}")
                    for name, found in blocks_of(frame).items():
                        block = self._block(feed, name)
                        touched[block.id] = block
                        rows.append((block.id, *block.take(found, changes), begin))
                file.reached = end
        except (OSError, ValueError) as error:
            self.broken[file.path] = str(error)
        with self._lock, self._database as database:
            query = "INSERT OR REPLACE INTO file VALUES (?, ?, ?, ?, ?)"
            values = file.id, file.path, repr(stamp), file.reached, json.dumps(feeds)
            number = database.execute(query, values).lastrowid
            query = "INSERT OR IGNORE INTO frame VALUES (?, ?, ?, ?, ?, ?)"
            database.executemany(query, [(*row[:4], number, row[4]) for row in rows])
            self._store(touched.values())

    def _forget(self, file: File, changes: Changes) -> None:
        """Remove a file from the index that is gone or was replaced."""
        lasts = self._ask("SELECT block, max(last) FROM frame WHERE file = ? GROUP BY 1", file.id)
        by_id = {block.id: block for block in self.blocks.values()}
        with self._lock, self._database as database:
            database.execute("DELETE FROM frame WHERE file = ?", (file.id,))
            database.execute("DELETE FROM file WHERE id = ?", (file.id,))
            for number, last in lasts:
                query = "SELECT min(first), max(last), sum(count) FROM frame WHERE block = ?"
                ((first, *others),) = self._ask(query, number)
                block, changes.is_other = by_id[number], True
                nothing = np.inf, -np.inf, 0
                block.first, block.last, block.count = (first, *others) if others[1] else nothing
                # If only the oldest samples are gone, the cache of the others stays valid.
                if last >= block.first or not block.count:
                    changes.blocks[number] = block
            self._store(by_id[number] for number, _ in lasts)

    def _block(self, feed: str, name: str) -> Block:
        if (feed, name) not in self.blocks:
            query = "INSERT INTO block VALUES (NULL, ?, ?, '{}')"
            with self._lock, self._database as database:
                number = database.execute(query, (feed, name)).lastrowid or 0
            self.blocks = {**self.blocks, (feed, name): Block(number, feed, name)}
        return self.blocks[feed, name]

    def _store(self, blocks: Iterable[Block]) -> None:
        for block in blocks:
            about = {k: v for k, v in vars(block).items() if k not in ("id", "feed", "name")}
            query = "UPDATE block SET about = ? WHERE id = ?"
            self._database.execute(query, (json.dumps(about), block.id))
