"""Row d: a thousand points of ten and of a hundred million samples, the pyramid on disk.

Each round starts node and VictoriaMetrics anew, and each answers for a small series first: what is
timed is the first request for the large one. The bridge keeps no samples, and VictoriaMetrics
neither caches results nor is allowed to use such.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import orjson

from benchmarks.report import Figure, milliseconds, ratio
from benchmarks.stack import NO_CACHE, Connection, Stack, panel, seconds_of
from benchmarks.victoria import Victoria, last_path
from sisock.client.client import Client
from sisock.errors import NodeFailed, NodeTimeout
from sisock.testing import wait_until

ROUNDS = 7
POINTS = 1000
START = 1_400_000_000
SMALL, TEN_MILLION = 1000, 10_000_000
HUNDRED_MILLION = 10 * TEN_MILLION
PART = 1_000_000
NODE = "apex_archive"


def thousandths(first: int, count: int) -> np.ndarray:
    """A slow wave with noise on it, in thousandths, from sample `first` on."""
    noise = np.random.default_rng(first).integers(0, 5000, count)
    return 500_000 + (4e5 * np.sin(np.arange(first, first + count) / 1e5)).astype("<i8") + noise


def samples(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Times and values of a series of a sample a second."""
    parts = [thousandths(first, min(PART, count)) for first in range(0, count, PART)]
    return START + np.arange(float(count)), np.concatenate(parts) / 1000


def write_file(path: Path, count: int) -> None:
    """Write a series as the weather node reads it."""
    with open(path, "wb") as file:
        file.write(b"# a wave\n# %s\n# K\n" % path.stem.encode())
        for first in range(0, count, PART):
            stop = min(first + PART, count)
            t = np.arange(START + first, START + stop)
            _lines(t, thousandths(first, stop - first)).tofile(file)


def _lines(t: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Lines such as ``1500000000 273.150``; numpy alone, as a hundred million take long else."""
    lines = np.full((len(t), 19), ord(" "), dtype="u1")
    for column in (7, 4, 1):
        t, three = np.divmod(t, 1000)
        lines[:, column : column + 3] = _THREE_DIGITS[three]
    lines[:, 0] = t + ord("0")
    lines[:, 11:14], lines[:, 15:18] = (_THREE_DIGITS[three] for three in np.divmod(values, 1000))
    lines[:, 14], lines[:, 18] = ord("."), ord("\n")
    return lines


_THREE_DIGITS = np.array([list(b"%03d" % number) for number in range(1000)], dtype="u1")


class DeepArchive:
    """The weather node on such files, and a bridge that keeps nothing."""

    def __init__(self, stack: Stack, counts: dict[str, int]) -> None:
        self._stack, self._counts = stack, counts
        self._files = stack.folder / "files"
        self._files.mkdir()
        for name, count in counts.items():
            write_file(self._files / f"{name}.dat", count)
        self._start()
        self._wait_for_pyramids()
        self.bridge = Connection(stack.start_bridge(**NO_CACHE).port)

    def _start(self) -> None:
        words = ("data_nodes/weather.py", "--directory", str(self._files))
        cache = str(self._stack.folder / "cache")
        self._node = self._stack.start_node(NODE, *words, SISOCK_CACHE=cache)

    def _wait_for_pyramids(self) -> None:
        with Client(self._stack.settings()) as client:
            for name in self._counts:
                wait_until(partial(self._is_ready, client, name), 3600, "the pyramid", every=1)

    @staticmethod
    def _is_ready(client: Client, name: str) -> bool:
        try:
            client.get(NODE, name, START, START + SMALL)
        except (NodeFailed, NodeTimeout):  # it is not ready yet
            return False
        return True

    def restart(self) -> None:
        """Start the node anew, and let the bridge find it."""
        self._node.end()
        self._start()
        self.ask("small")

    def ask(self, name: str) -> bytes:
        """The whole of a series at a thousand points."""
        end = START + self._counts[name]
        return self.bridge.ask("/query", panel([f"{NODE}::{name}"], START, end, POINTS))

    def restarted_seconds(self, name: str) -> float:
        """Seconds of the first request after a start."""
        self.restart()
        return seconds_of(self.ask, name)

    def check(self, name: str) -> None:
        """See that the answer is short, and has the smallest and the largest value."""
        (series,) = orjson.loads(self.ask(name))
        values = [value for value, _ in series["datapoints"]]
        wanted = samples(self._counts[name])[1]
        assert len(values) <= POINTS, len(values)
        assert (min(values), max(values)) == (wanted.min(), wanted.max())


def fresh_victoria_seconds(folder: Path) -> tuple[float, float]:
    """Seconds of the first and of the second request to a fresh VictoriaMetrics."""
    with Victoria(folder, "-search.disableCache") as victoria:
        connection = Connection(victoria.port)
        ask = partial(last_path, start=START, points=POINTS, nocache=1)
        connection.ask(ask("small", end=START + SMALL))
        path = ask("ten", end=START + TEN_MILLION)
        return seconds_of(connection.ask, path), seconds_of(connection.ask, path)


def beside_victoria() -> Iterator[Figure]:
    """Ten million samples, against VictoriaMetrics."""
    counts = {"small": SMALL, "ten": TEN_MILLION}
    with Stack() as stack, tempfile.TemporaryDirectory() as folder:
        with Victoria(Path(folder)) as victoria:
            for name, count in counts.items():
                t, values = samples(count)
                victoria.load(NODE, t, {name: values})
        archive = DeepArchive(stack, counts)
        archive.check("ten")
        ours, others = [], []
        for _ in range(ROUNDS):
            ours.append((archive.restarted_seconds("ten"), seconds_of(archive.ask, "ten")))
            others.append(fresh_victoria_seconds(Path(folder)))
    what = "10 million samples at 1,000 points, min and max kept, uncached"
    for turn, name in enumerate(("first request", "second request")):
        mine, its = [each[turn] for each in ours], [each[turn] for each in others]
        other = f"query_range, last value, uncached: {milliseconds(its)}"
        yield Figure("d", f"{what}, {name}", milliseconds(mine), other, ratio(its, mine), ">= 30 x")


def beside_itself() -> Iterator[Figure]:
    """A hundred million samples, against ten million of them."""
    counts = {"small": SMALL, "ten": TEN_MILLION, "hundred": HUNDRED_MILLION}
    with Stack() as stack:
        archive = DeepArchive(stack, counts)
        ten, hundred = [], []
        for _ in range(ROUNDS):
            ten.append(archive.restarted_seconds("ten"))
            hundred.append(archive.restarted_seconds("hundred"))
        what = "100 million samples at 1,000 points, against 10 million; caches cold"
        other = f"10 million: {milliseconds(ten)}"
        yield Figure("d", what, milliseconds(hundred), other, ratio(hundred, ten), "<= 1.5 x")
