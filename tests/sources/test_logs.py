"""Numbers and states in text logs, through the rotation of Debian's logrotate."""

import itertools
import os
import re
import subprocess
import sys
from datetime import UTC, datetime

import pytest

from sisock.errors import SisockError
from sisock.testing import wait_until
from tests.conftest import TOP
from tests.documents import as_programs, page
from tests.sources.conftest import check

sys.path.insert(0, str(TOP / "data_nodes"))
from logs import Logs

T = 1_767_225_600.0
PAGE = as_programs(page("logs.md"))
PATTERNS = [r"pressure=(?P<pressure>\S+) bar", r"valve (?P<valve>\w+)"]

numbers = itertools.count()


@pytest.fixture
def log(tmp_path):
    folder = tmp_path / "logs"
    folder.mkdir()
    return folder / "pump.log"


def make(log, **flags):
    given = {"pattern": PATTERNS, "time": None, "time_format": None, "zone": "UTC", "config": None}
    flags = {**given, **flags}
    if flags["time"] is None:
        flags["time"] = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d+"
    node = Logs(log, **flags)
    node.name = f"logs{next(numbers)}"
    node.prepare()
    return node


def line(i):
    time = f"{datetime.fromtimestamp(T + i, UTC):%Y-%m-%d %H:%M:%S},250"
    says = [f"pressure={i / 10:.2f} bar ok", "valve " + ["open", "shut"][i // 2 % 2]][i % 2]
    return f"{time} INFO pump: {says}\n{time} DEBUG nothing\n  Traceback\n"


def write(log, start, stop):
    with open(log, "a") as file:
        file.write("".join(line(i) for i in range(start, stop)))


def samples(node, field):
    t, values = node.read(field, 0, 1e12)
    return t.tolist(), values.tolist()


def wait_for(node, wanted):
    """Wait until these are the samples."""
    wait_until(lambda: samples(node, "pressure")[1] == wanted, 60, f"{len(wanted)} samples")


def rotate(log, *options):
    configuration = log.parent.with_name("logrotate.conf")
    body = "\n".join(["rotate 5", *options])
    configuration.write_text(f'su\n"{log}" {{\n{body}\n}}\n'.replace("su\n", ""))
    configuration.chmod(0o600)
    state = log.parent.with_name("logrotate.state")
    log.parent.chmod(0o755)
    subprocess.run(
        ["/usr/sbin/logrotate", "--force", "--state", str(state), str(configuration)], check=True
    )


def test_each_named_group_is_a_field_of_numbers_or_texts(log):
    write(log, 0, 6)
    node = make(log)
    entries = node.list_fields(1, 0)
    assert {name: about["type"] for name, about in entries.items()} == {
        "pressure": "number",
        "valve": "string",
    }
    assert samples(node, "pressure") == ([T + i + 0.25 for i in (0, 2, 4)], [0, 0.2, 0.4])
    assert samples(node, "valve") == ([T + i + 0.25 for i in (1, 3, 5)], ["open", "shut", "open"])


@pytest.mark.parametrize("options", [["create"], ["copytruncate"], ["compress"], ["dateext"]])
def test_no_line_is_lost_or_read_twice_when_the_log_is_rotated(log, options):
    write(log, 0, 100)
    node, changes = make(log), []
    node.samples_changed = lambda: changes.append(1)
    # Names with a date in them would be the same within a day.
    turns = 1 if "dateext" in options else 3
    for turn in range(1, turns + 1):
        wanted = [i / 10 for i in range(0, turn * 100, 2)]
        wait_for(node, wanted)
        rotate(log, *options)
        write(log, turn * 100, turn * 100 + 100)
        assert samples(node, "pressure")[1][: len(wanted)] == wanted
    wanted = [i / 10 for i in range(0, (turns + 1) * 100, 2)]
    wait_for(node, wanted)
    assert changes == []


def test_times_without_a_year_are_of_the_last_one(log):
    text = "Dec 31 23:59:59 pressure=1 bar\nJan  1 00:00:01 pressure=2 bar\n"
    log.write_text(text)
    os.utime(log, (T + 2, T + 2))
    node = make(log, time=r"\w{3} [ \d]\d \d\d:\d\d:\d\d", time_format="%b %d %H:%M:%S")
    assert samples(node, "pressure") == ([T - 1, T + 1], [1, 2])


def test_a_log_that_is_not_there_or_has_nothing_is_said_until_it_has(log):
    node = make(log)
    assert node.list_fields(1, 0) == {}
    assert node.trouble.endswith("it does not exist yet, or has no line")
    for text in ("no number\n", "pressure=1 bar\n"):
        log.write_text(text)
        wait_until(lambda: not node.list_fields(1, 0) and "a match of" in node.trouble, 60, text)
    write(log, 0, 2)
    wait_until(lambda: node.list_fields(1, 0), 60, "the log")
    assert node.trouble is None
    with pytest.raises(SisockError, match="named groups"):
        make(log, pattern=["pressure"])


def test_whatever_is_asked_for_is_what_the_log_has(log):
    write(log, 0, 1000)
    check(lambda: make(log))


def test_the_document_has_an_example_and_the_options_of_the_program(log, tmp_path):
    (example,) = re.findall(r"```log\n(.*?)```", PAGE, re.DOTALL)
    log.write_text(example)
    (command,) = re.findall(r"```sh\npython (.*?)```", PAGE, re.DOTALL)
    run = {"cwd": TOP, "capture_output": True, "text": True, "check": True}
    environ = {"SISOCK_CACHE": str(tmp_path / "cache"), "PATH": os.environ["PATH"]}
    command = command.strip().replace("/var/log/pump.log", str(log))
    said = subprocess.run(
        f"{sys.executable} {command} --check", shell=True, env=environ, **run
    ).stdout
    assert said == re.findall(r"```text\n(.*?)```", PAGE, re.DOTALL)[0]
    said = subprocess.run([sys.executable, "data_nodes/logs.py", "--help"], **run).stdout
    own = set(re.findall(r"^  (--[a-z-]+)", said, re.MULTILINE)) - {
        *("--router", "--log-level", "--name", "--description", "--replica", "--check")
    }
    assert set(re.findall(r"^\| `(--[a-z-]+)", PAGE, re.MULTILINE)) == own
