"""Keep one table of an archive: its fields, the state of its files, and its parsed samples."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sisock.archive.ingest import Ingest, State, stamp_of
from sisock.store.background import Steps, until_stored
from sisock.store.catalogue import Store
from sisock.store.pyramid import Pyramid
from sisock.store.series import Damaged


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
            if not self.pyramids:
                # Without levels the first requests would have to decimate all samples.
                for _, pyramid in due_pyramids(ingest.pyramids):
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


def due_pyramids(pyramids: Mapping[str, Pyramid]) -> list[tuple[str, Pyramid]]:
    """Return names and pyramids whose levels are due to be extended; texts have no levels."""
    return [
        (name, pyramid)
        for name, pyramid in pyramids.items()
        if "texts" not in pyramid.base.record.identity and pyramid.is_due()
    ]
