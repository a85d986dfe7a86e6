"""One table of an archive: whether its files have changed, and its samples as last parsed."""

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
    """One table of `source`, a `TableArchive`: what its author says of it, and its samples.

    `pyramids` holds the samples of each field as last parsed.
    """

    name: str
    source: Any
    store: Store
    warn: Callable[[str], None]
    fields: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    pyramids: dict[str, Pyramid] = dataclasses.field(default_factory=dict)
    # As they were when they were described, and when they were parsed.
    _described: State = ()
    _parsed: State | None = None

    def look(self, paths: Sequence[Path]) -> bool:
        """Have the table described if it has changed; say whether it is parsed. Raises OSError."""
        state = tuple((path, stamp_of(path)) for path in paths)
        if state != self._described:
            self.fields = dict(self.source.describe_table(self.name, paths))
            self._described = state
        return self._parsed == state

    def is_parsed(self) -> bool:
        """Return whether the last file is now, and the others were when seen, as they were parsed.

        Raises OSError.
        """
        return self._parsed == self._now()

    def store_again(self, damage: Damaged) -> None:
        """Have stored anew what is damaged."""
        self._parsed = None
        self.store.repair(damage.record.field, damage)

    def entry(self, field: str) -> Mapping[str, Any]:
        """Return what `list_fields` says of a field."""
        if field not in self.pyramids:
            return self.fields[field]
        record = self.pyramids[field].base.record
        first, last, interval = record.first, record.last, None
        if first is not None and last is not None and last > first:
            interval = (last - first) / (record.count - 1)
        return {"interval": interval, "first": first, "last": last, **self.fields[field]}

    def steps(self) -> Steps:
        """Bring the store up to the files, in small steps; in the thread of the jobs."""
        self._parsed, state = None, self._now()
        served = {name: each.base.record.identity for name, each in self.pyramids.items()}
        ingest = Ingest(self, state, served)
        if served and not ingest.goes_on():
            # What was in the last file may be in one that was not seen yet, as logs are rotated.
            paths = self.source.list_tables().get(self.name)
            if paths is None:
                raise FileNotFoundError(f"{self.name} is gone")
            self.look(paths)
            state = self._now()
            ingest = Ingest(self, state, served)

        def fill() -> Steps:
            yield from ingest.fill()
            if not self.pyramids:
                # Without levels the first answers would be made of all samples.
                for _, pyramid in due(ingest.pyramids):
                    yield from pyramid.extend()

        yield from until_stored(self.store, fill)
        if ingest.has_changed and served:
            # Those who ask wait for this job: nobody gets old samples as the new generation's.
            telling = threading.Thread(target=self.source.samples_changed, daemon=True)
            telling.start()
            yield telling
        self.pyramids, self._parsed = ingest.pyramids, state

    def _now(self) -> State:
        # One scan looks at thousands of files; a request at the one that grows.
        *others, (last, _) = self._described
        return (*others, (last, stamp_of(last)))


def due(pyramids: Mapping[str, Pyramid]) -> list[tuple[str, Pyramid]]:
    """Return the pyramids whose levels are to be extended, by name; texts have none."""
    return [
        (name, each)
        for name, each in pyramids.items()
        if "texts" not in each.base.record.identity and each.is_due()
    ]
