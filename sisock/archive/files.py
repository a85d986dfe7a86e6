"""`FileArchive`: a data node over files, one for each field, parsed once and kept as arrays."""

from __future__ import annotations

import os
import threading
import time
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from sisock.archive.ingest import ArchiveFile
from sisock.archive.node import ArchiveNode
from sisock.connection.runtime import RepeatedWarning
from sisock.store.background import Jobs, Steps
from sisock.store.catalogue import Store
from sisock.store.pyramid import View
from sisock.store.series import NOTHING, Damaged
from sisock.wire.arrays import Samples
from sisock.wire.protocol import Interval
from sisock.wire.reply import Decimated

SCAN_EVERY = 1.0
"""Seconds between two scans of the directory, for whomever."""

Answer = TypeVar("Answer")
_making = threading.Lock()


class FileArchive(ArchiveNode):
    """A data node that serves files, each the samples of one field.

    Override `list_files`, `describe_file` and `parse`. A file is parsed once; what it gave is kept
    in the folder ``SISOCK_CACHE``, and read from there at the next start if the file is the same.
    A file that grew or changed is noticed when its field is asked for; one that appeared or went
    within a second. One that grew is parsed from where it ended before, so only its end may change
    for it to be taken as grown. Raise `version` when `parse` comes to give something else.
    """

    version: int = 1

    _files: ArchiveFiles | None = None

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

    def list_fields(self, start: float, end: float) -> Mapping[str, Mapping[str, Any]]:
        """List every file, whether or not it has samples in the interval."""
        return self._archive_files().entries()

    def read(self, field: str, start: float, end: float) -> Samples:
        """Return views of what was parsed; waits until all there is has been."""
        return self._archive_files().ask(field, lambda view: view.samples(start, end)) or NOTHING

    def begin(self, service: Any) -> None:
        """Start to parse the files that are new or have changed."""
        self._archive_files().scan_if_due()

    def _entries_of(self, names: Iterable[str], interval: Interval) -> Mapping[str, Any]:
        return self._archive_files().entries(names)

    def _read_checked(self, name: str, start: float, end: float) -> Samples:
        return self.read(name, start, end)

    def _prepared(
        self, name: str, interval: Interval, bucket: float | None, max_points: int | None
    ) -> Decimated | None:
        how = interval.start, interval.end, bucket, max_points
        return self._archive_files().ask(name, lambda view: view.decimate(*how))

    def _archive_files(self) -> ArchiveFiles:
        # Made here, as the author's __init__ need not call ours.
        with _making:
            if self._files is None:
                self._files = ArchiveFiles(self)
            return self._files


class ArchiveFiles:
    """The files of an archive, each parsed when it is needed and otherwise when there is time."""

    def __init__(self, source: FileArchive) -> None:
        self._source = source
        self._warn = RepeatedWarning(source.log)
        self._store = Store(source.name, self._warn)
        self._jobs = Jobs(source.name, self._warn, self._store.close)
        # Also those that are gone: they may come back as they were.
        self._known: dict[str, ArchiveFile] = {}
        self._present: dict[str, ArchiveFile] = {}
        self._lock = threading.Lock()
        self._scan_due = 0.0
        self._is_scanned = threading.Event()
        self._error: Exception | None = None

    def scan_if_due(self) -> None:
        """Have the files looked at in the background, unless that was done within a second."""
        with self._lock:
            if time.monotonic() < self._scan_due:
                return
            self._scan_due = np.inf
        threading.Thread(target=self._scan_once, daemon=True).start()

    def entries(self, names: Iterable[str] | None = None) -> dict[str, Mapping[str, Any]]:
        """Return what `list_fields` says of the files of these names, or of all, as last seen."""
        present = self._files_seen()
        chosen = present if names is None else [name for name in names if name in present]
        return {name: present[name].entry() for name in chosen}

    def ask(self, field: str, question: Callable[[View], Answer]) -> Answer | None:
        """Ask a view of a field when it is as the file is now; None if the file is gone.

        Raises NodeFailed if that takes too long, and what the author's `parse` raised.
        """
        file = self._files_seen().get(field)
        while file is not None:
            try:
                self._have_parsed(field, file)
                return None if file.pyramid is None else question(file.pyramid.view())
            except FileNotFoundError:
                return None
            except Damaged as damage:
                self._warn(f"the cache is damaged, and made anew: {damage}")
                file.store_again(damage)
        return None

    def _files_seen(self) -> dict[str, ArchiveFile]:
        self.scan_if_due()
        # Nothing is known before the first time; after that nobody waits.
        self._is_scanned.wait()
        if self._error is not None:
            raise self._error
        return self._present

    def _have_parsed(self, field: str, file: ArchiveFile) -> None:
        # A job that is under way may have begun before the file was as it is now; a next one not.
        for _ in range(2):
            if file.is_parsed():
                return
            self._start(field, file)
            self._jobs.wait(field)

    def _start(self, field: str, file: ArchiveFile) -> None:
        def steps() -> Steps:
            yield from file.steps()
            if file.pyramid is not None and file.pyramid.is_due():
                self._jobs.start(("levels", field), file.pyramid.extend)

        self._jobs.start(field, steps)

    def _scan_once(self) -> None:
        has_lost = False
        try:
            has_lost = self._scan()
            self._error = None
        except Exception as error:
            self._warn(f"the files cannot be listed: {type(error).__name__}: {error}")
            self._error = error
        finally:
            self._scan_due = time.monotonic() + SCAN_EVERY
            self._is_scanned.set()
        # Nobody waits for this thread, which may have to wait for the hub.
        if has_lost:
            self._source.samples_changed()

    def _scan(self) -> bool:
        """Note which files are new or changed; say whether some that were served are gone."""
        present = {}
        for field, path in self._source.list_files().items():
            if field not in self._known:
                self._known[field] = ArchiveFile(field, self._source, self._store, self._warn)
            file = self._known[field]
            try:
                is_parsed = file.look(path)
            except Exception as error:
                self._warn(f"{os.fspath(path)} is left out: {type(error).__name__}: {error}")
                continue
            present[field] = file
            if not is_parsed:
                self._start(field, file)
        before, self._present = self._present, present
        return any(before[field].pyramid is not None for field in before.keys() - present.keys())
