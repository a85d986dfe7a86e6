"""Damage to a history's files is reported and costs its block, and nothing else."""

import gc
import math
import os
import random
import shutil

import numpy as np
import pytest

from sisock.history.disk import History
from sisock.wire import grid
from tests.unit.stores import EVER, keep, small_disk

START = 1_700_000_000.0
BLOCK = 8192
RECORD = 500
COUNT = 63_000
CASES = 25


def sound():
    """All samples: a number, an integer, a boolean and a string a second."""
    number = np.arange(float(COUNT))
    return START + number, {
        "n": number,
        "i": np.arange(COUNT),
        "b": np.arange(COUNT) % 3 == 0,
        "s": np.array([f"s{i % 5}" for i in range(COUNT)], dtype=object),
    }


T, COLUMNS = sound()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A closed history, one file of which was merged, and the last samples in a journal."""
    folder = tmp_path_factory.mktemp("history") / "sound"
    history = History(folder, None, None, fail)
    for first in range(0, COUNT, RECORD):
        part = slice(first, first + RECORD)
        keep(history, "line", T[part], {name: v[part] for name, v in COLUMNS.items()})
    history.tidy()
    history.close()
    assert len(list(folder.glob("*/segment-*"))) == 7
    return folder


def fail(text):
    raise AssertionError(text)


class Opened:
    """A damaged copy, all its samples, and what was reported."""

    def __init__(self, folder):
        self.reported = []
        self.history = History(folder, None, None, self.reported.append)
        self.t, self.values = self.history.lines["line"].samples(COLUMNS, -math.inf, math.inf)

    def lost(self):
        """Indices of samples that are not there, and of values that are missing, by field."""
        which = np.rint(self.t - START).astype(int)
        lost = {None: np.setdiff1d(np.arange(COUNT), which)}
        for name, values in self.values.items():
            if values.dtype == object:
                is_missing = np.array([value is None for value in values])
            else:
                is_missing = np.isnan(values) if values.dtype.kind == "f" else values != values
            expected = np.asarray(COLUMNS[name])[which]
            assert (np.asarray(values, dtype=object)[~is_missing] == expected[~is_missing]).all()
            lost[name] = which[is_missing]
        return {name: indices for name, indices in lost.items() if len(indices)}


@pytest.fixture
def damaged(folder, tmp_path):
    """Copies the history, has a file of it damaged, and opens it."""
    opened = []

    def damage(pattern, change):
        copy = tmp_path / "copy"
        shutil.copytree(folder, copy)
        path = sorted(copy.glob(f"*/{pattern}"))[-1]
        with open(path, "r+b") as file:
            change(file, path.stat().st_size)
        opened.append(Opened(copy))
        return opened[0]

    yield damage
    for each in opened:
        each.history.close()


def flip(position):
    def change(file, size):
        file.seek(int(position * size))
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 1 << int(position * 1e6) % 8]))

    return change


def truncate(position):
    return lambda file, size: file.truncate(int(position * size))


def positions(count=CASES):
    chosen = random.Random(int(os.environ.get("SISOCK_TEST_SEED", "1")))
    return [chosen.random() for _ in range(count)]


@pytest.mark.parametrize("position", positions())
def test_a_flipped_bit_of_a_file_costs_one_block(damaged, position):
    opened = damaged("segment-*", flip(position))
    lost = opened.lost()
    assert len(lost) <= 1
    for indices in lost.values():
        assert indices[-1] - indices[0] < BLOCK
        assert opened.reported
    if None not in lost:
        for name in COLUMNS.keys() - lost.keys():
            values = COLUMNS[name]
            for w in (16.0, 1024.0):
                found = opened.history.lines["line"].decimate(name, -math.inf, math.inf, bucket=w)
                kept = grid.decimate(T, values, w)
                assert np.array_equal(found.t, T[kept])
                assert np.array_equal(found.values, np.asarray(values)[kept])


def test_reports_of_damage_are_not_kept(damaged):
    reported = damaged("segment-*", flip(0.5)).reported
    keepers = [each for each in gc.get_referrers(reported[-1]) if isinstance(each, list)]
    assert len(keepers) == 1 and keepers[0] is reported


@pytest.mark.parametrize("position", positions())
def test_a_flipped_bit_of_a_journal_costs_one_record(damaged, position):
    opened = damaged("journal-*", flip(position))
    (indices,) = opened.lost().values()
    assert len(indices) == RECORD
    assert indices[-1] - indices[0] < RECORD
    assert len(opened.reported) == 1


@pytest.mark.parametrize("position", [0.0, 0.001, 0.1, 0.5, 0.9, 0.999999])
def test_a_truncated_file_costs_what_was_behind(damaged, position):
    opened = damaged("segment-*", truncate(position))
    lost = opened.lost()
    every = np.concatenate(list(lost.values())) if lost else np.arange(0)
    assert opened.reported or not len(every)
    # Other files, and the journal, are as they were.
    assert not len(every) or every.max() - every.min() < 2 * BLOCK


@pytest.mark.parametrize("position", positions(10))
def test_a_truncated_journal_costs_what_was_behind(damaged, position):
    opened = damaged("journal-*", truncate(position))
    (indices,) = opened.lost().values()
    assert indices[-1] == COUNT - 1
    assert len(indices) == indices[-1] - indices[0] + 1
    assert len(indices) % RECORD == 0


def test_nothing_of_damage_is_left_after_the_next_start(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "copy")
    (path,) = (tmp_path / "copy").glob("*/journal-*")
    with open(path, "r+b") as file:
        flip(0.5)(file, path.stat().st_size)
    opened = Opened(tmp_path / "copy")
    keep(opened.history, "line", [T[-1] + 1], {"n": [0.0]})
    opened.history.tidy()
    opened.history.close()
    again = Opened(tmp_path / "copy")
    assert again.reported == []
    assert len(again.t) == len(opened.t) + 1
    again.history.close()


def test_damage_begins_another_generation_and_a_restart_none(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "copy")
    generations = []
    for position in (None, None, 0.5, None):
        if position is not None:
            path = sorted((tmp_path / "copy").glob("*/journal-*"))[-1]
            with open(path, "r+b") as file:
                flip(position)(file, path.stat().st_size)
        opened = Opened(tmp_path / "copy")
        opened.history.tidy()
        opened.history.close()
        generations.append(opened.history.generation)
    assert generations[0] == generations[1] != generations[2] == generations[3]


def test_a_full_disk_is_reported_and_what_it_lacks_written_later(tmp_path):
    reported = []
    history = History(tmp_path, None, None, reported.append)
    with small_disk(10_000):
        for first in range(0, 20_000, 1000):
            keep(history, "line", T[first:][:1000], {"n": T[first:][:1000]})
        history.tidy()
        values = history.lines["line"].samples(["n"], -math.inf, math.inf)[1]
        assert np.array_equal(values["n"], T[:20_000])
    assert any("cannot be written" in text for text in reported)
    history.sync()
    shutil.copytree(tmp_path, tmp_path / "copy")
    opened = History(tmp_path / "copy", None, None, fail)
    assert len(opened.lines["line"].samples([], *EVER)[0]) == 20_000
    opened.close()
    history.close()


def test_samples_in_memory_survive_that_their_folder_is_removed(tmp_path):
    history = History(tmp_path / "kept", None, None, lambda text: None)
    keep(history, "line", T[:5], {"n": T[:5]})
    shutil.rmtree(tmp_path / "kept")
    history.sync()
    keep(history, "line", T[5:7], {"n": T[5:7]})
    history.close()
    history = History(tmp_path / "kept", None, None, fail)
    assert len(history.lines["line"].samples([], *EVER)[0]) == 7
    history.close()


def test_files_of_others_are_left_alone(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "copy")
    (line,) = (tmp_path / "copy").glob("t-*")
    others = ["journal-00000001.bak", "segment-x", "segment-00000001-00000001~", "notes.txt"]
    for name in others:
        (line / name).write_text("a note")
    opened = Opened(tmp_path / "copy")
    assert opened.reported == [] and len(opened.t) == COUNT
    opened.history.close()
    assert all((line / name).exists() for name in others)


def left(folder, words):
    """Leave a generation file as a process that has ended in some way, and open the history."""
    (folder / "generation").write_text(words)
    history = History(folder, None, None, fail)
    history.close()
    return history.generation


def test_after_a_power_failure_another_generation_begins(tmp_path):
    history = History(tmp_path / "it", None, None, fail)
    keep(history, "line", T[:5], {"n": T[:5]})
    # A killed process leaves what there is now, and has lost nothing.
    shutil.copytree(tmp_path / "it", tmp_path / "killed")
    history.close()
    for folder in (tmp_path / "it", tmp_path / "killed"):
        again = History(folder, None, None, fail)
        assert again.generation == history.generation
        assert len(again.lines["line"].samples([], *EVER)[0]) == 5
        again.close()
    assert left(tmp_path / "it", "known closed") == "known"
    for words in ("known another-start-of-the-computer", "", "known", "\0\xff\0"):
        assert left(tmp_path / "it", words) not in ("", "known")
