"""Shells complete commands, nodes and fields."""

import subprocess

import pytest

from sisock.testing import serve_node, wait_until
from tests import forkserver
from tests.integration.test_testing import Pushed


class Completed(Pushed):
    name = "completed_node"
    fields = {"first_field": {}, "second_field": {}}


@pytest.fixture
def completions(router, tmp_path):
    """Ask as a shell does: with the line so far, in variables."""

    def ask(line):
        variables = {
            **router.environ(),
            "_ARGCOMPLETE": "1",
            "_ARGCOMPLETE_IFS": "\n",
            "_ARGCOMPLETE_STDOUT_FILENAME": str(tmp_path / "answer"),
            "COMP_LINE": line,
            "COMP_POINT": str(len(line)),
            "COMP_TYPE": "9",
        }
        done = forkserver.run(["-m", "sisock.cli"], variables)
        assert done.stderr == ""
        return [word.strip() for word in (tmp_path / "answer").read_text().split("\n")]

    return ask


def test_commands_and_own_nodes_are_completed(completions):
    assert {"nodes", "node"} <= set(completions("sisock no"))
    assert completions("sisock node weat") == ["weather"]
    assert "--max-points" in completions("sisock get x y --max")


def test_nodes_and_fields_are_completed(completions, router):
    with serve_node(router, Completed()) as client:
        wait_until(lambda: client.fields("completed_node"), 10, "the fields")
        assert completions("sisock get completed_n") == ["completed_node"]
        assert completions("sisock get completed_node fi") == ["first_field"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_code_is_printed_for_each_shell(shell, router):
    done = forkserver.run(["-m", "sisock.cli", "completion", shell], router.environ())
    assert "sisock" in done.stdout
    if shell == "bash":
        checked = subprocess.run(["bash", "-n"], input=done.stdout, text=True, capture_output=True)
        assert checked.returncode == 0, checked.stderr
