"""How far a long ``sisock get`` has come, on a pseudo-terminal as a user has it."""

import fcntl
import json
import os
import pty
import re
import select
import subprocess
import sys
import termios
import time

import pytest

from sisock.cli.output import progress_line
from sisock.client.data import Progress
from tests.conftest import wait_for_nodes
from tests.nodes import ROWS, START

ALL = ["--from", START, "--to", START + ROWS / 1000]
# Less than the samples' spacing, so all come; but the node reads anew for each of the windows.
EACH_WINDOW_READ = ["--min-stride", "0.0005"]


@pytest.fixture
def slow_disk(router, client, start, tmp_path):
    """A node that is stuck before the third window as long as there is a file ``stuck``."""
    name = "cli_slow_disk"
    start(router, "tests/nodes.py", "slow_disk", "--name", name, STUCK=str(tmp_path / "stuck"))
    wait_for_nodes(client, name)
    return name


class Terminal:
    """The command on a pseudo-terminal, as a user has it; only what it prints goes elsewhere."""

    def __init__(self, router, *words):
        self.master, slave = pty.openpty()
        self.text = ""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "sisock.cli", *map(str, words)],
            env=router.environ(),
            stdin=slave,
            stdout=subprocess.DEVNULL,
            stderr=slave,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(slave)

    def read_until(self, text, seconds=60):
        """Read what comes until it holds `text`."""
        end = time.monotonic() + seconds
        while text not in self.text:
            assert time.monotonic() < end, f"no {text!r} in {self.text!r}"
            assert self.read(), f"it ended without {text!r}: {self.text!r}"

    def read(self):
        """Read what comes; False at the end."""
        if not select.select([self.master], [], [], 60)[0]:
            raise TimeoutError(self.text)
        try:
            self.text += os.read(self.master, 65536).decode()
        except OSError:  # of a terminal whose last user has gone
            return False
        return True

    def end(self):
        """Read to the end; gives the exit status."""
        while self.read():
            pass
        os.close(self.master)
        return self.process.wait(60)

    def screen(self):
        """The lines as they stand in the end, the cursor's last."""
        lines, column = [""], 0
        for character in self.text:
            if character == "\n":
                lines.append("")
            elif character == "\r":
                column = 0
            else:
                lines[-1] = lines[-1][:column] + character + lines[-1][column + 1 :]
                column += 1
        return [line.rstrip() for line in lines]


def test_a_long_get_tells_its_progress_on_one_line_and_removes_it(router, slow_disk, tmp_path):
    output = tmp_path / "out.json"
    words = ["get", slow_disk, "f8", "i4", *ALL, *EACH_WINDOW_READ, "--json", "-o", output]
    terminal = Terminal(router, *words)
    status = terminal.end()
    assert status == 0, terminal.text
    told = re.findall(r"\r *(\d+)%[^\r]* \S+/\S+ \[\S+, \S+ samples/s\]", terminal.text)
    percents = [int(each) for each in told]
    assert len(set(percents)) >= 2
    assert percents == sorted(percents)
    assert percents[-1] == 100
    assert "\n" not in terminal.text
    assert terminal.screen() == [""]
    assert len(json.loads(output.read_text())["f8"]["values"]) == ROWS


def test_an_interrupted_get_writes_no_file(router, slow_disk, tmp_path):
    output, stuck = tmp_path / "out.json", tmp_path / "stuck"
    stuck.touch()
    terminal = Terminal(router, "get", slow_disk, "f8", *ALL, *EACH_WINDOW_READ, "-o", output)
    terminal.read_until("samples/s")
    os.write(terminal.master, b"\x03")
    assert terminal.end() == 130
    assert not output.exists()
    stuck.unlink()


def test_a_failure_stands_on_a_line_of_its_own(router, slow_disk, tmp_path):
    folder = tmp_path / "none" / "x"
    terminal = Terminal(router, "get", slow_disk, "f8", *ALL, *EACH_WINDOW_READ, "-o", folder)
    assert terminal.end() == 1
    assert "samples/s" in terminal.text
    assert terminal.screen() == [f"sisock: {folder}: No such file or directory", ""]


def test_no_progress_is_told_of_what_takes_less_than_a_second():
    master, slave = pty.openpty()
    with os.fdopen(master, "rb", 0) as screen, os.fdopen(slave, "w") as out:
        with progress_line(out) as show:
            for fraction in (0.0, 0.5, 1.0):
                show(Progress(int(1000 * fraction), fraction))
        assert not select.select([screen], [], [], 0)[0]


def test_no_progress_is_told_where_errors_go_to_a_file(router, slow_disk, tmp_path):
    words = ["get", slow_disk, "f8", *ALL, *EACH_WINDOW_READ, "-o", tmp_path / "x", "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "sisock.cli", *map(str, words)],
        env=router.environ(),
        capture_output=True,
        timeout=110,
    )
    assert (done.returncode, done.stderr, done.stdout) == (0, b"", b"")
