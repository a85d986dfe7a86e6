"""Data nodes for the benchmarks: ``python -m benchmarks.nodes KIND [FLAGS]``."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np

import sisock

START = 1_500_000_000
FAST_SAMPLES = 4_000_000
DAY = 86_400
DAYS = 10
FIELDS = [f"f{i}" for i in range(10)]


class InMemory(sisock.ArchiveNode):
    """An archive of arrays."""

    timeline: str
    interval: float
    t: np.ndarray
    columns: dict[str, np.ndarray]

    def list_fields(self, start, end):
        """List all of them, whatever the interval."""
        about = {"timeline": self.timeline, "interval": self.interval}
        return dict.fromkeys(self.columns, about)

    def read(self, field, start, end):
        """Cut the interval out."""
        low, high = np.searchsorted(self.t, [start, end])
        return self.t[low:high], self.columns[field][low:high]


class Fast(InMemory):
    """Four million samples at 1 kHz."""

    name = "fast"
    timeline = "khz"
    interval = 1e-3

    def __init__(self) -> None:
        self.t, self.columns = fast_samples()


def fast_samples() -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return a sine at 1 kHz."""
    number = np.arange(FAST_SAMPLES)
    return START + number / 1000, {"f8": np.sin(number / 1e4)}


class Days(InMemory):
    """Ten fields, ten days at 1 Hz."""

    name = "days"
    timeline = "hz"
    interval = 1.0

    def __init__(self) -> None:
        self.t, self.columns = ten_days()


def ten_days() -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return random walks in steps of a thousandth, as a thermometer reports them."""
    count = DAYS * DAY
    steps = np.random.default_rng(1).integers(-9, 10, (len(FIELDS), count))
    walks = steps.cumsum(axis=1) / 1000
    return START + np.arange(float(count)), dict(zip(FIELDS, walks, strict=True))


class Waves(sisock.FileArchive):
    """Files of whole numbers, thousandths of a value at 1 Hz each."""

    name = "waves"

    def __init__(self, directory: Path, scan_seconds: float = 0) -> None:
        self._directory, self._scan_seconds = directory, scan_seconds

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Add where the files are, and how long the look for them takes, as on a slow disk."""
        parser.add_argument("--directory", type=Path, required=True)
        parser.add_argument("--scan-seconds", type=float, default=0)

    def list_files(self):
        """Find the files."""
        time.sleep(self._scan_seconds)
        return {path.stem: path for path in self._directory.glob("*.i4")}

    def describe_file(self, path):
        """Say what all of them have in common."""
        return {"timeline": path.stem, "interval": 1.0}

    def parse(self, path, offset):
        """Read them in parts of 250,000."""
        while len(part := np.fromfile(path, "<i4", 250_000, offset=offset)):
            first = START + offset // 4
            offset += part.nbytes
            yield first + np.arange(float(len(part))), part / 1000, offset


KINDS = {"fast": Fast, "days": Days, "waves": Waves}

if __name__ == "__main__":
    kind = sys.argv.pop(1)
    sisock.run(KINDS[kind])
