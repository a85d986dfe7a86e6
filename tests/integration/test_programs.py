"""The programs that `sisock` becomes."""

import pytest

from tests import forkserver


@pytest.fixture
def sisock(router):
    environ = router.environ()
    return lambda *words: forkserver.run(["-m", "sisock.cli", *words], environ)


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
