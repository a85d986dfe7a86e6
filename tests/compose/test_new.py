"""The container of a project that `sisock new` wrote."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sisock.cli.new import KINDS
from tests.compose.project import Outside, Project, docker

pytestmark = pytest.mark.timeout(1800)


@pytest.fixture(scope="session")
def written(images: str, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return the folder of a new project of a kind, on the images of these tests."""
    folder = tmp_path_factory.mktemp("projects")

    def write(kind: str) -> Path:
        command = [sys.executable, "-m", "sisock.cli", "new", f"my_{kind}", "--kind", kind]
        subprocess.run(command, cwd=folder, check=True, timeout=300)
        file = folder / f"my_{kind}" / "Dockerfile"
        file.write_text(file.read_text().replace("FROM sisock-node", f"FROM sisock-node:{images}"))
        return file.parent

    return write


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "live"])
def test_the_compose_section_of_a_project_is_valid(
    written: Callable[[str], Path], images: str, kind: str
) -> None:
    far = Project(written(kind), f"{images}-{kind}", images, "compose.yml", CROSSBAR_HOST="a")
    assert f"my_{kind}" in far.compose("config", "--services").split()


def test_a_project_runs_as_a_container_as_it_was_written(
    demo: tuple[Project, Outside], written: Callable[[str], Path], gateway: str
) -> None:
    project, outside = demo
    folder = written("live")
    (folder / "my_live.py").chmod(0o600)  # as with a strict umask
    project.copy_home(folder / "sisock-home")
    far = project.on_another_computer(folder, "new", "compose.yml", gateway)
    try:
        far.compose("up", "-d", "--build")
        far.wait_until_healthy("my_live")
        outside.wait_for_samples("my_live::value")
        assert "running" in far.run_in("my_live", "sisock", "status", "/site/nodes.toml")
    finally:
        far.down()
        docker("rmi", "-f", f"{far.name}_my_live", f"{far.name}-my_live", check=False)
