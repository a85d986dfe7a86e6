"""The data files of one series: its samples, and what overviews of them are made from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from sisock.store.pyramid import (
    FIRST_LEVEL,
    GAP_BLOCK,
    GAP_DTYPE,
    LEVEL_STEP,
    Pyramid,
    ended_gaps,
    entries_of_entries,
    entries_of_samples,
    entry_dtype,
    gap_maxima,
    levels_of,
)
from sisock.store.store_files import DATA_SUFFIX, DataFile, Manifest

_PIECE = 1 << 16
"""Items handled at a time, a multiple of all that is combined, so that memory stays small."""


class SeriesFiles:
    """The data files of one series.

    Parameters
    ----------
    folder : Path
    manifest : Manifest
        What counts of the files that are there.

    Attributes
    ----------
    dtype : dtype or None
        Of the values, as soon as there are any.
    """

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self._folder = folder
        self.dtype = None if manifest.dtype is None else np.dtype(manifest.dtype)
        self._open_gap = manifest.open_gap
        self._files: dict[str, DataFile] = {}
        for name, committed in manifest.files.items():
            self._file(name, committed)
        self._extended_to = self._count("times")

    def append(self, t: np.ndarray, values: np.ndarray) -> None:
        """Write samples, shape (n,) each, n at least 1; the first ones settle the values' type."""
        if self.dtype is None:
            self.dtype = values.dtype
        for piece in _pieces(0, len(t)):
            self._file("times").append(t[piece])
            self._file("values").append(values[piece])

    def complete(self) -> None:
        """Compute and write what overviews need of the new samples, and make all durable."""
        if self._count("times") > self._extended_to:
            t, values = self._file("times").view(), self._file("values").view()
            self._extend_levels(t, values)
            self._extend_gaps(t, values)
            self._extended_to = len(t)
        for file in self._files.values():
            file.sync()

    def manifest(self, identity: dict[str, Any]) -> Manifest:
        """Describe the files as they are now."""
        dtype = None if self.dtype is None else self.dtype.str
        files = {name: file.record() for name, file in self._files.items()}
        return Manifest(identity, dtype, self._open_gap, files)

    def view(self) -> Pyramid:
        """Map the files."""
        levels = levels_of(self._count("times"))
        return Pyramid(
            t=self._view("times"),
            values=self._view("values"),
            levels={level: self._view(_level_name(level)) for level in levels},
            gaps=self._view("gaps"),
            maxima=self._view("gap_maxima"),
        )

    def check(self) -> None:
        """Compare the files to the manifest.

        Raises
        ------
        StoreDamaged
            If one differs.
        """
        for file in self._files.values():
            file.check()

    def cut(self) -> None:
        """Remove from the folder what does not count of its data files."""
        for path in self._folder.glob(f"*{DATA_SUFFIX}"):
            if path.stem in self._files:
                self._files[path.stem].cut()
            else:
                # Maps of a file that is unlinked stay valid; of one cut to nothing they would not.
                path.unlink()

    def close(self) -> None:
        """Write no more."""
        for file in self._files.values():
            file.close()

    def _extend_levels(self, t: np.ndarray, values: np.ndarray) -> None:
        below = self._file("values")
        for level in levels_of(len(t)):
            file = self._file(_level_name(level))
            step = FIRST_LEVEL if level == FIRST_LEVEL else LEVEL_STEP
            for piece in _pieces(file.count << step, below.count >> step << step):
                if level == FIRST_LEVEL:
                    samples = t[piece], values[piece], piece.start
                    file.append(entries_of_samples(*samples, 1 << step))
                else:
                    file.append(entries_of_entries(below.view()[piece], 1 << step))
            below = file

    def _extend_gaps(self, t: np.ndarray, values: np.ndarray) -> None:
        for piece in _pieces(self._extended_to, len(t)):
            found = ended_gaps(values[piece], piece.start, self._open_gap)
            starts, lengths, self._open_gap = found
            if len(starts):
                gaps = np.empty(len(starts), dtype=GAP_DTYPE)
                gaps["start"], gaps["length"], gaps["t"] = starts, lengths, t[starts]
                self._file("gaps").append(gaps)
        known = self._count("gap_maxima") * GAP_BLOCK
        for piece in _pieces(known, self._count("gaps") // GAP_BLOCK * GAP_BLOCK):
            self._file("gap_maxima").append(gap_maxima(self._view("gaps")[piece]))

    def _file(self, name: str, committed: tuple[int, int] = (0, 0)) -> DataFile:
        if name not in self._files:
            path = self._folder / (name + DATA_SUFFIX)
            only_ends = name in ("times", "values")
            self._files[name] = DataFile(path, self._item_dtype(name), only_ends, committed)
        return self._files[name]

    def _item_dtype(self, name: str) -> np.dtype:
        values_dtype = np.dtype("<f8") if self.dtype is None else self.dtype
        dtypes = {"values": values_dtype, "gaps": GAP_DTYPE, "gap_maxima": np.dtype("<i8")}
        if name == "times":
            return np.dtype("<f8")
        return dtypes.get(name) or entry_dtype(values_dtype)

    def _count(self, name: str) -> int:
        return self._files[name].count if name in self._files else 0

    def _view(self, name: str) -> np.ndarray:
        if name in self._files:
            return self._files[name].view()
        return np.empty(0, dtype=self._item_dtype(name))


def _level_name(level: int) -> str:
    return f"level_{level:02d}"


def _pieces(start: int, stop: int) -> Iterator[slice]:
    """Slices that together are the half-open range."""
    for first in range(start, stop, _PIECE):
        yield slice(first, min(first + _PIECE, stop))
