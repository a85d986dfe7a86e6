import os
import sys
import threading

import numpy as np
import psutil
import pytest
from twisted.logger import LogLevel, capturedLogs, formatEvent

from sisock.testing import wait_until
from tests.conftest import TOP, wait_for_nodes
from tests.integration.peers import data, results

sys.path.insert(0, str(TOP / "data_nodes"))
from weather import WeatherArchive

HEADER = "# A thing\n# line\n# m/s\n"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SISOCK_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def archive(tmp_path):
    folder = tmp_path / "archive"
    folder.mkdir()
    return folder


def write(folder, name, *lines, header=HEADER):
    (folder / f"{name}.dat").write_text(header + "".join(f"{line}\n" for line in lines))


def read_all(folder, field="a"):
    node = WeatherArchive(folder)
    entry = node.list_fields(1, 2)[field]
    return entry, *node.read(field, 0, 1e9)


def test_a_file_is_its_header_and_its_samples(archive):
    write(archive, "a", "1 2", "# a remark", "", "3\t4.5", "  5   -6e-1  ", "7 nan")
    entry, t, values = read_all(archive)
    assert (entry["description"], entry["timeline"], entry["units"]) == ("A thing", "line", "m/s")
    np.testing.assert_array_equal(t, [1, 3, 5, 7])
    np.testing.assert_array_equal(values, [2, 4.5, -0.6, np.nan])


@pytest.mark.parametrize(
    "bad",
    ["1", "1 2 3", "x 1", "1 x", "nan 1", "1,2", "inf 1", "1_0 1", "1 1_0", "1 2" + 5000 * " "],
)
def test_a_malformed_line_is_skipped_counted_and_named(archive, bad):
    write(archive, "a", "1 2", "2 3", bad, "3 4", bad, "# end", "4 5")
    with capturedLogs() as events:
        _, t, _ = read_all(archive)
    assert t.tolist() == [1, 2, 3, 4]
    (warning,) = (formatEvent(event) for event in events if event["log_level"] is LogLevel.warn)
    assert f"a.dat: 2 malformed lines skipped, the first: {bad[:60]!r}" in warning


def test_a_file_without_header_or_samples_is_still_a_field(archive):
    write(archive, "bare", "1 2", header="")
    write(archive, "empty")
    write(archive, "nothing", header="")
    node = WeatherArchive(archive)
    fields = node.list_fields(1, 2)
    assert set(fields) == {"bare", "empty", "nothing"}
    assert fields["bare"]["units"] is None
    assert fields["empty"]["description"] == "A thing"
    assert node.read("bare", 0, 9)[1].tolist() == [2.0]
    assert len(node.read("empty", 0, 9)[0]) == 0


def test_times_out_of_order_are_put_in_order(archive):
    write(archive, "a", "3 30", "1 10", "2 20")
    node = WeatherArchive(archive)
    node.list_fields(1, 2)
    assert node.read("a", 0, 9)[1].tolist() == [10.0, 20.0, 30.0]


def test_files_that_appear_change_and_go_are_noticed(router, client, start, archive):
    write(archive, "a", "1 10", "2 20")
    start(router, "data_nodes/weather.py", "--directory", archive, "--name", "growing")
    wait_for_nodes(client, "growing")
    get = lambda *names: client.get("growing", names, 1, 100)  # noqa: E731
    assert get("a")["a"].values.tolist() == [10.0, 20.0]
    with open(archive / "a.dat", "a") as file:
        file.write("3 30\n")
    assert get("a")["a"].values.tolist() == [10.0, 20.0, 30.0]
    write(archive, "b", "2 200")
    fields = lambda: set(client.fields("growing"))  # noqa: E731
    wait_until(lambda: fields() == {"a", "b"}, 30, "the new file")
    grown = get("a", "b")
    assert grown["a"].values.tolist() == [10.0, 20.0, 30.0]
    np.testing.assert_array_equal(grown["b"].values, [np.nan, 200.0, np.nan])
    (archive / "b.dat").unlink()
    wait_until(lambda: fields() == {"a"}, 30, "the end of the file")


def test_a_field_is_never_made_into_a_path(router, client, start, archive, tmp_path):
    write(archive, "a", "1 10")
    write(tmp_path, "outside", "1 6.02214076")
    program = start(router, "data_nodes/weather.py", "--directory", archive, "--name", "closed")
    wait_for_nodes(client, "closed")
    names = ("../outside", str(tmp_path / "outside"), "a.dat", "./a")
    replies = results(router, *(data("closed", [name], 1, 100) for name in names))
    assert replies == [{"data": {name: []}, "timeline": {}} for name in names]
    assert "6.02214076" not in program.output


def test_files_of_one_timeline_that_differ_keep_their_own_times(router, client, start):
    start(router, "data_nodes/weather.py", "--name", "weather_minutes")
    wait_for_nodes(client, "weather_minutes")
    missing = 1500398580.0
    both = client.get(
        "weather_minutes", ["apex_windspeed", "apex_radiometer"], missing - 120, missing + 180
    )
    t = both["apex_windspeed"].t
    assert t.tolist() == [missing + 60 * i for i in range(-2, 3)]
    assert np.isnan(both["apex_windspeed"].values).tolist() == [False, False, True, False, False]
    alone = client.get("weather_minutes", "apex_windspeed", missing - 120, missing + 180)
    assert alone["apex_windspeed"].t.tolist() == [x for x in t.tolist() if x != missing]


def test_a_missing_directory_ends_the_program_with_a_sentence(router, start, tmp_path):
    program = start(router, "data_nodes/weather.py", "--directory", tmp_path / "none")
    assert program.wait() == 1
    assert "is not a directory: see --directory" in program.output
    assert "Traceback" not in program.output


def test_the_warning_about_malformed_lines_names_file_and_text(router, client, start, archive):
    write(archive, "a", "1 10", "rubbish", "2 20")
    program = start(router, "data_nodes/weather.py", "--directory", archive, "--name", "rubbish")
    wait_for_nodes(client, "rubbish")
    assert client.get("rubbish", "a", 1, 9)["a"].values.tolist() == [10.0, 20.0]
    program.wait_for("a.dat: 1 malformed line skipped, the first: 'rubbish'")


def test_each_bad_file_costs_only_itself_and_a_warning(router, client, start, archive):
    write(archive, "good", "1 10", "2 20")
    os.mkfifo(archive / "fifo.dat")
    (archive / "folder.dat").mkdir()
    (archive / "nowhere.dat").symlink_to("missing")
    (archive / "device.dat").symlink_to("/dev/zero")
    (archive / "link.dat").symlink_to("good.dat")
    node = start(router, "data_nodes/weather.py", "--directory", archive, "--name", "mixed_files")
    wait_for_nodes(client, "mixed_files")
    assert set(client.fields("mixed_files")) == {"good", "link"}
    assert client.get("mixed_files", "link", 1, 9)["link"].values.tolist() == [10.0, 20.0]
    node.wait_for("device.dat is left out: OSError: it is not a regular file; ")
    assert node.output.count("left out") == 3 and "; and 1 more" in node.output


def test_a_line_without_end_takes_no_memory(router, client, start, archive):
    write(archive, "a", "1 10", "2 20")
    os.truncate(archive / "a.dat", 300_000_000)  # zeros that take no disk
    with open(archive / "a.dat", "a") as file:
        file.write("\n3 30\n")
    node = start(router, "data_nodes/weather.py", "--directory", archive, "--name", "endless")
    wait_for_nodes(client, "endless")
    before = psutil.Process(node.process.pid).memory_info().rss
    assert client.get("endless", "a", 1, 9)["a"].values.tolist() == [10.0, 20.0, 30.0]
    assert psutil.Process(node.process.pid).memory_info().rss < before + 50e6
    node.wait_for("1 malformed line skipped, the first: '?")


def test_a_hub_that_is_slow_does_not_hold_up_other_requests(archive):
    hub_answers, is_waiting = threading.Event(), threading.Event()

    class Waiting(WeatherArchive):
        def samples_changed(self):
            is_waiting.set()
            assert hub_answers.wait(60)

    write(archive, "a", "1 10")
    write(archive, "b", "1 10")
    node = Waiting(archive)
    node.list_fields(1, 2)
    node.read("b", 0, 9)
    (archive / "b.dat").unlink()
    try:
        wait_until(lambda: node.list_fields(1, 2) and is_waiting.is_set(), 30, "the scan")
        other = threading.Thread(target=lambda: (node.list_fields(1, 2), node.read("a", 0, 9)))
        other.start()
        other.join(30)
        assert not other.is_alive()
    finally:
        hub_answers.set()
