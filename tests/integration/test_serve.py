"""`sisock serve` and `sisock status`: the nodes of a file, each in a process of its own."""

import os
import re
import signal
import subprocess
import sys

import psutil
import pytest

from sisock.cli.main import main
from sisock.cli.serve import load_nodes, status_socket
from sisock.connection.health import ask_figures
from sisock.errors import SettingsError
from sisock.testing import wait_until
from tests.conftest import TOP, wait_for_absence, wait_for_nodes

TICKER = '''
import sisock


class Ticker(sisock.LiveNode):
    """Counts."""

    interval = 0.1
    fields = {"count": {}}

    @classmethod
    def add_arguments(cls, parser):
        parser.add_argument("--first", type=int, default=0)
        parser.add_argument("--loud", action="store_true")

    def __init__(self, first, loud):
        self.count = first
        if loud:
            print("I am loud", flush=True)

    def read(self):
        self.count += 1
        return {"count": self.count}


sisock.run(Ticker)
'''

BROKEN = """
import subprocess, sys

if "--check" not in sys.argv:
    # It outlives the node, and holds its output open.
    subprocess.Popen(["sleep", "60"])
raise SystemExit("the instrument is not plugged in")
"""

TICKER_SECTION = """
[served_ticker]
program = "ticker.py"
first = 1000
loud = true
"""

NODES = f"""{TICKER_SECTION}
[served_never]
program = "broken.py"

[served_sensors]
program = "sensors"
"""


@pytest.fixture
def file(tmp_path):
    """A file of two good nodes and one that cannot start, and their programs."""
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "ticker.py").write_text(TICKER)
    (folder / "broken.py").write_text(BROKEN)
    (folder / "nodes.toml").write_text(NODES)
    return folder / "nodes.toml"


@pytest.fixture
def sisock(router):
    """Run the command."""

    def run(*words, **variables):
        return subprocess.run(
            [sys.executable, "-m", "sisock.cli", *map(str, words)],
            cwd=TOP,
            env={**router.environ(), **variables},
            capture_output=True,
            text=True,
            timeout=60,
        )

    return run


def test_a_program_without_its_suffix_is_found_out(file):
    file.write_text('[x]\nprogram = "ticker"')
    with pytest.raises(SettingsError, match=r"'ticker' \(did you mean 'ticker.py'\?\)"):
        load_nodes(file)


@pytest.fixture
def serve(router, start, file):
    """Start `sisock serve` of the file; it and its nodes are ended with the test."""
    programs = []

    def begin(**variables):
        programs.append(start(router, "-m", "sisock.cli", "serve", file, **variables))
        return programs[-1]

    yield begin
    for process in [process for program in programs for process in children(program)]:
        process.kill()


@pytest.fixture
def states(router, file):
    """How the nodes are now, as `sisock status` hears it."""
    return lambda: ask_figures(str(status_socket(router.home, file)))[1]


def children(program):
    is_there = program.process.poll() is None
    return psutil.Process(program.process.pid).children(recursive=True) if is_there else []


def test_nodes_are_kept_running_and_status_says_how_they_are(sisock, serve, states, client, file):
    program = serve(SISOCK_HEALTH=str(file.with_name("health")))
    wait_for_nodes(client, "served_ticker", "served_sensors")
    program.wait_for("served_ticker | I am loud")

    def counts():
        return client.get("served_ticker", "count", "-1min")["count"].values

    wait_until(lambda: len(counts()), 40, "a sample")
    assert counts()[0] > 1000

    def is_counted():
        every = states()
        assert "no answer" not in (every["served_never"]["error"] or "")
        is_waiting = re.fullmatch(r"\w+, again in \d+ s", every["served_never"]["state"])
        return is_waiting and every["served_ticker"]["samples_per_second"] and every

    every = wait_until(is_counted, 60, "a count of samples, and a restart", every=0.2)
    assert {name for name, state in every.items() if state["is_well"]} == {
        "served_ticker",
        "served_sensors",
    }
    assert 0 < every["served_ticker"]["samples_per_second"] < 100
    assert every["served_ticker"]["memory"] > 1e7
    assert every["served_never"]["error"] == "status 1: the instrument is not plugged in"
    assert "served_never: status 1: the instrument" in ask_figures(str(file.with_name("health")))[0]
    done = sisock("status", file)
    assert done.returncode == 1
    assert "problems with: served_never" in done.stderr
    assert re.search(r"served_ticker +running .* MB +\d+\.\d\d +\d.* s ago", done.stdout), (
        done.stdout
    )

    os.kill(every["served_ticker"]["pid"], signal.SIGKILL)

    def is_back():
        state = states()["served_ticker"]
        is_new = state["pid"] != every["served_ticker"]["pid"]
        return is_new and state["is_well"] and state

    again = wait_until(is_back, 60, "the node after its end", every=0.2)
    assert again["error"] == "ended by signal 9"
    wait_for_nodes(client, "served_ticker")
    # The others have not noticed.
    assert states()["served_sensors"]["pid"] == every["served_sensors"]["pid"]
    assert "run already" in sisock("serve", file).stderr

    def pids_of_good_ones():
        pids = [state["pid"] for state in states().values() if state["is_well"]]
        return pids if len(pids) == 2 else None

    pids = wait_until(pids_of_good_ones, 60, "both good nodes to be well", every=0.2)
    assert [os.getsid(pid) for pid in pids] == pids, "Ctrl-C reaches the supervisor alone"
    program.signal(signal.SIGTERM)
    assert program.wait() == 0
    assert not [pid for pid in pids if psutil.pid_exists(pid)]
    wait_for_absence(client, "served_ticker", "served_sensors")
    done = sisock("status", file)
    assert done.returncode == 1
    assert "is not running" in done.stderr


def test_a_second_signal_kills_a_node_that_does_not_end(serve, file):
    (file.parent / "ticker.py").write_text(
        "import signal, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: print('I stay', flush=True))\n"
        "print('I am there', flush=True)\n"
        "time.sleep(600)"
    )
    file.write_text(TICKER_SECTION)
    program = serve()
    program.wait_for("served_ticker | I am there")
    (node,) = children(program)
    program.signal(signal.SIGTERM)
    program.wait_for("served_ticker | I stay")
    program.signal(signal.SIGTERM)
    assert program.wait() == 0
    assert not node.is_running()


def test_nodes_end_when_the_supervisor_is_killed(serve, file):
    file.write_text(TICKER_SECTION)
    program = serve()
    program.wait_for("served_ticker | I am loud")
    (node,) = children(program)
    program.signal(signal.SIGKILL)
    wait_until(lambda: not node.is_running(), 30, "the end of the node")


def test_nodes_are_started_again_when_nobody_reads_the_log(router, file, states):
    file.write_text(NODES)
    command = [sys.executable, "-m", "sisock.cli", "serve", file]
    # Too few open files for all three nodes.
    limited = ["bash", "-c", 'ulimit -n 24; exec "$@"', "-", *command]
    process = subprocess.Popen(limited, cwd=TOP, env=router.environ(), stderr=subprocess.PIPE)
    try:
        process.stderr.read(1)
        process.stderr.close()

        def is_failing_on():
            state = states().get("served_never", {}).get("state", "")
            return re.fullmatch(r"restarting, again in [3-8] s", state)

        wait_until(is_failing_on, 60, "a third start", every=0.2)
        assert len(states()) == 3
    finally:
        process.terminate()
        process.wait()


def test_check_tries_all_nodes_without_a_router(sisock, file):
    environ = {"CROSSBAR_HOST": "192.0.2.1"}
    file.write_text(NODES.partition("[served_sensors]")[0])
    done = sisock("serve", "--check", file, **environ)
    assert done.returncode == 1
    assert "something is wrong with served_never" in done.stderr
    assert "the instrument is not plugged in" in done.stderr
    assert "[served_ticker]\nI am loud\nnode served_ticker: 1 field" in done.stdout
    file.write_text(TICKER_SECTION)
    done = sisock("serve", "--check", file, **environ)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('[a]\nprogram = "sensors"\nport = \n', "line 3"),
        ("", "names no node"),
        ('program = "sensors"', "[program]: it must be a section"),
        ("[a]\nport = 1", "[a]: it must be a section with a key program"),
        ("[a]\nprogram = 1", "[a]: it must be a section with a key program"),
        ('[a]\nprogram = "nothing"', "the ready-made nodes are "),
        ('[a]\nprogram = "../x.py"', "[a]: there is no "),
        ('["a b"]\nprogram = "sensors"', "[a b]: "),
        ('[a.b]\nprogram = "sensors"', "[a]: it must be a section"),
        pytest.param('[a]\nprogram = "' + "a" * 5000 + '"', "File name too long", id="long"),
        pytest.param("a = " + "[" * 5000, "nodes.toml: ", id="deep"),
        ('[a]\nprogram = "sensors"\nname = "b"', "[a]: 'name' cannot be a flag"),
        ('[a]\nprogram = "sensors"\n"-o x" = "b"', "[a]: '-o x' cannot be a flag"),
        ('[a]\nprogram = "sensors"\nport = {x = 1}', "[a]: port must be text, a number"),
        ('[a]\nprogram = "sensors"\nport = 2020-01-01', "[a]: port must be text, a number"),
    ],
)
def test_an_error_in_the_file_names_line_or_key(tmp_path, text, sentence):
    file = tmp_path / "nodes.toml"
    file.write_text(text)
    with pytest.raises(SettingsError) as error:
        load_nodes(file)
    assert sentence in str(error.value)
    assert str(error.value).startswith(str(file))


def test_what_a_section_says_are_the_flags_of_its_program(tmp_path):
    file = tmp_path / "nodes.toml"
    file.write_text(
        '[a]\nprogram = "sensors"\nport = "-x y"\nrate = 2.5\nfast = true\nslow = false\n'
        'field = ["b", 3]\n'
    )
    assert load_nodes(file)["a"][2:] == [
        "--name=a",
        "--port=-x y",
        "--rate=2.5",
        "--fast",
        "--field=b",
        "--field=3",
    ]


def test_a_file_that_is_not_there_is_one_sentence(tmp_path, capsys):
    file = tmp_path / "none.toml"
    with pytest.raises(SystemExit) as ended:
        main(["serve", str(file)])
    assert ended.value.code == 1
    sentence = f"sisock: {file} cannot be read: No such file or directory\n"
    assert capsys.readouterr().err == sentence
