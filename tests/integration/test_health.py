"""What programs say of themselves on the socket of SISOCK_HEALTH."""

import os
import signal
import socket
import subprocess
import sys

import pytest

from sisock.connection.health import ask_figures
from sisock.testing import RouterProcess, wait_until
from tests.conftest import TOP, wait_for_nodes


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "health.sock")


def check(path):
    """The health check of a container: its status and what it prints."""
    done = subprocess.run(
        [sys.executable, "-m", "sisock.connection.health"],
        env={**os.environ, "SISOCK_HEALTH": path},
        cwd=TOP,
        capture_output=True,
        text=True,
        timeout=30,
    )
    return done.returncode, done.stdout.strip()


def test_a_node_is_well_while_consumers_can_find_it(own_router, start, path):
    program = start(own_router, "data_nodes/sensors.py", "--name", "healthy", SISOCK_HEALTH=path)
    wait_until(lambda: ask_figures(path)[0] == "ok", 30, "a healthy node")
    assert check(path) == (0, "ok")
    own_router.stop()
    wait_until(lambda: ask_figures(path)[0] != "ok", 30, "a node that knows of its trouble")
    status, said = check(path)
    assert status == 1
    assert "router" in said
    program.signal(signal.SIGSTOP)
    assert "no answer" in ask_figures(path)[0]


def test_a_node_without_a_place_in_the_list_is_not_well(router, client, start, path):
    start(router, "data_nodes/sensors.py", "--name", "same_name")
    wait_for_nodes(client, "same_name")
    second = start(router, "data_nodes/sensors.py", "--name", "same_name", SISOCK_HEALTH=path)
    second.wait_for("another program serves")
    assert "not in the hub's list" in ask_figures(path)[0]


def test_the_hub_in_the_router_asks_itself(path, monkeypatch):
    monkeypatch.setenv("SISOCK_HEALTH", path)
    with RouterProcess():
        wait_until(lambda: ask_figures(path)[0] == "ok", 30, "a healthy hub")
    assert "no answer" in ask_figures(path)[0]


def test_the_socket_of_a_run_that_was_killed_is_no_hindrance(router, start, path):
    with socket.socket(socket.AF_UNIX) as left_over:
        left_over.bind(path)
    start(router, "data_nodes/sensors.py", "--name", "second_run", SISOCK_HEALTH=path)
    wait_until(lambda: ask_figures(path)[0] == "ok", 30, "a healthy node")


def test_a_socket_that_cannot_be_made_ends_the_program_with_a_sentence(router, start):
    program = start(router, "data_nodes/sensors.py", SISOCK_HEALTH="/nonexistent/health.sock")
    assert program.wait() == 1
    assert "which SISOCK_HEALTH names" in program.output


def test_without_the_variable_the_check_says_so():
    status, said = check("")
    assert status == 1
    assert "SISOCK_HEALTH must name" in said


def test_a_second_program_leaves_the_socket_to_the_first(router, start, path):
    start(router, "data_nodes/sensors.py", "--name", "first_here", SISOCK_HEALTH=path)
    wait_until(lambda: ask_figures(path)[0] == "ok", 30, "a healthy node")
    second = start(router, "data_nodes/sensors.py", "--name", "guest", SISOCK_HEALTH=path)
    second.wait_for("is in the hub's list")
    second.signal(signal.SIGTERM)
    assert second.wait() == 0
    assert ask_figures(path)[0] == "ok"
