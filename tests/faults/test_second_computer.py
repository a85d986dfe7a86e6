"""The guide "Nodes on other computers": another network, and a folder with what was exported."""

import pytest

from sisock.cli.main import main
from sisock.client.client import Client
from sisock.testing import wait_until
from tests.conftest import TOP, wait_for_nodes


@pytest.fixture
def exported(far_router, monkeypatch, tmp_path):
    """A folder with what was exported for a node."""
    monkeypatch.setenv("SISOCK_HOME", str(far_router.home.path))
    main(["certs", "--export", f"server={tmp_path / 'sisock-home'}"])
    return tmp_path / "sisock-home"


def test_a_node_on_another_computer_is_served_and_doctor_content(far_router, far, exported, start):
    environ = {
        **{"SISOCK_HOME": str(exported), "CROSSBAR_HOST": far.near},
        "HOME": str(exported.parent),
    }
    node = start(far_router, *far.inside(str(TOP / "docs/tutorial/step01.py")), **environ)
    with Client(far_router.settings()) as client:
        wait_for_nodes(client, "computer")
        wait_until(lambda: len(client.get("computer", "load")["load"]), 30, "its samples")
    doctor = start(far_router, *far.inside("-m", "sisock.cli", "doctor"), **environ)
    assert doctor.wait(60) == 0, doctor.output
    assert "router: joined" in doctor.output and "hub: 1 data node," in doctor.output
    assert "BAD" not in doctor.output
    assert node.process.poll() is None
