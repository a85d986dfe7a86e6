import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import psutil
import pytest

from sisock.testing import free_port, wait_until
from tests import forkserver
from tests.conftest import TOP

PREFIX = re.compile(r"\d\d:\d\d:\d\d (system|router|apex_archive|sensors|bridge) +\| ")


class Demo:
    """``make demo`` in a home folder of its own."""

    def __init__(self, folder, port, **variables):
        self.port = port
        self.environ = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("WAMP_", "CROSSBAR_"))},
            "SISOCK_HOME": str(folder / "home"),
            "CROSSBAR_TLS_PORT": str(port),
            "PORT": str(free_port()),
            **variables,
        }
        self.log = folder / "demo.log"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                ["make", "demo"],
                cwd=TOP,
                env=self.environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.children = []

    @property
    def output(self):
        return self.log.read_text(errors="replace")

    def wait_until_ready(self):
        def ready():
            assert self.process.poll() is None, self.output
            return any(line.startswith("ready: ") for line in self.output.splitlines())

        wait_until(ready, 90, f"the line ready: in {self.log}")
        self.children = psutil.Process(self.process.pid).children(recursive=True)

    def survivors(self):
        return [child for child in self.children if child.is_running() and alive(child)]

    def end(self):
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(60)


def alive(process):
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def command_of(process):
    """Words of a command line; none of a process that has ended."""
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:
        return []


@pytest.fixture
def start_demo():
    demos = []

    def start(port=None, folder=None, **variables):
        # A Unix socket's path has to be short, so not in tmp_path.
        folder = folder or Path(tempfile.mkdtemp(prefix="sisock-demo-"))
        demos.append(Demo(folder, port or free_port(), **variables))
        return demos[-1]

    yield start
    for demo in demos:
        demo.end()
        shutil.rmtree(demo.log.parent, ignore_errors=True)


def ask(demo, *words):
    return forkserver.run(["-m", "sisock.cli", *words], demo.environ, seconds=60)


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM])
def test_the_demo_serves_and_leaves_no_process(start_demo, by):
    demo = start_demo()
    demo.wait_until_ready()
    nodes = ask(demo, "nodes").stdout
    assert "apex_archive" in nodes
    assert "sensors" in nodes
    day = ["--from", "2017-07-15T00:00Z", "--to", "2017-07-16T00:00Z"]
    assert len(ask(demo, "get", "apex_archive", "apex_temperature", *day).stdout.splitlines()) == 25
    assert len(ask(demo, "get", "sensors", "cpu_percent", "--from", "-30s").stdout.splitlines()) > 1
    # As the terminal does with Ctrl-C, for the whole group; as a supervisor does, for make alone.
    send = os.killpg if by == signal.SIGINT else os.kill
    send(demo.process.pid, by)
    demo.process.wait(60)
    wait_until(lambda: not demo.survivors(), 30, "the end of all programs")
    assert "router stopped (rc=0)" in demo.output
    assert not [line for line in demo.output.splitlines() if line.rstrip().endswith("]")]
    assert len(demo.children) >= 6
    server, consumer = (
        Path(demo.environ["SISOCK_HOME"], "credentials", user).read_text().strip()
        for user in ("server", "consumer")
    )
    assert server not in demo.output
    # The page's link alone carries the consumers' secret, for its reader.
    assert [line[:7] for line in demo.output.splitlines() if consumer in line] == ["ready: "]


def test_the_log_names_programs_and_complains_of_none_that_starts(start_demo):
    demo = start_demo()
    demo.wait_until_ready()
    wait_until(lambda: re.search("bridge +[|] ", demo.output), 60, "the bridge's first line")
    wait_until(lambda: not waiting(demo), 30, "the end of the program that says ready:")
    lines = [line for line in demo.output.splitlines() if not line.startswith("make")]
    others = [line for line in lines if not PREFIX.match(line)]
    assert [line[:7] for line in others] == ["ready: ", " " * len("ready: ")]
    # The port is not the usual one, so the command needs it.
    assert f"try: CROSSBAR_TLS_PORT={demo.port} " in others[0]
    assert "cannot be reached" not in demo.output


def waiting(demo):
    """Commands of the demo's programs that wait for it to be ready."""
    children = psutil.Process(demo.process.pid).children(recursive=True)
    return [child for child in children if "--wait" in command_of(child)]


def test_the_link_encodes_a_secret_with_reserved_characters(start_demo):
    demo = start_demo()
    demo.end()
    demo.log.parent.joinpath("home/credentials").mkdir(parents=True, exist_ok=True)
    secret = "a+b&c=d%e #f/ü"
    demo.log.parent.joinpath("home/credentials/consumer").write_text(secret)
    again = start_demo(folder=demo.log.parent)
    again.wait_until_ready()
    line = next(line for line in again.output.splitlines() if line.startswith("ready: "))
    assert parse_qs(urlsplit(line.split()[1]).fragment) == {"secret": [secret]}


@pytest.mark.parametrize("setting", ["CROSSBAR_TLS_PORT", "PORT"])
def test_a_port_that_is_taken_is_named_in_one_clear_line(start_demo, setting):
    with socket.create_server(("", 0)) as other:
        port = other.getsockname()[1]
        demo = start_demo(**{setting: str(port)})
        assert demo.process.wait(60) != 0
    lines = [line for line in demo.output.splitlines() if not line.startswith("make")]
    assert len(lines) == 1, demo.output
    assert f"the port {port} cannot be used (Address already in use)" in lines[0]
    assert f"export {setting}={port + 1} " in lines[0]


def test_a_second_demo_in_the_same_home_says_that_one_runs(start_demo):
    first = start_demo()
    first.wait_until_ready()
    second = start_demo(folder=first.log.parent)
    assert second.process.wait(60) != 0
    assert "a router is already running in" in second.output
    assert "apex_archive" in ask(first, "nodes").stdout


@pytest.mark.parametrize("program", ["sensors.py", "sisock.router.launch", "weather.py"])
def test_a_program_that_dies_ends_the_demo_which_says_which_one(start_demo, program):
    demo = start_demo()
    demo.wait_until_ready()
    # Crossbar's command line names its folder, as it has become crossbar.
    sign = "crossbar" if program == "sisock.router.launch" else program
    name = {"sensors.py": "sensors", "weather.py": "apex_archive"}.get(program, "router")
    next(child for child in demo.children if sign in " ".join(command_of(child))).kill()
    assert demo.process.wait(60) != 0
    wait_until(lambda: not demo.survivors(), 30, "the end of all programs")
    assert f"{name} stopped (rc=" in demo.output


def test_no_secret_is_in_any_command_line(start_demo):
    demo = start_demo()
    demo.wait_until_ready()
    lines = [" ".join(command_of(child)) for child in demo.children]
    for user in ("server", "consumer"):
        secret = Path(demo.environ["SISOCK_HOME"], "credentials", user).read_text().strip()
        assert not [line for line in lines if secret in line]
