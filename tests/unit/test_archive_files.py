"""How a `FileArchive` looks after many files, while requests come."""

import os
import shutil
import sys
import threading
import time

import numpy as np
import pytest

from sisock.testing import wait_until
from sisock.wire.protocol import NEVER_FINAL
from tests.conftest import TOP

sys.path.insert(0, str(TOP / "data_nodes"))
from weather import WeatherArchive


class Watched(WeatherArchive):
    """Counts scans, each of which may be held up, and tells of changed samples."""

    name = "watched"

    def __init__(self, directory):
        super().__init__(directory)
        self.scans, self.changes, self.may_scan, self.hub = 0, 0, threading.Event(), None
        self.may_scan.set()

    def list_files(self):
        self.scans += 1
        assert self.may_scan.wait(60)
        return super().list_files()

    def samples_changed(self):
        self.changes += 1
        assert self.hub is None or self.hub.wait(60)

    def values(self, field="a"):
        return self.read(field, 0, 1e10)[1].tolist()

    def few(self, field="a", max_points=100):
        return self.get_decimated([field], 1, 0, max_points=max_points).get(field)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SISOCK_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "watched"


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "archive"
    path.mkdir()
    (path / "a.dat").write_text("1 10\n2 20\n")
    (path / "b.dat").write_text("1 10\n2 20\n")
    return path


def add(path, text):
    with open(path, "a") as file:
        file.write(text)


def test_there_is_one_scan_per_second_for_everybody(folder):
    node = Watched(folder)
    began = time.monotonic()
    while time.monotonic() - began < 1.5:
        node.get_fields(1, 0)
        node.few()
    assert 1 <= node.scans <= 1 + (time.monotonic() - began)


def test_no_call_waits_for_a_scan_and_what_was_appended_is_there(folder):
    node = Watched(folder)
    assert node.values() == [10, 20]
    node.may_scan.clear()
    wait_until(lambda: node.get_fields(1, 0) and node.scans == 2, 40, "the next scan")
    add(folder / "a.dat", "3 30\n")
    try:
        assert node.values() == [10, 20, 30]
        assert node.few().values.tolist() == [10, 20, 30]
        assert set(node.get_fields(1, 0)[0]) == {"a", "b"}
        assert node.scans == 2
    finally:
        node.may_scan.set()


def test_a_request_looks_at_its_own_file_alone(folder, tmp_path):
    node = Watched(folder)
    assert node.values("a") == node.values("b") == [10, 20]
    node.may_scan.clear()
    try:
        # Whoever looked at this file would find that it has changed.
        (folder / "b.dat").write_text("5 50\n")
        assert node.values("a") == [10, 20]
        assert node.changes == 0
    finally:
        node.may_scan.set()


def test_a_changed_file_does_not_hold_up_others_while_the_hub_is_slow(folder):
    node = Watched(folder)
    assert node.values("a") == node.values("b") == [10, 20]
    node.hub = threading.Event()
    (folder / "a.dat").write_text("1 11\n2 22\n")
    answers = []
    changed = threading.Thread(target=lambda: answers.append(node.values("a")))
    changed.start()
    try:
        wait_until(lambda: node.changes, 40, "the news for the hub")
        add(folder / "b.dat", "3 30\n")
        assert node.values("b") == [10, 20, 30]
        # Nobody gets the old samples as those of the new generation.
        assert answers == []
    finally:
        node.hub.set()
        changed.join(30)
    assert answers == [[11, 22]]


def test_final_is_what_is_before_the_end_of_the_last_sample(folder):
    (folder / "empty.dat").write_text("# nothing\n")
    node = Watched(folder)
    assert node.few().final_to == np.nextafter(2, 3)
    assert node.get_decimated(["a"], 1, 1.5, bucket=1.0)["a"].final_to == np.nextafter(2, 3)
    assert node.few("empty").final_to == NEVER_FINAL
    assert node.few("unknown") is None


def test_first_last_and_interval_are_found_out(folder):
    node = Watched(folder)
    node.values()
    entry = node.list_fields(1, 2)["a"]
    assert (entry["first"], entry["last"], entry["interval"]) == (1, 2, 1)


@pytest.mark.parametrize("kind", ["*.t", "*.values"])
def test_damaged_samples_are_read_again_unnoticed(folder, cache, kind):
    t = np.arange(1, 50_000)
    np.savetxt(folder / "a.dat", np.column_stack([t, t % 7]), "%d")
    node = Watched(folder)
    assert node.values() == (t % 7).tolist()
    # The running node has its own folder, as a program that has ended would not.
    copied = cache.parent / "again"
    shutil.copytree(cache, copied)
    damaged = set(copied.glob("*.t"))
    for path in copied.glob(kind):
        path.write_bytes(bytes(path.stat().st_size))
    again = Watched(folder)
    again.name = "again"
    assert again.values() == (t % 7).tolist()
    assert again.changes == 0
    assert set(copied.glob("*.t")) - damaged


def test_thousands_of_fields_need_few_open_files(folder):
    for i in range(1000):
        text = "".join(f"{1_500_000_000 + 60 * j} {j}\n" for j in range(20))
        (folder / f"f{i}.dat").write_text(text)
    before = len(os.listdir("/proc/self/fd"))
    node = Watched(folder)
    names = [f"f{i}" for i in range(1000)]
    assert len(node.get_decimated(names, 1, 0, max_points=8)) == 1000
    assert len(os.listdir("/proc/self/fd")) - before < 60
