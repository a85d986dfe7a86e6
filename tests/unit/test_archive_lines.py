"""Files of a time and a number a line, read here or in another process: it makes no difference."""

import contextlib
import os
import shlex
import sys

import numpy as np
import psutil
import pytest

from sisock import archive_lines
from sisock.archive_lines import parse_file

LINES = 200_000


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """Some megabytes, with a malformed line in each, and a last line that is half written."""
    path = tmp_path_factory.mktemp("lines") / "a file.dat"
    with open(path, "w") as file:
        for number in range(LINES):
            file.write(f"{1_500_000_000 + number} {number / 8}\n")
            if number % 40_000 == 7:
                file.write("nonsense\n\n")
        file.write("1600000000 5")
    return path


@pytest.fixture
def elsewhere(monkeypatch):
    """Every file is a large one."""
    monkeypatch.setattr(archive_lines, "LARGE", 1)


def read(path, offset=0):
    """All that is read of a file: times, values, and malformed lines by the end of their chunk."""
    chunks = list(parse_file(path, offset))
    return (
        np.concatenate([pairs.t for pairs, _ in chunks]).tolist(),
        np.concatenate([pairs.values for pairs, _ in chunks]).tolist(),
        {reached: pairs.malformed for pairs, reached in chunks if len(pairs.t)},
    )


@pytest.fixture
def expected(path):
    t, values, malformed = read(path)
    assert t == [1_500_000_000.0 + number for number in range(LINES)]
    assert values == [number / 8 for number in range(LINES)]
    assert sum(map(len, malformed.values())) == 5
    assert max(malformed) == os.path.getsize(path) - len("1600000000 5")
    return t, values, malformed


def children():
    """Processes that parse for this one."""
    found = []
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.Error):  # others of them may end meanwhile
            found += [child] if "sisock.archive_lines" in " ".join(child.cmdline()) else []
    return found


def test_another_process_reads_the_same(path, expected, elsewhere):
    assert read(path) == expected
    assert children() == []


def test_it_begins_where_it_is_told(path, expected, elsewhere):
    t, values, _ = read(path, min(expected[2]))
    assert 0 < len(t) < LINES
    assert (t, values) == (expected[0][-len(t) :], expected[1][-len(t) :])


def test_who_reads_no_further_ends_the_other_process(path, expected, elsewhere):
    chunks = parse_file(path)
    next(chunks)
    assert len(children()) == 1
    # A second file meanwhile has no process of its own.
    assert read(path) == expected
    chunks.close()
    assert children() == []
    list(zip(range(3), parse_file(path), strict=False))
    assert children() == []


def test_arrays_can_be_changed_in_place(path, elsewhere):
    for pairs, _ in parse_file(path):
        pairs.values[pairs.values < 5] = np.nan
        pairs.t[:] += 1


def test_nothing_of_the_folder_in_which_a_node_was_started_is_run(
    path, expected, elsewhere, tmp_path, monkeypatch
):
    (tmp_path / "struct.py").write_text(f"open({str(tmp_path / 'run')!r}, 'w')")
    monkeypatch.chdir(tmp_path)
    assert read(path) == expected
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("fault", ["/bin/false", "/nonexistent", "CUT"], ids=str)
def test_what_the_other_process_leaves_is_read_here(
    path, expected, elsewhere, tmp_path, monkeypatch, fault
):
    program = fault
    if fault == "CUT":
        # It dies amid its second megabyte.
        program = tmp_path / "python"
        program.write_text(f'#!/bin/sh\n{shlex.quote(sys.executable)} "$@" | head -c 2000000\n')
        program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    assert read(path) == expected


def test_a_file_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        next(parse_file(tmp_path / "none"))
