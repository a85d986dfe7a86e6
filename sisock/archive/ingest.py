"""One file of an archive: whether it has changed, and its samples in the store."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import stat
import threading
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from sisock.store.background import Steps, WorkLog, until_stored
from sisock.store.catalogue import Store
from sisock.store.pyramid import Pyramid
from sisock.store.series import NOTHING, Damaged, Snapshot, ascends
from sisock.wire.arrays import Samples, check_length, join, normalise
from sisock.wire.protocol import contract

HEAD = 1 << 16
TAIL = 1 << 12
"""Bytes at the beginning and before the end of what was parsed, by which it is known again."""


_Chunk: TypeAlias = tuple[np.ndarray, Any, int]


@dataclass(eq=False)
class ArchiveFile:
    """One file of `source`, a `FileArchive`: what its author says of it, and its samples.

    `pyramid` holds the samples as last parsed.
    """

    field: str
    source: Any
    store: Store
    warn: Callable[[str], None]
    pyramid: Pyramid | None = None
    _path: Path = Path()
    _about: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    # As it was when it was described, and when it was parsed.
    _described: tuple[Path, list[int]] | None = None
    _parsed: tuple[Path, list[int]] | None = None

    def look(self, path: Path) -> bool:
        """Have the file described if it has changed; say whether it is parsed. Raises OSError."""
        state = path, _stamp(path)
        if state != self._described:
            self._about = dict(self.source.describe_file(path))
            self._path, self._described = path, state
        return self._parsed == state

    def is_parsed(self) -> bool:
        """Whether the file is now as it was when it was parsed; raises OSError."""
        return self._parsed == (self._path, _stamp(self._path))

    def store_again(self, damage: Damaged) -> None:
        """Have stored anew what is damaged."""
        self._parsed = None
        self.store.repair(self.field, damage)

    def entry(self) -> Mapping[str, Any]:
        """Return what `list_fields` says of it."""
        if self.pyramid is None:
            return self._about
        record = self.pyramid.base.record
        first, last, interval = record.first, record.last, None
        if first is not None and last is not None and last > first:
            interval = (last - first) / (record.count - 1)
        return {"interval": interval, "first": first, "last": last, **self._about}

    def steps(self) -> Steps:
        """Bring the store up to the file, in small steps; in the thread of the jobs."""
        self._parsed, state = None, (self._path, _stamp(self._path))
        served = {} if self.pyramid is None else self.pyramid.base.record.identity
        ingest = _Ingest(self, *state, served)
        yield from until_stored(self.store, self.field, ingest.fill)
        if ingest.has_changed and served:
            # Those who ask wait for this job: nobody gets old samples as the new generation's.
            telling = threading.Thread(target=self.source.samples_changed, daemon=True)
            telling.start()
            yield telling
        self.pyramid, self._parsed = ingest.pyramid, state


@dataclass
class _Ingest:
    """Brings a pyramid up to a file in one state.

    `served` is the identity of the samples that consumers may have; `has_changed` says whether
    samples were replaced.
    """

    file: ArchiveFile
    path: Path
    stamp: list[int]
    served: Mapping[str, Any]
    has_changed: bool = False
    is_sorted: bool = True
    pyramid: Pyramid = dataclasses.field(init=False)

    @property
    def identity(self) -> dict[str, Any]:
        """By what samples are known that are complete, together with the parser."""
        return {"version": self.file.source.version, "stamp": self.stamp}

    def fill(self, pyramid: Pyramid) -> Steps:
        """Parse what the pyramid does not hold yet."""
        self.pyramid, known = pyramid, pyramid.base.record.identity
        if known.get("is_complete") and known.items() >= self.identity.items():
            return
        if self.served and "stamp" not in known:
            # Stored anew, in a wider type or as it was damaged; the file may have changed, too.
            self.has_changed |= "dtype" in known or not self._is_known(self.served)
        where, self.is_sorted = (0, 0), known.get("is_sorted", True)
        if self._is_known(known):
            where = known.get("offset", 0), len(pyramid.base)
        progress = WorkLog(self.file.source.log, f"parsing {self.path}")
        while not (yield from self._follow(progress, *where)):
            where = 0, 0
        progress.end(len(self.pyramid.base))

    def _is_known(self, known: Mapping[str, Any]) -> bool:
        """Whether the file begins with what was parsed before."""
        before = known.get("stamp", self.stamp)
        return (
            (before == self.stamp or before[1] < self.stamp[1])
            and known.get("version") == self.file.source.version
            and known.get("fingerprint") == self._fingerprint(known.get("offset", 0))
        )

    def _fingerprint(self, offset: int) -> list[str]:
        """Return hashes of the head of the file, and of what is before an offset."""
        with open(self.path, "rb") as file:
            head = file.read(min(HEAD, offset))
            file.seek(max(offset - TAIL, 0))
            tail = file.read(min(TAIL, offset))
        return [hashlib.blake2b(part, digest_size=16).hexdigest() for part in (head, tail)]

    def _follow(
        self, progress: WorkLog, reached: int, position: int
    ) -> Generator[None, None, bool]:
        """Compare the samples from a byte on with the stored ones, and append those beyond.

        Returns False if that has to be done again from the beginning.
        """
        stored = self.pyramid.base.snapshot()
        last = stored.time(position - 1) if position else -np.inf
        chunks = self._chunks(reached)
        # The last chunk is stored together with the news that it is the last one.
        rest: Samples = NOTHING
        for t, numbers, end in chunks if self.is_sorted or position else self._in_order(chunks):
            if len(t) and (t[0] < last or not ascends(t)):
                self.file.warn(
                    f"{self.path}: its times are not in order: it is sorted in memory, and parsed"
                    " from its beginning whenever they go back again"
                )
                self.is_sorted = False
                return False
            last = t[-1] if len(t) else last
            known = min(len(stored) - position, len(t))
            if not _same(stored, position, t[:known], numbers[:known]):
                return self._make_anew()
            position += known
            if len(rest[0]):
                self._append(reached, rest, is_complete=False)
            rest, reached = (t[known:], numbers[known:]), end
            progress.tell(f"{min(end / max(self.stamp[1], 1), 1):.0%}")
            yield None
        if position < len(stored):
            return self._make_anew()
        self._append(reached, rest, is_complete=True)
        return True

    def _chunks(self, offset: int) -> Iterator[_Chunk]:
        """Return what the author's `parse` gives, checked."""
        dtype = self.pyramid.base.record.identity.get("dtype")
        for chunk in self.file.source.parse(self.path, offset):
            with contract(self.file.source.name, self.file.field):
                if not isinstance(chunk, tuple) or len(chunk) != 3:
                    raise ValueError("parse must give (t, values, offset) again and again")
                t, numbers = map(normalise, chunk[:2])
                t = t.astype("<f8", copy=False)
                check_length(t, numbers)
                if numbers.dtype == object:
                    raise ValueError("parse must give numbers")
                if not np.isfinite(t).all():
                    raise ValueError("parse gave a time that is not finite")
            yield t, numbers if dtype is None else numbers.astype(dtype), int(chunk[2])

    def _in_order(self, chunks: Iterator[_Chunk]) -> Iterator[_Chunk]:
        """Return nothing for each chunk, and then the samples of all in order."""
        parts, end = [NOTHING], 0
        for t, numbers, reached in chunks:
            parts.append((t, numbers))
            end = reached
            yield *NOTHING, 0
        t, numbers = join(parts)
        self.is_sorted, order = ascends(t), np.argsort(t, kind="stable")
        yield t[order], numbers[order], end

    def _make_anew(self) -> bool:
        self.pyramid, self.has_changed = self.file.store.make(self.file.field), True
        return False

    def _append(self, offset: int, samples: Samples, is_complete: bool) -> None:
        # Of another file that has taken its place meanwhile, none: it is to be parsed anew.
        is_same = _stamp(self.path)[2] == self.stamp[2]
        identity = {
            **self.pyramid.base.record.identity,
            **self.identity,
            "offset": offset,
            "fingerprint": self._fingerprint(offset) if is_same else None,
            "is_sorted": self.is_sorted,
            "is_complete": is_complete,
        }
        self.pyramid.base.append(*samples, **identity)


def _stamp(path: Path) -> list[int]:
    """Return a file's time, size and inode."""
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        raise OSError("it is not a regular file")
    return [status.st_mtime_ns, status.st_size, status.st_ino]


def _same(stored: Snapshot, position: int, t: np.ndarray, numbers: np.ndarray) -> bool:
    """Whether a series has these samples from a position on."""
    found_t, found = stored.samples(position, position + len(t))
    is_float = numbers.dtype.kind == "f"
    return np.array_equal(found_t, t) and np.array_equal(found, numbers, equal_nan=is_float)
