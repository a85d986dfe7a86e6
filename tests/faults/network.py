"""Networks of a test's own: a namespace, and a cable to it that can be pulled out or be slow."""

from __future__ import annotations

import itertools
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

_NUMBERS = itertools.count()


def run(*command: str) -> str:
    """Run a command of iproute2; returns what it prints."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
    return done.stdout


class Namespace:
    """A network namespace with one cable, a veth pair, to this computer.

    Attributes
    ----------
    near, far : str
        Addresses of the cable's ends: this computer's, and the namespace's.
    """

    def __init__(self) -> None:
        # Unique among the test runs of this computer; out of 198.18.0.0/15, made for tests.
        number = os.getpid() * 8 + next(_NUMBERS) % 8
        self.name = f"sisock-{number}"
        self._near_end, self._far_end = f"sn{number}", f"sf{number}"
        third, fourth = divmod(number % (1 << 14), 1 << 6)
        self.near, self.far = (f"198.18.{third}.{4 * fourth + i}" for i in (1, 2))

    def lay(self) -> None:
        """Make the namespace and the cable."""
        run("ip", "netns", "add", self.name)
        run(
            *("ip", "link", "add", self._near_end, "type", "veth"),
            *("peer", "name", self._far_end, "netns", self.name),
        )
        run("ip", "address", "add", f"{self.near}/30", "dev", self._near_end)
        run("ip", "link", "set", self._near_end, "up")
        run("ip", "-n", self.name, "address", "add", f"{self.far}/30", "dev", self._far_end)
        run("ip", "-n", self.name, "link", "set", self._far_end, "up")
        run("ip", "-n", self.name, "link", "set", "lo", "up")

    def remove(self) -> None:
        """Remove the namespace, and the cable with it."""
        if self.name in run("ip", "netns", "list").split():
            run("ip", "netns", "delete", self.name)
        subprocess.run(["ip", "link", "delete", self._near_end], capture_output=True, check=False)

    def inside(self, *command: str) -> list[str]:
        """Arguments for Python that become a Python program in the namespace, as one process."""
        enter = ["ip", "netns", "exec", self.name]
        code = f"import os, sys; os.execvp('ip', [*{enter!r}, sys.executable, *sys.argv[1:]])"
        return ["-c", code, *command]

    def set_far_end(self, state: str) -> None:
        """Set the namespace's end up or down: down, its programs have no route any more."""
        run("ip", "-n", self.name, "link", "set", self._far_end, state)

    def set_near_end(self, state: str) -> None:
        """Set our end up or down: down, what the namespace sends goes nowhere, without a word."""
        run("ip", "link", "set", self._near_end, state)

    def limit(self, bytes_per_second: int) -> None:
        """Let only so much through to the namespace, with a queue of a quarter of a second."""
        run(
            *("tc", "qdisc", "add", "dev", self._near_end, "root", "tbf"),
            *("rate", f"{8 * bytes_per_second}bit", "burst", "16kb", "latency", "250ms"),
        )

    def queued(self) -> tuple[int, int]:
        """What passed the limit, in bytes, and how often a packet had to wait there."""
        shown = run("tc", "-s", "qdisc", "show", "dev", self._near_end)
        found = re.search(r"Sent (\d+) bytes .*overlimits (\d+)", shown)
        assert found is not None, shown
        return int(found[1]), int(found[2])


@contextmanager
def namespace() -> Iterator[Namespace]:
    """A namespace for one test."""
    made = Namespace()
    try:
        made.lay()
        yield made
    finally:
        made.remove()
