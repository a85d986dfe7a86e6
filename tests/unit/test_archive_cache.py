"""What a `FileArchive` keeps of its files, and when it looks at them again."""

import os
import shutil
import sys
import threading

import numpy as np
import pytest
from twisted.logger import LogLevel, capturedLogs, formatEvent

from sisock.errors import NodeContractError
from sisock.testing import wait_until
from tests.conftest import TOP
from tests.documents import blocks, page

sys.path.insert(0, str(TOP / "data_nodes"))
from weather import WeatherArchive


class Watched(WeatherArchive):
    """Notes from where its files are parsed, and when it says that samples changed."""

    name = "watched"

    def __init__(self, directory):
        super().__init__(directory)
        self.offsets, self.changes = [], 0

    def parse(self, path, offset):
        self.offsets.append(offset)
        return super().parse(path, offset)

    def samples_changed(self):
        self.changes += 1

    def values(self, field="a", max_points=None):
        if max_points is not None:
            return self.get_decimated([field], 1, 1e9, max_points=max_points)[field].values.tolist()
        return list(self.get_data([field], 1, 1e9).data[field])


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SISOCK_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "archive"
    path.mkdir()
    return path


@pytest.fixture
def file(folder):
    path = folder / "a.dat"
    path.write_text("1 10\n2 20\n")
    return path


@pytest.fixture
def node(folder, file):
    watched = Watched(folder)
    assert watched.values() == [10, 20]
    return watched


def add(path, text):
    with open(path, "a") as opened:
        opened.write(text)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "x" * 5000, "lock", "..%2F", "é" * 100])
def test_a_field_of_any_name_is_kept(folder, name):
    class Odd(Watched):
        def list_files(self):
            return {name: self._directory / "a.dat"}

    (folder / "a.dat").write_text("1 10\n")
    assert Odd(folder).values(name) == [10]


def test_a_file_that_has_not_changed_is_parsed_once(node):
    assert node.values() == node.values(max_points=8) == [10, 20]
    assert node.offsets == [0]


def test_of_a_file_that_grew_only_the_rest_is_parsed(node, file):
    add(file, "3 30\n")
    assert node.values() == [10, 20, 30]
    assert node.offsets == [0, 10]
    assert node.changes == 0


def test_a_file_replaced_while_it_is_parsed_is_parsed_anew(folder, file):
    class Replaced(Watched):
        def parse(self, path, offset):
            yield from super().parse(path, offset)
            if len(self.offsets) == 1:
                other = folder / "other"
                other.write_text("1 11\n2 20\n3 30\n")
                os.replace(other, path)

    assert Replaced(folder).values() == [11, 20, 30]


def test_a_half_written_line_is_read_when_it_is_whole(node, file):
    add(file, "3 3")
    assert node.values() == [10, 20]
    add(file, "0\n")
    assert node.values() == [10, 20, 30]
    assert node.changes == 0


@pytest.mark.parametrize("text", ["1 11\n2 20\n", "1 10\n", "5 50\n6 60\n7 70\n", ""])
def test_of_a_file_whose_samples_changed_all_is_new_and_consumers_hear_it(node, file, text):
    file.write_text(text)
    assert node.values() == [float(line.split()[1]) for line in text.splitlines()]
    assert node.changes == 1


def test_a_replaced_file_that_begins_like_the_old_one_has_grown(node, file, tmp_path):
    (tmp_path / "new").write_text("# new\n1 10\n2 20\n3 30\n")
    os.replace(tmp_path / "new", file)
    assert node.values() == [10, 20, 30]
    assert node.changes == 0


def test_a_file_that_was_only_touched_has_not_changed(node, file):
    os.utime(file, (1, 1))
    assert node.values() == [10, 20]
    assert node.changes == 0


def test_a_file_that_went_and_came_back_is_not_parsed_again(node, file, tmp_path):
    os.rename(file, tmp_path / "aside")
    assert node.values() == []
    wait_until(lambda: node.values() == [] and node.changes == 1, 40, "the news of it")
    os.rename(tmp_path / "aside", file)
    wait_until(lambda: node.values() == [10, 20], 40, "the file")
    assert node.offsets == [0]


def test_times_that_go_back_are_put_in_order_and_consumers_hear_it(node, file):
    add(file, "4 40\n3 30\n3 31\n")
    assert node.values() == [10, 20, 30, 31, 40]
    assert node.changes == 0
    add(file, "3.5 35\n")
    assert node.values() == [10, 20, 30, 31, 35, 40]
    assert node.changes == 1
    add(file, "5 50\n")
    assert node.values() == [10, 20, 30, 31, 35, 40, 50]
    assert node.changes == 1


def test_a_cache_that_is_removed_while_the_node_runs_is_made_again(node, file, cache):
    shutil.rmtree(cache)
    assert node.values() == [10, 20]
    add(file, "3 30\n")
    assert node.values() == [10, 20, 30]
    assert node.changes == 0
    assert list(cache.rglob("*.sqlite"))


def test_without_a_cache_a_temporary_folder_serves(folder, file, cache):
    cache.write_text("a file where the folder should be")
    (folder / "b.dat").write_text("1 1\n")
    with capturedLogs() as events:
        node = Watched(folder)
        assert node.values() == [10, 20]
        assert node.values("b") == [1]
    (warning,) = (formatEvent(event) for event in events if event["log_level"] is LogLevel.warn)
    assert "a temporary folder or memory replaces it" in warning and "set SISOCK_CACHE" in warning


def test_what_was_handed_out_stays_when_the_file_is_replaced(node, file):
    node.list_fields(1, 0)
    t, values = node.read("a", 0, 1e9)
    file.write_text("7 70\n")
    assert node.values() == [70]
    assert (t.tolist(), values.tolist()) == ([1, 2], [10, 20])


def test_a_field_that_is_asked_for_is_parsed_before_the_others(folder):
    passed, may_go_on = [], threading.Event()

    class Slow(Watched):
        def parse(self, path, offset):
            for i in range(1000):
                yield [float(i)], [1.0], i + 1
                passed.append(path.stem)
                if path.stem == "a" and i == 5:
                    may_go_on.wait(20)

    for name in "abc":
        (folder / f"{name}.dat").write_text("x")
    node = Slow(folder)
    node.list_fields(1, 0)
    wait_until(lambda: len(passed) == 6, 40, "the first file to be in work")
    asking = threading.Thread(target=node.values, args=("c",))
    asking.start()
    # Nobody sees from outside that it waits already.
    asking.join(1)
    may_go_on.set()
    asking.join(20)
    # Afterwards the others go on at once, maybe before this thread has come here.
    seen = list(passed)
    by_then = seen[: len(seen) - seen[::-1].index("c")]
    assert by_then.count("c") == 1000
    assert by_then.count("a") < 10 and "b" not in by_then


@pytest.mark.parametrize(
    ("chunk", "message"),
    [
        (None, "t, values, offset"),
        (([1.0], [1.0, 2.0], 1), "2 values for 1 time"),
        (([np.nan], [1.0], 1), "not finite"),
        (([1.0], ["a"], 1), "must return numbers"),
    ],
)
def test_a_wrong_answer_of_parse_names_the_field(folder, file, chunk, message):
    class Wrong(Watched):
        def parse(self, path, offset):
            yield chunk

    with pytest.raises(NodeContractError, match=message) as raised:
        Wrong(folder).values()
    assert "'a'" in str(raised.value)


def test_what_parse_raised_is_raised_and_the_next_one_tries_again(folder, file):
    class Failing(Watched):
        def parse(self, path, offset):
            if len(self.offsets) == 1:
                self.offsets.append(offset)
                yield [3.0], [30.0], 15
                raise RuntimeError("the disk fails")
            yield from super().parse(path, offset)

    node = Failing(folder)
    assert node.values() == [10, 20]
    add(file, "3 30\n4 40\n")
    with pytest.raises(RuntimeError, match="the disk fails"):
        node.values()
    assert node.values() == [10, 20, 30, 40]


def test_decimated_samples_are_of_the_same_samples(folder):
    t = np.arange(1, 100_000)
    values = np.sin(t / 500) + (t == 77_777) * 9
    np.savetxt(folder / "a.dat", np.column_stack([t, values]), "%d %.6f")
    (found,) = Watched(folder).get_decimated(["a", "unknown"], 1, 1e9, max_points=100).values()
    assert len(found.t) == len(found.values) <= 100
    assert found.values.max() == values.max().round(6)
    assert 77_777 in found.t
    assert found.bucket == 2048
    assert found.final_to == np.nextafter(99_999, 1e9)


@pytest.mark.parametrize(("version", "offsets"), [(1, []), (2, [0])])
def test_only_a_parser_of_a_new_version_parses_again_at_the_next_start(
    node, folder, cache, version, offsets
):
    # The running node has its own folder, as a program that has ended would not.
    shutil.copytree(cache / "watched", cache / "next")
    again = Watched(folder)
    again.name, again.version = "next", version
    assert again.values() == [10, 20]
    assert again.offsets == offsets


def test_the_archive_of_the_document_serves_its_files(folder):
    python = blocks(page("data-nodes.md"), "python")
    (block,) = (block for block in python if "sisock.FileArchive" in block)
    names = {}
    exec(block, names)
    records = np.array([(1, 10), (2, 20), (3, 30)], dtype=names["RECORD"])
    (folder / "east.bin").write_bytes(records.tobytes()[:-1])
    node = names["Radiometer"](folder)
    assert node.get_fields(1, 0)[0]["east"]["units"] == "K"
    assert node.get_data(["east"], 1, 9).data["east"].tolist() == [10, 20]
    (folder / "east.bin").write_bytes(records.tobytes())
    assert node.get_data(["east"], 1, 9).data["east"].tolist() == [10, 20, 30]
