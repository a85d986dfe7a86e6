"""Follow a folder of `.g3` files, and serve their samples."""

from __future__ import annotations

import time
from functools import cache
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Any

from sisock.connection.runtime import RepeatedWarning
from sisock.errors import NodeFailed
from sisock.sources.g3.frames import short_name
from sisock.sources.g3.index import Block, open_index
from sisock.sources.g3.levels import Levels, read_field
from sisock.sources.options import Described
from sisock.store.background import WorkLog
from sisock.wire.arrays import Samples
from sisock.wire.protocol import Interval
from sisock.wire.reply import Decimated

LOOK_EVERY, SHARE = 1.0, 20
"""Minimum seconds between two looks at the folder, and minimum multiple of what a look takes."""

WAIT = 10.0  # seconds from the start that requests wait until all files are indexed


class Archive:
    """Serve the fields of a folder of `.g3` files; a thread reads new data.

    It tells `node` of trouble and of changed samples; `described` has more metadata of fields.
    """

    def __init__(self, node: Any, folder: Path, described: Described) -> None:
        self._node, self._folder, self._described = node, folder, cache(described.__getitem__)
        self._warn = RepeatedWarning(node.log)
        self._lock, self._is_read, self._is_over = Lock(), Event(), Event()
        self._thread: Thread | None = None
        self._blocks: dict[str, list[Block]] = {}
        self._entries: dict[str, dict[str, Any]] = {}

    def start(self) -> None:
        """Start to read, unless already started."""
        with self._lock:
            if self._thread is None:
                self._index = open_index(self._node.name, self._folder, self._warn)
                self._levels = Levels(self._node.name, self._index, self._warn)
                name = f"sisock-{self._node.name}-files"
                self._list()
                self._began = time.monotonic()
                self._thread = Thread(target=self._work, name=name, daemon=True)
                self._thread.start()

    def end(self) -> None:
        """Stop reading."""
        self._is_over.set()

    def entries(self) -> dict[str, dict[str, Any]]:
        """Describe all fields once they are indexed; after ten seconds, those that are."""
        self.start()
        self._is_read.wait(max(0.0, self._began + WAIT - time.monotonic()))
        return self._entries

    def read(self, name: str, start: float, end: float) -> Samples:
        """Return the samples of a field in an interval."""
        return read_field(self._index, self._blocks[name], _field_of(name), start, end)

    def decimate(
        self, name: str, interval: Interval, bucket: float | None, max_points: int | None
    ) -> Decimated | None:
        """Decimate an interval; return None if its samples have to be read from the files."""
        blocks, field = self._blocks[name], _field_of(name)
        kinds = {block.fields[field] for block in blocks}
        if len(kinds) > 1 or "string" in kinds:
            return None
        return self._levels.decimate(blocks, field, interval, bucket, max_points)

    def check_prepared(self, name: str) -> None:
        """Raise NodeFailed, with the progress, if plots of a field are being prepared."""
        share = self._levels.share(self._blocks[name], _field_of(name))
        if share is not None:
            raise NodeFailed(f"{name!r} is still being prepared, {share:.0%}: ask again later")

    def _work(self) -> None:
        while not self._is_over.is_set():
            began = time.monotonic()
            try:
                self._look()
            except Exception as error:
                self._node.trouble = f"{type(error).__name__}: {error}"
                self._warn(self._node.trouble)
            self._is_read.set()
            self._is_over.wait(max(LOOK_EVERY, SHARE * (time.monotonic() - began)))
        self._levels.close()
        self._index.close()

    def _look(self) -> None:
        """Update the index, and the cache of decimated samples, from the files."""
        progress = WorkLog(self._node.log, f"indexing {self._folder}")

        def tell(done: int, count: int) -> None:
            progress.tell(f"{done} of {count} files")
            if not self._is_read.is_set():
                self._list()
                self._node.trouble = f"{done} of {count} files are indexed: later ones will follow"

        changes = self._index.update(tell)
        if changes.files:
            self._list()
        self._node.trouble = wrong = "; ".join(changes.wrong[:3]) or None
        if wrong:
            self._warn(wrong)
        self._is_read.set()
        if changes.is_other:
            self._levels.forget(changes.blocks.values())
            self._node.samples_changed()
        preparing = WorkLog(self._node.log, "preparing plots of long times")

        def tell_prepared(how_far: str) -> None:
            preparing.tell(how_far)
            self._node.trouble = wrong or f"plots of long times are being prepared: {how_far}"

        self._levels.extend(tell_prepared)
        self._node.trouble = wrong

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
