"""The node of `.g3` archives serves what the code of OCS's aggregator wrote, and writes."""

import os
import shlex
import sys
import threading

import numpy as np
import pytest

from sisock.errors import NodeFailed
from sisock.testing import wait_until
from sisock.wire import grid
from tests.conftest import TOP, wait_for_nodes
from tests.sources.conftest import Asked, check
from tests.sources.g3_archive import Writer, write_old
from tests.sources.processes import documented_flags, example, own_flags

sys.path.insert(0, str(TOP / "data_nodes"))
from g3 import G3

BEGAN = 1_700_000_000.0

NAMES = {"fridge.temps.stage", "fridge.temps.state", "fridge.temps.heater", "fridge.temps.pump"}


def write_frames(writer, frames, begin=0, rows=40, spacing=2.5):
    """Write frames of a block with all types of fields, and of one with other times."""
    for number in range(begin, begin + frames):
        i = np.arange(rows) + number * rows
        t = BEGAN + i * spacing
        values = {
            "stage": np.sin(i / 30).tolist(),
            "state": [f"s{n // 70 % 5}" for n in i.tolist()],
            "heater": [n % 7 < 3 for n in i.tolist()],
        }
        writer.write(t, values)
        writer.write(t[::20] + 0.5, {"pump": [n // 20 for n in i[::20].tolist()]}, block="slow")


def samples(asking, name):
    return asking.samples([name], 1, 0)[name]


def stop(asking):
    """Stop a node, and wait until it has closed its files."""
    asking.stop()
    threads = lambda: {thread.name for thread in threading.enumerate()}  # noqa: E731
    wait_until(lambda: "sisock-g3-files" not in threads(), 60, "the end of its thread")


def test_whatever_is_asked_for_the_samples_are_those_of_the_files(tmp_path):
    writer = Writer(tmp_path)
    for begin in range(0, 50, 10):
        write_frames(writer, 10, begin)
        writer.rotate()
    check(lambda: G3(tmp_path), examples=120)


def test_fields_are_named_by_agent_and_feed_and_blocks_are_timelines(tmp_path, asked):
    writer = Writer(tmp_path)
    write_frames(writer, 5)
    node, asking = asked(G3(tmp_path))
    fields = asking.fields()
    assert set(fields) == NAMES
    assert [fields[f"fridge.temps.{name}"]["type"] for name in ("stage", "state", "heater")] == [
        *("number", "string", "bool"),
    ]
    assert fields["fridge.temps.stage"]["timeline"] == "fridge.temps.cold"
    assert fields["fridge.temps.pump"]["timeline"] == "fridge.temps.slow"
    found = samples(asking, "fridge.temps.heater")
    assert found == [(BEGAN + 2.5 * i, i % 7 < 3) for i in range(200)]
    assert samples(asking, "fridge.temps.pump") == [(BEGAN + 50 * i + 0.5, i) for i in range(10)]
    assert node.trouble is None


def test_new_frames_and_files_are_there_and_half_a_frame_is_awaited(tmp_path, asked):
    writer = Writer(tmp_path)
    write_frames(writer, 1)
    node, asking = asked(G3(tmp_path))
    assert len(samples(asking, "fridge.temps.stage")) == 40
    write_frames(writer, 1, begin=1)
    wait_until(lambda: len(samples(asking, "fridge.temps.stage")) == 80, 60, "the new frame")
    writer.rotate()
    write_frames(writer, 1, begin=2)
    wait_until(lambda: len(samples(asking, "fridge.temps.stage")) == 120, 60, "the new file")
    *_, last = sorted(tmp_path.rglob("*.g3"))
    write_frames(writer, 1, begin=3)
    whole = last.read_bytes()
    unfinished = last.with_name("1700000009.g3")
    unfinished.write_bytes(whole[:-500])
    last.unlink()
    wait_until(lambda: len(samples(asking, "fridge.temps.pump")) == 6, 60, "all but the last")
    wait_until(lambda: node.trouble is None, 60, "no trouble")
    with open(unfinished, "ab") as file:
        file.write(whole[-500:])
    wait_until(lambda: len(samples(asking, "fridge.temps.pump")) == 8, 60, "the whole of it")


def test_a_restart_reads_no_file_again(tmp_path, asked):
    writer = Writer(tmp_path)
    write_frames(writer, 3)
    writer.rotate()
    (path,) = tmp_path.rglob("*.g3")
    stamp, first = path.stat(), Asked(G3(tmp_path))
    before = first.fields()
    stop(first)
    with open(path, "r+b") as file:
        file.write(b"\0" * 100)
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    node, asking = asked(G3(tmp_path))
    assert asking.fields() == before
    assert len(samples(asking, "fridge.temps.stage")) == 120
    assert node.trouble is None


def test_what_is_damaged_is_told_and_all_else_served(tmp_path, asked):
    writer = Writer(tmp_path)
    for begin in range(3):
        write_frames(writer, 2, 2 * begin)
        writer.rotate()
    paths = sorted(tmp_path.rglob("*.g3"))
    data = paths[1].read_bytes()
    half = len(data) // 2
    paths[1].write_bytes(data[:half] + b"\xff" * 50 + data[half + 50 :])
    (paths[1].parent / "1700000000.g3").write_text("no frames")
    node, asking = asked(G3(tmp_path))
    t = [t for t, _ in samples(asking, "fridge.temps.stage")]
    assert set(t) < {BEGAN + 2.5 * i for i in range(240)} and len(t) >= 160
    assert "1700000000.g3: the frame at byte 0 cannot be read" in node.trouble
    assert f"{paths[1]}: the frame at byte" in node.trouble
    paths[1].write_bytes(data)
    (paths[1].parent / "1700000000.g3").unlink()
    wait_until(lambda: len(samples(asking, "fridge.temps.stage")) == 240, 60, "the repaired file")
    wait_until(lambda: node.trouble is None, 60, "no trouble")


def decimated(asking):
    name = "fridge.temps.stage"
    return asking.samples([name], BEGAN, BEGAN + 16384 * 32, bucket=64.0)[name]


def catalogue(cache):
    """What is written of the buckets that are kept."""
    files = (cache / "g3").glob("catalogue.sqlite*")
    return "".join(path.read_bytes().decode("latin-1") for path in files)


def expected(rows):
    i = np.concatenate([np.arange(40) + row * 40 for row in rows])
    which = grid.decimate(t := BEGAN + 2.5 * i, values := np.sin(i / 30), 64.0)
    return list(zip(t[which].tolist(), values[which].tolist(), strict=True))


def test_files_that_go_or_come_late_change_what_is_served(tmp_path, asked):
    writer = Writer(tmp_path)
    for begin in range(4):
        write_frames(writer, 1, begin)
        writer.rotate()
    paths = sorted(tmp_path.rglob("*.g3"))
    held = paths[1].read_bytes()
    paths[1].unlink()
    node, asking = asked(G3(tmp_path))
    assert decimated(asking) == expected([0, 2, 3])
    paths[1].write_bytes(held)
    wait_until(lambda: decimated(asking) == expected([0, 1, 2, 3]), 60, "the late file")
    paths[0].unlink()
    wait_until(lambda: decimated(asking) == expected([1, 2, 3]), 60, "the first file gone")
    paths[2].unlink()
    wait_until(lambda: decimated(asking) == expected([1, 3]), 60, "another one gone")
    wait_until(lambda: node.trouble is None, 60, "no trouble")


class Held(G3):
    """Does not wait for long plots; after a change it waits before it prepares them again."""

    answer_within = 0.0

    def __init__(self, path):
        super().__init__(path)
        self.is_held, self.may_go_on = threading.Event(), threading.Event()

    def samples_changed(self):
        self.is_held.set()
        self.may_go_on.wait(60)


def test_plots_of_long_times_say_that_they_are_prepared(tmp_path, asked):
    writer = Writer(tmp_path)
    for begin in range(4):
        write_frames(writer, 1, begin, spacing=2160.0)
        writer.rotate()
    late = sorted(tmp_path.rglob("*.g3"))[1]
    content = late.read_bytes()
    late.unlink()
    node, asking = asked(Held(tmp_path))

    def plot():
        try:
            return asking.samples(["fridge.temps.stage"], 1, 0, max_points=16)
        except NodeFailed as error:
            return str(error)

    wait_until(lambda: "prepared" not in plot(), 60, "the plot")
    late.write_bytes(content)
    wait_until(node.is_held.is_set, 60, "the late file")
    assert plot() == "'fridge.temps.stage' is still being prepared: ask again later"
    node.may_go_on.set()
    wait_until(lambda: "prepared" not in plot(), 60, "the plot of all files")
    wait_until(lambda: node.trouble is None, 60, "no trouble")


def test_trouble_is_over_before_consumers_hear_of_changes(tmp_path, asked):
    writer = Writer(tmp_path)
    for _ in range(2):
        write_frames(writer, 1)
        writer.rotate()
    node, asking = asked(Held(tmp_path))
    wait_until(node.is_held.is_set, 60, "what is told to consumers")
    assert set(asking.fields()) == NAMES
    assert node.trouble is None
    node.may_go_on.set()


def test_a_folder_that_is_missing_is_named_until_it_is_there(tmp_path, asked):
    node, asking = asked(G3(tmp_path / "hk"))
    assert asking.fields() == {}
    assert node.trouble.endswith("hk: no such folder")
    write_frames(Writer(tmp_path / "hk"), 1)
    wait_until(lambda: set(asking.fields()) == NAMES, 60, "the fields")
    wait_until(lambda: node.trouble is None, 60, "no trouble")


@pytest.mark.parametrize("version", [0, 1])
def test_files_of_the_first_versions_are_served(tmp_path, asked, version):
    write_old(tmp_path / "a.g3", version, [BEGAN, BEGAN + 1.5], [4.0, 4.25])
    _, asking = asked(G3(tmp_path))
    assert asking.fields()["fridge.temps.stage"]["timeline"] == "fridge.temps.block_for_stage"
    assert samples(asking, "fridge.temps.stage") == [(BEGAN, 4.0), (BEGAN + 1.5, 4.25)]


def test_a_damaged_index_is_made_anew_with_all_that_was_made_of_it(tmp_path, cache):
    write_frames(Writer(tmp_path / "first"), 3)
    first = Asked(G3(tmp_path / "first"))
    # That also buckets are kept of it.
    wait_until(lambda: decimated(first) == expected(range(3)), 60, "the samples")
    wait_until(lambda: '"until"' in catalogue(cache), 60, "what buckets keep")
    stop(first)
    index = cache / "g3" / "g3.sqlite"
    index.write_bytes(b"no database " * 1000)
    write_frames(Writer(tmp_path / "second"), 3, begin=1)
    second = Asked(G3(tmp_path / "second"))
    wait_until(lambda: decimated(second) == expected(range(1, 4)), 60, "the samples")
    stop(second)
    assert index.read_bytes().startswith(b"SQLite")


def test_the_documented_command_serves_an_archive(router, client, start, tmp_path):
    write_frames(Writer(tmp_path), 4)
    words = shlex.split(example("g3").replace("/data/hk", str(tmp_path)))
    config = tmp_path / "units.toml"
    config.write_text('[fields."*.stage"]\nunits = "K"\nprecision = 2\n')
    start(router, *words[1:], "--name", "hk", "--config", config)
    wait_for_nodes(client, "hk")
    stage = client.fields("hk")["fridge.temps.stage"]
    assert (stage.units, stage.precision, stage.interval) == ("K", 2, 2.5)
    assert len(client.get("hk", "fridge.temps.stage", 1, 0)["fridge.temps.stage"].values) == 160


def test_all_flags_are_documented():
    assert documented_flags("g3") == own_flags(G3)
