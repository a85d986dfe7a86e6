"""Grafana: run for real where its image can be had, and else what it would be given, as files."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from sisock.testing import wait_until
from tests.compose.project import JULY, TOP, Outside, Project

pytestmark = pytest.mark.timeout(1800)

GRAFANAS = {"grafana": "default", "grafana-latest": "latest"}
"""Service to the folder of its provisioning."""


@pytest.mark.parametrize("service", GRAFANAS)
def test_grafana_shows_the_samples(demo: tuple[Project, Outside], service: str) -> None:
    project, outside = demo
    settings = yaml.safe_load((TOP / "docker-compose.yml").read_text())["services"][service]
    given = _given_files(settings, project.folder)
    assert given["/etc/grafana/provisioning"] == TOP / "grafana/provisioning" / GRAFANAS[service]
    for source in _sources(given["/etc/grafana/provisioning"]):
        # The address that Grafana is told, asked from within its network.
        assert source["url"] == "http://${SISOCK_BRIDGE}:5000"
        default = settings["environment"]["SISOCK_BRIDGE"].partition(":-")[2].rstrip("}")
        address = f"http://{default}:5000/readyz"
        script = f"import urllib.request as r; print(r.urlopen('{address}').status)"
        assert project.run_in("weather", "python", "-c", script).strip() == "200"
    home = Path(settings["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    local = given["/etc/grafana/dashboards"] / home.relative_to("/etc/grafana/dashboards")
    assert json.loads(local.read_text())["panels"]
    # As uid 472 Grafana can read its password, and whoever else has no such volume.
    look = ("run", "--rm", "--no-deps", "-T", "credentials", "ls", "-l", "/credentials/grafana")
    # docker-compose 1.29 may attach too late to a container that ends at once: its output is lost.
    listed = wait_until(
        lambda: next((text for text in [project.compose(*look)] if "total" in text), ""),
        120,
        "a look at Grafana's credentials",
    )
    assert "-rw-r--r--" in listed and "admin_password" in listed
    if _can_be_had(settings["image"]):
        _run_it(project, outside, service)


def _given_files(settings: dict[str, Any], folder: Path) -> dict[str, Path]:
    """Target in the container to the folder that is mounted there, for bind mounts."""
    mounts = [text.split(":") for text in settings["volumes"] if text.startswith("./")]
    assert all(rest == ["ro"] for _, _, *rest in mounts)
    assert all((folder / source).is_dir() for source, _, _ in mounts)
    return {target: (TOP / source).resolve() for source, target, _ in mounts}


def _sources(provisioning: Path) -> list[dict[str, Any]]:
    text = (provisioning / "datasources" / "sisock.yml").read_text()
    return yaml.safe_load(text)["datasources"]


def _can_be_had(image: str) -> bool:
    try:
        pulled = subprocess.run(["docker", "pull", "-q", image], capture_output=True, timeout=600)
    except subprocess.TimeoutExpired:
        return False
    return pulled.returncode == 0


def _run_it(project: Project, outside: Outside, service: str) -> None:
    project.compose("--profile", "latest", "up", "-d", "--no-deps", service)
    grafana = Outside(f"{outside.address.split(':')[0]}:{_published_port(project, service)}")

    def answers() -> bool:
        try:
            return grafana.ask("/api/health")["database"] == "ok"
        except (OSError, ValueError, KeyError):
            return False

    wait_until(answers, 300, f"{service} ready", every=1)
    found = {each["uid"] for each in grafana.ask("/api/search?type=dash-db")}
    assert {"sisock-weather", "sisock-machine"} <= found
    uid = {"grafana": "sisock", "grafana-latest": "sisock-json"}[service]
    body = {"range": JULY, "targets": [{"target": "apex_archive::apex_temperature"}]}

    def has_samples() -> bool:
        try:
            (series,) = grafana.ask(f"/api/datasources/proxy/uid/{uid}/query", body)
        except OSError:  # the plugin is not there yet
            return False
        return len(series["datapoints"]) == 24

    wait_until(has_samples, 300, "samples through Grafana", every=1)
    project.compose("--profile", "latest", "rm", "-sf", service)


def _published_port(project: Project, service: str) -> str:
    (port,) = project.inspect(service)["NetworkSettings"]["Ports"]["3000/tcp"]
    return port["HostPort"]
