"""`TableArchive` and `FileArchive`: nodes over files, parsed once and kept as arrays."""

from __future__ import annotations

import threading
import time
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from twisted.internet import task

from sisock.archive.node import ArchiveNode
from sisock.archive.table import ArchiveTable, due
from sisock.connection.runtime import RepeatedWarning
from sisock.store.background import Jobs, Steps
from sisock.store.catalogue import Store
from sisock.store.pyramid import Pyramid, View
from sisock.store.series import NOTHING, Damaged
from sisock.wire.arrays import Samples
from sisock.wire.protocol import Interval, contract
from sisock.wire.reply import Decimated

SCAN_EVERY = 1.0
IDLE_SCAN_EVERY = 10.0
SCAN_WAIT = 0.1
"""Seconds between two scans of the directory, for whomever; while nobody asks; and that one waits
for a scan that one has begun.
"""

Answer = TypeVar("Answer")
_making = threading.Lock()


class TableArchive(ArchiveNode):
    """A data node that serves tables: each of one file or several, with a field for each column.

    Override `list_tables`, `describe_table` and `parse_table`. A file is parsed once; what it gave
    is kept in the folder ``SISOCK_CACHE``, and read from there at the next start if the file is the
    same. A last file that grew or changed is noticed when its fields are asked for; others, and
    those that appeared or went, within a second. Of one that grew only the rest is parsed, so only
    its end may change for it to be taken as grown. Where another than the last file changed, all
    are parsed again. Raise `version` when `parse_table` comes to give something else.
    """

    version: int | str = 1
    left_out: Mapping[Path, str] = {}
    """Files that `list_tables` leaves out now, and why; consumers see it behind the description."""

    _files: ArchiveFiles | None = None
    _scanning: task.LoopingCall | None = None

    @abstractmethod
    def list_tables(self) -> Mapping[str, Sequence[Path]]:
        """Say which tables there are: name to the files, in the order of their times."""

    @abstractmethod
    def describe_table(self, table: str, paths: Sequence[Path]) -> Mapping[str, Mapping[str, Any]]:
        """Say which fields a table has: name to an entry of `list_fields`.

        What is not given of ``interval``, ``first`` and ``last`` is found out.
        """

    @abstractmethod
    def parse_table(
        self, table: str, path: Path, offset: int
    ) -> Iterator[tuple[Any, Mapping[str, Any], int | None]]:
        """Parse a file from a byte on: yield ``(t, {field: values}, offset)`` again and again.

        `offset` is zero, or a byte that was given before, from which on parsing may go on: it is
        behind the last whole record that is in these or earlier arrays. None, if it cannot go on
        here. Times and values are as in `FileArchive.parse`.
        """

    def list_fields(self, start: float, end: float) -> Mapping[str, Mapping[str, Any]]:
        """List every field, whether or not it has samples in the interval."""
        return self._archive_files().entries()

    def read(self, field: str, start: float, end: float) -> Samples:
        """Return views of what was parsed; waits until all there is has been."""
        return self._archive_files().ask(field, lambda view: _samples(view, start, end)) or NOTHING

    def begin(self, service: Any) -> None:
        """Start to parse the files that are new or have changed, also while nobody asks."""
        self._scanning = task.LoopingCall(self._archive_files().scan_if_due)
        self._scanning.clock = service.reactor
        self._scanning.start(IDLE_SCAN_EVERY)

    def end(self) -> None:
        """Look at the files no more."""
        if self._scanning is not None and self._scanning.running:
            self._scanning.stop()

    def _entries_of(self, names: Iterable[str], interval: Interval) -> Mapping[str, Any]:
        return self._archive_files().entries(names)

    def _read_checked(self, name: str, start: float, end: float) -> Samples:
        return self.read(name, start, end)

    def _prepared(
        self, name: str, interval: Interval, bucket: float | None, max_points: int | None
    ) -> Decimated | None:
        how = interval.start, interval.end, bucket, max_points
        return self._archive_files().ask(
            name, lambda view: None if "texts" in view.identity else view.decimate(*how)
        )

    def _archive_files(self) -> ArchiveFiles:
        # Made here, as the author's __init__ need not call ours.
        with _making:
            if self._files is None:
                self._files = ArchiveFiles(self)
            return self._files


class FileArchive(TableArchive):
    """A data node that serves files, each the samples of one field.

    Override `list_files`, `describe_file` and `parse`; all else is as with a `TableArchive`.
    """

    @abstractmethod
    def list_files(self) -> Mapping[str, Path]:
        """Say which files there are: field name to path."""

    @abstractmethod
    def describe_file(self, path: Path) -> Mapping[str, Any]:
        """Say what is in a file, from its beginning or its name: an entry of `list_fields`.

        What is not given of ``interval``, ``first`` and ``last`` is found out.
        """

    @abstractmethod
    def parse(self, path: Path, offset: int) -> Iterator[tuple[Any, Any, int]]:
        """Parse a file from a byte on: yield ``(t, values, offset)`` for each megabyte or so.

        `offset` is zero, or where parsing ended before. Requests are answered between the chunks.
        The times are finite UNIX seconds, the values numbers or booleans, NaN where one is
        missing, both array_likes of shape (n,); leave out what is malformed. The offset is the
        byte behind the last whole line or record that is in these or earlier arrays: what is half
        written now is parsed next time.
        """

    def list_tables(self) -> Mapping[str, Sequence[Path]]:
        """Return a table for each file."""
        return {field: (path,) for field, path in self.list_files().items()}

    def describe_table(self, table: str, paths: Sequence[Path]) -> Mapping[str, Mapping[str, Any]]:
        """Return the one field of a file."""
        return {table: self.describe_file(paths[0])}

    def parse_table(
        self, table: str, path: Path, offset: int
    ) -> Iterator[tuple[Any, Mapping[str, Any], int | None]]:
        """Parse a file with its one field."""
        for chunk in self.parse(path, offset):
            with contract(self.name, table):
                if not isinstance(chunk, tuple) or len(chunk) != 3:
                    raise ValueError("parse must give (t, values, offset) again and again")
            t, values, reached = chunk
            yield t, {table: values}, int(reached)


class ArchiveFiles:
    """The files of an archive, each table parsed when it is needed and otherwise in spare time."""

    def __init__(self, source: TableArchive) -> None:
        self._source = source
        self._warn = RepeatedWarning(source.log)
        self._store = Store(source.name, self._warn)
        self._jobs = Jobs(source.name, self._warn, self._store.close)
        # Also those that are gone: they may come back as they were.
        self._known: dict[str, ArchiveTable] = {}
        # By field.
        self._present: dict[str, ArchiveTable] = {}
        self._lock = threading.Lock()
        self._scan_due = 0.0
        self._is_scanned = threading.Event()
        self._error: Exception | None = None
        self._left_out: dict[Path, str] = {}

    def scan_if_due(self) -> threading.Thread | None:
        """Have the files looked at in the background, unless that was done within a second."""
        with self._lock:
            if time.monotonic() < self._scan_due:
                return None
            self._scan_due = np.inf
        scan = threading.Thread(target=self._scan_once, daemon=True)
        scan.start()
        return scan

    def entries(self, names: Iterable[str] | None = None) -> dict[str, Mapping[str, Any]]:
        """Return what `list_fields` says of the fields of these names, or of all, as last seen."""
        present = self._fields_seen()
        chosen = present if names is None else [name for name in names if name in present]
        return {name: present[name].entry(name) for name in chosen}

    def ask(self, field: str, question: Callable[[View], Answer]) -> Answer | None:
        """Ask a view of a field when it is as the files are now; None if it is gone.

        Raises NodeFailed if that takes too long, and what the author's parser raised.
        """
        table = self._fields_seen().get(field)
        while table is not None:
            try:
                self._have_parsed(table)
                pyramid = table.pyramids.get(field)
                return None if pyramid is None else question(pyramid.view())
            except FileNotFoundError:
                return None
            except Damaged as damage:
                self._warn(f"the cache is damaged, and made anew: {damage}")
                table.store_again(damage)
        return None

    def _fields_seen(self) -> dict[str, ArchiveTable]:
        scan = self.scan_if_due()
        if scan is not None:
            # Who asks seldom shall not see what was there when somebody asked before.
            scan.join(SCAN_WAIT)
        # Nothing is known before the first time; after that nobody waits for a slow disk.
        self._is_scanned.wait()
        if self._error is not None:
            raise self._error
        return self._present

    def _have_parsed(self, table: ArchiveTable) -> None:
        # A job that is under way may have begun before the file was as it is now; a next one not.
        for _ in range(2):
            if table.is_parsed():
                return
            self._start(table)
            self._jobs.wait(table.name)

    def _start(self, table: ArchiveTable) -> None:
        def steps() -> Steps:
            yield from self._released(table.steps())
            for field, pyramid in due(table.pyramids):
                self._start_levels(field, pyramid)

        self._jobs.start(table.name, steps)

    def _start_levels(self, field: str, pyramid: Pyramid) -> None:
        self._jobs.start(("levels", field), lambda: self._released(pyramid.extend()))

    def _released(self, steps: Steps) -> Steps:
        """Do work that reads all there is, in memory for one step."""
        for step in steps:
            yield step
            self._store.release()

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
        # Nobody waits long for this thread, which may have to wait for the hub.
        if has_lost:
            self._source.samples_changed()

    def _scan(self) -> bool:
        """Note which files are new or changed; say whether some that were served are gone."""
        present: dict[str, ArchiveTable] = {}
        left_out: dict[Path, str] = {}
        for name, paths in self._source.list_tables().items():
            if name not in self._known:
                self._known[name] = ArchiveTable(name, self._source, self._store, self._warn)
            table = self._known[name]
            try:
                is_parsed = table.look(paths)
            except Exception as error:
                left_out[paths[0]] = f"{type(error).__name__}: {error}"
                continue
            present.update(dict.fromkeys(table.fields, table))
            if not is_parsed:
                self._start(table)
        self._tell({**left_out, **self._source.left_out})
        before, self._present = self._present, present
        return any(field in before[field].pyramids for field in before.keys() - present.keys())

    def _tell(self, left_out: dict[Path, str]) -> None:
        """Say which files are left out, in the log once and in the hub's list while they are."""
        for path, why in left_out.items():
            if self._left_out.get(path) != why:
                self._warn(f"{path} is left out: {why}")
        self._left_out, self._source.trouble = left_out, None
        if left_out:
            path, why = next(iter(left_out.items()))
            more = f", and {len(left_out) - 1} more" if len(left_out) > 1 else ""
            self._source.trouble = f"left out is {path}: {why}{more}"


def _samples(view: View, start: float, end: float) -> Samples:
    t, values = view.samples(start, end)
    texts = view.identity.get("texts")
    return t, values if texts is None else np.array([*texts, None], dtype=object)[values]
