"""`TableArchive` and `FileArchive`: data nodes over files, which are parsed once and cached."""

from __future__ import annotations

import threading
import time
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from sisock.archive.node import ArchiveNode
from sisock.archive.table import ArchiveTable, due_pyramids
from sisock.connection.runtime import RepeatedWarning
from sisock.store.background import Jobs, Steps
from sisock.store.catalogue import Store
from sisock.store.pyramid import View
from sisock.store.series import NOTHING, Damaged
from sisock.wire.arrays import Samples
from sisock.wire.grid import Wanted
from sisock.wire.protocol import Interval, contract
from sisock.wire.reply import Decimated

SCAN_EVERY = 1.0
IDLE_SCAN_EVERY = 10.0
SCAN_WAIT = 0.05
"""Seconds between two scans of the directory, and without requests; and how long a request waits
for the scan that it has started.
"""

Result = TypeVar("Result")
_creation = threading.Lock()


class TableArchive(ArchiveNode):
    """A data node that serves tables, each with one or more files, and a field per column.

    Override `list_tables`, `describe_table` and `parse_table`. Each file is parsed once and cached
    in the folder ``SISOCK_CACHE``, also for the next start if the file is the same. Requests notice
    at once when the last file of a table has changed, and within a second when other files have
    changed, appeared or vanished. If only the end of the last file changed, it has grown, and only
    the rest is parsed; after any other change all files of the table are parsed again. Raise
    `version` when `parse_table` returns something else than before.
    """

    version: int | str = 1
    left_out: Mapping[Path, str] = {}
    """Files that `list_tables` leaves out, with reasons; shown after the node's description."""

    _files: ArchiveFiles | None = None

    @abstractmethod
    def list_tables(self) -> Mapping[str, Sequence[Path]]:
        """Return all tables: name to files, in time order."""

    @abstractmethod
    def describe_table(self, table: str, paths: Sequence[Path]) -> Mapping[str, Mapping[str, Any]]:
        """Return the fields of a table: name to an entry of `list_fields`.

        ``interval``, ``first`` and ``last`` are found by parsing if they are not given.
        """

    @abstractmethod
    def parse_table(
        self, table: str, path: Path, offset: int
    ) -> Iterator[tuple[Any, Mapping[str, Any], int | None]]:
        """Parse a file from byte `offset` on; yield ``(t, {field: values}, end)`` in parts.

        `end` is the byte after the last complete record so far, where parsing can be continued, or
        None if it cannot be continued there. `offset` is zero or such a byte. Times and values are
        as in `FileArchive.parse`.
        """

    def list_fields(self, start: float, end: float) -> Mapping[str, Mapping[str, Any]]:
        """List all fields, also those without samples in the interval."""
        return self._archive_files().entries()

    def read(self, field: str, start: float, end: float) -> Samples:
        """Return samples of a field, as views of the cache; wait until its files are parsed."""
        return self._archive_files().query(field, lambda v: _samples(v, start, end)) or NOTHING

    def begin(self, service: Any) -> None:
        """Begin to scan for new and changed files, which are parsed also without requests."""
        service.repeat(IDLE_SCAN_EVERY, self._archive_files().scan_if_due)

    def _entries_of(self, names: Iterable[str], interval: Interval) -> Mapping[str, Any]:
        return self._archive_files().entries(names)

    def _read_checked(self, name: str, start: float, end: float) -> Samples:
        return self.read(name, start, end)

    def _read_part(
        self, name: str, entry: Mapping[str, Any], interval: Interval, most: float
    ) -> tuple[Samples, float]:
        # The whole interval, as views of the cache take no memory.
        return self.read(name, interval.start, interval.end), interval.end

    def _prepared(self, name: str, wanted: Wanted) -> Decimated | None:
        return self._archive_files().query(
            name, lambda view: None if "texts" in view.identity else view.decimate(*wanted)
        )

    def _archive_files(self) -> ArchiveFiles:
        # Created here, because an author's __init__ need not call ours.
        with _creation:
            if self._files is None:
                self._files = ArchiveFiles(self)
            return self._files


class FileArchive(TableArchive):
    """A data node that serves files, each of which has the samples of one field.

    Override `list_files`, `describe_file` and `parse`; the rest is as for a `TableArchive`.
    """

    @abstractmethod
    def list_files(self) -> Mapping[str, Path]:
        """Return all files: field name to path."""

    @abstractmethod
    def describe_file(self, path: Path) -> Mapping[str, Any]:
        """Return a field's entry of `list_fields`, from the beginning or name of its file.

        ``interval``, ``first`` and ``last`` are found by parsing if they are not given.
        """

    @abstractmethod
    def parse(self, path: Path, offset: int) -> Iterator[tuple[Any, Any, int]]:
        """Parse a file from byte `offset` on; yield ``(t, values, end)`` about once a megabyte.

        Requests are answered between these chunks. Times are finite UNIX seconds, values are
        numbers or booleans, NaN where one is missing; both are array_likes of shape (n,). Leave out
        malformed records. `end` is the byte after the last complete record so far: a half-written
        one is parsed next time. `offset` is zero or the last such byte.
        """

    def list_tables(self) -> Mapping[str, Sequence[Path]]:
        """Return one table per file."""
        return {field: (path,) for field, path in self.list_files().items()}

    def describe_table(self, table: str, paths: Sequence[Path]) -> Mapping[str, Mapping[str, Any]]:
        """Return the single field of a file."""
        return {table: self.describe_file(paths[0])}

    def parse_table(
        self, table: str, path: Path, offset: int
    ) -> Iterator[tuple[Any, Mapping[str, Any], int | None]]:
        """Parse a file with its single field."""
        for chunk in self.parse(path, offset):
            with contract(self.name, table):
                if not isinstance(chunk, tuple) or len(chunk) != 3:
                    raise ValueError("parse must yield tuples (t, values, offset)")
            t, values, end = chunk
            yield t, {table: values}, int(end)


class ArchiveFiles:
    """Parse the tables of an archive, requested ones first and others in the background."""

    def __init__(self, source: TableArchive) -> None:
        self._source = source
        self._warn = RepeatedWarning(source.log)
        self._store = Store(source.name, self._warn)
        self._jobs = Jobs(source.name, self._warn, self._store)
        # Including vanished tables: they may come back unchanged.
        self._known: dict[str, ArchiveTable] = {}
        # Tables by field, from the last scan.
        self._present: dict[str, ArchiveTable] = {}
        self._lock = threading.Lock()
        self._scan_due = 0.0
        self._is_scanned = threading.Event()
        self._error: Exception | None = None
        self._left_out: dict[Path, str] = {}

    def scan_if_due(self) -> threading.Thread | None:
        """Start a scan in the background, unless the last one is less than a second ago."""
        with self._lock:
            if time.monotonic() < self._scan_due:
                return None
            self._scan_due = np.inf
        scan = threading.Thread(target=self._scan_once, daemon=True)
        scan.start()
        return scan

    def entries(self, names: Iterable[str] | None = None) -> dict[str, Mapping[str, Any]]:
        """Return the entries for `list_fields` of some fields, or of all."""
        present = self._scanned_tables()
        chosen = present if names is None else [name for name in names if name in present]
        return {name: present[name].entry(name) for name in chosen}

    def query(self, field: str, function: Callable[[View], Result]) -> Result | None:
        """Parse a field's files if needed and return `function` of its view; None if it is gone.

        Raises NodeFailed if that takes too long, and the errors of the author's parser.
        """
        table = self._scanned_tables().get(field)
        while table is not None:
            try:
                self._ensure_parsed(table)
                pyramid = table.pyramids.get(field)
                return None if pyramid is None else function(pyramid.view())
            except FileNotFoundError:
                return None
            except Damaged as damage:
                self._warn(f"the cache is damaged and is rebuilt: {damage}")
                table.rebuild(damage)
        return None

    def _scanned_tables(self) -> dict[str, ArchiveTable]:
        """Return the tables by field; start a scan if it is due, and wait briefly for it."""
        scan = self.scan_if_due()
        if scan is not None:
            # Without waiting, a rare request would get the result of an old scan.
            scan.join(SCAN_WAIT)
        # Wait for the first scan; later on, requests do not wait for a slow disk.
        self._is_scanned.wait()
        if self._error is not None:
            raise self._error
        return self._present

    def _ensure_parsed(self, table: ArchiveTable) -> None:
        # A job under way may have begun before the file last changed; the next one has not.
        for _ in range(2):
            if table.is_parsed():
                return
            self._start_parsing(table)
            self._jobs.wait(table.name)

    def _start_parsing(self, table: ArchiveTable) -> None:
        def parse() -> Steps:
            yield from table.parse()
            for field, pyramid in due_pyramids(table.pyramids):
                self._jobs.start(("levels", field), pyramid.extend)

        self._jobs.start(table.name, parse)

    def _scan_once(self) -> None:
        has_lost = False
        try:
            has_lost = self._scan()
            self._error = None
        except Exception as error:
            self._warn(f"the files cannot be listed: {type(error).__name__}: {error}")
            self._error = error
            self._left_out = {}
            self._source.trouble = f"{type(error).__name__}: {error}"
        finally:
            self._scan_due = time.monotonic() + SCAN_EVERY
            self._is_scanned.set()
            self._store.release()
        # This may wait for the hub; requests have stopped waiting for this thread by now.
        if has_lost:
            self._source.samples_changed()

    def _scan(self) -> bool:
        """Find new and changed files; return whether fields that were served have vanished."""
        present: dict[str, ArchiveTable] = {}
        left_out: dict[Path, str] = {}
        for name, paths in self._source.list_tables().items():
            if name not in self._known:
                self._known[name] = ArchiveTable(name, self._source, self._store, self._warn)
            table = self._known[name]
            try:
                is_parsed = table.check_files(paths)
            except Exception as error:
                left_out[paths[0]] = f"{type(error).__name__}: {error}"
                continue
            present.update(dict.fromkeys(table.fields, table))
            if not is_parsed:
                self._start_parsing(table)
        self._report({**left_out, **self._source.left_out})
        before, self._present = self._present, present
        return any(field in before[field].pyramids for field in before.keys() - present.keys())

    def _report(self, left_out: dict[Path, str]) -> None:
        """Log once which files are left out, and set `trouble` while they are."""
        new: dict[str, list[Path]] = {}
        for path, why in left_out.items():
            if self._left_out.get(path) != why:
                new.setdefault(why, []).append(path)
        for why, paths in new.items():
            more = f" and {len(paths) - 1} more files are" if len(paths) > 1 else " is"
            self._warn(f"{paths[0]}{more} left out: {why}")
        self._left_out, self._source.trouble = left_out, None
        if left_out:
            path, why = next(iter(left_out.items()))
            more = f", and {len(left_out) - 1} more" if len(left_out) > 1 else ""
            self._source.trouble = f"{path} is left out: {why}{more}"


def _samples(view: View, start: float, end: float) -> Samples:
    t, values = view.samples(start, end)
    texts = view.identity.get("texts")
    return t, values if texts is None else np.array([*texts, None], dtype=object)[values]
