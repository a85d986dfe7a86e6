"""Servers that a test starts, stops and starts again; and what the documents say of a node."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

from sisock.testing import wait_until
from tests.documents import as_programs, page


class Server:
    """A server of the system in a process of its own: its command is found in `folders`, too."""

    folders = "/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin"

    def __init__(
        self, command: list[Any], log: Path, is_ready: Any, user: str | None = None
    ) -> None:
        program = shutil.which(command[0], path=self.folders)
        assert program, f"{command[0]} is missing: run tests/install-system-packages"
        self._command, self._log, self._is_ready = [program, *map(str, command[1:])], log, is_ready
        # One that is not root cannot become another, and need not.
        self._user = user if os.geteuid() == 0 else None
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it is ready."""
        with open(self._log, "ab") as log:
            outputs = {"stdout": log, "stderr": log}
            self._process = subprocess.Popen(self._command, user=self._user, **outputs)
        wait_until(self._ready, 180, f"{self._command[0]} is ready: see {self._log}")

    def _ready(self) -> bool:
        assert self._process and self._process.poll() is None, self._log.read_text()
        try:
            return self._is_ready() is not False
        except (OSError, ConnectionError):
            return False

    def wait(self) -> None:
        """Wait until it ends by itself."""
        if self._process is not None:
            assert self._process.wait(60) == 0, self._log.read_text()

    def stop(self) -> None:
        """Ask it to end, at once."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(60)
            self._process = None

    def kill(self) -> None:
        """Kill it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(60)
            self._process = None


def peak(process: Any) -> int:
    """Return the bytes that a process ever had, mapped files and its start among them."""
    (line,) = re.findall(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process.pid}/status").read_text())
    return int(line) * 1024


def documented_flags(name: str) -> set[str]:
    """Return the flags in the table of docs/how-to/sources/NAME.md."""
    text = page(f"{name}.md")
    return set(re.findall(r"^\| `(--[a-z-]+)", text, re.MULTILINE))


def own_flags(node: Any) -> set[str]:
    """Return the flags of a node's class."""
    parser = argparse.ArgumentParser(add_help=False)
    node.add_arguments(parser)
    return set(re.findall(r"^  (--[a-z-]+)", parser.format_help(), re.MULTILINE))


def example(name: str) -> str:
    """Return the first command in docs/how-to/sources/NAME.md, on one line."""
    text = as_programs(page(f"{name}.md"))
    block = re.search(r"```(?:sh|bash)\n(.*?)```", text, re.DOTALL)
    assert block, "there is no example"
    return re.sub(r"\\\n\s*", " ", block[1]).strip()
