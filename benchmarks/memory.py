"""Row memory: what the demo's processes have in memory together, once they have settled."""

from __future__ import annotations

import os
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from benchmarks.report import Figure, measured
from sisock.testing import free_port
from tests.conftest import Program

SETTLE = 30


def figures(_rounds: int) -> Iterator[Figure]:
    """Start the demo, let it settle, and add up."""
    with tempfile.TemporaryDirectory(prefix="sisock-") as folder:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("WAMP_", "CROSSBAR_"))}
        variables = {
            "SISOCK_HOME": f"{folder}/home",
            "SISOCK_CACHE": f"{folder}/cache",
            "CROSSBAR_TLS_PORT": str(free_port()),
            "PORT": str(free_port()),
        }
        program = Program(["-m", "sisock.demo"], {**kept, **variables}, Path(folder, "log"))
        try:
            program.wait_for("ready:", 120)
            time.sleep(SETTLE)
            sizes = resident(psutil.Process(program.process.pid))
        finally:
            program.signal(signal.SIGINT)
            program.wait(60)
    each = ", ".join(f"{size:.0f}" for size in sorted(sizes, reverse=True) if size >= 1)
    what = f"RSS of the demo's processes ({each} MB), summed"
    yield measured("memory", what, sum(sizes), "MB", "<= 560 MB")


def resident(process: psutil.Process) -> list[float]:
    """Return the megabytes of a process and of all that it has started."""
    members = [process, *process.children(recursive=True)]
    return [member.memory_info().rss / 1e6 for member in members]
