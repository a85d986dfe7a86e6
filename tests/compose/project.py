"""A copy of this tree, run by docker-compose under names of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import Any

from sisock.testing import wait_until

TOP = Path(__file__).parent.parent.parent

SERVICES = ("sisock-crossbar", "sisock-http", "weather", "sensors")
"""All without a profile, but for Grafana, whose image is not ours."""

PATIENCE = 300.0
"""Seconds within which all must be right again; Docker itself waits longer after each restart."""

JULY = {"from": "2017-07-14T00:00:00.000Z", "to": "2017-07-15T00:00:00.000Z"}

COMPOSE = (
    ["docker", "compose"]
    if subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode
    == 0
    else ["docker-compose"]
)


def docker(*words: str, check: bool = True) -> str:
    """Run docker; returns what it printed, errors too."""
    return _run(["docker", *words], {}, TOP, check)


def _run(command: list[str], variables: dict[str, str], folder: Path, check: bool) -> str:
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **variables},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=1500,
        check=False,
    )
    text = done.stdout.decode(errors="replace")
    assert done.returncode == 0 or not check, f"{' '.join(command)}:\n{text[-5000:]}"
    return text


def copy_tree(target: Path) -> None:
    """Copy what git would commit."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=TOP,
        capture_output=True,
        check=True,
    ).stdout.decode()
    for name in filter(None, listed.split("\0")):
        if (TOP / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(TOP / name, target / name)


class Project:
    """One compose project.

    Parameters
    ----------
    folder : Path
        With the compose files.
    name : str
        Of the project, its network and (with `tag`) its images.
    file : str
        The compose file.
    variables : dict
        Further environment of docker-compose.
    """

    def __init__(
        self, folder: Path, name: str, tag: str, file: str = "docker-compose.yml", **variables: str
    ) -> None:
        self.folder, self.name, self._file = folder, name, file
        self.variables = {
            "COMPOSE_PROJECT_NAME": name,
            "SISOCK_NETWORK": f"{name}-net",
            "SISOCK_TAG": tag,
            "COMPOSE_INTERACTIVE_NO_CLI": "1",
            **variables,
        }

    def compose(self, *words: str, check: bool = True, **variables: str) -> str:
        """Run docker-compose."""
        return _run(
            [*COMPOSE, "-f", self._file, *words],
            {**self.variables, **variables},
            self.folder,
            check,
        )

    def run_in(self, service: str, *command: str, check: bool = True) -> str:
        """Run a command in a service's container."""
        return docker("exec", self.container(service), *command, check=check)

    def container(self, service: str) -> str:
        """Id of a service's container, also when it does not run."""
        label = f"label=com.docker.compose.service={service}"
        project = f"label=com.docker.compose.project={self.name}"
        return docker("ps", "-aq", "--no-trunc", "-f", label, "-f", project).strip()

    def inspect(self, service: str) -> Any:
        """What Docker knows of a service's container."""
        return json.loads(docker("inspect", self.container(service)))[0]

    def signal(self, service: str, signal: str) -> None:
        """Send a signal to a service's program, as the kernel would, not as its user."""
        pid = self.inspect(service)["State"]["Pid"]
        command = ["sh", "-c", f"kill -{signal} {pid}"]
        image = f"sisock-node:{self.variables['SISOCK_TAG']}"
        docker("run", "--rm", "--pid=host", "--user=root", image, *command)

    def wait_until_healthy(self, *services: str) -> None:
        """Wait until Docker calls these services healthy."""
        for service in services:
            wait_until(
                lambda service=service: (
                    self.container(service) != ""
                    and self.inspect(service)["State"].get("Health", {}).get("Status") == "healthy"
                ),
                PATIENCE,
                f"{service} healthy",
                every=0.5,
            )

    def copy_home(self, home: Path) -> None:
        """Copy a data node's secret and CA into a new folder, as docs/how-to/docker.md says."""
        home.mkdir()
        pack = ["docker", "exec", self.container("weather"), "tar", "-c", "-C", "/var/lib/sisock"]
        packed = subprocess.run([*pack, "."], capture_output=True, check=True).stdout
        unpack = ["tar", "-x", "--no-same-owner", "-C", str(home)]
        subprocess.run(unpack, input=packed, check=True)

    def on_another_computer(
        self, folder: Path, suffix: str, file: str, host: str, **variables: str
    ) -> Project:
        """Return a project in its own network, whose nodes join this project's router at `host`."""
        return Project(
            folder,
            f"{self.name}-{suffix}",
            self.variables["SISOCK_TAG"],
            file,
            CROSSBAR_HOST=host,
            CROSSBAR_TLS_PORT=self.variables["CROSSBAR_TLS_PORT"],
            SISOCK_UID=str(os.getuid()),
            **variables,
        )

    def down(self) -> None:
        """Remove everything that the project made."""
        self.compose("down", "-v", "--remove-orphans", "-t", "2")


class Outside:
    """Asks the bridge as Grafana would, from outside of the containers."""

    def __init__(self, address: str) -> None:
        self.address = address

    def ask(self, path: str, body: Any = None) -> Any:
        """One request; returns the decoded answer."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://{self.address}{path}", data)
        request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read())

    def query(self, target: str, begin: str | None = None, end: str | None = None) -> list[Any]:
        """Samples of one target, as ``[value, milliseconds]``; by default of the last minute."""
        now = time.time()
        body = {
            "range": {"from": begin or _iso(now - 60), "to": end or _iso(now)},
            "intervalMs": 1000,
            "maxDataPoints": 5000,
            "targets": [{"target": target, "refId": "A", "type": "timeserie"}],
        }
        (series,) = self.ask("/query", body)
        return series["datapoints"]

    def weather(self) -> list[Any]:
        """The 24 hourly samples of a day in 2017, from the archive's node."""
        return self.query("apex_archive::apex_temperature", JULY["from"], JULY["to"])

    def wait_for_samples(self, target: str) -> None:
        """Wait until a target has samples of the last minute."""

        def has_come() -> bool:
            try:
                return bool(self.query(target))
            except (OSError, ValueError):  # the bridge does not know the node yet
                return False

        wait_until(has_come, PATIENCE, f"samples of {target}", every=0.5)

    def wait_for_data(self) -> None:
        """Wait until the archive's samples and new ones of the live node come through."""
        since = time.time() * 1000

        def is_back() -> bool:
            try:
                live = self.query("sensors::load_1min")
                return len(self.weather()) == 24 and bool(live) and live[-1][1] > since
            except (OSError, ValueError):
                return False

        wait_until(is_back, PATIENCE, "samples of both nodes through the bridge", every=0.5)


def _iso(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(seconds))
