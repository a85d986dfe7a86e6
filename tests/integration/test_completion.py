"""Shells complete commands, nodes and fields."""

import os
import subprocess
import sys
from pathlib import Path

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
        wait_until(lambda: client.fields("completed_node"), 40, "the fields")
        assert completions("sisock get completed_n") == ["completed_node"]
        assert completions("sisock get completed_node fi") == ["first_field"]


BASH = """
eval "$(sisock completion bash)"
COMP_LINE="sisock node weat" COMP_POINT=16 COMP_TYPE=9 COMP_KEY=9
COMP_WORDS=(sisock node weat) COMP_CWORD=2
$(complete -p sisock | grep -o '_[a-z_]*argcomplete') sisock weat node
echo "${COMPREPLY[*]}"
"""

# A shell in a terminal of its own, in which the tab key is pressed.
ZSH = r"""
zmodload zsh/zpty
zpty shell zsh -f -i
zpty -w shell 'autoload -Uz compinit; compinit -u -D; eval "$(sisock completion zsh)"; echo re""ady'
zpty -r shell said '*ready*'
zpty -w -n shell $'sisock node weat\t'
zpty -r shell said '*weather*'
zpty -d shell
print weather
"""

FISH = 'sisock completion fish | source; complete -C "sisock node weat"'


@pytest.mark.parametrize(("shell", "code"), [("bash", BASH), ("zsh", ZSH), ("fish", FISH)])
def test_each_shell_completes_by_the_code_for_it(shell, code, tmp_path):
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environ = {"PATH": path, "HOME": str(tmp_path), "TERM": "dumb"}
    command = [shell, *(["--no-config"] if shell == "fish" else []), "-c", code]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=100)
    assert done.stdout.strip() == "weather", done.stderr
