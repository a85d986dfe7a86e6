"""Count what a router does: its messages by kind, and the CPU time of it and of its proxies.

The router's process has a component that reports the messages that Crossbar counts; the time is
the kernel's, in nanoseconds, so that a busy machine does not disturb it.
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import psutil
from autobahn.twisted.wamp import ApplicationSession
from twisted.internet import defer

from benchmarks.stack import Stack
from sisock.connection.health import OK, ask_figures, serve_health
from sisock.router.configuration import DEFAULT_CONFIGURATION
from sisock.testing import RouterProcess, wait_until

ROOT = Path(__file__).parent.parent


class Reporter(ApplicationSession):
    """Report the messages that the router has received and sent, on a socket."""

    def onJoin(self, _details: Any) -> None:
        """Begin; the session's transport is a part of the router."""
        from twisted.internet import reactor

        path, router = self.config.extra["path"], self._transport._router
        reporting = serve_health(lambda: OK, reactor, lambda: router.stats()["messages"], path)
        defer.ensureDeferred(reporting)


def counted_router(folder: Path) -> RouterProcess:
    """Return a router, not started yet, that reports to ``folder/counts``."""
    configuration = json.loads(DEFAULT_CONFIGURATION.read_text())
    worker = configuration["workers"][0]
    worker["options"]["pythonpath"] = [str(ROOT)]
    worker["components"].append(
        {
            "type": "class",
            "classname": f"{__name__}.Reporter",
            "realm": "sisock",
            "role": "server",
            "extra": {"path": str(folder / "counts")},
        }
    )
    path = folder / "config.json"
    path.write_text(json.dumps(configuration))
    return RouterProcess(configuration=path)


@dataclass
class Work:
    """What is done while something is measured.

    Attributes
    ----------
    seconds : float
        That it takes.
    cpu : ndarray
        CPU seconds of the router, of all proxies together, and of other processes.
    messages : Counter
        Messages of the router by kind.
    """

    seconds: float = 0.0
    cpu: np.ndarray = field(default_factory=lambda: np.zeros(3))
    messages: Counter[str] = field(default_factory=Counter)


class CountedStack(Stack):
    """A router with so many proxies, whose work is counted."""

    def __init__(self, proxies: int = 0) -> None:
        super().__init__()
        self._count = proxies

    def make_router(self) -> RouterProcess:
        """Make a router that counts."""
        return counted_router(self.folder)

    def __enter__(self) -> CountedStack:
        with patch.dict(os.environ, {"SISOCK_PROXIES": str(self._count or "")}):
            super().__enter__()
        wait_until(lambda: len(self._found("Proxy")) == self._count, 60, "all proxies")
        wait_until(lambda: len(self._found("Router")) == 1, 60, "the router")
        (self._router,), self._proxies = self._found("Router"), self._found("Proxy")
        wait_until(lambda: ask_figures(str(self.folder / "counts"))[0] == OK, 60, "the counts")
        return self

    def messages(self) -> Counter[str]:
        """Return the router's messages so far, as ``"received publish"`` and ``"sent event"``."""
        text, figures = ask_figures(str(self.folder / "counts"))
        assert text == OK, text
        return Counter({f"{way} {kind}": n for way in figures for kind, n in figures[way].items()})

    def _found(self, kind: str) -> list[int]:
        """Return the ids of the router's workers of a kind."""
        workers = psutil.Process(self.router.pid).children()
        return [worker.pid for worker in workers if f"{kind}Controller" in worker.cmdline()[0]]

    @contextmanager
    def counted(self, *others: int) -> Iterator[Work]:
        """Fill in the work that is done in a block; `others` are the ids of further processes."""
        work, began = Work(), time.monotonic()
        before, seen = self._cpu(others), self.messages()
        yield work
        work.messages = self.messages()
        work.messages.subtract(seen)
        work.cpu, work.seconds = self._cpu(others) - before, time.monotonic() - began

    def _cpu(self, others: tuple[int, ...]) -> np.ndarray:
        kinds = [self._router], self._proxies, others
        return np.array([sum(map(cpu_seconds, pids)) for pids in kinds])


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that all threads of a process have used."""
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9
