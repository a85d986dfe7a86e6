"""A real OCS site: a crossbar of its own, and the registry, fake-data and aggregator agents."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ocs

from sisock.testing import free_port, wait_until
from tests.sources.processes import Server

TEMPLATE = Path(ocs.__file__).parent / "support" / "crossbar_config.json"

AGENTS: dict[str, tuple[list[str], list[str]]] = {
    "registry": (["-m", "ocs.agents.registry.agent"], ["--wait-time", "2"]),
    "fake1": (
        ["-m", "ocs.agents.fake_data.agent"],
        ["--mode", "acq", "--sample-rate", "20", "--frame-length", "2"],
    ),
    "aggregator": (
        ["-m", "ocs.agents.aggregator.agent"],
        ["--initial-state", "record", "--time-per-file", "5"],
    ),
    "mixed": ([str(Path(__file__).with_name("ocs_agent.py"))], []),
}
"""What Python runs as an agent, and its flags."""


class Site:
    """A site in a folder, none of whose processes runs yet; `archive` is where `.g3` files go."""

    def __init__(self, folder: Path) -> None:
        self.port, self.archive = free_port(), folder / "hk"
        self.url = f"ws://127.0.0.1:{self.port}/ws"
        # Crossbar of 2026 wants 12 bytes or more.
        text = TEMPLATE.read_text().replace('"auto_ping_size": 4', '"auto_ping_size": 12')
        names = {"realm": "test_realm", "address_root": "observatory", "port": self.port}
        for name, value in names.items():
            text = text.replace(f"{{{name}}}", str(value))
        cbdir, file = folder / "crossbar", folder / "site.yaml"
        cbdir.mkdir()
        (cbdir / "config.json").write_text(text)
        file.write_text(json.dumps(self._configuration(folder)))
        program = Path(sys.executable).with_name("crossbar")
        command = [program, "start", "--cbdir", cbdir, "--loglevel", "warn"]
        self.crossbar = Server(command, folder / "crossbar.log", self._answers)
        self.agents = {}
        for name, (program, _) in AGENTS.items():
            flags = ["--instance-id", name, "--site-file", file, "--site-host", "localhost"]
            command = [sys.executable, *program, *flags]
            self.agents[name] = Server(command, folder / f"{name}.log", lambda: None)

    def _configuration(self, folder: Path) -> dict[str, Any]:
        hub = {
            **{"wamp_server": self.url, "wamp_http": f"http://127.0.0.1:{self.port}/call"},
            **{"wamp_realm": "test_realm", "address_root": "observatory"},
        }
        instances = []
        for name, (_, flags) in AGENTS.items():
            more = ["--data-dir", str(self.archive)] if name == "aggregator" else []
            instances.append({"instance-id": name, "arguments": [*flags, *more]})
        localhost = {"agent-instances": instances, "crossbar_timeout": 600}
        return {"hub": hub, "hosts": {"localhost": localhost}}

    def _answers(self) -> None:
        socket.create_connection(("127.0.0.1", self.port), timeout=1).close()

    def kill_crossbar(self) -> None:
        """Kill the router, and wait until its worker has noticed."""
        self.crossbar.kill()

        def is_silent() -> bool:
            try:
                self._answers()
            except OSError:
                return True
            return False

        wait_until(is_silent, 60, "the end of crossbar's worker", every=0.1)

    def files(self) -> list[Path]:
        """Return the `.g3` files there are."""
        return sorted(self.archive.rglob("*.g3"))


@contextmanager
def running_site(folder: Path) -> Iterator[Site]:
    """Run a site with all its agents."""
    site = Site(folder)
    try:
        site.crossbar.start()
        for agent in site.agents.values():
            agent.start()
        yield site
    finally:
        for agent in site.agents.values():
            agent.kill()
        site.kill_crossbar()
