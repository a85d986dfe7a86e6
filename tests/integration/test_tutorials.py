"""The tutorials and guides work: each step of a program, each shell block marked to be run."""

import os
import shutil
import subprocess
import sys
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest

from sisock.testing import wait_until
from tests.conftest import TOP, wait_for_nodes
from tests.documents import blocks, page, pages, steps

TUTORIAL = TOP / "docs" / "tutorial"
sys.path.insert(0, str(TUTORIAL))
from step10 import test_a_disk_that_is_gone_costs_only_its_own_field, test_the_node_keeps_the_rules  # noqa: E402, F401 - the last step is a test

VENV = Path(sys.executable).parent
PROGRAMS = sorted(path for path in TUTORIAL.glob("step*.py") if "sisock.run(" in path.read_text())
GUIDES = [path for path in pages() if steps(path.read_text())]


@pytest.fixture
def computers(router, client, start, tmp_path):
    """All steps of the first node, each under the name of its file; and one without its disk."""
    folder = {"SISOCK_DATA": str(tmp_path)}
    for path in PROGRAMS:
        start(router, path, f"--name={path.stem}", **folder)
    start(router, TUTORIAL / "step07.py", "--name=lost", f"--folder={tmp_path / 'not-there'}")
    names = [path.stem for path in PROGRAMS]
    wait_for_nodes(client, *names, "lost")
    return names


def test_each_step_of_the_first_node_serves_its_fields(client, computers, tmp_path):
    assert computers == [f"step{number:02}" for number in range(1, 10)]
    for name in computers:
        fields = client.fields(name)
        expected = ["load", "free", "busy"][: 1 if name < "step03" else 2 if name < "step05" else 3]
        assert list(fields) == expected
        wait_until(lambda n=name, f=expected: all(map(len, client.latest(n, f).values())), 30, name)
    kept = client.fields("step09")
    assert kept["load"].limits["alarm"] == [None, 16]
    assert (kept["busy"].labels["1"], kept["free"].interval) == ("busy", 5)
    assert (kept["free"].timeline, kept["load"].timeline) == ("disk", "step09")
    assert (tmp_path / "step09").is_dir()

    def described():
        (text,) = [node.description for node in client.nodes() if node.name == "lost"]
        return "No such file or directory" in text

    wait_until(described, 30, "the trouble of the one without its disk")
    wait_until(lambda: len(client.latest("lost", "load")["load"]), 30, "its other field")


def test_each_step_is_in_the_text_and_adds_few_lines():
    text = page("first-node.md")
    counts = [len(path.read_text().splitlines()) for path in sorted(TUTORIAL.glob("step*.py"))]
    assert [f"{{step}} step{number:02}.py" in text for number in range(1, 11)] == [True] * 10
    assert len(counts) == 10
    assert all(after - before <= 16 for before, after in pairwise(counts[:9]))


@pytest.fixture
def shell(router, tmp_path):
    """Run bash in a folder of its own, as a user of the shared router would; or start it."""
    environ = {**router.environ(), "HOME": str(tmp_path), "SISOCK_DATA": str(tmp_path / "data")}
    environ["PATH"] = f"{VENV}:{environ['PATH']}"
    del environ["WAMP_USER"]
    for path in TUTORIAL.glob("*.py"):
        shutil.copy(path, tmp_path)
    started = []

    def run(code, in_background=False, may_fail=False):
        command = ["bash", "-euo", "pipefail", "-c", code]
        options = {"cwd": tmp_path, "env": environ, "start_new_session": True}
        if in_background:
            with open(tmp_path / "log", "ab") as log:
                started.append(subprocess.Popen(command, stdout=log, stderr=log, **options))
            return None
        told = subprocess.run(command, capture_output=True, text=True, timeout=60, **options)
        assert may_fail or told.returncode == 0, f"{code}\n{told.stdout}{told.stderr}"
        return told.stdout + told.stderr

    yield run
    for process in started:
        os.killpg(process.pid, 15)
        process.wait(20)


@pytest.mark.parametrize("path", GUIDES, ids=lambda path: path.name)
def test_the_commands_of_a_guide_work(path, shell, client):
    for how, argument, code in steps(path.read_text()):
        if how == "start":
            shell(code, in_background=True)
            wait_for_nodes(client, argument)
        else:
            run = partial(shell, code, may_fail=how == "try")
            wait_until(lambda r=run, a=argument: a in r(), 30, f"{argument!r} of {code}")


def test_the_services_are_what_systemd_wants(tmp_path):
    units = {}
    for text in blocks(page("long-running.md"), "ini"):
        name = Path(text.split(maxsplit=2)[1]).name
        (tmp_path / name).write_text(text.replace("/opt/sisock/.venv/bin", str(VENV)))
        units[name] = text
    assert len(units) == 3
    command = ["systemd-analyze", "verify", *(str(tmp_path / name) for name in units)]
    told = subprocess.run(command, capture_output=True, text=True)
    assert (told.returncode, told.stderr) == (0, "")


def test_all_shell_blocks_are_shell():
    for path in pages():
        for code in blocks(path.read_text(), "sh"):
            told = subprocess.run(["bash", "-n"], input=code, capture_output=True, text=True)
            assert told.returncode == 0, f"{path}:\n{code}\n{told.stderr}"
