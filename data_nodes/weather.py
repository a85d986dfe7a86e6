"""Data node over a directory of text files, a field a file: the archived weather of APEX.

The file's name without `.dat` is the field's. Its first line is `# ` and the description, the
second `# ` and the name of the timeline, the third `# ` and the units; further lines that begin
with `#` are remarks. Every other line is a UNIX time, white space and a value.
"""

from __future__ import annotations

import argparse
import os
import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import sisock
from sisock.logs import RepeatedWarning
from sisock.thinning import mean_interval

EXAMPLE_DATA = Path(__file__).parent.parent / "example_data"
SUFFIX = ".dat"
CHUNK_BYTES = 1 << 22


@dataclass(frozen=True)
class DataFile:
    """One parsed file and the state of the file when it was read."""

    stamp: tuple[int, int, int]
    description: str | None
    timeline: str | None
    units: str | None
    t: np.ndarray
    values: np.ndarray

    def is_beginning_of(self, other: DataFile) -> bool:
        """Whether the other has all of these samples, and no further ones but later."""
        count = len(self.t)
        return other is self or (
            np.array_equal(self.t, other.t[:count])
            and np.array_equal(self.values, other.values[:count], equal_nan=True)
        )


class WeatherArchive(sisock.ArchiveNode):
    """Archived APEX weather.

    Serves a directory of text files, a field a file; see the head of data_nodes/weather.py for
    their format. Files that appear, change or go are noticed at the next request.
    """

    name = "apex_archive"
    description = "Archived APEX weather."

    def __init__(self, directory: Path = EXAMPLE_DATA) -> None:
        self._directory = directory
        self._files: dict[str, DataFile] = {}
        # Requests come in several threads: a file is parsed by one of them.
        self._lock = threading.Lock()
        self._warn = RepeatedWarning(self.log)

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Add the flag that names the directory."""
        parser.add_argument(
            "--directory",
            type=Path,
            default=EXAMPLE_DATA,
            help="the directory of .dat files (default: %(default)s)",
        )

    def prepare(self) -> None:
        """See that the directory is there, before anything is served."""
        if not self._directory.is_dir():
            raise sisock.SisockError(f"{self._directory} is not a directory: see --directory")

    def list_fields(self, start: float, end: float) -> dict[str, dict]:
        """List every file, whether or not it has samples in the interval."""
        return {
            name: {
                "description": file.description,
                "timeline": file.timeline,
                "units": file.units,
                "interval": mean_interval(file.t),
            }
            for name, file in self._read_changed().items()
        }

    def read(self, field: str, start: float, end: float) -> tuple[np.ndarray, np.ndarray]:
        """Cut the interval out of the parsed file."""
        file = self._files.get(field)
        if file is None:  # it went since the files were listed
            return np.empty(0), np.empty(0)
        low, high = np.searchsorted(file.t, [start, end])
        return file.t[low:high], file.values[low:high]

    def _read_changed(self) -> dict[str, DataFile]:
        """Bring the parsed files up to what is in the directory now."""
        with self._lock:
            files = {}
            for path in sorted(self._directory.glob(f"*{SUFFIX}")):
                # A name that is no text could not be asked for.
                name = os.fsencode(path.name).decode("utf-8", "replace").removesuffix(SUFFIX)
                try:
                    stamp = _stamp(path)
                    known = self._files.get(name)
                    unchanged = known is not None and known.stamp == stamp
                    files[name] = known if unchanged else self._parse(path, stamp)
                except OSError as error:
                    self._warn(f"{path} is left out: {error}")
            changed = any(
                name not in files or not known.is_beginning_of(files[name])
                for name, known in self._files.items()
            )
            self._files = files
            if changed:
                self.samples_changed()
            return files

    def _parse(self, path: Path, stamp: tuple[int, int, int]) -> DataFile:
        header, samples, malformed, first = parse_file(path)
        if malformed:
            self._warn(
                f"{path}: {malformed} malformed lines are skipped, the first is line {first}"
            )
        samples = samples[np.argsort(samples[:, 0], kind="stable")]
        return DataFile(stamp, *header, t=samples[:, 0].copy(), values=samples[:, 1].copy())


def _stamp(path: Path) -> tuple[int, int, int]:
    status = os.stat(path)
    return status.st_mtime_ns, status.st_size, status.st_ino


def parse_file(path: Path) -> tuple[tuple, np.ndarray, int, int]:
    """Parse one file.

    Returns
    -------
    header : tuple of str or None
        Description, timeline and units.
    samples : ndarray of float64, shape (n, 2)
        UNIX time and value of each sample.
    malformed : int
        Number of lines skipped.
    first : int
        Number of the first of them, from one.
    """
    header: list[str | None] = []
    parts, malformed, first, line_number = [], 0, 0, 0
    with open(path, "rb") as file:
        while chunk := file.readlines(CHUNK_BYTES):
            if not parts:
                header = [_remark(line) for line in chunk[:3]]
            samples, bad = _parse_lines(chunk)
            parts.append(samples)
            if bad and not malformed:
                first = line_number + bad[0] + 1
            malformed += len(bad)
            line_number += len(chunk)
    header += [None] * (3 - len(header))
    return tuple(header), np.concatenate(parts or [np.empty((0, 2))]), malformed, first


def _remark(line: bytes) -> str | None:
    text = line.decode("utf-8", "replace").strip()
    return text.removeprefix("#").strip() or None if text.startswith("#") else None


def _parse_lines(lines: list[bytes]) -> tuple[np.ndarray, list[int]]:
    """The samples of some lines, and the indices of the malformed ones."""
    if not any(line.partition(b"#")[0].strip() for line in lines):
        return np.empty((0, 2)), []
    try:
        samples = np.loadtxt(lines, ndmin=2)
        if samples.shape[1] == 2 and np.isfinite(samples[:, 0]).all():
            return samples, []
    except ValueError:
        pass
    kept, bad = [], []
    for index, line in enumerate(lines):
        words = line.partition(b"#")[0].split()
        if not words:
            continue
        try:
            t, value = map(float, words)
            if not np.isfinite(t):
                raise ValueError
        except ValueError:
            bad.append(index)
        else:
            kept.append((t, value))
    return np.array(kept, dtype=float).reshape(-1, 2), bad


if __name__ == "__main__":
    sisock.run(WeatherArchive)
