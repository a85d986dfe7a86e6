"""What the containers serve, and what each of them may."""

from __future__ import annotations

import pytest
import yaml

from sisock.testing import wait_until
from tests.compose.project import JULY, PATIENCE, SERVICES, TOP, Outside, Project

pytestmark = pytest.mark.timeout(1800)

PRIVATE = {
    "sisock-crossbar": {"credentials/server", "credentials/consumer", "tls/server_key.pem"},
    "sisock-http": {"credentials/consumer"},
    "weather": {"credentials/server"},
    "sensors": {"credentials/server"},
}
"""Files that only the service's own user may read."""


def test_the_bridge_answers_what_grafana_asks(demo: tuple[Project, Outside]) -> None:
    _, outside = demo
    outside.wait_for_data()
    assert outside.ask("/readyz")
    names = outside.ask("/search", {"target": ""})
    assert "apex_archive::apex_temperature" in names and "sensors::cpu_percent" in names
    values = [value for value, _ in outside.weather()]
    assert len(values) == 24 and all(-30 < value < 30 for value in values if value is not None)
    annotation = {"annotation": {"name": "n", "query": "nodes"}, "range": JULY}
    assert isinstance(outside.ask("/annotations", annotation), list)


def test_programs_are_confined(demo: tuple[Project, Outside]) -> None:
    project, _ = demo
    for service in SERVICES:
        assert project.run_in(service, "id", "-u").strip() == "1000"
        refused = project.run_in(service, "sh", "-c", "touch /opt/sisock/x", check=False)
        assert "Read-only file system" in refused
        status = project.run_in(service, "cat", "/proc/1/status")
        assert "CapEff:\t0000000000000000" in status
        assert "NoNewPrivs:\t1" in status
        host = project.inspect(service)["HostConfig"]
        assert host["LogConfig"]["Config"] == {"max-file": "3", "max-size": "10m"}
        assert host["RestartPolicy"]["Name"] == "unless-stopped"


def test_each_service_sees_only_its_own_secrets(demo: tuple[Project, Outside]) -> None:
    project, _ = demo
    for service, expected in PRIVATE.items():
        listed = project.run_in(
            service, "sh", "-c", "cd $SISOCK_HOME && find . -type f -perm 600 | sed 's,^./,,'"
        )
        assert set(listed.split()) == expected
        all_files = project.run_in(service, "sh", "-c", "find $SISOCK_HOME -type f")
        assert "ca_key" not in all_files and "tls/ca_cert.pem" in all_files
        written = project.run_in(service, "sh", "-c", "touch $SISOCK_HOME/x", check=False)
        assert "Read-only file system" in written


def test_nodes_are_small(demo: tuple[Project, Outside]) -> None:
    project, _ = demo
    script = "import crossbar"
    assert "No module named" in project.run_in("weather", "python", "-c", script, check=False)
    assert "No module named" in project.run_in(
        "weather", "python", "-c", "import flask", check=False
    )
    for service in SERVICES:
        assert (
            "No module named"
            in project.run_in(service, "/opt/venv/bin/python", "-m", "setuptools", check=False)
            or service == "sisock-crossbar"
        )
        found = project.run_in(service, "sh", "-c", "command -v gcc make npm || echo none")
        assert found.strip().endswith("none") or _is_of_the_base_image(project, service, found)


def _is_of_the_base_image(project: Project, service: str, found: str) -> bool:
    """A stand-in base image has a node of its own; our stages must not have brought it."""
    return "/opt/venv" not in found and "gcc" not in found


def test_the_command_line_works_inside(demo: tuple[Project, Outside]) -> None:
    project, _ = demo
    answer = project.run_in("sisock-http", "sisock", "doctor")
    assert "BAD" not in answer
    assert "hub: 2 data nodes" in answer


def test_the_certificate_carries_the_names(demo: tuple[Project, Outside]) -> None:
    project, outside = demo
    gateway = outside.address.partition(":")[0]
    for host in ("localhost", "sisock-crossbar", "router.example.org", gateway):
        script = (
            "import socket, ssl\n"
            "context = ssl.create_default_context(cafile='/var/lib/sisock/tls/ca_cert.pem')\n"
            "plain = socket.create_connection(('sisock-crossbar', 8080), 10)\n"
            f"context.wrap_socket(plain, server_hostname='{host}').close()\n"
            "print('accepted')\n"
        )
        assert "accepted" in project.run_in("weather", "python", "-c", script)


def test_health_is_what_the_program_says(demo: tuple[Project, Outside]) -> None:
    project, outside = demo
    ask = ("python", "-m", "sisock.connection.health")

    def wait_for(service: str, text: str) -> None:
        said = lambda: project.run_in(service, *ask, check=False)  # noqa: E731
        wait_until(lambda: text in said(), PATIENCE, f"{text} as the health of {service}")

    for service in ("sisock-crossbar", "weather", "sensors"):
        wait_for(service, "ok")
    project.signal("weather", "STOP")
    wait_for("weather", "no answer")
    project.signal("weather", "CONT")
    # Not its first process, but the one that has the hub in it.
    script = "kill -{} $(grep -l crossbar[.]worker /proc/[0-9]*/cmdline | cut -d/ -f3 | head -1)"
    project.run_in("sisock-crossbar", "sh", "-c", script.format("STOP"))
    wait_for("sisock-crossbar", "no answer")
    project.run_in("sisock-crossbar", "sh", "-c", script.format("CONT"))
    outside.wait_for_data()
    project.compose("stop", "-t", "5", "sisock-crossbar")
    wait_for("weather", "router")
    project.compose("start", "sisock-crossbar")
    outside.wait_for_data()
    project.wait_until_healthy(*SERVICES)


def test_by_default_nothing_is_reachable_from_elsewhere(demo: tuple[Project, Outside]) -> None:
    project, _ = demo
    profiles = "--profile", "latest", "--profile", "scale"
    text = project.compose(*profiles, "config", SISOCK_BIND="")
    services = yaml.safe_load(text[text.index("networks:") :])["services"]
    published = [port for service in services.values() for port in service.get("ports", ())]
    assert len(published) == 5
    for port in published:  # a text from docker-compose 1.29, a mapping from later ones
        assert (
            port.startswith("127.0.0.1:")
            if isinstance(port, str)
            else port["host_ip"] == "127.0.0.1"
        )


def test_no_image_is_built_by_two_services() -> None:
    services = yaml.safe_load((TOP / "docker-compose.yml").read_text())["services"].values()
    built = [service["image"] for service in services if "build" in service]
    assert len(built) == len(set(built)) == 4
    own = {service["image"] for service in services if service["image"].startswith("sisock-")}
    assert own == set(built)
