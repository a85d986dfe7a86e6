"""The programs of data_nodes/ explain themselves, also where what they need is not installed."""

import subprocess
import sys
from pathlib import Path

import pytest

from sisock.connection.settings import require
from sisock.errors import SisockError

PROGRAMS = sorted((Path(__file__).parents[2] / "data_nodes").glob("[a-z]*.py"))


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: path.stem)
def test_each_program_has_help(program):
    asked = subprocess.run([sys.executable, program, "--help"], capture_output=True, text=True)
    assert asked.returncode == 0, asked.stderr
    assert "--name" in asked.stdout


def test_what_is_missing_is_said_with_how_to_install_it():
    with pytest.raises(SisockError, match=r"no_such_module is missing: .* 'sisock\[tables\]'"):
        require("no_such_module", "tables")
    require("numpy", "tables")
