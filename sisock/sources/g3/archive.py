"""`G3Archive`: a data node that follows a folder of `.g3` files."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Any

from sisock.archive.node import ArchiveNode
from sisock.connection.runtime import RepeatedWarning
from sisock.sources.g3.frames import short_name
from sisock.sources.g3.index import Block, open_index
from sisock.sources.g3.levels import Levels, read_field
from sisock.sources.options import Described
from sisock.store.background import WorkLog
from sisock.wire.arrays import Samples
from sisock.wire.grid import Wanted
from sisock.wire.reply import Decimated

LOOK_EVERY, SHARE = 1.0, 20
"""Minimum seconds between two looks at the folder, and minimum multiple of what a look takes."""

WAIT = 10.0  # seconds from the start that requests wait until all files are indexed


class G3Archive(ArchiveNode):
    """A data node that serves a folder of `.g3` files; a thread reads new data.

    `described` has more metadata of fields.
    """

    pyramid = False

    def __init__(self, folder: Path, described: Described) -> None:
        self._folder, self._described = folder, cache(described.__getitem__)
        self._warn = RepeatedWarning(self.log)
        self._lock, self._is_read, self._is_over = Lock(), Event(), Event()
        self._thread: Thread | None = None
        self._blocks: dict[str, list[Block]] = {}
        self._entries: dict[str, dict[str, Any]] = {}

    def begin(self, service: Any) -> None:
        """Start to read the files, and to follow new ones."""
        self._start()

    def end(self) -> None:
        """Stop following the folder."""
        self._is_over.set()

    def list_fields(self, start: float, end: float) -> dict[str, dict[str, Any]]:
        """List all fields once they are indexed; after ten seconds, those that are."""
        self._start()
        self._is_read.wait(max(0.0, self._began + WAIT - time.monotonic()))
        return self._entries

    def read(self, field: str, start: float, end: float) -> Samples:
        """Read the frames of an interval."""
        return read_field(self._index, self._blocks[field], _field_of(field), start, end)

    def _is_being_prepared(self, name: str) -> bool:
        return self._levels.is_behind(self._blocks[name], _field_of(name))

    def _read_decimated(
        self, name: str, entry: Mapping[str, Any], due: float, wanted: Wanted
    ) -> Decimated:
        """Decimate from the cached buckets, or else from the samples in the files."""
        blocks, field = self._blocks[name], _field_of(name)
        kinds = {block.fields[field] for block in blocks}
        is_cached = len(kinds) == 1 and "string" not in kinds
        found = self._levels.decimate(blocks, field, wanted) if is_cached else None
        return found or super()._read_decimated(name, entry, due, wanted)

    def _start(self) -> None:
        """Start to read, unless already started."""
        with self._lock:
            if self._thread is None:
                self._index = open_index(self.name, self._folder, self._warn)
                self._levels = Levels(self.name, self._index, self._warn)
                name = f"sisock-{self.name}-files"
                self._list()
                self._began = time.monotonic()
                self._thread = Thread(target=self._work, name=name, daemon=True)
                self._thread.start()

    def _work(self) -> None:
        while not self._is_over.is_set():
            began = time.monotonic()
            try:
                self._look()
            except Exception as error:
                self.trouble = f"{type(error).__name__}: {error}"
                self._warn(self.trouble)
            self._is_read.set()
            self._is_over.wait(max(LOOK_EVERY, SHARE * (time.monotonic() - began)))
        self._levels.close()
        self._index.close()

    def _look(self) -> None:
        """Update the index, and the cache of decimated samples, from the files."""
        progress = WorkLog(self.log, f"indexing {self._folder}")

        def tell(done: int, count: int) -> None:
            progress.tell(f"{done} of {count} files")
            if not self._is_read.is_set():
                self._list()
                self.trouble = f"{done} of {count} files are indexed: later ones will follow"

        changes = self._index.update(tell)
        if changes.files:
            self._list()
        self.trouble = wrong = "; ".join(changes.wrong[:3]) or None
        if wrong:
            self._warn(wrong)
        self._is_read.set()
        if changes.is_other:
            self._levels.forget(changes.blocks.values())
            self.samples_changed()
        self._levels.extend(WorkLog(self.log, "preparing plots of long times").tell)

    def _list(self) -> None:
        """List the known fields, and for each its blocks, the latest one last."""
        blocks: dict[str, list[Block]] = {}
        for block in sorted(self._index.blocks.values(), key=lambda block: block.last):
            for field in list(block.fields) if block.count else ():
                blocks.setdefault(f"{short_name(block.feed)}.{field}", []).append(block)
        self._blocks = blocks  # before the fields are listed that are read from them
        self._entries = {
            name: {
                "type": every[-1].fields[_field_of(name)],
                "timeline": f"{short_name(every[-1].feed)}.{every[-1].name}",
                "interval": every[-1].interval,
                "first": min(block.first for block in every),
                "last": every[-1].last,
                **self._described(name),
            }
            for name, every in blocks.items()
        }


def _field_of(name: str) -> str:
    return name.rpartition(".")[2]
