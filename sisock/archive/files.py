"""`TableArchive` and `FileArchive`: data nodes over files, which are parsed once and cached."""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sisock.archive.node import ArchiveNode
from sisock.archive.tables import IDLE_SCAN_EVERY, TableCache
from sisock.store.pyramid import View
from sisock.store.series import NOTHING
from sisock.wire.arrays import Samples
from sisock.wire.grid import Wanted
from sisock.wire.protocol import Interval, contract
from sisock.wire.reply import Decimated

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

    _table_cache: TableCache | None = None

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
        return self._cached_tables().entries()

    def read(self, field: str, start: float, end: float) -> Samples:
        """Return samples of a field, as views of the cache; wait until its files are parsed."""
        return self._cached_tables().query(field, lambda v: _samples(v, start, end)) or NOTHING

    def begin(self, service: Any) -> None:
        """Begin to scan for new and changed files, which are parsed also without requests."""
        service.repeat(IDLE_SCAN_EVERY, self._cached_tables().scan_if_due)

    def _entries_of(self, names: Iterable[str], interval: Interval) -> Mapping[str, Any]:
        return self._cached_tables().entries(names)

    def _read_checked(self, name: str, start: float, end: float) -> Samples:
        return self.read(name, start, end)

    def _read_part(
        self, name: str, entry: Mapping[str, Any], interval: Interval, most: float
    ) -> tuple[Samples, float]:
        # The whole interval, as views of the cache take no memory.
        return self.read(name, interval.start, interval.end), interval.end

    def _prepared(self, name: str, wanted: Wanted) -> Decimated | None:
        return self._cached_tables().query(
            name, lambda view: None if "texts" in view.identity else view.decimate(*wanted)
        )

    def _cached_tables(self) -> TableCache:
        # Created here, because an author's __init__ need not call ours.
        with _creation:
            if self._table_cache is None:
                self._table_cache = TableCache(self)
            return self._table_cache


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


def _samples(view: View, start: float, end: float) -> Samples:
    t, values = view.samples(start, end)
    texts = view.identity.get("texts")
    return t, values if texts is None else np.array([*texts, None], dtype=object)[values]
