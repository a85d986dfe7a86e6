"""`sisock status` without a file: what runs; and the programs that `sisock` becomes."""

import json

import pytest

from sisock.testing import free_port, wait_until
from tests import forkserver
from tests.conftest import wait_for_nodes

STALE = """
import sisock


class Rare(sisock.LiveNode):
    \"\"\"A node whose samples are stale soon.\"\"\"

    interval = 0.5
    fields = {"x": {"stale_after": 0.001}, "y": {"timeline": "other"}}

    def read(self):
        return {"x": 1, "y": 2}


sisock.run(Rare)
"""


@pytest.fixture
def sisock(router):
    environ = {**router.environ(), "PORT": str(free_port()), "SISOCK_HTTP_TOKEN": "t"}

    def run(*words):
        return forkserver.run(["-m", "sisock.cli", *map(str, words)], environ)

    run.environ = environ
    return run


def test_status_shows_each_part_and_the_age_of_each_node(sisock, client, start, router):
    start(router, "-m", "sisock.cli", "node", "weather", "--name", "status_weather")
    port = sisock.environ["PORT"]
    bridge = start(router, "-m", "sisock.cli", "bridge", PORT=port, SISOCK_HTTP_TOKEN="t")
    wait_for_nodes(client, "status_weather")
    last = lambda: client.fields("status_weather")["apex_temperature"].last  # noqa: E731
    wait_until(last, 30, "the last sample's time")
    bridge.wait_for("joined the router")
    # The bridge is ready once it has the list of nodes, too.
    wait_until(lambda: sisock("status").returncode == 0, 30, "all to be well")
    done = sisock("status")
    rows = [line.split() for line in done.stdout.splitlines()]
    assert ["bridge", "ok", f"http://127.0.0.1:{port}"] in rows
    (row,) = (row for row in rows if row[:1] == ["status_weather"])
    assert row[1:3] == ["ok", "5"]
    assert row[4] == "years"


def test_a_stale_node_is_named_and_status_fails(sisock, client, start, router, tmp_path):
    (tmp_path / "rare.py").write_text(STALE)
    start(router, "-m", "sisock.cli", "node", tmp_path / "rare.py", "--name", "rare")
    wait_for_nodes(client, "rare")
    wait_until(lambda: client.fields("rare")["x"].last, 40, "a sample")
    done = sisock("status", "--json")
    assert done.returncode == 1
    assert "problems with: rare" in done.stderr
    (rare,) = (node for node in json.loads(done.stdout)["nodes"] if node["part"] == "rare")
    assert rare["text"] == "stale: x"
    parts = {part["part"]: part["is_well"] for part in json.loads(done.stdout)["parts"]}
    assert parts == {"router": True, "hub": True, "bridge": None}


def test_node_says_which_there_are(sisock):
    assert "\n  weather\n" in sisock("node", "--help").stdout
    assert "--directory" in sisock("node", "weather", "--help").stdout
    failed = sisock("node", "none.py")
    assert failed.returncode == 1
    assert "there is no none.py; the ready-made nodes are epics," in failed.stderr


@pytest.mark.parametrize("program", ["router", "hub", "bridge", "demo"])
def test_each_program_has_help_of_its_own(sisock, program):
    done = sisock(program, "--help")
    assert done.returncode == 0
    assert done.stdout.startswith("usage: ")
