import csv
import io
import json
import re
import shutil
import signal
import subprocess
import sys
from importlib.metadata import version

import pytest

from sisock.testing import free_port, wait_until
from tests import forkserver
from tests.conftest import wait_for_nodes

DAY = ["--from", "2017-07-15T00:00Z", "--to", "2017-07-16T00:00Z"]


@pytest.fixture
def sisock(router):
    def run(*words, **variables):
        command = ["-m", "sisock.cli", *map(str, words)]
        return forkserver.run(command, {**router.environ(), **variables})

    return run


@pytest.fixture
def weather(router, client, start):
    start(router, "data_nodes/weather.py", "--name", "cli_weather")
    wait_for_nodes(client, "cli_weather")
    return "cli_weather"


def test_nodes_and_fields_are_listed(sisock, weather):
    assert "cli_weather" in sisock("nodes").stdout
    fields = sisock("fields", weather).stdout
    assert len(fields.splitlines()) == 6
    assert "hPa" in fields


def test_a_day_is_24_aligned_rows(sisock, weather):
    lines = sisock("get", weather, "apex_temperature", *DAY).stdout.splitlines()
    assert len(lines) == 25
    assert lines[0].split() == ["time", "apex_temperature", "[C]"]
    assert lines[1].startswith("2017-07-15T00:00:00Z  -")


def test_an_empty_answer_says_when_the_last_sample_was(sisock, weather):
    done = sisock("get", weather, "apex_temperature")
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 1
    assert "the last one is of 2017-07-27T23:00:00Z" in done.stderr


def test_csv_and_json_hold_the_same_samples(sisock, weather, tmp_path):
    as_csv = sisock("get", weather, "apex_temperature", "apex_humidity", *DAY, "--csv").stdout
    rows = list(csv.reader(io.StringIO(as_csv)))
    output = tmp_path / "out.json"
    sisock("get", weather, "apex_temperature", "apex_humidity", *DAY, "--json", "-o", output)
    loaded = json.loads(output.read_text())
    assert [float(row[1]) for row in rows[1:]] == loaded["apex_temperature"]["values"]
    assert loaded["apex_humidity"]["units"] == "%"
    assert loaded["apex_humidity"]["t"][0] == 1500076800.0


def test_the_name_of_a_file_sets_its_form(sisock, weather, tmp_path):
    for name, begin in (("a.csv", "time,"), ("a.json", '{"apex_'), ("a.txt", "time  ")):
        sisock("get", weather, "apex_temperature", *DAY, "-o", tmp_path / name)
        assert (tmp_path / name).read_text().startswith(begin)


def test_a_file_whose_name_sets_no_form_is_not_written(sisock, weather, tmp_path):
    output = tmp_path / "day.parquet"
    done = sisock("get", weather, "apex_temperature", *DAY, "-o", output)
    assert done.returncode == 1
    assert all(ending in done.stderr for ending in (".csv", ".json", ".txt"))
    assert not output.exists()
    sisock("get", weather, "apex_temperature", *DAY, "-o", output, "--csv")
    assert output.read_text().startswith("time,")


def test_without_fields_all_are_printed(sisock, weather):
    header = sisock("get", weather, *DAY, "--max-points", "8", "--csv").stdout.partition("\n")[0]
    assert len(header.split(",")) == 6


def test_min_stride_takes_a_duration(sisock, weather):
    lines = sisock("get", weather, "apex_pressure", *DAY, "--min-stride", "6h").stdout.splitlines()
    assert len(lines) == 5


def test_fields_of_different_timelines_are_joined_in_time(sisock, weather):
    done = sisock(
        "get", weather, "apex_temperature", "apex_windspeed",
        "--from", "2017-07-15T00:00Z", "--to", "2017-07-15T02:00Z", "--csv",
    )  # fmt: skip
    rows = list(csv.reader(io.StringIO(done.stdout)))
    assert len(rows) == 121
    assert [bool(row[1]) for row in rows[1:62]] == [True] + [False] * 59 + [True]


def test_max_points_gives_each_field_its_own_times_in_every_form(sisock, weather):
    fields = ["apex_radiometer", "apex_windspeed", "apex_temperature"]
    words = ["get", weather, *fields, *DAY, "--max-points", "40"]
    loaded = json.loads(sisock(*words, "--json").stdout)
    rows = list(csv.reader(io.StringIO(sisock(*words, "--csv").stdout)))
    table = sisock(*words).stdout.splitlines()
    assert [len(loaded[name]["t"]) for name in fields[:2]] != [0, 0]
    assert loaded[fields[0]]["t"] != loaded[fields[1]]["t"]
    assert len(loaded[fields[2]]["t"]) == 24
    union = sorted({t for name in fields for t in loaded[name]["t"]})
    assert len(rows) == len(table) == len(union) + 1
    for column, name in enumerate(fields, 1):
        assert 8 <= len(loaded[name]["t"]) == len(loaded[name]["values"]) <= 40
        kept = [float(row[column]) for row in rows[1:] if row[column]]
        assert kept == [value for value in loaded[name]["values"] if value is not None]
        assert sum(bool(row[column]) for row in rows[1:]) < len(union)


def test_the_latest_sample_of_each_field_is_a_row(sisock, client, weather):
    header, *rows = sisock("latest", weather).stdout.splitlines()
    assert header.split() == ["field", "value", "units", "time"]
    assert {row.split()[0] for row in rows} == set(client.fields(weather))
    (row,) = sisock("latest", weather, "apex_temperature").stdout.splitlines()[1:]
    name, value, units, _ = row.split()
    assert (name, units) == ("apex_temperature", "C")
    last = client.get(weather, "apex_temperature", 1, "now")["apex_temperature"].values[-1]
    assert float(value) == last


def test_watch_prints_samples_until_it_is_interrupted(router, client, start):
    start(router, "tests/nodes.py", "ticker", "--name", "cli_ticker")
    wait_for_nodes(client, "cli_ticker")
    watch = subprocess.Popen(
        [sys.executable, "-m", "sisock.cli", "watch", "cli_ticker", "count", "state"],
        env=router.environ(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    lines = [watch.stdout.readline() for _ in range(5)]
    watch.send_signal(signal.SIGINT)
    _, errors = watch.communicate(timeout=60)
    assert lines[0].split() == ["time", "count", "[1]", "state"]
    assert all(line.split()[0].startswith("20") for line in lines[1:])
    assert errors == ""
    assert watch.returncode == 130


def test_config_shows_where_each_value_comes_from_and_hides_secrets(sisock, router):
    shown = sisock("config", LOGLEVEL="warn").stdout
    assert "LOGLEVEL" in shown
    assert "environment (LOGLEVEL)" in shown
    for user in ("server", "simonsobs"):
        path = router.home.secret_file(user)
        assert path.read_text().strip() not in shown
        assert str(path) in shown


def test_certs_makes_what_is_missing_and_says_what_others_need(sisock, tmp_path):
    first = sisock("certs", "--name", "mountain.example", SISOCK_HOME=str(tmp_path)).stdout
    again = sisock("certs", SISOCK_HOME=str(tmp_path)).stdout
    assert first.count("made ") == 3
    assert "made " not in again
    assert "mountain.example" in again
    assert str(tmp_path / "tls" / "ca_cert.pem") in again


def test_doctor_is_content_with_a_healthy_installation(sisock, weather):
    done = sisock("doctor")
    assert done.returncode == 0, done.stdout
    assert "BAD" not in done.stdout
    assert re.search(
        r"node cli_weather: 5 fields, the last sample \d+\.\d years ago, ", done.stdout
    )


def test_a_node_that_lacks_its_source_is_bad(sisock, router, client, start, tmp_path):
    flags = {"--directory": tmp_path, "--name": "cli_lost", "--description": "The mast."}
    start(router, "data_nodes/weather.py", *(word for flag in flags.items() for word in flag))
    why = f"{tmp_path} is left out: no file of it ends in .dat"
    listed = f"The mast. [problem: {why}]"
    wait_until(lambda: listed in [n.description for n in client.nodes()], 20, "its trouble")
    assert f"BAD  node cli_lost: {why}\n" in sisock("doctor").stdout


@pytest.mark.parametrize("files", [["server"], ["consumer"], ["server", "consumer"]])
def test_doctor_checks_each_user_whose_secret_is_there(sisock, router, weather, tmp_path, files):
    shutil.copytree(router.home.path / "tls", tmp_path / "tls")
    (tmp_path / "credentials").mkdir()
    for file in files:
        shutil.copy(router.home.path / "credentials" / file, tmp_path / "credentials" / file)
    done = sisock("doctor", SISOCK_HOME=str(tmp_path), WAMP_USER="")
    assert done.returncode == 0, done.stdout
    for file, user in (("server", "server"), ("consumer", "simonsobs")):
        assert (f"as {user!r}" in done.stdout) == (file in files)
    assert re.search(
        r"node cli_weather: 5 fields, the last sample \d+\.\d years ago, ", done.stdout
    )


@pytest.mark.parametrize(
    ("variables", "advice"),
    [
        ({"CROSSBAR_TLS_PORT": "CLOSED"}, "start the router"),
        ({"WAMP_SECRET": "wrong"}, "refuses the user 'simonsobs'"),
        ({"CROSSBAR_HOST": "127.0.0.2"}, "sisock certs --name 127.0.0.2"),
        ({"SISOCK_HOME": "/nonexistent"}, "no secret for the user 'simonsobs'"),
        ({"CROSSBAR_HOST": "no-such-host.invalid"}, "check CROSSBAR_HOST"),
    ],
)
def test_doctor_says_what_to_do(sisock, variables, advice):
    variables = {k: str(free_port()) if v == "CLOSED" else v for k, v in variables.items()}
    done = sisock("doctor", **variables)
    assert done.returncode == 1
    assert "BAD" in done.stdout
    assert advice in done.stdout


@pytest.mark.parametrize(
    ("words", "variables", "sentence"),
    [
        (["fields", "nowhere"], {}, "no data node 'nowhere'"),
        (["get", "nowhere", "x"], {}, "no data node 'nowhere'"),
        (["get", "cli_weather", "typo"], {}, "no field 'typo'"),
        (["get", "cli_weather", "apex_pressure", "--from", "noon"], {}, "not a time"),
        (["get", "cli_weather", "apex_pressure", "--min-stride", "x"], {}, "not a duration"),
        (["get", "cli_weather", "apex_pressure", "-o", "/no/dir/x"], {}, "/no/dir/x"),
        (["get", "cli_weather", "x", "--max-points", "7"], {}, "at least 8, not 7"),
        (["get", "cli_weather", "x", "--max-points", "1e3"], {}, "invalid int value: '1e3'"),
        (
            ["get", "cli_weather", "x", "--max-points", "9", "--min-stride", "1s"],
            {},
            "argument --min-stride: not allowed with argument --max-points",
        ),
        (["watch", "cli_weather"], {}, "publishes no live samples"),
        (["nodes"], {"WAMP_SECRET": "wrong"}, "refuses the user"),
        (["nodes"], {"SISOCK_HOME": "/nonexistent"}, "no secret for the user"),
        (["nodes"], {"WAMP_REALM": "other"}, "WAMP_REALM"),
        (["nodes"], {"CROSSBAR_TLS_PORT": "x"}, "CROSSBAR_TLS_PORT"),
        (["nodes", "--router", "/no/socket"], {}, "unset CROSSBAR_SOCKET"),
        (["frobnicate"], {}, "there is no command 'frobnicate'; see `sisock --help`"),
        (["note"], {}, "there is no command 'note' (did you mean 'node'?)"),
        (["get"], {}, "the following arguments are required: node; see"),
        (["node", "wether"], {}, "no ready-made node 'wether' (did you mean 'weather'?); the"),
    ],
)
def test_every_failure_is_one_sentence_and_status_1(sisock, weather, words, variables, sentence):
    done = sisock(*words, **variables)
    assert done.returncode == 1
    assert sentence in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stdout == ""


def test_the_version_is_that_of_the_package(sisock):
    done = sisock("--version")
    assert (done.returncode, done.stdout) == (0, f"sisock {version('sisock')}\n")


@pytest.mark.parametrize("program", ["hub", "bridge", "router", "demo", "node weather"])
def test_a_program_that_is_misspoken_to_is_one_sentence_too(sisock, program):
    done = sisock(*program.split(), "--frobnicate")
    assert (done.returncode, done.stdout) == (1, "")
    said = f"sisock {program}: unrecognized arguments: --frobnicate; see `sisock {program} --help`"
    assert done.stderr.splitlines() == [said]


def test_a_file_that_does_not_run_its_node_says_so(sisock, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("import sisock\n\n\nclass Mine(sisock.LiveNode):\n    name = 'mine'\n")
    done = sisock("node", file)
    said = f"sisock: {file} runs no node: end it with `sisock.run(Mine)`\n"
    assert (done.returncode, done.stderr) == (1, said)


def test_a_traceback_is_shown_at_debug_only(sisock):
    assert "Traceback" in sisock("nodes", "--log-level", "debug", WAMP_SECRET="wrong").stderr


def test_a_reader_that_has_seen_enough_is_no_error(router, weather):
    done = subprocess.run(
        f"{sys.executable} -m sisock.cli get {weather} apex_windspeed --from 1 | head -1",
        shell=True,
        env=router.environ(),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.startswith("time")
    assert done.stderr == ""
