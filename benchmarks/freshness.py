"""Row fresh: samples appended to a file of ten million, in panels that are open."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import orjson

from benchmarks.archives import NODE, TEN_MILLION, write_file
from benchmarks.nodes import START
from benchmarks.report import Figure, measured, percentile
from benchmarks.stack import Connection, Stack, panel, seconds_of, wait_until_idle

POINTS = 1000
APPENDED = 10
PAUSE = 0.02
SLOW_SCAN = 0.3
"""Seconds that the look for files takes on a slow disk."""

VIEWS = {"the last hour": 3600, "all of it": TEN_MILLION}


class GrowingArchive:
    """A file that grows, its node and the panels that are open on it."""

    def __init__(self, stack: Stack, scan_seconds: float) -> None:
        folder = Path(stack.folder / f"files-{scan_seconds:g}")
        folder.mkdir()
        self._file = folder / "ten.i4"
        write_file(self._file, TEN_MILLION)
        write_file(folder / "small.i4", 1000)
        command = ("-m", "benchmarks.nodes", "waves", "--directory", str(folder))
        self._node = stack.start_node(
            NODE,
            *command,
            *("--scan-seconds", str(scan_seconds)),
            SISOCK_CACHE=str(folder / "cache"),
        )
        wait_until_idle(self._node)
        self._bridge = Connection(stack.start_bridge().port)
        self.count = TEN_MILLION
        self.requests: list[float] = []

    def append(self) -> float:
        """Append samples, the last of them larger than all before; returns that one."""
        self.count += APPENDED
        values = np.full(APPENDED, 0, "<i4")
        values[-1] = 1_000_000 + self.count - TEN_MILLION
        with open(self._file, "ab") as file:
            values.tofile(file)
        return values[-1] / 1000

    def ask(self, seconds: float) -> float:
        """Ask as an open panel does, and return the largest value."""
        end = START + self.count
        body = panel([f"{NODE}::ten"], end - seconds, end, POINTS)
        began = time.perf_counter()
        answer = self._bridge.query(body)
        self.requests.append(time.perf_counter() - began)
        (series,) = orjson.loads(answer)
        return max(value for value, _ in series["datapoints"] if value is not None)

    def wait_for(self, value: float, seconds: float) -> None:
        """Ask until a value has come."""
        while self.ask(seconds) < value:
            time.sleep(PAUSE)

    def end(self) -> None:
        """End the node."""
        self._node.end()


def figures(rounds: int) -> Iterator[Figure]:
    """Measure how late samples come, and whether a request waits for the look for files."""
    with Stack() as stack:
        archive = GrowingArchive(stack, 0)
        for what, seconds in VIEWS.items():
            archive.ask(seconds)
            late = []
            for number in range(rounds):
                # Not always as long after the last look for files.
                time.sleep(1 + number % 7 / 7)
                late.append(seconds_of(archive.wait_for, archive.append(), seconds))
            shown = f"median {statistics.median(late):.2f} s, longest {max(late):.2f} s"
            text = f"a panel of {what} of 10 million samples has what was appended"
            yield Figure("fresh", text, shown, max(late), "<= 1 s")
        archive.end()
        slow = GrowingArchive(stack, SLOW_SCAN)
        slow.ask(3600)
        slow.requests.clear()
        for _ in range(rounds):
            slow.append()
            until = time.monotonic() + 1.5
            while time.monotonic() < until:
                slow.ask(3600)
                time.sleep(PAUSE)
        longest = max(slow.requests) * 1e3
        middle = percentile(slow.requests, 0.5) * 1e3
        what = f"a request while a look for files takes {SLOW_SCAN * 1000:g} ms, longest"
        yield measured("fresh", f"{what} (median {middle:.3g} ms)", longest, "ms", "<= 100 ms")
