"""The processes of the trial of faults: each can be started, killed, stopped and continued."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from subprocess import STDOUT

import psutil

from sisock.testing import RouterProcess, wait_until
from tests.faults.helpers import kill_router, own_memory
from tests.forkserver import Forked

STARTUP = 60
"""Seconds that Python may take to start a process: sisock promises nothing of that."""


class Process:
    """A program with standard input, and what it has printed since it was last started."""

    def __init__(
        self, label: str, command: list[str], environ: dict[str, str], folder: Path, ready: str
    ) -> None:
        self.label = label
        self.frozen = False
        self._command = command
        self._environ = environ
        self._log = folder / f"{label}.log"
        self._ready = ready
        self._begin = 0
        self._process: Forked | None = None
        self._stdin = -1

    @property
    def pid(self) -> int:
        """Process id."""
        assert self._process is not None
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether it has been started and not been ended by the trial."""
        return self._process is not None

    @property
    def is_well(self) -> bool:
        """Whether it can do its work."""
        return self.is_alive and not self.frozen

    @property
    def output(self) -> str:
        """What it has printed since it was last started."""
        with open(self._log, errors="replace") as log:
            log.seek(self._begin)
            return log.read()

    def start(self) -> None:
        """Start it; `wait_until_ready` waits for Python."""
        with open(self._log, "ab") as log:
            self._begin = log.tell()
            stdin, self._stdin = os.pipe()
            with open(stdin, "rb") as reader:
                self._process = Forked(self._command, self._environ, reader, log, STDOUT)

    def has_ended(self) -> bool:
        """Whether it has ended by itself."""
        return self._process is not None and self._process.poll() is not None

    def wait_for(self, text: str) -> None:
        """Wait until it has printed something."""

        def printed() -> bool:
            ended = self.has_ended()
            if text in self.output:
                return True
            assert not ended, f"{self.label} has ended by itself: {self.output[-2000:]}"
            return False

        wait_until(printed, STARTUP, f"{text!r} of {self.label}")

    @property
    def is_ready(self) -> bool:
        """Whether Python has loaded it."""
        return self._ready in self.output

    def wait_until_ready(self) -> None:
        """Wait until Python has loaded it."""
        self.wait_for(self._ready)

    def tell(self, line: str) -> None:
        """Give it a line of standard input."""
        os.write(self._stdin, f"{line}\n".encode())

    def end(self, number: int = signal.SIGKILL) -> int | None:
        """End it, by SIGKILL if nothing else is said; returns the exit status."""
        process, self._process = self._process, None
        if process is None:
            return None
        process.send_signal(number)
        if number != signal.SIGKILL:
            process.send_signal(signal.SIGCONT)
        self.frozen = False
        os.close(self._stdin)
        return process.wait(60)

    def freeze(self) -> None:
        """Stop it, as by Ctrl-Z."""
        self._signal(signal.SIGSTOP)
        self.frozen = True

    def thaw(self) -> None:
        """Continue it."""
        self._signal(signal.SIGCONT)
        self.frozen = False

    def _signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def use(self) -> tuple[int, int]:
        """Bytes of memory and number of open descriptors, with those of its children."""
        process = psutil.Process(self.pid)
        family = [process, *process.children(recursive=True)]
        return own_memory(process), sum(each.num_fds() for each in family)


class Router(Process):
    """The router, as one of the processes."""

    def __init__(self, router: RouterProcess) -> None:
        self.label = "router"
        self.frozen = False
        self.process = router
        self._alive = False

    @property
    def pid(self) -> int:
        """Process id of its controller."""
        return self.process.pid

    @property
    def is_alive(self) -> bool:
        """Whether it has been started and not been ended by the trial."""
        return self._alive

    @property
    def output(self) -> str:
        """Its log."""
        return self.process.log

    def start(self) -> None:
        """Start it, and wait until it listens."""
        self.process.start()
        self._alive = True

    def has_ended(self) -> bool:
        """Whether it has ended by itself."""
        return self._alive and not psutil.pid_exists(self.pid)

    def wait_until_ready(self) -> None:
        """Return at once: `start` has waited."""

    def end(self, number: int = signal.SIGKILL) -> int | None:
        """End it, and its worker."""
        if self._alive and number == signal.SIGKILL:
            kill_router(self.process)
        elif self._alive:
            self._signal(signal.SIGCONT)
            self.process.stop(number)
        self._alive = self.frozen = False
        return None

    def _signal(self, number: int) -> None:
        os.killpg(self.pid, number)


class Host(Process):
    """Nodes in one process."""

    def __init__(self, label: str, environ: dict[str, str], folder: Path) -> None:
        super().__init__(label, ["-m", "tests.faults.machine_nodes"], environ, folder, "ready")
        self.nodes: dict[str, str] = {}

    def start(self) -> None:
        """Start the process; the nodes that it had before its end are not started again."""
        self.nodes = {}
        super().start()

    def switch(self, name: str) -> str:
        """Stop a node that is started, or start it."""
        if name in self.nodes:
            del self.nodes[name]
            return self.order(f"stop {name}")
        self.nodes[name] = ""
        return self.order(f"start {name}")

    def spoil(self, name: str, fault: str) -> None:
        """Have a node fail."""
        if name in self.nodes:
            self.nodes[name] = fault
            self.order(f"spoil {name} {fault}")

    def reset(self) -> None:
        """Stop all nodes."""
        self.nodes = {}
        self.order("reset")

    def order(self, line: str) -> str:
        """Give an order, and wait until it is obeyed."""
        self.wait_until_ready()
        before = self.output.count("done ")
        self.tell(line)
        wait_until(lambda: self.output.count("done ") > before, STARTUP, f"{line} of {self.label}")
        return line


class Single(Process):
    """A node that is a program of its own."""

    def __init__(self, name: str, environ: dict[str, str], folder: Path) -> None:
        command = ["-m", "tests.faults.machine_nodes", "--name", name]
        super().__init__(f"single-{name}", command, environ, folder, "the router at ")
        self.nodes = {name: ""}

    def spoil(self, name: str, fault: str) -> None:
        """Leave it as it is: it takes no orders."""

    def reset(self) -> None:
        """End the program, which must say goodbye."""
        status = self.end(signal.SIGTERM)
        assert status == 0, f"{self.label} ended with status {status}: {self.output[-2000:]}"


class Watcher(Process):
    """A consumer that watches the list of nodes."""

    def __init__(self, label: str, environ: dict[str, str], folder: Path) -> None:
        super().__init__(label, ["-m", "tests.faults.machine_consumer"], environ, folder, '"list"')

    def replayed(self) -> list[str]:
        """The list as its events tell it."""
        lines = [json.loads(line) for line in self.output.splitlines() if line.startswith("{")]
        first: set[str] = next((set(line["list"]) for line in lines if "list" in line), set())
        return replay(first, [(line["name"], line["present"]) for line in lines if "name" in line])


def replay(first: set[str], events: list[tuple[str, bool]]) -> list[str]:
    """The list that events make of an earlier one; some of them may have come before that."""
    present = set(first)
    for name, is_present in events:
        (present.add if is_present else present.discard)(name)
    return sorted(present)
