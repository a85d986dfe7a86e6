"""Data nodes for the benchmarks: ``python -m benchmarks.nodes KIND [FLAGS]``."""

from __future__ import annotations

import sys

import numpy as np

import sisock

START = 1_500_000_000
FAST_SAMPLES = 4_000_000
DAY_FIELDS = 10
DAY_SECONDS = 86_400


class InMemory(sisock.ArchiveNode):
    """An archive of arrays."""

    timeline: str
    interval: float
    t: np.ndarray
    columns: dict[str, np.ndarray]

    def list_fields(self, start, end):
        """All of them, whatever the interval."""
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
    t = START + np.arange(FAST_SAMPLES) / 1000
    columns = {"f8": np.sin(np.arange(FAST_SAMPLES) / 1e4)}


def day_of_samples() -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """A day at 1 Hz: random walks in steps of a thousandth, as a thermometer reports them."""
    steps = np.random.default_rng(1).integers(-9, 10, (DAY_FIELDS, DAY_SECONDS))
    walks = steps.cumsum(axis=1) / 1000
    return START + np.arange(float(DAY_SECONDS)), {f"f{i}": walk for i, walk in enumerate(walks)}


class Day(InMemory):
    """Ten fields, a day at 1 Hz."""

    name = "day"
    timeline = "hz"
    interval = 1.0
    t, columns = day_of_samples()


KINDS = {"fast": Fast, "day": Day}

if __name__ == "__main__":
    kind = sys.argv.pop(1)
    sisock.run(KINDS[kind])
