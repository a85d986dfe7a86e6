"""HAProxy before two bridges, with the very file that docs/explanation/scale.md shows."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path
from types import TracebackType

from sisock.testing import free_port, wait_until
from tests.conftest import TOP

CONFIGURATION = TOP / "docs/haproxy.cfg"


class Balancer:
    """HAProxy as a process, which listens at `port`; `bridges` are the ports of two bridges."""

    def __init__(self, bridges: tuple[int, int], log: Path) -> None:
        self.port = free_port()
        names = "SISOCK_BALANCER", "SISOCK_BRIDGE_1", "SISOCK_BRIDGE_2"
        ports = self.port, *bridges
        given = {name: f"127.0.0.1:{port}" for name, port in zip(names, ports, strict=True)}
        path = os.environ["PATH"] + ":/usr/sbin"
        with open(log, "wb") as output:
            self._process = subprocess.Popen(
                ["haproxy", "-db", "-f", str(CONFIGURATION)],
                env={"PATH": path, **given},
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        wait_until(self._is_listening, 40, "HAProxy")

    def _is_listening(self) -> bool:
        with socket.socket() as link:
            return link.connect_ex(("127.0.0.1", self.port)) == 0

    def __enter__(self) -> Balancer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.wait()
