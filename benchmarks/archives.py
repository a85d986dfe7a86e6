"""Row c: a thousand points of ten and of a hundred million samples in files, caches cold.

Each round starts node and VictoriaMetrics anew, and each answers for a small series first: what is
timed is the first request for the large one. The bridge keeps no samples, and VictoriaMetrics
neither caches results nor is allowed to use such.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import orjson

from benchmarks.nodes import START
from benchmarks.report import Figure, compared, measured, milliseconds, ratio
from benchmarks.stack import WITHOUT_CACHE, Connection, Stack, panel, seconds_of, wait_until_idle
from benchmarks.victoria import Victoria, last_path

POINTS = 1000
SMALL, TEN_MILLION = 1000, 10_000_000
HUNDRED_MILLION = 10 * TEN_MILLION
PART = 1_000_000
NODE = "waves"


def thousandths(count: int) -> Iterator[np.ndarray]:
    """Return a slow wave with noise on it, in thousandths, part after part."""
    for first in range(0, count, PART):
        number = np.arange(first, min(first + PART, count))
        noise = np.random.default_rng(first).integers(0, 5000, len(number))
        yield (500_000 + 4e5 * np.sin(number / 1e5) + noise).astype("<i4")


def write_file(path: Path, count: int) -> None:
    """Write a series as the node reads it."""
    with open(path, "wb") as file:
        for part in thousandths(count):
            part.tofile(file)


class DeepArchive:
    """A node of files, and a bridge that keeps nothing."""

    def __init__(self, stack: Stack, counts: dict[str, int]) -> None:
        self._stack, self._counts = stack, counts
        self._files = stack.folder / "files"
        self._files.mkdir()
        for name, count in counts.items():
            write_file(self._files / f"{name}.i4", count)
        self._start()
        wait_until_idle(self._node)
        self._bridge = Connection(stack.start_bridge(**WITHOUT_CACHE).port)

    def _start(self) -> None:
        command = ("-m", "benchmarks.nodes", NODE, "--directory", str(self._files))
        cache = str(self._stack.folder / "cache")
        self._node = self._stack.start_node(NODE, *command, SISOCK_CACHE=cache)

    def ask(self, name: str) -> bytes:
        """Ask for the whole of a series at a thousand points."""
        end = START + self._counts[name]
        return self._bridge.query(panel([f"{NODE}::{name}"], START, end, POINTS))

    def restarted_seconds(self, name: str) -> float:
        """Return the seconds of the first request after a start."""
        self._node.end()
        self._start()
        self.ask("small")
        return seconds_of(self.ask, name)

    def check(self, name: str) -> None:
        """See that the answer is short, and has the smallest and the largest value."""
        (series,) = orjson.loads(self.ask(name))
        values = [value for value, _ in series["datapoints"]]
        wanted = np.concatenate(list(thousandths(self._counts[name]))) / 1000
        assert len(values) <= POINTS, len(values)
        assert (min(values), max(values)) == (wanted.min(), wanted.max())


def against_ten_million(rounds: int) -> Iterator[Figure]:
    """Measure ten million samples, and a hundred million against them."""
    with Stack() as stack:
        counts = {"small": SMALL, "ten": TEN_MILLION, "hundred": HUNDRED_MILLION}
        archive = DeepArchive(stack, counts)
        archive.check("ten")
        ten, hundred = [], []
        for _ in range(rounds):
            ten.append(archive.restarted_seconds("ten"))
            hundred.append(archive.restarted_seconds("hundred"))
    middle = statistics.median(ten) * 1e3
    what = "10 million samples at 1,000 points, cold"
    yield measured("c", what, middle, "ms", "<= 7 ms")
    part = ratio(hundred, ten)
    shown = f"{milliseconds(hundred)}, {part:.3g} x the time of 10 million"
    yield Figure("c", "100 million samples, cold", shown, part, "<= 1.5 x")


def against_victoria(rounds: int) -> Iterator[Figure]:
    """Measure ten million samples against VictoriaMetrics."""
    counts = {"small": SMALL, "ten": TEN_MILLION}
    with Stack() as stack, tempfile.TemporaryDirectory() as folder:
        with Victoria(Path(folder)) as victoria:
            for name, count in counts.items():
                values = np.concatenate(list(thousandths(count))) / 1000
                victoria.load(NODE, START + np.arange(float(count)), {name: values})
        archive = DeepArchive(stack, counts)
        archive.check("ten")
        ours, others = [], []
        for _ in range(rounds):
            ours.append((archive.restarted_seconds("ten"), seconds_of(archive.ask, "ten")))
            others.append(fresh_victoria_seconds(Path(folder)))
    for turn, name in enumerate(("first request", "second request")):
        mine, its = [each[turn] for each in ours], [each[turn] for each in others]
        what = f"10 million samples at 1,000 points, no cache, {name}"
        yield compared("c", what, mine, its, "query_range, last value", ">= 30 x")


def fresh_victoria_seconds(folder: Path) -> tuple[float, float]:
    """Return the seconds of the first and of the second request to a fresh VictoriaMetrics."""
    with Victoria(folder, "-search.disableCache") as victoria:
        connection = Connection(victoria.port)
        path = partial(last_path, start=START, points=POINTS, nocache=1)
        connection.ask(path("small", end=START + SMALL))
        ten = path("ten", end=START + TEN_MILLION)
        return seconds_of(connection.ask, ten), seconds_of(connection.ask, ten)
