"""`sisock new` writes projects that work as they are."""

import subprocess
import sys

import pytest
import yaml

from sisock.cli.new import KINDS
from tests import forkserver
from tests.conftest import TOP

OF_CODE = [kind for kind in KINDS if kind != "files"]


def sisock(folder, *words):
    command = [sys.executable, "-m", "sisock.cli", *map(str, words)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)


@pytest.fixture(scope="module")
def projects(tmp_path_factory):
    """A folder with a project of each kind, named as it."""
    # With what systemd and TOML could misread.
    folder = tmp_path_factory.mktemp("my projects 100%")
    for kind in KINDS:
        done = sisock(folder, "new", f"my_{kind}", "--kind", kind)
        assert done.returncode == 0, done.stderr
    return folder


def test_the_tests_of_a_project_pass(projects):
    folders = [str(projects / f"my_{kind}") for kind in OF_CODE]
    plugins = ["-p", "sisock.pytest_plugin", "-p", "no:randomly", "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", "-q", *plugins, *folders]
    done = subprocess.run(command, cwd=projects, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stdout
    assert f"{2 * len(OF_CODE)} passed" in done.stdout


def test_the_unit_of_a_project_is_what_systemd_expects(projects):
    units = [str(projects / f"my_{kind}" / f"my_{kind}.service") for kind in KINDS]
    command = ["systemd-analyze", "verify", "--man=no", *units]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    ours = [line for line in done.stderr.splitlines() if "my_" in line]
    assert (done.returncode, ours) == (0, []), done.stderr


@pytest.mark.parametrize("kind", OF_CODE)
def test_the_toml_of_a_project_names_its_node(projects, kind):
    folder = projects / f"my_{kind}"
    done = forkserver.run(["-m", "sisock.cli", "node", str(folder / f"my_{kind}.py"), "--help"], {})
    assert done.returncode == 0, done.stderr
    assert f'[my_{kind}]\nprogram = "my_{kind}.py"' in (folder / "nodes.toml").read_text()


def test_the_compose_section_is_as_those_of_the_repository(projects):
    ours = yaml.safe_load((projects / "my_live" / "compose.yml").read_text())["services"]["my_live"]
    text = (TOP / "docker-compose.nodes.yml").read_text()
    theirs = yaml.safe_load(text)["services"]["sensors"]
    for key in ("user", "restart", "read_only", "tmpfs", "cap_drop", "security_opt", "volumes"):
        assert ours[key] == theirs[key], key
    assert ours["environment"].items() <= theirs["environment"].items()


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("My-Node", "lower-case letters"),
        ("import", "no keyword of Python"),
        ("numpy", "Python has a module 'numpy' already"),
        ("my_live", "exists already: nothing is overwritten"),
        ("../x", "'../x'"),
    ],
)
def test_a_name_that_cannot_be_used_is_one_sentence(projects, name, sentence):
    done = sisock(projects, "new", name)
    assert done.returncode == 1
    assert sentence in done.stderr
    assert len(done.stderr.splitlines()) == 1
