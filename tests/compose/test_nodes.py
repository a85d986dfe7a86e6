"""A data node of docker-compose.nodes.yml, in a network of its own, as on another computer."""

from __future__ import annotations

from pathlib import Path

import pytest

from sisock.testing import wait_until
from tests.compose.project import PATIENCE, TOP, Outside, Project

pytestmark = pytest.mark.timeout(1800)


def test_a_node_on_another_computer(
    demo: tuple[Project, Outside], tree: Path, gateway: str, tmp_path: Path
) -> None:
    project, outside = demo
    home = tmp_path / "sisock-home"
    project.copy_home(home)
    far = project.on_another_computer(
        tree, "far", "docker-compose.nodes.yml", gateway, SISOCK_HOME=str(home)
    )
    try:
        far.compose("up", "-d")
        far.wait_until_healthy("sensors")
        outside.wait_for_samples("sensors_2::load_1min")
        assert "sensors_2" in project.run_in("sisock-http", "sisock", "nodes")
        far.compose("stop")
        wait_until(
            lambda: "sensors_2" not in project.run_in("sisock-http", "sisock", "nodes"),
            PATIENCE,
            "its absence",
            every=0.5,
        )
    finally:
        far.down()


TICKER = """
import sisock


class Ticker(sisock.LiveNode):
    fields = {"x": {}}

    def read(self):
        return {"x": 1}


sisock.run(Ticker)
"""

NODES = """
[site_ticker]
program = "ticker.py"

[site_sensors]
program = "sensors"
"""


def test_the_nodes_of_a_file_run_in_one_container(
    demo: tuple[Project, Outside], tree: Path
) -> None:
    project, outside = demo
    site = tree / "site"
    site.mkdir()
    (site / "ticker.py").write_text(TICKER)
    (site / "nodes.toml").write_text(NODES)
    file = "/site/nodes.toml"
    said = project.compose("run", "--rm", "nodes", "sisock", "serve", "--check", file)
    assert "node site_ticker: 1 field" in said
    try:
        project.compose("up", "-d", "nodes")
        project.wait_until_healthy("nodes")
        for field in ("site_ticker::x", "site_sensors::load_1min"):
            outside.wait_for_samples(field)
        assert "site_ticker" in project.run_in("nodes", "sisock", "status", file)
    finally:
        project.compose("rm", "-sf", "nodes")


def test_it_says_what_is_missing(demo: tuple[Project, Outside], tree: Path) -> None:
    project, _ = demo
    tag = project.variables["SISOCK_TAG"]
    far = Project(tree, f"{project.name}-none", tag, "docker-compose.nodes.yml")
    assert "must be the name of the router's computer" in far.compose("config", check=False)


def test_a_section_of_ones_own_is_ten_lines() -> None:
    lines = (TOP / "docker-compose.nodes.yml").read_text().splitlines()
    own = lines[next(i for i, line in enumerate(lines) if "my-node:" in line) :]
    own = own[: own.index("")]
    assert 0 < len(own) <= 10
