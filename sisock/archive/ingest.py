"""Update the stored samples of a table from its files: parse new parts, check the rest."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import stat
import time
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from sisock.store.background import Steps, WorkLog
from sisock.store.pyramid import Pyramid
from sisock.store.series import NOTHING, Series
from sisock.wire.arrays import Samples, ascends, check_length, join, normalise
from sisock.wire.protocol import contract

HEAD = 1 << 16
TAIL = 1 << 12
"""Bytes at the start and end of the parsed part of a file, whose hashes identify it."""

STORE_EVERY = 1 << 16  # parsed samples after which they are stored

MAX_TEXTS = 10_000
"""Maximum different texts of a field; they are stored as numbers, further ones as missing."""

SETTLED = 3600.0
"""Seconds without a change after which a file's last, unfinished line counts as complete, if its
parser supports that."""

_NO_TIMES = np.empty(0)

State: TypeAlias = tuple[tuple[Path, list[int]], ...]
"""The files of a table, each with its stamp (`stamp_of`)."""

_Place: TypeAlias = tuple[int, int, Mapping[str, int]]
"""Where parsing can begin: number of the file, byte, and sample number of each field."""

_Batch: TypeAlias = tuple[np.ndarray, dict[str, np.ndarray], int, int | None]
"""Times, values by field, number of the file, and the byte after, if parsing can begin there."""


class _Column:
    """Compare the parsed samples of a field, from `position` on, with the stored ones."""

    def __init__(self, series: Series, position: int) -> None:
        self.series, self.position = series, position
        self._stored = series.snapshot()
        self._last = self._stored.time(position - 1) if position else -np.inf
        self._new: list[Samples] = []

    @property
    def is_all_parsed(self) -> bool:
        """Whether all stored samples were parsed again."""
        return self.position >= len(self._stored)

    def follows(self, t: np.ndarray) -> bool:
        """Return whether these times ascend and follow the previous ones."""
        return not len(t) or bool(t[0] >= self._last and ascends(t))

    def take(self, t: np.ndarray, numbers: np.ndarray) -> bool:
        """Add parsed samples; return whether they equal or extend the stored ones."""
        known = max(0, min(len(self._stored) - self.position, len(t)))
        stored_t, stored = self._stored.samples(self.position, self.position + known)
        is_float = numbers.dtype.kind == "f"
        self._last = t[-1] if len(t) else self._last
        self.position += len(t)
        self._new.append((t[known:], numbers[known:]))
        return np.array_equal(stored_t, t[:known]) and np.array_equal(
            stored, numbers[:known], equal_nan=is_float
        )

    def store(self, identity: Mapping[str, Any]) -> None:
        """Append the new samples to the stored ones."""
        new = [samples for samples in self._new if len(samples[0])]
        self.series.append(*(join(new) if new else NOTHING), **identity)
        self._new = []


@dataclass
class Ingest:
    """Update the pyramids of an `ArchiveTable` from one state of its files.

    `served` has the identities of the samples that were sent to consumers; `has_changed` says
    whether some of these were replaced.
    """

    table: Any
    state: State
    served: Mapping[str, Mapping[str, Any]]
    has_changed: bool = False
    is_sorted: bool = True
    pyramids: dict[str, Pyramid] = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        self._paths, self._stamps = [p for p, _ in self.state], [s for _, s in self.state]
        self._before = list(accumulate((stamp[:3] for stamp in self._stamps), _chain, initial=""))
        self._texts: dict[str, dict[str, int]] = {}
        self._sizes = list(accumulate((stamp[1] for stamp in self._stamps), initial=0))

    def fill(self) -> Steps:
        """Parse the parts of the files that are not stored yet."""
        self.pyramids = {name: self.table.store.open(name) for name in self.table.fields}
        known = {name: pyramid.base.record.identity for name, pyramid in self.pyramids.items()}
        for name in known:
            # Samples that were stored with another type are useless.
            if known[name].get("type", self._type(name)) != self._type(name):
                self.pyramids[name], known[name] = self.table.store.make(name), {}
                self.has_changed |= name in self.served
        complete = {**self._identity(len(self.state) - 1), "is_complete": True}
        if all(identity.items() >= complete.items() for identity in known.values()):
            return
        for name in self.served.keys() & known.keys():
            if "stamp" not in known[name]:
                # It was rebuilt, for a wider type or after damage; its file may have changed, too.
                is_known = self._is_known(self.served[name])
                self.has_changed |= "dtype" in known[name] or not is_known
        self.is_sorted = all(identity.get("is_sorted", True) for identity in known.values())
        files = self._paths[0] if len(self._paths) == 1 else f"{len(self._paths)} files"
        progress = WorkLog(self.table.source.log, f"parsing {files}")
        place = self._find_place(known)
        while not (yield from self._parse_from(place, progress)):
            place = 0, 0, {}
        progress.end(max(len(pyramid.base) for pyramid in self.pyramids.values()))

    def continues(self) -> bool:
        """Return whether the files still begin with what was served."""
        return self._is_known(next(iter(self.served.values())))

    def _identity(self, number: int) -> dict[str, Any]:
        """Return what identifies the parser and the files up to one of them."""
        return {
            "version": self.table.source.version,
            "before": self._before[number],
            "stamp": self._stamps[number],
        }

    def _type(self, name: str) -> str:
        return self.table.fields[name].get("type") or "number"

    def _find_place(self, known: Mapping[str, Mapping[str, Any]]) -> _Place:
        """Return where to begin to parse: after the stored samples, or else at the start."""
        # A new field is not in the files that were parsed.
        old = [known[name] for name in known if name in self.served or not self.served]
        keys = ("version", "before", "stamp", "offset", "fingerprint")
        agree = len({str([identity.get(key) for key in keys]) for identity in old}) == 1
        if not agree or not self._is_known(old[0]):
            return 0, 0, {}
        counts = {name: identity.get("count", 0) for name, identity in known.items()}
        return self._before.index(old[0]["before"]), old[0].get("offset", 0), counts

    def _is_known(self, known: Mapping[str, Any]) -> bool:
        """Return whether the files still begin with what was parsed."""
        if known.get("before") not in self._before[:-1]:
            return False
        number = self._before.index(known["before"])
        before, now = known.get("stamp", self._stamps[number]), self._stamps[number]
        return (
            (before[:3] == now[:3] or before[1] < now[1])
            and known.get("version") == self.table.source.version
            and known.get("fingerprint") == self._fingerprint(number, known.get("offset", 0))
        )

    def _fingerprint(self, number: int, offset: int) -> list[str]:
        """Return hashes of the first bytes of a file, and of the last ones before an offset."""
        with open(self._paths[number], "rb") as file:
            head = file.read(min(HEAD, offset))
            file.seek(max(offset - TAIL, 0))
            tail = file.read(min(TAIL, offset))
        return [_digest(part) for part in (head, tail)]

    def _parse_from(self, place: _Place, progress: WorkLog) -> Generator[None, None, bool]:
        """Parse from a place on, check samples that are stored already, and append new ones.

        Returns False if parsing has to be repeated from the beginning.
        """
        number, offset, counts = place
        batches = self._batches(number, offset)
        columns = {name: _Column(p.base, counts.get(name, 0)) for name, p in self.pyramids.items()}
        unstored = 0
        for t, values, number, end in (
            batches if self.is_sorted or any(counts.values()) else self._sort(batches)
        ):
            # Check before parsing more, so that the last samples are stored as complete at once.
            if unstored >= STORE_EVERY and len(t):
                self._store(columns, place, is_complete=False)
                unstored = 0
            if not all(columns[name].follows(t) for name in values):
                self.table.warn(
                    f"{self._paths[number]}: its times are not in order, so the table is sorted in"
                    " memory, and parsed from the beginning whenever they go back again"
                )
                self.is_sorted = False
                return False
            if not all(columns[name].take(t, numbers) for name, numbers in values.items()):
                return self._start_over()
            unstored += len(t)
            if end is not None:
                place = number, end, {name: column.position for name, column in columns.items()}
                share = (self._sizes[number] + end) / max(self._sizes[-1], 1)
                progress.tell(f"{min(share, 1):.0%}")
            yield None
        if not all(column.is_all_parsed for column in columns.values()):
            return self._start_over()
        self._store(columns, place, is_complete=True)
        return True

    def _batches(self, number: int, offset: int) -> Iterator[_Batch]:
        """Yield the checked results of the author's parser, file by file."""
        source, table = self.table.source, self.table.name
        for file in range(number, len(self.state)):
            yield _NO_TIMES, {}, file, offset
            for t, columns, end in source.parse_table(table, self._paths[file], offset):
                with contract(source.name, next(iter(columns), None)):
                    t = normalise(t).astype("<f8", copy=False)
                    if not np.isfinite(t).all():
                        raise ValueError("parse returned a time that is not finite")
                numbers = {name: self._check(name, t, values) for name, values in columns.items()}
                yield t, numbers, file, end
            offset = 0

    def _check(self, name: str, t: np.ndarray, values: Any) -> np.ndarray:
        """Return a field's parsed values in their stored type; raises NodeFailed."""
        with contract(self.table.source.name, name):
            if name not in self.pyramids:
                raise ValueError("parse returned samples of it, but it was not described")
            numbers = normalise(values)
            check_length(t, numbers)
            if self._type(name) == "string":
                return self._encode(name, numbers)
            if numbers.dtype == object:
                raise ValueError("parse must return numbers")
        dtype = self.pyramids[name].base.record.identity.get("dtype")
        return numbers if dtype is None else numbers.astype(dtype)

    def _encode(self, name: str, texts: np.ndarray) -> np.ndarray:
        """Return texts as numbers, -1 where one is missing."""
        known = self._texts.setdefault(name, {})
        if not known:
            stored = self.pyramids[name].base.record.identity.get("texts", ())
            known.update({text: code for code, text in enumerate(stored)})
        for text in dict.fromkeys(texts.tolist()):
            if text is not None and len(known) < MAX_TEXTS:
                known.setdefault(text, len(known))
        return np.array([known.get(text, -1) for text in texts.tolist()], dtype="<i4")

    def _sort(self, batches: Iterator[_Batch]) -> Iterator[_Batch]:
        """Read all batches, then yield their samples in time order; yield empty ones meanwhile."""
        parts: dict[str, list[Samples]] = {name: [NOTHING] for name in self.pyramids}
        reached: int | None = 0
        is_sorted = True
        for t, columns, number, end in batches:
            for name, numbers in columns.items():
                parts[name].append((t, numbers))
            # Parsing cannot continue between samples.
            reached = reached if end is None and not len(t) else end
            yield _NO_TIMES, {}, number, None
        for name in list(parts):
            t, numbers = join(parts.pop(name))
            is_sorted, order = is_sorted and ascends(t), np.argsort(t, kind="stable")
            yield t[order], {name: numbers[order]}, number, None
        self.is_sorted = is_sorted
        yield _NO_TIMES, {}, number, reached

    def _start_over(self) -> bool:
        """Discard the stored samples; return False, as `_parse_from` does."""
        self.pyramids = {name: self.table.store.make(name) for name in self.pyramids}
        self.has_changed = True
        self._texts.clear()
        return False

    def _store(self, columns: Mapping[str, _Column], place: _Place, is_complete: bool) -> None:
        number, offset, counts = place
        # No fingerprint if another file has replaced this one: it has to be parsed again.
        is_same = stamp_of(self._paths[number])[2] == self._stamps[number][2]
        identity = {
            **self._identity(number),
            "offset": offset,
            "fingerprint": self._fingerprint(number, offset) if is_same else None,
            "is_sorted": self.is_sorted,
            "is_complete": is_complete,
        }
        for name, column in columns.items():
            of_field = {"count": counts.get(name, 0), "type": self._type(name)}
            if name in self._texts:
                of_field["texts"] = list(self._texts[name])
            column.store({**column.series.record.identity, **identity, **of_field})


def stamp_of(path: Path) -> list[int]:
    """Return a file's modification time, size, inode, and whether it is unchanged for `SETTLED`."""
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        raise OSError("it is not a regular file")
    is_settled = time.time() - status.st_mtime > SETTLED
    return [status.st_mtime_ns, status.st_size, status.st_ino, int(is_settled)]


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def _chain(before: Any, stamp: list[int]) -> str:
    """Return the hash that identifies some files and one more."""
    return _digest(f"{before} {stamp}".encode())
