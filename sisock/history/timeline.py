"""One timeline of a history: the newest samples in memory and a journal, older ones in files."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from sisock.history.columns import Column, Table, take
from sisock.history.journal import Journal, records
from sisock.history.memory import MAX_TABLE, MemoryTimeline
from sisock.history.segments import BLOCK, Part, Segment, write

_MAX_SPAN = 3600.0  # seconds; samples in memory that span more become a file, if they fill a block
_MAX_TABLES = 16  # full tables in memory that wait to become files
_MAX_WAIT = 10.0  # seconds that `append` waits while there are more
_MERGED = 16  # successive files that become one
_MAX_MERGED = 1 << 21  # maximum samples of a merged file
_NUMBER = "[0-9]" * 8  # pattern of a journal's number in file names


class _Recent(Table):
    """Hold samples in memory; the first `written` are also in a journal."""

    def __init__(self, folder: Path, number: int) -> None:
        super().__init__(number)
        self.journal = Journal(folder / f"journal-{number:08d}")
        self.written = 0
        self._is_damaged = False

    @property
    def is_full(self) -> bool:
        """Whether the samples suffice for a file, or their journal is damaged."""
        is_long = self.count >= BLOCK and self.last - self.first >= _MAX_SPAN
        return self._is_damaged or is_long or self.size >= MAX_TABLE

    def load(self, after: float, warn: Callable[[str], None]) -> list[str]:
        """Read samples later than a time from the journal; return the timelines that it names."""

        def lost(start: int, end: int) -> None:
            self._is_damaged = True
            warn(f"{self.journal.path}: bytes {start} to {end} are damaged: samples are lost")

        names = []
        self.journal.open()
        for name, (t, columns) in records(self.journal.path.read_bytes(), lost):
            # After a failed write, the journal may hold samples twice.
            before = np.maximum.accumulate(np.append(max(after, self.last), t[:-1]))
            new = t > before
            if new.any():
                self.put(t[new], {field: column[new] for field, column in columns.items()})
            names.append(name)
        self.written = self.count
        return names

    def remove(self) -> None:
        """Remove the journal, once a file holds the samples."""
        self.journal.close()
        self.journal.path.unlink(missing_ok=True)


class StoredTimeline(MemoryTimeline):
    """Keep the samples of one timeline, in memory and on disk.

    Any thread may read; `append`, `sync` and `tidy` are for one thread each. `warn` logs damage
    and failed writes.
    """

    def __init__(
        self, folder: Path, name: str, warn: Callable[[str], None], parts: Sequence[Part] = ()
    ) -> None:
        super().__init__(name)
        self.last = parts[-1].last if parts else -math.inf
        self._folder = folder
        self._warn = warn
        self._changed = threading.Condition()
        self._disk = threading.Lock()
        self._failing: set[str] = set()
        self.parts = tuple(parts)
        self.dtypes = {name: dtype for part in parts for name, dtype in part.dtypes.items()}
        newest = parts[-1] if parts else None
        if not isinstance(newest, _Recent) or newest.is_full:
            self._begin()

    @classmethod
    def load(cls, folder: Path, warn: Callable[[str], None]) -> StoredTimeline | None:
        """Return the timeline of a folder; None if there are no samples in it."""
        for path in folder.glob("*.part"):
            path.unlink()
        segments = _load_segments(folder, warn)
        names = [each.timeline for each in segments]
        parts: list[Part] = [*segments]
        for path in sorted(folder.glob(f"journal-{_NUMBER}")):
            number = int(path.name.partition("-")[2])
            if any(each.first_journal <= number <= each.last_journal for each in segments):
                path.unlink()  # the samples are in a file
                continue
            table = _Recent(folder, number)
            before = [each.last for each in parts if each.last_journal < number]
            names += table.load(max(before, default=-math.inf), warn)
            if table.count:
                parts.append(table)
                continue
            table.journal.close()
            if path.stat().st_size:
                path.rename(path.with_name(f"bad-{path.name}"))
        parts.sort(key=lambda part: part.first_journal)
        return cls(folder, names[0], warn, parts) if names else None

    @property
    def oldest(self) -> Segment | None:
        """The oldest part, if it is a file."""
        return self.parts[0] if isinstance(self.parts[0], Segment) else None

    @property
    def is_written(self) -> bool:
        """Whether all samples are in a file or a journal."""
        return all(table.written == table.count for table in self._tables())

    def size(self) -> int:
        """Return the approximate size of all parts in bytes."""
        return sum(part.size for part in self.parts)

    def append(self, t: np.ndarray, columns: dict[str, Column]) -> None:
        """Add samples, which are later than the last one."""
        with self._changed:
            self._changed.wait_for(self._has_room, _MAX_WAIT)
            self.dtypes = {name: column.dtype for name, column in columns.items()} | self.dtypes
            table = self._tables()[-1]
            table.put(t, columns)
            self.last = table.last
            if table.written == table.count - len(t):
                self._write(table, t, columns)
            if table.is_full:
                self._begin()

    def sync(self) -> None:
        """Write samples that are in no journal yet; sync all, to survive a power failure."""
        with self._disk:
            for table in self._tables():
                with self._changed:
                    if table.written < table.count:
                        self._write(table, *take(table.rows(), slice(table.written, None)))
                try:
                    table.journal.sync()
                except OSError as error:
                    table.written = 0  # it is unknown what is on disk: write all samples again
                    self._fail("journal", error)
            if self.is_written:
                self._failing.discard("journal")

    def tidy(self, max_span: float, max_bytes: float) -> None:
        """Write full tables to files; merge some files, up to a span in seconds and a size."""
        try:
            for table in self._tables()[:-1]:
                self._store([table])
            if run := self._mergeable(max_span, max_bytes):
                self._store(run)
            self._failing.discard("file")
        except OSError as error:
            self._fail("file", error)

    def drop_oldest(self) -> int:
        """Remove the oldest file, and return how many bytes it had."""
        with self._changed:
            segment, self.parts = self.parts[0], self.parts[1:]
        assert isinstance(segment, Segment)
        segment.remove()
        return segment.size

    def close(self) -> None:
        """Close the journals."""
        for table in self._tables():
            table.journal.close()

    def _tables(self) -> list[_Recent]:
        return [part for part in self.parts if isinstance(part, _Recent)]

    def _has_room(self) -> bool:
        return bool(self._failing) or len(self._tables()) <= _MAX_TABLES

    def _begin(self) -> None:
        """Begin a new table; while the disk fails, drop the oldest if there are too many."""
        number = self.parts[-1].last_journal + 1 if self.parts else 1
        self.parts = (*self.parts, _Recent(self._folder, number))
        tables = self._tables()
        if self._failing and len(tables) > _MAX_TABLES:
            self.parts = tuple(part for part in self.parts if part is not tables[0])
            tables[0].journal.close()
            self._warn(
                f"{self._folder}: the disk cannot be written and memory is full: the oldest"
                " samples in memory are lost"
            )

    def _write(self, table: _Recent, t: np.ndarray, columns: dict[str, Column]) -> None:
        try:
            table.journal.write(self.name, t, columns)
            table.written = table.count
        except OSError as error:
            self._fail("journal", error)

    def _fail(self, what: str, error: OSError) -> None:
        self._failing.add(what)
        self._warn(
            f"{self._folder}: samples cannot be written ({error}): they stay in memory, and"
            " writing is tried again"
        )

    def _mergeable(self, max_span: float, max_bytes: float) -> list[Segment]:
        """Return the oldest successive files to merge: `_MERGED`, or as many as one may hold."""
        run: list[Segment] = []
        for each in self.parts:
            if not isinstance(each, Segment):
                continue
            if run and not (
                # Do not merge across a journal: the next start may load samples from it.
                run[-1].last_journal + 1 == each.first_journal
                and each.last - run[0].first <= max_span
                and sum(one.size for one in (*run, each)) <= max_bytes
                and sum(one.count for one in (*run, each)) <= _MAX_MERGED
            ):
                if len(run) > 1:
                    return run
                run = []
            run.append(each)
            if len(run) == _MERGED:
                return run
        return []

    def _store(self, parts: Sequence[_Recent | Segment]) -> None:
        path = self._folder / f"segment-{parts[0].first_journal:08d}-{parts[-1].last_journal:08d}"
        write(path, self.name, parts)
        made = Segment(path, self._warn)
        with self._changed:
            others = [part for part in self.parts if part not in parts]
            self.parts = tuple(sorted((*others, made), key=lambda part: part.first_journal))
            self._changed.notify_all()
        with self._disk:
            for part in parts:
                part.remove()


def _load_segments(folder: Path, warn: Callable[[str], None]) -> list[Segment]:
    """Load the files of a folder; remove files whose samples a larger file has, too."""
    found = []
    for path in folder.glob(f"segment-{_NUMBER}-{_NUMBER}"):
        try:
            found.append(Segment(path, warn))
        except (OSError, ValueError) as error:
            warn(f"{path}: its samples are lost: {error}")
            path.rename(path.with_name(f"bad-{path.name}"))
    kept: list[Segment] = []
    for segment in sorted(found, key=lambda each: (each.first_journal, -each.last_journal)):
        if kept and segment.last_journal <= kept[-1].last_journal:
            segment.path.unlink()
        else:
            kept.append(segment)
    return kept
