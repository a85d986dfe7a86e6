"""Say how starved processes were: the promises of `reliability.md` count real seconds."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path

from tests.faults.processes import Process


class Starvation:
    """How long processes that were ready to run have had no processor, since this was made."""

    def __init__(self, processes: Iterable[Process]) -> None:
        self._processes = list(processes)
        self._began = time.monotonic()
        self._before = self._look()

    def __str__(self) -> str:
        before, now = self._before, self._look()
        longest = {
            label: max((t - before.get(label, {}).get(i, 0.0) for i, t in threads.items()))
            for label, threads in now.items()
            if threads
        }
        texts = [f"{label} {t:.1f} s" for label, t in sorted(longest.items())]
        taken = time.monotonic() - self._began
        return f"in these {taken:.1f} s one thread waited for a processor: {', '.join(texts)}"

    def _look(self) -> dict[str, dict[int, float]]:
        pids = {each.label: each.pid for each in self._processes if each.is_alive}
        return {label: _waits(pid) for label, pid in {**pids, "the trial": os.getpid()}.items()}


def _waits(pid: int) -> dict[int, float]:
    """Return the seconds that each thread of a process and its children has waited for one."""
    found: dict[int, float] = {}
    for task in Path(f"/proc/{pid}/task").glob("*"):
        try:
            found[int(task.name)] = int((task / "schedstat").read_text().split()[1]) / 1e9
            children = (task / "children").read_text().split()
        except OSError:  # it has just ended
            continue
        for child in children:
            found |= _waits(int(child))
    return found
