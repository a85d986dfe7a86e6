"""One file of an archive, and the store of what was parsed of it."""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sisock.errors import NodeContractError
from sisock.store.background import WorkLog
from sisock.store.sample_store import STORED_DTYPES, SampleStore
from sisock.wire import arrays as values
from sisock.wire.thinning import mean_interval

if TYPE_CHECKING:
    from sisock.archive.file_archive import FileArchive
    from sisock.archive.files import ArchiveFiles

HEAD = 1 << 16
TAIL = 1 << 12
"""Bytes at the beginning and before the end of what was parsed, by which it is known again."""

COMMIT_EVERY = 5.0
"""Seconds of parsing that are lost at most when the process is killed."""

_APPENDED = 1 << 16
"""Samples appended in one step."""

Samples = tuple[np.ndarray, np.ndarray]


class _Differs(Exception):
    """The file no longer begins with the samples that were stored."""


class _TimesGoBack(Exception):
    """The file's times are not in order."""


class ArchiveFile:
    """One file: what its author says of it, and its samples.

    Its methods but `steps` may be called in any thread.

    Attributes
    ----------
    path : Path
        It may change, if the field's samples come to be in another file.
    about : dict
        What `describe_file` said.
    store : SampleStore or None
        Its samples; None before it was opened.
    times_emptied : int
        How often it was replaced or emptied: what was read around that may be of no state.
    was_served : bool
        Whether consumers may have samples of it.
    """

    def __init__(self, field: str, archive: FileArchive, files: ArchiveFiles) -> None:
        self.path = Path()
        self.about: dict[str, Any] = {}
        self.store: SampleStore | None = None
        self.times_emptied = 0
        self.was_served = False
        self._field = field
        self._archive = archive
        self._files = files
        self._described: tuple | None = None
        self._parsed: tuple | None = None
        self._identity: dict[str, Any] = {}
        self._is_sorted = True

    def look(self, path: Path) -> None:
        """Note where the file is, and have it described if it has changed; raises OSError."""
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            raise OSError("it is not a regular file")
        state = (path, *_stamp(status))
        if state != self._described:
            self.about = dict(self._archive.describe_file(path))
            self.path, self._described = path, state

    def is_parsed(self) -> bool:
        """Whether the file is now as it was when it was parsed; raises OSError."""
        return self._parsed == (self.path, *_stamp(os.stat(self.path)))

    def entry(self) -> dict[str, Any]:
        """What `list_fields` says of it."""
        interval = None if self.store is None else mean_interval(self.store.t)
        return {"interval": interval, **self.about}

    def steps(self) -> Iterator[None]:
        """Bring the store up to the file, in small steps; in the thread of the jobs."""
        try:
            yield from self._parse_what_is_new()
        except BaseException:
            # What was appended and not committed is not to be there at the next try.
            if self.store is not None:
                self.store.close()
            self.store = self._parsed = None
            raise

    def _parse_what_is_new(self) -> Iterator[None]:
        path = self.path
        status = os.stat(path)
        store = self._open_store()
        self._progress = WorkLog(self._archive.log, f"parsing {path}")
        self._identity = {"version": self._archive.version, "stamp": list(_stamp(status))}
        known = store.identity
        if not (known.get("is_complete") and known.items() >= self._identity.items()):
            self._is_sorted = known.get("is_sorted", True)
            yield from self._update(path, *self._where_to_go_on(path, known, status))
            self._progress.end(len(store))
        self._parsed, self.was_served = (path, *_stamp(status)), True

    def _open_store(self) -> SampleStore:
        if self.store is not None and self._files.has_store(self._field):
            return self.store
        if self.store is not None:
            self.store.close()
        self.times_emptied += 1
        self.store = self._files.open_store(self._field)
        if self.store.was_damaged:
            self._archive.log.warn("the cache of {path} is damaged: made anew", path=self.path)
        return self.store

    def _where_to_go_on(
        self, path: Path, known: dict[str, Any], status: os.stat_result
    ) -> tuple[int, int]:
        """From which byte to parse, and how many of the stored samples lie before it."""
        assert self.store is not None
        stamp = known.get("stamp") or [0, 0, 0]
        is_as_before = stamp == list(_stamp(status)) or status.st_size > stamp[1]
        offset = known.get("offset", 0)
        if (
            is_as_before
            and known.get("version") == self._archive.version
            and known.get("fingerprint") == _fingerprint(path, offset)
        ):
            return offset, len(self.store)
        return 0, 0

    def _update(self, path: Path, offset: int, position: int) -> Iterator[None]:
        """Have the store hold what the file does, in whichever way it takes."""
        assert self.store is not None
        way: Callable[[], Iterator[None]] | None = partial(self._follow, path, offset, position)
        if not self._is_sorted:
            way = partial(self._sort, path)
        while way is not None:
            try:
                yield from way()
                way = None
            except _TimesGoBack:
                self._files.warn(
                    f"{path}: its times are not in order: it is sorted in memory,"
                    " and parsed from its beginning whenever it grows"
                )
                way = partial(self._sort, path)
            except _Differs:
                self._clear()
                way = partial(self._follow, path, 0, 0)

    def _follow(self, path: Path, offset: int, position: int) -> Iterator[None]:
        """Compare the file's samples with the stored ones, and append those beyond."""
        assert self.store is not None
        store, stored = self.store, len(self.store)
        last = float(store.t[position - 1]) if position else -np.inf
        committed = time.monotonic()
        size = max(self._identity["stamp"][1], 1)
        for t, numbers, reached in self._parsed_chunks(path, offset):
            if len(t) and (t[0] < last or (t[1:] < t[:-1]).any()):
                raise _TimesGoBack
            last = float(t[-1]) if len(t) else last
            known = min(stored - position, len(t))
            if not _same(store, position, (t[:known], numbers[:known])):
                raise _Differs
            position += known
            self._append(t[known:], numbers[known:])
            offset = reached
            if position == stored and time.monotonic() - committed > COMMIT_EVERY:
                self._commit(path, offset, False)
                committed = time.monotonic()
            self._progress.tell(f"{min(offset / size, 1):.0%}")
            yield
        if position < stored:
            raise _Differs
        self._commit(path, offset, True)

    def _sort(self, path: Path) -> Iterator[None]:
        """Take the whole file into memory, sort it by time and store it anew."""
        assert self.store is not None
        parts, offset = [], 0
        for t, numbers, reached in self._parsed_chunks(path, 0):
            parts.append((t, numbers))
            offset = reached
            yield
        t = np.concatenate([t for t, _ in parts] or [np.empty(0)])
        numbers = np.concatenate([numbers for _, numbers in parts] or [np.empty(0)])
        self._is_sorted = not (t[1:] < t[:-1]).any()
        order = np.argsort(t, kind="stable")
        t, numbers = t[order], numbers[order]
        yield
        stored = len(self.store)
        self._clear(not _same(self.store, 0, (t[:stored], numbers[:stored]), stored))
        for first in range(0, len(t), _APPENDED):
            self._append(t[first : first + _APPENDED], numbers[first : first + _APPENDED])
            yield
        self._commit(path, offset, True)

    def _parsed_chunks(self, path: Path, offset: int) -> Iterator[tuple[np.ndarray, Any, int]]:
        """What the author's `parse` gives, checked."""
        for chunk in self._archive.parse(path, offset):
            if not isinstance(chunk, tuple) or len(chunk) != 3:
                raise self._broken("parse must give (t, values, offset) again and again")
            t, numbers = np.asarray(chunk[0], dtype="<f8"), values.normalise(chunk[1])
            if isinstance(numbers, list) or numbers.dtype.str not in STORED_DTYPES:
                if len(numbers):
                    raise self._broken("parse must give numbers")
                numbers = np.empty(0)
            if t.shape != numbers.shape:
                raise self._broken(f"parse gave {len(t)} times, but {len(numbers)} values")
            if not np.isfinite(t).all():
                raise self._broken("parse gave a time that is not finite")
            yield t, numbers, int(chunk[2])

    def _append(self, t: np.ndarray, numbers: np.ndarray) -> None:
        assert self.store is not None
        try:
            self.store.append(t, numbers)
        except ValueError as error:
            raise self._broken(str(error)) from None

    def _broken(self, rule: str) -> NodeContractError:
        return NodeContractError(self._archive.name, self._field, rule)

    def _clear(self, has_changed: bool = True) -> None:
        """Empty the store; before that, tell consumers if they were given something else."""
        assert self.store is not None
        if has_changed and self.was_served:
            self._archive.samples_changed()
        self.times_emptied += 1
        self.store.clear()

    def _commit(self, path: Path, offset: int, is_complete: bool) -> None:
        assert self.store is not None
        # Of another file that has taken its place meanwhile, none: it is to be parsed anew.
        is_same = _stamp(os.stat(path))[2] == self._identity["stamp"][2]
        how_far = {
            "offset": offset,
            "fingerprint": _fingerprint(path, offset) if is_same else None,
            "is_sorted": self._is_sorted,
            "is_complete": is_complete,
        }
        self.store.commit({**self._identity, **how_far})


def _stamp(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_mtime_ns, status.st_size, status.st_ino


def _fingerprint(path: Path, offset: int) -> list[str]:
    """Hashes of the head of a file, and of what is before an offset."""
    with open(path, "rb") as file:
        head = file.read(min(HEAD, offset))
        file.seek(max(offset - TAIL, 0))
        tail = file.read(min(TAIL, offset))
    return [hashlib.blake2b(part, digest_size=16).hexdigest() for part in (head, tail)]


def _same(store: SampleStore, position: int, samples: Samples, count: int | None = None) -> bool:
    """Whether a store has these samples from a position on, `count` of them if that is given."""
    t, numbers = samples
    if count is not None and len(t) != count:
        return False
    stop = position + len(t)
    is_float = numbers.dtype.kind == "f"
    return np.array_equal(store.t[position:stop], t) and np.array_equal(
        store.values[position:stop], numbers, equal_nan=is_float
    )
