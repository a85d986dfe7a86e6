"""Containers that stop, die and start in the wrong order: the data come back by themselves."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sisock.testing import wait_until
from tests.compose.project import PATIENCE, SERVICES, Outside, Project

pytestmark = pytest.mark.timeout(1800)


@pytest.mark.parametrize("service", SERVICES)
def test_stopped_and_started(demo: tuple[Project, Outside], service: str) -> None:
    project, outside = demo
    project.compose("stop", "-t", "60", service)
    # Docker's own figure for a program that did not end when it was told to.
    assert project.inspect(service)["State"]["ExitCode"] != 137
    project.compose("start", service)
    outside.wait_for_data()
    project.wait_until_healthy(*SERVICES)


@pytest.mark.parametrize("service", SERVICES)
def test_killed(demo: tuple[Project, Outside], service: str) -> None:
    project, outside = demo
    before = project.inspect(service)["RestartCount"]
    project.signal(service, "KILL")
    wait_until(
        lambda: project.inspect(service)["RestartCount"] > before, PATIENCE, "a restart", every=0.2
    )
    outside.wait_for_data()
    project.wait_until_healthy(*SERVICES)


def test_the_process_with_the_hub_is_killed(demo: tuple[Project, Outside]) -> None:
    project, outside = demo
    kill_worker = (
        "import os, pathlib, signal\n"
        "for path in pathlib.Path('/proc').glob('[0-9]*/cmdline'):\n"
        "    pid = int(path.parent.name)\n"
        "    if b'crossbar.worker' in path.read_bytes() and pid != os.getpid():\n"
        "        os.kill(pid, signal.SIGKILL)\n"
        "        print('killed')\n"
    )
    assert "killed" in project.run_in("sisock-crossbar", "python", "-c", kill_worker)
    outside.wait_for_data()
    project.wait_until_healthy(*SERVICES)


def test_everything_restarts_at_once(demo: tuple[Project, Outside]) -> None:
    project, outside = demo
    project.compose("restart", "-t", "5", *SERVICES)
    outside.wait_for_data()
    project.wait_until_healthy(*SERVICES)


def test_the_worst_order(project: Callable[[str], tuple[Project, Outside]]) -> None:
    """Nodes before their credentials, before the router; the router last of all."""
    made, outside = project("order")
    for service in ("sensors", "weather", "sisock-http"):
        made.compose("up", "-d", "--no-deps", service)
    wait_until(
        lambda: made.inspect("sensors")["RestartCount"] > 0, PATIENCE, "a restart", every=0.2
    )
    made.compose("up", "-d", "--no-deps", "sisock-crossbar")
    made.compose("up", "-d", "--no-deps", "credentials")
    outside.wait_for_data()
    made.wait_until_healthy(*SERVICES)
    _assert_nothing_is_left(made)


def test_credentials_stay_when_it_is_made_anew(demo: tuple[Project, Outside]) -> None:
    project, outside = demo
    read = ("sh", "-c", "cat $SISOCK_HOME/credentials/server $SISOCK_HOME/tls/ca_cert.pem")
    before = project.run_in("weather", *read)
    project.compose("up", "-d", "--force-recreate", *SERVICES)
    outside.wait_for_data()
    project.wait_until_healthy(*SERVICES)
    assert project.run_in("weather", *read) == before


def _assert_nothing_is_left(project: Project) -> None:
    """`down -v` removes containers, networks and volumes."""
    from tests.compose.project import docker

    project.down()
    label = f"label=com.docker.compose.project={project.name}"
    for kind in (["ps", "-aq"], ["volume", "ls", "-q"], ["network", "ls", "-q"]):
        assert docker(*kind, "-f", label).strip() == ""
