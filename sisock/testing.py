"""For tests, also those of node authors: a check of one node, and a real router in a folder."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sisock.connection.settings import Home, Settings, load_settings
from sisock.node.check import check_node as check_node
from sisock.router.configuration import DEFAULT_CONFIGURATION, load_configuration
from sisock.router.credentials import make_certificates, make_credentials
from sisock.router.launch import SECRET_VARIABLES, crossbar_command, prepare, write_configuration
from sisock.wire.protocol import USER_CONSUMER

STARTUP = 60
"""Seconds that a router may take to start, on a busy machine."""


def free_port() -> int:
    """A TCP port of loopback that nobody uses."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def wait_until(condition: Callable[[], Any], seconds: float, what: str, every: float = 0.02) -> Any:
    """Poll until a condition holds, and return its value.

    Parameters
    ----------
    condition : callable
        Holds if it returns something true.
    seconds : float
        How long it may take.
    what : str
        What is waited for, for the error.
    every : float
        Seconds between polls.

    Raises
    ------
    TimeoutError
        Naming what was waited for.
    """
    end = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > end:
            raise TimeoutError(f"{what} did not happen within {seconds:g} s")
        time.sleep(every)
    return value


class RouterProcess:
    """A Crossbar router of its own, with our configuration, in a temporary home folder.

    Needs the repository's ``.crossbar`` and ``hub.py`` and the extra ``router``.

    Parameters
    ----------
    hub : bool
        Load the hub into the router, as the configuration does.
    configuration : Path
        Crossbar's, if not the one of this project.
    plain : bool
        Start Crossbar itself, without what sisock adds to its process.
    """

    def __init__(
        self,
        hub: bool = True,
        configuration: Path = DEFAULT_CONFIGURATION,
        plain: bool = False,
    ) -> None:
        # Not pytest's tmp_path: a Unix socket's path has to be short.
        self.home = Home(Path(tempfile.mkdtemp(prefix="sisock-")))
        self.port = free_port()
        self._hub = hub
        self._configuration = configuration
        self._plain = plain
        self._process: subprocess.Popen | None = None
        make_credentials(self.home)
        make_certificates(self.home)

    @property
    def pid(self) -> int:
        """Process id of the router's controller."""
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> str:
        """What the router has logged so far."""
        return (self.home.path / "router.log").read_text(errors="replace")

    def environ(self, user: str = USER_CONSUMER, use_socket: bool = False) -> dict[str, str]:
        """Variables with which a program finds this router."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("WAMP_", "CROSSBAR_"))}
        return {
            **kept,
            "SISOCK_HOME": str(self.home.path),
            "SISOCK_CACHE": str(self.home.path / "cache"),
            "CROSSBAR_HOST": "localhost",
            "CROSSBAR_TLS_PORT": str(self.port),
            "WAMP_USER": user,
            **({"CROSSBAR_SOCKET": str(self.home.router_socket)} if use_socket else {}),
        }

    def settings(self, user: str = USER_CONSUMER, use_socket: bool = False) -> Settings:
        """Settings with which a client finds this router."""
        return load_settings(user, environ=self.environ(user, use_socket))

    def start(self) -> RouterProcess:
        """Start it and wait until it listens."""
        environ = {k: v for k, v in os.environ.items() if k not in SECRET_VARIABLES}
        variables = prepare(self.home, self._configuration, self.port, environ)
        if not self._hub:
            configuration = load_configuration(self._configuration, self.port)
            del configuration["workers"][0]["components"]
            write_configuration(self.home, configuration)
        command = crossbar_command(self.home, "warn")
        if self._plain:
            command[:3] = [str(Path(sys.executable).with_name("crossbar"))]
        with open(self.home.path / "router.log", "ab") as log:
            self._process = subprocess.Popen(
                command,
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        wait_until(self._listens, STARTUP, "the start of the router")
        return self

    def _listens(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise RuntimeError(f"the router ended:\n{self.log}")
        for family, address in (
            (socket.AF_INET, ("127.0.0.1", self.port)),
            (socket.AF_UNIX, str(self.home.router_socket)),
        ):
            with socket.socket(family) as probe:
                if probe.connect_ex(address) != 0:
                    return False
        return True

    def stop(self, with_signal: int = signal.SIGINT) -> None:
        """End it, and its worker."""
        if self._process is not None:
            self._process.send_signal(with_signal)
            self._process.wait(20)
            wait_until(lambda: not self._group_lives(), 20, "the end of the router's worker")
            self._process = None

    def _group_lives(self) -> bool:
        assert self._process is not None
        try:
            os.killpg(self._process.pid, 0)
        except ProcessLookupError:
            return False
        return True

    def __enter__(self) -> RouterProcess:
        return self.start()

    def __exit__(self, *_: Any) -> None:
        try:
            self.stop()
        finally:
            shutil.rmtree(self.home.path, ignore_errors=True)
