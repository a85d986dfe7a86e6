"""Data node of an HDF5 file, or of a folder of successive ones, also while they are written."""

from __future__ import annotations

import argparse
import math
import threading
import time
from pathlib import Path
from typing import Any

import sisock
from sisock.archive.ingest import stamp_of
from sisock.connection.settings import require
from sisock.sources.hdf5 import Part, entry_of, find_files, look, read_parts
from sisock.sources.options import Described, add_path, given_path

SCAN_EVERY = 1.0
SETTLED = 2.0
"""Seconds after a write during which another one may leave a file's modification time as is."""


class Hdf5(sisock.ArchiveNode):
    """Datasets of HDF5 files, also while they are written (SWMR).

        sisock node hdf5 /data/run.h5 --time time

    Serves one file, or all files of a folder and its subfolders, which follow each other in time.
    A dataset is a field if the dataset of the times, in its group or above, has as many rows.
    """

    name = "hdf5"

    def __init__(
        self, path: str | Path | None, time: str = "time", config: Path | None = None
    ) -> None:
        require("h5py", "hdf5")
        self._path, self._time, self._described = given_path(path), time, Described(config)
        # One thread at a time opens files: HDF5 would show a file that is still open as it was.
        self._lock = threading.RLock()
        self._warn = sisock.RepeatedWarning(self.log)
        self._scan_due = -math.inf
        self._files: dict[Path, tuple[list[int], dict[str, Part]]] = {}

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Add the flags that name the files, and the dataset of their times."""
        add_path(parser, "a file, or a folder of files")
        add = parser.add_argument
        add("--time", default="time", help="dataset or column of the times (default: %(default)s)")
        add("--config", type=Path, metavar="FILE", help="TOML file of units and limits")

    def list_fields(self, start: float, end: float) -> dict[str, dict[str, Any]]:
        """List the fields of all files, as they are now."""
        with self._lock:
            is_due = time.monotonic() >= self._scan_due or self._is_other()
            has_changed = is_due and self._scan()
        if has_changed:
            self.samples_changed()
        with self._lock:
            names = dict.fromkeys(name for _, parts in self._files.values() for name in parts)
            return {name: self._entry(name) for name in names}

    def read(self, field: str, start: float, end: float) -> tuple[Any, Any]:
        """Read the rows of an interval; where two files overlap, the earlier one counts."""
        with self._lock:
            return read_parts(self._parts(field), start, end)

    def fingerprint(self, field: str) -> str:
        """Return the state of all files but the last, and the beginning of the last one."""
        with self._lock:
            *before, (path, part) = self._parts(field)
            known = [(str(p), self._files[p][0]) for p, _ in before]
            return repr((known, str(path), part.path, part.span[1]))

    def _parts(self, field: str) -> list[tuple[Path, Part]]:
        found = [(path, parts[field]) for path, (_, parts) in self._files.items() if field in parts]
        return sorted(found, key=lambda pair: pair[1].span[1])

    def _entry(self, field: str) -> dict[str, Any]:
        return {**entry_of([part for _, part in self._parts(field)]), **self._described[field]}

    def _is_other(self) -> bool:
        try:
            return any(stamp and stamp_of(p)[:3] != stamp for p, (stamp, _) in self._files.items())
        except OSError:
            return True

    def _scan(self) -> bool:
        """Look at the files; return whether samples that were served have changed or are gone."""
        seen: dict[Path, tuple[list[int], dict[str, Part]]] = {}
        trouble, has_changed = [], False
        for path in find_files(self._path):
            known = self._files.get(path)
            try:
                stamp = stamp_of(path)[:3]
                is_settled = time.time() - stamp[0] / 1e9 > SETTLED
                if known is not None and known[0] == stamp and is_settled:
                    seen[path] = known
                    continue
                parts, is_other = look(path, self._time, known[1] if known else {})
                seen[path], has_changed = (stamp, parts), has_changed or is_other
            except (OSError, ValueError, KeyError, RuntimeError) as error:
                trouble.append(f"{path}: {error}")
                self._warn(trouble[-1])
                if known is not None:
                    # The next scan tries it again; until then, requests for its samples fail.
                    seen[path] = [], known[1]
        has_changed |= any(path not in seen and parts for path, (_, parts) in self._files.items())
        if not seen and not trouble:
            trouble.append(f"{self._path}: no such file, or no HDF5 file in it")
            self._warn(trouble[-1])
        self.trouble = "; ".join(trouble[:3]) or None
        self._files, self._scan_due = seen, time.monotonic() + SCAN_EVERY
        return has_changed


if __name__ == "__main__":
    sisock.run(Hdf5)
