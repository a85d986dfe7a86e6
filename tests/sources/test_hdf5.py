"""The HDF5 node serves files that h5py writes meanwhile."""

import shlex
import subprocess
import sys
import tracemalloc
from contextlib import suppress

import h5py
import numpy as np
import pytest

from sisock.errors import NodeFailed, NodeTimeout
from sisock.testing import wait_until
from tests.conftest import TOP, wait_for_nodes
from tests.sources.conftest import check
from tests.sources.processes import documented_flags, example, own_flags, peak

sys.path.insert(0, str(TOP / "data_nodes"))
from hdf5 import Hdf5

BEGAN = 1_700_000_000.0

WRITER = """
import sys, h5py
file = None
while file is None:
    try:
        file = h5py.File(sys.argv[1], "a", libver="latest")
    except BlockingIOError:  # somebody reads it at the moment
        pass
for name in ("t", "x"):
    if name not in file:
        file.create_dataset(name, (0,), "<f8", maxshape=(None,), chunks=(64,))
if "swmr" in sys.argv:
    file.swmr_mode = True
print("open", flush=True)
for line in sys.stdin:
    first, count = map(int, line.split())
    for name in ("x", "t"):
        file[name].resize((first + count,))
        file[name][first:] = [1.7e9 * (name == "t") + i for i in range(first, first + count)]
        file[name].flush()
    print("written", flush=True)
"""


class Writer:
    """Another process that writes a file."""

    def __init__(self, path, *how):
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.process = subprocess.Popen([sys.executable, "-c", WRITER, path, *how], **pipes)
        assert self.process.stdout.readline() == "open\n"

    def write(self, first, count):
        self.process.stdin.write(f"{first} {count}\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "written\n"

    def close(self):
        self.process.stdin.close()
        assert self.process.wait(20) == 0


def write_day(path, day, rows=400):
    """Write a file of a day with most kinds of datasets; it is there once it is whole."""
    t = BEGAN + day * 1000 + np.arange(rows) * 2.5
    with h5py.File(path.with_suffix(".new"), "w") as file:
        file["time"] = t
        file["temp"] = np.where(np.arange(rows) % 50, np.sin(t / 40), np.nan)
        file["temp"].attrs.update(units="K", long_name="temperature of the stage")
        file["bolo"] = np.arange(rows * 3).reshape(rows, 3) % 17
        states = h5py.enum_dtype({"off": 0, "on": 1}, "i1")
        file.create_dataset("state", data=np.arange(rows) // 90 % 2, dtype=states)
        file.create_dataset("valve", data=np.arange(rows) % 3 == 0)
        file["word"] = [f"w{i // 70}" for i in range(rows)]
        file["calibration"] = [1.0, 2.0]
        file["image"] = np.zeros((rows, 200))
        slow = file.create_group("slow")
        slow["time"] = ((t[::10] - BEGAN) * 1e3).astype("i8")
        slow["time"].attrs["units"] = "milliseconds since 2023-11-14 22:13:20 UTC"
        slow["humidity"] = np.arange(len(t[::10]), dtype="f4")
        table = np.zeros(rows // 2, dtype=[("time", "f8"), ("p", "f4"), ("n", "i4")])
        table["time"], table["p"], table["n"] = t[::2] + 0.25, np.cos(t[::2]), np.arange(rows // 2)
        file["table"] = table
    path.with_suffix(".new").replace(path)
    return t


NAMES = {
    *("temp", "bolo.0", "bolo.1", "bolo.2", "state", "valve", "word", "slow/humidity"),
    *("table.p", "table.n"),
}


def test_whatever_is_asked_for_the_samples_are_those_of_the_files(tmp_path):
    for day in range(3):
        write_day(tmp_path / f"day{2 - day}.h5", day)
    check(lambda: Hdf5(tmp_path), examples=120)


def test_datasets_are_fields_with_what_the_file_says_of_them(tmp_path, asked):
    t = write_day(tmp_path / "a.h5", 0)
    node, asking = asked(Hdf5(tmp_path / "a.h5"))
    fields = asking.fields()
    assert set(fields) == NAMES
    assert fields["temp"]["units"] == "K"
    assert fields["temp"]["description"] == "temperature of the stage"
    assert fields["state"]["labels"] == {"0": "off", "1": "on"}
    assert (fields["word"]["type"], fields["valve"]["type"]) == ("string", "bool")
    found = asking.samples(["slow/humidity", "table.n"], 1, 0)
    assert found["slow/humidity"] == [(t[10 * i], i) for i in range(len(t) // 10)]
    assert found["table.n"][:2] == [(t[0] + 0.25, 0), (t[2] + 0.25, 1)]
    assert node.trouble is None


def test_a_file_is_served_over_the_wire_while_it_is_written(router, client, start, tmp_path):
    path = tmp_path / "run.h5"
    writer = Writer(path, "swmr")
    writer.write(0, 100)
    words = shlex.split(example("hdf5").replace("/data/run.h5", str(path)))
    start(router, *words[1:-1], "t", "--name", "run")
    wait_for_nodes(client, "run")
    for first in (100, 200, 5000):
        last = first - 1 if first < 5000 else 299
        assert client.get("run", "x", 1, 0)["x"].values[-1] == last
        writer.write(last + 1, 100 if first < 5000 else 4800)
        expected = last + (100 if first < 5000 else 4800)
        wait_until(lambda n=expected: client.get("run", "x", 1, 0)["x"].values[-1] == n, 60, "rows")
    few = client.get("run", "x", 1, 0, max_points=100)["x"]
    assert len(few.values) <= 100 and few.values[-1] == 5099
    writer.close()


def test_a_file_that_its_writer_has_locked_is_tried_again(tmp_path, asked):
    path = tmp_path / "a.h5"
    writer = Writer(path)
    writer.write(0, 10)
    node, asking = asked(Hdf5(path, time="t"))
    assert asking.fields() == {}
    assert "a.h5: it is locked by its writer" in node.trouble
    writer.close()
    wait_until(lambda: "x" in asking.fields(), 60, "the field")
    assert node.trouble is None
    assert len(asking.samples(["x"], 1, 0)["x"]) == 10
    writer = Writer(path)
    with pytest.raises(OSError, match="locked by its writer"):
        asking.samples(["x"], 1, 0)
    writer.write(10, 5)
    writer.close()
    wait_until(lambda: len(asking.samples(["x"], 1, 0)["x"]) == 15, 60, "the rows")


def test_wrong_files_cost_themselves_and_are_named(tmp_path, asked):
    node, asking = asked(Hdf5(tmp_path))
    assert asking.fields() == {}
    assert "no such file, or no HDF5 file in it" in node.trouble
    (tmp_path / "broken.h5").write_bytes(b"\x89HDF\r\n\x1a\nbroken")
    with h5py.File(tmp_path / "timeless.h5", "w") as file:
        file["x"] = [1.0]
    with h5py.File(tmp_path / "units.h5", "w") as file:
        file["time"] = file["x"] = [1.0]
        file["time"].attrs["units"] = "parsec"
    t = write_day(tmp_path / "good.h5", 0)
    wait_until(lambda: set(asking.fields()) == NAMES, 60, "the fields of the good one")
    for text in (
        "broken.h5: it is no HDF5 file, or not written yet",
        "no dataset 'time' has the times; there is x: see --time",
        "'parsec' of 'time' are not units",
    ):
        assert text in node.trouble
    assert len(asking.samples(["valve"], 1, 0)["valve"]) == len(t)


def test_no_dataset_shows_another_file_of_this_computer(tmp_path, asked):
    (tmp_path / "secret").write_bytes(b"secret")
    with h5py.File(tmp_path / "linked.h5", "w") as file:
        file["time"], file["x"] = np.arange(6.0), np.arange(6.0)
        file.create_dataset("y", (6,), "u1", external=[(str(tmp_path / "secret"), 0, 6)])
        layout = h5py.VirtualLayout((6,), "u1")
        layout[:] = h5py.VirtualSource(".", "y", (6,))
        file.create_virtual_dataset("z", layout)
    _, asking = asked(Hdf5(tmp_path))
    assert set(asking.fields()) == {"x"}


def test_a_small_file_that_unpacks_to_gigabytes_is_not_read(tmp_path, asked):
    path, rows = tmp_path / "small.h5", 1 << 30
    with h5py.File(path, "w") as file:
        times = file.create_dataset("time", (rows,), "f8", chunks=(1 << 16,), fillvalue=BEGAN)
        times[-1] = BEGAN + 1000
        file.create_dataset("x", (rows,), "f8", chunks=(1 << 16,))
    with pytest.raises(ValueError, match="MiB in a chunk or at almost a time"):
        asked(Hdf5(path))[1].samples(["x"], 1, 0)
    # HDF5 1 has no chunks of 4 GB. The node may still look at the other file.
    path, rows = tmp_path / "chunk.h5", 1 << 28
    with h5py.File(path, "w") as file:
        file["time"] = np.arange(6.0)
        file.create_dataset("x", (6,), "f8", chunks=(rows,), maxshape=(None,), compression="gzip")
    with pytest.raises(ValueError, match="MiB in a chunk or at almost a time"):
        asked(Hdf5(path))[1].samples(["x"], 1, 0)


def test_a_column_of_a_large_table_is_read_without_the_others(tmp_path, asked):
    rows, row = 1 << 20, np.dtype([("x", "f8"), ("notes", "S2000")])
    with h5py.File(tmp_path / "table.h5", "w") as file:
        file["time"] = BEGAN + np.arange(float(rows))
        file.create_dataset("table", (rows,), row, chunks=(1 << 12,))
    whole = BEGAN, BEGAN + rows
    assert asked(Hdf5(tmp_path))[1].samples(["table.x"], *whole, max_points=100)["table.x"]


def test_times_that_are_texts_are_said(tmp_path, asked):
    with h5py.File(tmp_path / "texts.h5", "w") as file:
        file["time"], file["x"] = ["2026-01-01T00:00:00Z"], [1.0]
    node, asking = asked(Hdf5(tmp_path))
    assert asking.fields() == {}
    assert "the times of 'time' are not numbers" in node.trouble


def test_rows_that_are_others_begin_a_new_generation(tmp_path, asked):
    write_day(tmp_path / "a.h5", 0)
    write_day(tmp_path / "b.h5", 1)
    node, asking = asked(Hdf5(tmp_path))
    calls = []
    node.samples_changed = lambda: calls.append(1)
    asking.fields()
    write_day(tmp_path / "c.h5", 2)
    wait_until(lambda: len(asking.samples(["valve"], 1, 0)["valve"]) == 1200, 60, "the third")
    assert calls == []
    before = node.fingerprint("temp")
    write_day(tmp_path / "b.h5", 1, rows=200)
    wait_until(lambda: len(asking.samples(["valve"], 1, 0)["valve"]) == 1000, 60, "the other rows")
    assert calls == [1]
    assert node.fingerprint("temp") != before


def test_a_large_file_is_decimated_in_little_memory(tmp_path, asked):
    path, rows = tmp_path / "large.h5", 4_000_000
    with h5py.File(path, "w") as file:
        file.create_dataset("time", data=1.7e9 + np.arange(rows) / 100, chunks=(65536,))
        file.create_dataset("x", data=np.arange(rows, dtype="f4"), chunks=(65536,))
    node = Hdf5(path)
    node.pyramid = False
    _, asking = asked(node)
    tracemalloc.start()
    found = asking.samples(["x"], 1, 0, max_points=1000)["x"]
    assert tracemalloc.get_traced_memory()[1] < 150e6
    tracemalloc.stop()
    assert len(found) <= 1000
    assert (found[0][1], found[-1][1]) == (0, rows - 1)


@pytest.mark.timeout(900)
def test_what_is_prepared_of_a_large_file_is_not_in_memory(tmp_path, serve, client):
    rows, names = 4_000_000, "abcd"
    with h5py.File(tmp_path / "large.h5", "w") as file:
        file.create_dataset("time", data=1.7e9 + np.arange(rows) / 100, chunks=(65536,))
        for name in names:
            file.create_dataset(name, data=np.sin(np.arange(rows) / 1e5), chunks=(65536,))
    process, used, found = serve("hdf5", "large_hdf5", "--path", tmp_path), [-1.0], {}

    def is_prepared():
        used.append(sum(process.cpu_times()[:2]))
        return used[-1] - used[-2] < 0.1

    def is_answered():
        with suppress(NodeFailed, NodeTimeout):  # a busy machine has not prepared all yet
            found.update(client.get("large_hdf5", [*names], start=1, max_points=1000))
        return found

    wait_until(is_prepared, 300, "the levels of all fields", every=1.0)
    wait_until(is_answered, 300, "the answer", every=1.0)
    assert all(abs(found[name].values).max() > 0.99 for name in names)
    assert peak(process) < 250_000_000


def test_all_flags_are_documented():
    assert documented_flags("hdf5") == own_flags(Hdf5)
