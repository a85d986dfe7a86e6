"""Keep the tables of a `TableArchive`: scan and parse files in the background, answer queries."""

from __future__ import annotations

import dataclasses
import math
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from sisock.archive.ingest import Ingest, State, stamp_of
from sisock.connection.runtime import RepeatedWarning
from sisock.store.background import Jobs, Steps, until_stored
from sisock.store.catalogue import Store
from sisock.store.pyramid import Pyramid, View
from sisock.store.series import Damaged

SCAN_EVERY = 1.0
IDLE_SCAN_EVERY = 10.0
SCAN_WAIT = 0.05
"""Seconds between two scans of the directory, and without requests; and how long a request waits
for the scan that it has started.
"""

MAX_SAID = 3  # largest number of files that a node names because they are left out

Result = TypeVar("Result")


@dataclass(eq=False)
class ArchiveTable:
    """Keep one table of `source`, a `TableArchive`: its description and its samples.

    `pyramids` holds the samples of each field as last parsed.
    """

    name: str
    source: Any
    store: Store
    warn: Callable[[str], None]
    fields: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    pyramids: dict[str, Pyramid] = dataclasses.field(default_factory=dict)
    # The states of the files that were last described, and last parsed.
    _described: State = ()
    _parsed: State | None = None

    def check_files(self, paths: Sequence[Path]) -> bool:
        """Describe the table again if its files changed; return whether it is parsed.

        Raises OSError.
        """
        state = tuple((path, stamp_of(path)) for path in paths)
        if state != self._described:
            self.fields = dict(self.source.describe_table(self.name, paths))
            self._described = state
        return self._parsed == state

    def is_parsed(self) -> bool:
        """Return whether the samples are those of the files, as `_state` sees them.

        Raises OSError.
        """
        return self._parsed == self._state()

    def rebuild(self, damage: Damaged) -> None:
        """Discard damaged samples, so that the files are parsed again."""
        self._parsed = None
        self.store.repair(damage.record.field, damage)

    def entry(self, field: str) -> Mapping[str, Any]:
        """Return the entry of a field for `list_fields`."""
        if field not in self.pyramids:
            return self.fields[field]
        record = self.pyramids[field].base.record
        first, last, interval = record.first, record.last, None
        if first is not None and last is not None and last > first:
            interval = (last - first) / (record.count - 1)
        return {"interval": interval, "first": first, "last": last, **self.fields[field]}

    def parse(self) -> Steps:
        """Parse new and changed files, in small steps, in the background thread."""
        self._parsed, state = None, self._state()
        served = {name: one.base.record.identity for name, one in self.pyramids.items()}
        ingest = Ingest(self, state, served)
        if served and not ingest.continues():
            # When logs are rotated, a file that is not listed yet may have the last file's rows.
            paths = self.source.list_tables().get(self.name)
            if paths is None:
                raise FileNotFoundError(f"{self.name} is gone")
            self.check_files(paths)
            state = self._state()
            ingest = Ingest(self, state, served)

        def fill() -> Steps:
            yield from ingest.fill()
            for pyramid in ingest.pyramids.values():
                # Texts have no levels.
                if "texts" not in pyramid.base.record.identity:
                    yield from pyramid.extend()

        yield from until_stored(self.store, fill)
        if ingest.has_changed and served:
            # Requests wait for this job, so none gets old samples in the new generation.
            announcement = threading.Thread(target=self.source.samples_changed, daemon=True)
            announcement.start()
            yield announcement
        self.pyramids, self._parsed = ingest.pyramids, state

    def _state(self) -> State:
        """Return the present state of the last file, and the last scanned state of the others."""
        # Checking thousands of files at each request would take too long; only the last one grows.
        *others, (last, _) = self._described
        return (*others, (last, stamp_of(last)))


class TableCache:
    """Parse the tables of `source`, requested ones first and others in the background."""

    def __init__(self, source: Any) -> None:
        self._source = source
        self._warn = RepeatedWarning(source.log)
        self._store = Store(source.name, self._warn)
        self._jobs = Jobs(source.name, self._warn, self._store)
        # Including vanished tables: they may come back unchanged.
        self._known: dict[str, ArchiveTable] = {}
        # TableCache by field, from the last scan.
        self._present: dict[str, ArchiveTable] = {}
        self._lock = threading.Lock()
        self._scan_due = 0.0
        self._is_scanned = threading.Event()
        self._error: Exception | None = None

    def scan_if_due(self) -> threading.Thread | None:
        """Start a scan in the background, unless the last one is less than a second ago."""
        with self._lock:
            if time.monotonic() < self._scan_due:
                return None
            self._scan_due = math.inf
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
            self._jobs.start(table.name, table.parse)
            self._jobs.wait(table.name)

    def _scan_once(self) -> None:
        has_lost = False
        try:
            has_lost = self._scan()
            self._error = None
        except Exception as error:
            self._warn(f"the files cannot be listed: {type(error).__name__}: {error}")
            self._error = error
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
                self._jobs.start(table.name, table.parse)
        self._report({**left_out, **self._source.left_out})
        before, self._present = self._present, present
        return any(field in before[field].pyramids for field in before.keys() - present.keys())

    def _report(self, left_out: Mapping[Path, str]) -> None:
        """Set `trouble` while files are left out, and log it."""
        said = [f"{path} is left out: {why}" for path, why in left_out.items()]
        more = f"; and {len(said) - MAX_SAID} more" if len(said) > MAX_SAID else ""
        self._source.trouble = "; ".join(said[:MAX_SAID]) + more or None
        if said:
            self._warn(self._source.trouble)
