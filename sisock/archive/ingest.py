"""Bring the stored samples of a table up to its files: parse what is new, compare the rest."""

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

from sisock.archive.column import Column
from sisock.store.background import Steps, WorkLog
from sisock.store.pyramid import Pyramid
from sisock.store.series import NOTHING, ascends
from sisock.wire.arrays import Samples, check_length, join, normalise
from sisock.wire.protocol import contract

HEAD = 1 << 16
TAIL = 1 << 12
"""Bytes at the beginning and before the end of what was parsed, by which it is known again."""

STORED_AT_ONCE = 1 << 16
"""Samples of a field, or more, that are stored together."""

MAX_TEXTS = 10_000
"""Different texts of a field; they are kept as numbers, further ones as missing."""

SETTLED = 3600.0
"""Seconds without a change after which what is half written at the end of a file is taken as whole,
where a parser does so."""

_NO_TIMES = np.empty(0)

State: TypeAlias = tuple[tuple[Path, list[int]], ...]
"""The files of a table, each with its stamp."""

_Place: TypeAlias = tuple[int, int, Mapping[str, int]]
"""Where parsing may begin: the number of the file, the byte, and the sample of each field."""

_Batch: TypeAlias = tuple[np.ndarray, dict[str, np.ndarray], int, int | None]
"""Times, values of each field, number of the file, and the byte, if parsing may begin there."""


@dataclass
class Ingest:
    """Brings the pyramids of an `ArchiveTable` up to its files in one state.

    `served` are the identities of the samples that consumers may have; `has_changed` says whether
    samples were replaced.
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
        """Parse what the pyramids do not hold yet."""
        self.pyramids = {name: self.table.store.open(name) for name in self.table.fields}
        known = {name: each.base.record.identity for name, each in self.pyramids.items()}
        for name in known:
            # What is stored of another type is of another meaning.
            if known[name].get("type", self._type(name)) != self._type(name):
                self.pyramids[name], known[name] = self.table.store.make(name), {}
                self.has_changed |= name in self.served
        complete = {**self._identity(len(self.state) - 1), "is_complete": True}
        if all(each.items() >= complete.items() for each in known.values()):
            return
        for name in self.served.keys() & known.keys():
            if "stamp" not in known[name]:
                # Stored anew, in a wider type or as it was damaged; the files may have changed.
                is_known = self._is_known(self.served[name])
                self.has_changed |= "dtype" in known[name] or not is_known
        self.is_sorted = all(each.get("is_sorted", True) for each in known.values())
        what = self._paths[0] if len(self._paths) == 1 else f"{len(self._paths)} files"
        progress = WorkLog(self.table.source.log, f"parsing {what}")
        place = self._place(known)
        while not (yield from self._follow(progress, place)):
            place = 0, 0, {}
        progress.end(max(len(each.base) for each in self.pyramids.values()))

    def goes_on(self) -> bool:
        """Return whether the files begin with what consumers may have."""
        return self._is_known(next(iter(self.served.values())))

    def _identity(self, number: int) -> dict[str, Any]:
        """By what the samples up to some file are known, together with the parser."""
        return {
            "version": self.table.source.version,
            "before": self._before[number],
            "stamp": self._stamps[number],
        }

    def _type(self, name: str) -> str:
        return self.table.fields[name].get("type") or "number"

    def _place(self, known: Mapping[str, Mapping[str, Any]]) -> _Place:
        """Return from where on to parse."""
        # A field that only now appears is in none of the files that were parsed.
        old = [each for name, each in known.items() if name in self.served or not self.served]
        keys = ("version", "before", "stamp", "offset", "fingerprint")
        agree = len({str([each.get(key) for key in keys]) for each in old}) == 1
        if not agree or not self._is_known(old[0]):
            return 0, 0, {}
        counts = {name: each.get("count", 0) for name, each in known.items()}
        return self._before.index(old[0]["before"]), old[0].get("offset", 0), counts

    def _is_known(self, known: Mapping[str, Any]) -> bool:
        """Return whether the files begin with what was parsed before."""
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
        """Return hashes of the head of a file, and of what is before an offset."""
        with open(self._paths[number], "rb") as file:
            head = file.read(min(HEAD, offset))
            file.seek(max(offset - TAIL, 0))
            tail = file.read(min(TAIL, offset))
        return [_digest(part) for part in (head, tail)]

    def _follow(self, progress: WorkLog, place: _Place) -> Generator[None, None, bool]:
        """Compare the samples from a place on with the stored ones, and append those beyond.

        Returns False if that has to be done again from the beginning.
        """
        number, offset, counts = place
        batches = self._batches(number, offset)
        columns = {
            name: Column(each.base, counts.get(name, 0)) for name, each in self.pyramids.items()
        }
        waiting = 0
        for t, values, number, end in (
            batches if self.is_sorted or any(counts.values()) else self._in_order(batches)
        ):
            # The last samples are stored together with the news that they are the last ones.
            if waiting >= STORED_AT_ONCE and len(t):
                self._store(columns, place, is_complete=False)
                waiting = 0
            if not all(columns[name].follows(t) for name in values):
                self.table.warn(
                    f"{self._paths[number]}: its times are not in order: all is sorted in memory,"
                    " and parsed from the beginning whenever they go back again"
                )
                self.is_sorted = False
                return False
            if not all(columns[name].take(t, numbers) for name, numbers in values.items()):
                return self._make_anew()
            waiting += len(t)
            if end is not None:
                place = number, end, {name: each.position for name, each in columns.items()}
                share = (self._sizes[number] + end) / max(self._sizes[-1], 1)
                progress.tell(f"{min(share, 1):.0%}")
            yield None
        if not all(column.is_whole for column in columns.values()):
            return self._make_anew()
        self._store(columns, place, is_complete=True)
        return True

    def _batches(self, number: int, offset: int) -> Iterator[_Batch]:
        """Return what the author's parser gives of all files, checked."""
        source, table = self.table.source, self.table.name
        for file in range(number, len(self.state)):
            yield _NO_TIMES, {}, file, offset
            for t, columns, end in source.parse_table(table, self._paths[file], offset):
                with contract(source.name, next(iter(columns), None)):
                    t = normalise(t).astype("<f8", copy=False)
                    if not np.isfinite(t).all():
                        raise ValueError("parse gave a time that is not finite")
                numbers = {name: self._checked(name, t, given) for name, given in columns.items()}
                yield t, numbers, file, end
            offset = 0

    def _checked(self, name: str, t: np.ndarray, given: Any) -> np.ndarray:
        with contract(self.table.source.name, name):
            if name not in self.pyramids:
                raise ValueError("parse gave samples of it, but it was not described")
            numbers = normalise(given)
            check_length(t, numbers)
            if self._type(name) == "string":
                return self._encode(name, numbers)
            if numbers.dtype == object:
                raise ValueError("parse must give numbers")
        dtype = self.pyramids[name].base.record.identity.get("dtype")
        return numbers if dtype is None else numbers.astype(dtype)

    def _encode(self, name: str, texts: np.ndarray) -> np.ndarray:
        """Return numbers for texts, -1 for one that is missing."""
        known = self._texts.setdefault(name, {})
        if not known:
            stored = self.pyramids[name].base.record.identity.get("texts", ())
            known.update({text: code for code, text in enumerate(stored)})
        for text in dict.fromkeys(texts.tolist()):
            if text is not None and len(known) < MAX_TEXTS:
                known.setdefault(text, len(known))
        return np.array([known.get(text, -1) for text in texts.tolist()], dtype="<i4")

    def _in_order(self, batches: Iterator[_Batch]) -> Iterator[_Batch]:
        """Return nothing for each batch, and then the samples of all in order."""
        parts: dict[str, list[Samples]] = {name: [NOTHING] for name in self.pyramids}
        reached, is_sorted = 0, True
        for t, columns, number, end in batches:
            for name, numbers in columns.items():
                parts[name].append((t, numbers))
            reached = reached if end is None else end
            yield _NO_TIMES, {}, number, None
        for name in list(parts):
            t, numbers = join(parts.pop(name))
            is_sorted, order = is_sorted and ascends(t), np.argsort(t, kind="stable")
            yield t[order], {name: numbers[order]}, number, None
        self.is_sorted = is_sorted
        yield _NO_TIMES, {}, number, reached

    def _make_anew(self) -> bool:
        self.pyramids = {name: self.table.store.make(name) for name in self.pyramids}
        self.has_changed = True
        self._texts.clear()
        return False

    def _store(self, columns: Mapping[str, Column], place: _Place, is_complete: bool) -> None:
        number, offset, counts = place
        # Of another file that has taken its place meanwhile, none: it is to be parsed anew.
        is_same = stamp_of(self._paths[number])[2] == self._stamps[number][2]
        identity = {
            **self._identity(number),
            "offset": offset,
            "fingerprint": self._fingerprint(number, offset) if is_same else None,
            "is_sorted": self.is_sorted,
            "is_complete": is_complete,
        }
        for name, column in columns.items():
            own = {"count": counts.get(name, 0), "type": self._type(name)}
            if name in self._texts:
                own["texts"] = list(self._texts[name])
            column.store({**column.series.record.identity, **identity, **own})


def stamp_of(path: Path) -> list[int]:
    """Return a file's time, size, inode, and whether it has not changed for long."""
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        raise OSError("it is not a regular file")
    is_settled = time.time() - status.st_mtime > SETTLED
    return [status.st_mtime_ns, status.st_size, status.st_ino, int(is_settled)]


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def _chain(before: Any, stamp: list[int]) -> str:
    """Return by what some files are known, and one more."""
    return _digest(f"{before} {stamp}".encode())
