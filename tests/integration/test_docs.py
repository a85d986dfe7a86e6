"""The documents are true: their nodes run, and every setting and command is in them."""

import re
import subprocess
import sys

import pytest

from sisock.cli.main import make_parser
from tests.conftest import TOP, wait_for_nodes
from tests.documents import blocks, page

README = (TOP / "README.md").read_text()


def nodes_in(text):
    return [block for block in blocks(text, "python") if "sisock.run(" in block]


NODES = [
    pytest.param(block, id=re.search(r'name = "(\w+)"', block)[1])
    for block in [*nodes_in(README), *nodes_in(page("data-nodes.md"))]
]


def test_there_are_nodes_in_the_documents():
    assert len(NODES) == 3


@pytest.mark.parametrize("block", NODES)
def test_a_documented_node_passes_its_own_check_and_serves(router, client, start, block, tmp_path):
    program = tmp_path / "documented.py"
    program.write_text(block)
    name = re.search(r'name = "(\w+)"', block)[1]
    checked = subprocess.run(
        [sys.executable, program, "--check"], capture_output=True, text=True, timeout=60
    )
    assert checked.returncode == 0, checked.stderr
    assert checked.stdout.startswith(f"node {name}: ")
    start(router, program)
    wait_for_nodes(client, name)
    field = next(iter(client.fields(name)))
    client.get(name, field)


def test_the_node_of_the_readme_has_ten_lines():
    (block,) = nodes_in(README)
    body = block.partition("if __name__")[0]
    assert len([line for line in body.splitlines() if line.strip()]) <= 10


def test_every_setting_and_every_command_is_documented():
    names = ("installation.md", "settings.md", "grafana.md", "docker.md")
    text = README + "".join(map(page, names))
    programs = [*TOP.glob("*.py"), *TOP.glob("sisock/**/*.py")]
    sources = "".join(path.read_text() for path in programs)
    settings = set(re.findall(r'"((?:CROSSBAR|WAMP|SISOCK)_[A-Z_]+|LOGLEVEL|PORT|BIND)"', sources))
    assert len(settings) >= 15
    assert not [name for name in settings if name not in text]
    listed = re.findall(r"^    (\w+)  ", make_parser().format_help(), re.MULTILINE)
    commands = [name for name in listed if name != "COMMAND"]
    assert len(commands) >= 7
    assert not [name for name in commands if f"sisock {name}" not in text and name != "fields"]


def test_every_variable_of_the_compose_files_is_documented():
    manual = page("docker.md")
    for path in TOP.glob("docker-compose*.yml"):
        lines = path.read_text().splitlines()
        told = manual + "".join(line for line in lines if line.startswith("#"))
        used = set(re.findall(r"\$\{(\w+)", path.read_text()))
        assert used and not [name for name in used if name not in told], path


def test_the_dependencies_are_the_ones_that_were_tried():
    from importlib.metadata import version

    assert int(version("crossbar").partition(".")[0]) >= 26
    assert int(version("autobahn").partition(".")[0]) >= 26
    assert int(version("twisted").partition(".")[0]) >= 26
    assert int(version("flask").partition(".")[0]) >= 3
