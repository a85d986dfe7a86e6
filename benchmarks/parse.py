"""Archives in files: the first parse of a large one, a restart, and who waits meanwhile.

The weather node runs as a process over 10 million lines, with a second, small file beside them.
Lines per second are those of the whole first parse: reading, storing, the pyramid, and the disk's
word that all is there. The small query is one of the small file, through the router.
"""

from __future__ import annotations

import re
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.report import HEADER, Figure, publish, table
from sisock.archive.text import parse_pairs
from sisock.client.client import Client
from sisock.testing import RouterProcess
from tests.conftest import TOP, Program, wait_for_absence, wait_for_nodes

LINES = 10_000_000
PIECE = 500_000
ROUNDS = 5
NAME = "large_archive"
START = 1_000_000_000


def write_archive(folder: Path) -> None:
    """One file of 10 million lines and one of a thousand."""
    folder.mkdir()
    generator = np.random.default_rng(1)
    for name, count in (("large", LINES), ("small", 1000)):
        with open(folder / f"{name}.dat", "w") as file:
            for first in range(START, START + count, PIECE):
                t = range(first, min(first + PIECE, START + count))
                values = np.round(generator.normal(3, 2, len(t)), 2).tolist()
                file.write("".join(f"{a} {b}\n" for a, b in zip(t, values, strict=True)))


class RunningNode:
    """The weather node over the archive, in a process of its own."""

    def __init__(self, router: RouterProcess, client: Client, folder: Path) -> None:
        self._client = client
        self.began = time.perf_counter()
        self._program = Program(
            [
                str(TOP / "data_nodes/weather.py"),
                *("--directory", str(folder / "archive")),
                *("--name", NAME),
            ],
            {
                **router.environ("server"),
                "SISOCK_CACHE": str(folder / "cache"),
            },
            folder / "node.log",
        )
        wait_for_nodes(client, NAME)

    def parse_seconds(self) -> float | None:
        """Seconds of the large file's parse, once it is done."""
        done = re.search(r"large\.dat: done, \d+ samples in ([\d.]+) s", self._program.output)
        return float(done[1]) if done else None

    def end(self) -> None:
        """Kill it, and wait until the hub knows."""
        self._program.end()
        wait_for_absence(self._client, NAME)


def first_parse(router: RouterProcess, client: Client, folder: Path) -> tuple[float, list[float]]:
    """Seconds of a parse without cache, and those of small queries meanwhile."""
    shutil.rmtree(folder / "cache", ignore_errors=True)
    node = RunningNode(router, client, folder)
    waits = []
    try:
        client.get(NAME, "small", 1, 2e9)  # itself parsed once
        while (seconds := node.parse_seconds()) is None:
            began = time.perf_counter()
            client.get(NAME, "small", 1, 2e9)
            waits.append(time.perf_counter() - began)
            time.sleep(0.02)
    finally:
        node.end()
    return seconds, waits


def restart(router: RouterProcess, client: Client, folder: Path) -> float:
    """Seconds from the start of the process to an overview of the large file."""
    node = RunningNode(router, client, folder)
    try:
        client.get(NAME, "large", 1, 2e9, max_points=1000)
        return time.perf_counter() - node.began
    finally:
        node.end()


def parser_alone(folder: Path) -> float:
    """Lines per second of the parser, one chunk after the other."""
    text = (folder / "archive/large.dat").read_bytes()[: 32 << 20]
    text = text[: text.rindex(b"\n") + 1]
    began = time.thread_time()
    count = 0
    for first in range(0, len(text), 1 << 20):
        lines = text[first : first + (1 << 20)].partition(b"\n")[2].rpartition(b"\n")[0] + b"\n"
        count += len(parse_pairs(lines).t)
    return count / (time.thread_time() - began)


def main() -> None:
    """Measure everything and print the table."""
    with (
        tempfile.TemporaryDirectory() as name,
        RouterProcess() as router,
        Client(router.settings()) as client,
    ):
        folder = Path(name)
        write_archive(folder / "archive")
        runs = [first_parse(router, client, folder) for _ in range(ROUNDS)]
        seconds = [restart(router, client, folder) for _ in range(ROUNDS)]
        alone = statistics.median(parser_alone(folder) for _ in range(ROUNDS))
    waits = [wait * 1e3 for _, run in runs for wait in run]
    rows = list(figures(statistics.median(s for s, _ in runs), alone, seconds, waits))
    publish("parse", table(HEADER, [figure.cells() for figure in rows]))


def figures(
    parse_seconds: float, alone: float, restarts: list[float], waits: list[float]
) -> Iterator[Figure]:
    """The rows; waits in milliseconds."""
    what = "first parse of 10 million lines"
    for name, rate in ((what, LINES / parse_seconds), ("the parser alone, CPU time", alone)):
        rate /= 1e6
        target = ">= 5 million/s" if name == what else ""
        yield Figure("h", name, f"{rate:.2f} million lines/s", "", rate, target)
    restarted = f"{statistics.median(restarts):.2f} s"
    yield Figure("h", "from a restart to an overview", restarted, "", statistics.median(restarts))
    longest, middle = max(waits), statistics.median(waits)
    shown = f"longest {longest:.3g} ms, median {middle:.3g} ms"
    yield Figure("h", "a small query during the parse", shown, "", longest, "< 50 ms")


if __name__ == "__main__":
    main()
