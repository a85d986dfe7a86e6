"""Archives as programs on a real router: what is kept over restarts, kills and other nodes."""

import re
import shutil
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from sisock.store.catalogue import Store
from sisock.testing import wait_until
from tests.conftest import wait_for_absence, wait_for_nodes

LINES = 400_000
T = 1_500_000_000 + np.arange(LINES)
VALUES = np.round(np.sin(np.arange(LINES) / 5000) * 9, 3)
PEAK = 123_456
DAYS = (T[0], T[-1] + 1)


@pytest.fixture(scope="module")
def text():
    values = VALUES.copy()
    values[PEAK] = 50
    return "".join(f"{t} {v}\n" for t, v in zip(T.tolist(), values.tolist(), strict=True))


@pytest.fixture
def archive(tmp_path, text):
    folder = tmp_path / "archive"
    folder.mkdir()
    (folder / "a.dat").write_text(text)
    return folder


@pytest.fixture
def weather(router, client, start, archive, tmp_path):
    """Start a weather node over the archive."""

    def start_node(name, **variables):
        variables = {"SISOCK_CACHE": str(tmp_path / "cache"), "LOGLEVEL": "debug", **variables}
        command = ("data_nodes/weather.py", "--directory", archive, "--name", name)
        program = start(router, *command, **variables)
        wait_for_nodes(client, name)
        return program

    return start_node


def end(program, client, name, number=signal.SIGTERM):
    program.signal(number)
    program.wait()
    wait_for_absence(client, name)


def has_parsed(program):
    return re.findall(r"parsing .*?: done", program.output)


def test_a_decimated_archive_keeps_the_peak_and_windows_give_all(client, weather):
    weather("peak")
    picture = client.get("peak", "a", *DAYS, max_points=1000)["a"]
    assert len(picture.t) <= 1000
    assert picture.values.max() == 50
    assert picture.t[[0, -1]].tolist() == T[[0, -1]].tolist()
    everything = client.get("peak", "a", *DAYS)["a"]
    np.testing.assert_array_equal(everything.t, T)
    np.testing.assert_array_equal(np.delete(everything.values, PEAK), np.delete(VALUES, PEAK))


def test_a_restart_parses_nothing_that_is_known(client, weather, archive, tmp_path):
    program = weather("again")
    client.get("again", "a", *DAYS, max_points=10)
    assert len(has_parsed(program)) == 1
    end(program, client, "again")
    program = weather("again")
    assert client.get("again", "a", *DAYS, max_points=10)["a"].values.max() == 50
    assert not has_parsed(program)
    end(program, client, "again")
    # While it does not run the file grows, and the next time the cache goes.
    with open(archive / "a.dat", "a") as file:
        file.write("1900000000 70\n")
    program = weather("again")
    assert client.get("again", "a", 1, 2e9, max_points=10)["a"].values.max() == 70
    program.wait_for("done, 400001 samples")
    end(program, client, "again")
    shutil.rmtree(tmp_path / "cache")
    weather("again")
    assert client.get("again", "a", 1, 2e9, max_points=10)["a"].values.max() == 70


@pytest.mark.parametrize("pause", [0.0, 0.2])
def test_after_a_kill_amid_the_parsing_all_is_there(
    client, start, router, weather, archive, tmp_path, pause
):
    shutil.copy(archive / "a.dat", archive / "b.dat")
    variables = {"SISOCK_CACHE": str(tmp_path / "cache"), "LOGLEVEL": "debug"}
    program = start(
        router, "data_nodes/weather.py", "--directory", archive, "--name", "killed", **variables
    )
    wait_until(lambda: list((tmp_path / "cache").rglob("*.values")), 40, "the first file's store")
    began = time.monotonic()
    wait_until(lambda: time.monotonic() - began >= pause, 40, "the pause")
    program.signal(signal.SIGKILL)
    program.wait()
    weather("killed")
    both = client.get("killed", ["a", "b"], *DAYS)
    for name in "ab":
        np.testing.assert_array_equal(both[name].t, T)
        assert both[name].values[PEAK] == 50


def test_a_second_node_leaves_the_cache_until_the_first_has_ended(client, weather):
    first = weather("twin")
    client.get("twin", "a", *DAYS, max_points=10)
    second = weather("twin")
    second.wait_for("another program serves as 'twin'")
    first.signal(signal.SIGTERM)
    assert first.wait() == 0
    second.wait_for("is in the hub's list")
    assert client.get("twin", "a", *DAYS, max_points=10)["a"].values.max() == 50
    assert "the cache cannot be used" not in second.output


def test_a_cache_that_another_process_has_is_done_without(client, weather, tmp_path, monkeypatch):
    monkeypatch.setenv("SISOCK_CACHE", str(tmp_path / "cache"))
    cache = Store("other", print)
    cache.open("a")
    program = weather("other")
    program.wait_for("a temporary folder or memory replaces it")
    assert "is in use by another process" in program.output
    assert "set SISOCK_CACHE" in program.output
    assert client.get("other", "a", *DAYS, max_points=10)["a"].values.max() == 50
    cache.close()


def test_a_cache_that_cannot_be_made_is_told_once_and_done_without(client, weather):
    program = weather("nowhere", SISOCK_CACHE="/proc/nowhere")
    for _ in range(3):
        assert client.get("nowhere", "a", *DAYS, max_points=10)["a"].values.max() == 50
    assert program.output.count("the cache cannot be used") == 1
    assert "set SISOCK_CACHE" in program.output


def test_a_temporary_cache_goes_with_its_program_amid_the_work(client, weather, archive, tmp_path):
    with open(archive / "large.dat", "w") as file:
        file.writelines(f"{1_500_000_000 + i} {i}.25\n" for i in range(600_000))
    program = weather("brief", SISOCK_CACHE="/proc/nowhere", TMPDIR=str(tmp_path))
    wait_until(lambda: list(tmp_path.glob("sisock-cache-*")), 40, "the temporary folder")
    program.signal(signal.SIGTERM)
    assert program.wait() == 0
    assert "Error" not in program.output.replace("SettingsError", "")
    assert not list(tmp_path.glob("sisock-cache-*"))


def test_the_cache_may_be_removed_while_the_node_runs(client, weather, archive, tmp_path):
    weather("robbed")
    assert len(client.get("robbed", "a", *DAYS)["a"].t) == LINES
    shutil.rmtree(tmp_path / "cache")
    assert len(client.get("robbed", "a", *DAYS)["a"].t) == LINES
    with open(archive / "a.dat", "a") as file:
        file.write("1900000000 70\n")
    assert client.get("robbed", "a", 1, 2e9, max_points=10)["a"].values.max() == 70


def test_changed_samples_are_served_and_the_node_comes_anew(client, weather, archive):
    weather("replaced")
    assert len(client.get("replaced", "a", *DAYS)["a"].t) == LINES
    with client.watch_nodes() as events:
        (archive / "a.dat").write_text("1500000000 1\n")
        assert client.get("replaced", "a", *DAYS)["a"].values.tolist() == [1]
        seen = [next(iter(events)) for _ in range(2)]
    assert len(seen) == 2


def anonymous_megabytes(program):
    with open(f"/proc/{program.process.pid}/status") as status:
        return int(re.search(r"RssAnon:\s+(\d+)", status.read())[1]) / 1024


@pytest.mark.timeout(900)
def test_a_large_archive_stays_out_of_the_nodes_memory(client, weather, archive, text):
    program = weather("large")
    client.get("large", "a", *DAYS, max_points=10)
    idle, parts, peaks = anonymous_megabytes(program), 20, []
    with open(archive / "a.dat", "a") as file:
        for first in range(1501, 1500 + parts):
            file.write((f"{first}" + text[4:]).replace("\n1500", f"\n{first}"))
    note = lambda *_: peaks.append(anonymous_megabytes(program))  # noqa: E731
    with ThreadPoolExecutor(1) as pool:
        # Who asks for the field has its file looked at, and may give up before all is parsed.
        pool.submit(client.get, "large", "a", *DAYS, max_points=10)
        wait_until(lambda: note() or len(has_parsed(program)) == 2, 600, "the parsing", every=0.1)
    everything = client.get("large", "a", 1, 1.6e9, on_progress=note)["a"]
    assert len(everything.t) == parts * LINES
    # As arrays in memory the samples would take all of this.
    assert max(peaks) - idle < parts * LINES * 16 / 2**20 * 0.75
