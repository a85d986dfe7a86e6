"""A live node that pushes numbered samples, some thousand a second, and keeps them.

``python -m tests.faults.delivery_node FOLDER``: `n` counts at rates that change, as single samples
or as arrays; `m` counts ten times a second on a timeline of its own. It begins when there is a file
``go`` in the folder, which says up to where `n` may count by now. As it ends it
notes there up to where it has come, and goes on from there when it is started again.
"""

from __future__ import annotations

import random
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

import sisock

RATES = [0, 50, 1000, 3000, 5000]
"""Samples per second, of which one is chosen every other second."""

TICKS = [0.001, 0.01, 0.1]
"""Seconds between two pushes."""


class Counter(sisock.LiveNode):
    """Numbered samples."""

    name = "counter"
    interval = None
    keep = "1d"

    def __init__(self, folder: Path) -> None:
        self.go, self.note = folder / "go", folder / "pushed"
        noted = self.note.read_text() if self.note.exists() else "0 0"
        self.pushed, self.ticked = map(int, noted.split())
        self.last = 0.0
        self.stopped = threading.Event()
        self.pusher = threading.Thread(target=self.push_all, daemon=True)

    def begin(self, service: Any) -> None:
        super().begin(service)
        self.pusher.start()

    def end(self) -> None:
        self.stopped.set()
        if self.pusher.is_alive():
            self.pusher.join()
        super().end()
        self.note.write_text(f"{self.pushed} {self.ticked}")

    def push_all(self) -> None:
        """Push until all are pushed, or the node ends."""
        chance = random.Random(self.pushed)
        change_at = tick_at = now = time.monotonic()
        due, rate, tick = 0.0, 0, 0.01
        while not self.stopped.wait(tick):
            before, now = now, time.monotonic()
            if not self.go.exists():
                self.last = time.time()  # consumers watch from now on, and want nothing earlier
                continue
            if now >= change_at:
                rate, tick = chance.choice(RATES), chance.choice(TICKS)
                change_at = now + chance.uniform(0.5, 3)
            if now >= tick_at:
                self.ticked += 1
                self.push({"m": self.ticked}, timeline="slow")
                tick_at = now + 0.1
            due = min(due + rate * (now - before), 5000)
            few = min(int(due), int(self.go.read_text()) - self.pushed)
            due -= few
            if few:
                self.push_some(few, in_one=chance.random() < 0.5)

    def push_some(self, few: int, in_one: bool) -> None:
        """Push so many, as one array or one by one."""
        numbers = range(self.pushed + 1, self.pushed + few + 1)
        first, self.last = self.last, max(time.time(), self.last + 1e-5 * few)
        times = np.linspace(max(first, self.last - 0.1), self.last, few + 1)[1:]
        if in_one:
            self.push({"n": np.array(numbers)}, times)
        else:
            for number, t in zip(numbers, times.tolist(), strict=True):
                self.push({"n": number}, t)
        self.pushed += few


if __name__ == "__main__":
    sisock.run(Counter(Path(sys.argv.pop())))
