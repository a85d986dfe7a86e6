"""The history of a live node holds what a plain list would, however it is written and reopened."""

import math
import resource
import threading

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sisock.errors import SettingsError
from sisock.history.disk import History, history_folder
from sisock.wire import arrays, grid
from tests import grid_oracle
from tests.unit.stores import keep

EVER = -math.inf, math.inf
START = 1_700_000_000.0
KINDS = {"number": "n", "integer": "i", "bool": "b", "string": "s"}


def fail(text):
    raise AssertionError(text)


def opened(folder, seconds=None, size=None, warn=fail, **others):
    return History(folder, seconds, size, warn, **others)


class Model:
    """Timelines as lists of times, and of dicts of values."""

    def __init__(self):
        self.t = []
        self.rows = []

    def add(self, t, columns):
        self.t += t
        for i in range(len(t)):
            self.rows.append({name: column[i] for name, column in columns.items()})

    def values(self, field):
        return [row.get(field) for row in self.rows]


def plain(values):
    """Values as the list that they are on the wire."""
    return arrays.to_list(values)


def check(history, model, line, field, start, end, w, max_points):
    inside = [i for i, t in enumerate(model.t) if start <= t < end]
    t, every = [model.t[i] for i in inside], model.values(field)
    values = [every[i] for i in inside]
    found_t, found = history.lines[line].samples([field], start, end)
    assert found_t.tolist() == t
    assert plain(found[field]) == values
    found = history.lines["line"].decimate(field, start, end, bucket=w)
    kept = grid_oracle.decimate(t, values, w)
    assert found.t.tolist() == [t[i] for i in kept]
    assert plain(found.values) == [values[i] for i in kept]
    found = history.lines["line"].decimate(field, start, end, max_points=max_points)
    kept, expected = grid_oracle.decimate_to(t, values, max_points)
    assert found.bucket == expected
    assert found.t.tolist() == [t[i] for i in kept]
    assert plain(found.values) == [values[i] for i in kept]
    there = [(a, v) for a, v in zip(model.t, every, strict=True) if a < end and v is not None]
    t, values = history.lines[line].latest(field, end) or ([], [])
    assert list(zip(t, plain(values), strict=True)) == there[-1:]


VALUES = {
    "n": st.none() | st.floats(-1e3, 1e3, width=16),
    "i": st.integers(-(2**40), 2**40),
    "b": st.none() | st.booleans(),
    "s": st.none() | st.sampled_from(["on", "off", "größer", "", "a\x93sisock\n"]),
}


@st.composite
def batches(draw):
    """What is done: times and columns to append, or None, which means to open it anew."""
    if draw(st.integers(0, 4)) == 0:
        return None
    count = draw(st.integers(1, 12))
    steps = draw(
        st.lists(st.sampled_from([2**-10, 0.25, 1.0, 100.0]), min_size=count, max_size=count)
    )
    names = draw(st.sets(st.sampled_from(list(VALUES)), min_size=1))
    columns = {
        name: draw(st.lists(VALUES[name], min_size=count, max_size=count)) for name in sorted(names)
    }
    return steps, columns


@settings(
    max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(
    st.lists(batches(), min_size=1, max_size=12),
    st.floats(-10, 1500),
    st.floats(0, 1500),
    st.integers(-10, 12),
    st.integers(8, 40),
)
def test_it_is_what_a_list_would_be(tmp_path_factory, done, start, length, exponent, max_points):
    folder = tmp_path_factory.mktemp("history")
    history, model, known = opened(folder), Model(), set()
    for batch in done:
        if batch is None:
            history.close()
            history = opened(folder)
            continue
        steps, columns = batch
        t = (np.cumsum(steps) + (model.t[-1] if model.t else START)).tolist()
        keep(history, "line", t, columns)
        model.add(t, columns)
        known |= {name for name, values in columns.items() if set(values) != {None}}
    for field in known:
        for interval in (EVER, (START + start, START + start + length)):
            check(history, model, "line", field, *interval, 2.0**exponent, max_points)
    history.close()


def large(count, first=0, seed=1):
    """A second apart, all types, with missing values and some that are only sometimes there."""
    rng = np.random.default_rng(seed + first)
    t = START + first + np.arange(float(count))
    number = rng.normal(size=count).cumsum()
    number[rng.random(count) < 0.1] = np.nan
    states = np.array(["idle", "busy", None, "broken"], dtype=object)
    columns = {
        "n": number,
        "i": rng.integers(-100, 100, count),
        "b": rng.choice(np.array([True, False, None], dtype=object), count),
        "s": states[rng.integers(0, 4, count) * (rng.random(count) < 0.01)],
    }
    return t, columns


def fill(history, counts):
    """Append so many samples, and return all as arrays; i is not in every third batch."""
    every, first = [], 0
    for turn, count in enumerate(counts):
        t, columns = large(count, first)
        if turn % 3 == 1:
            del columns["i"]
        keep(history, "line", t, columns)
        columns.setdefault("i", np.full(count, np.nan))
        every.append((t, columns))
        first += count
    t = np.concatenate([t for t, _ in every])
    return t, {f: np.concatenate([columns[f] for _, columns in every]) for f in every[0][1]}


def compare(history, t, columns, interval, w, max_points, fields="nibs"):
    """Compare all answers with what the grid makes of all samples."""
    start, end = interval
    low, high = np.searchsorted(t, [start, end])
    t = t[low:high]
    found_t, found = history.lines["line"].samples(list(fields), start, end)
    assert np.array_equal(found_t, t)
    for field in fields:
        values = columns[field][low:high]
        values = arrays.normalise(values) if values.dtype.kind == "O" else values
        assert plain(found[field]) == plain(values)
        decimated = history.lines["line"].decimate(field, start, end, bucket=w)
        kept = grid.decimate(t, values, w)
        assert np.array_equal(decimated.t, t[kept])
        assert plain(decimated.values) == plain(values[kept])
        few = history.lines["line"].decimate(field, start, end, max_points=max_points)
        kept, expected = grid.decimate_by(t, values, None, max_points)
        assert few.bucket == expected
        assert np.array_equal(few.t, t[kept])
        assert plain(few.values) == plain(values[kept])


COUNTS = [3000, 7000, 1, 9000, 20_000, 100, 8192, 30_000, 5]
INTERVALS = [
    EVER,
    (START + 2999, START + 10_001),
    (START + 8000.5, START + 60_000),
    (START - 5, START + 9999.5),
    (START + 77_000, START + 1e6),
]


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """A history with several files and some samples in memory, opened again."""
    folder = tmp_path_factory.mktemp("history")
    history = opened(folder)
    t, columns = fill(history, COUNTS)
    history.tidy()
    history.close()
    history = opened(folder)
    assert len(list(folder.glob("*/segment-*"))) >= 3
    yield history, t, columns
    history.close()


@pytest.mark.parametrize("interval", INTERVALS)
@pytest.mark.parametrize("w", [0.5, 16.0, 1024.0, 2.0**20])
def test_files_and_memory_are_one_series(filled, interval, w):
    compare(*filled, interval, w, 100)


def test_files_are_merged_and_answer_as_before(tmp_path):
    history = opened(tmp_path)
    t, columns = fill(history, [8192] * 17)
    history.tidy()
    assert len(list(tmp_path.glob("*/segment-*"))) == 2
    for interval in INTERVALS:
        compare(history, t, columns, interval, 64.0, 500)
    history.close()
    history = opened(tmp_path)
    compare(history, t, columns, EVER, 256.0, 300)
    history.close()


def test_two_processes_cannot_share_a_history(tmp_path):
    history = opened(tmp_path)
    with pytest.raises(SettingsError, match="in use by another process"):
        opened(tmp_path)
    history.close()
    opened(tmp_path).close()


def test_a_place_that_cannot_be_a_folder_is_an_error_that_names_it(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match="file/history"):
        opened(tmp_path / "file" / "history")


def test_the_place_is_a_setting():
    assert history_folder("a/b", {"SISOCK_DATA": "/data"}).parts == ("/", "data", "a%2Fb")
    assert len({history_folder("ü" * 60 + end).name for end in "ab"}) == 2
    assert history_folder("a", {}).parts[-4:] == (".local", "share", "sisock", "a")
    with pytest.raises(SettingsError, match="SISOCK_DATA"):
        history_folder("a", {"SISOCK_DATA": "~nobody-of-this-name/data"})


@pytest.mark.parametrize("name", [".", "..", "a/b", "", "ü" * 300, "x" * 300 + "1"])
def test_timelines_may_have_any_name(tmp_path, name):
    history = opened(tmp_path / "inside")
    keep(history, name, [START], {"n": [1.0]})
    keep(history, name[:-1] + "2", [START], {"m": [2.0]})
    history.close()
    history = opened(tmp_path / "inside")
    assert history.lines.keys() == {name, name[:-1] + "2"}
    history.close()
    assert {path.name for path in tmp_path.iterdir()} == {"inside"}


def kept(history, days):
    """Append days of samples, one in ten seconds; the times that are left when it has tidied up."""
    for day in range(days):
        t = START + day * 86_400 + np.arange(0, 86_400, 10.0)
        keep(history, "line", t, {"n": t})
        history.tidy()
    found = history.lines["line"]
    t, values = history.lines["line"].samples(["n"], *EVER)
    assert np.array_equal(t, values["n"])
    assert (np.diff(t) == 10).all()
    return (found.last - found.first) / 86_400


@pytest.mark.parametrize("ahead", [0, 365 * 86_400, -365 * 86_400])
def test_what_is_older_than_what_shall_be_kept_is_removed(tmp_path, ahead):
    # A clock that is wrong takes nothing.
    history = opened(tmp_path, 20 * 86_400, clock=lambda: START + 40 * 86_400 + ahead)
    days = kept(history, 40)
    assert 20 <= days < 24 if ahead >= 0 else days > 39
    history.close()


def test_no_more_bytes_are_kept_than_shall_be(tmp_path):
    history = opened(tmp_path, size=1_500_000)
    assert 1 < kept(history, 40) < 11
    history.close()
    assert sum(path.stat().st_size for path in tmp_path.rglob("*")) < 1_600_000


def test_answers_are_whole_while_samples_come_and_files_are_made(tmp_path):
    history = opened(tmp_path)
    over = threading.Event()

    def append(first):
        t = START + first + np.arange(1000.0)
        keep(history, "line", t, {"n": t, "s": [f"{first}"] * 1000})

    def write():
        for first in range(1000, 200_000, 1000):
            append(first)
        over.set()

    append(0)

    writer = threading.Thread(target=write)
    writer.start()
    while not over.is_set():
        history.tidy()
        t, values = history.lines["line"].samples(["n", "s"], *EVER)
        assert np.array_equal(t, values["n"]) and (np.diff(t) == 1).all()
        assert len(values["s"]) == len(t)
        few = history.lines["line"].decimate("n", *EVER, max_points=50)
        assert np.array_equal(few.t, few.values) and len(few.t) <= 50
        few = history.lines["line"].decimate("n", *EVER, bucket=4096.0)
        assert np.array_equal(few.t, few.values) and (np.diff(few.t) > 0).all()
    writer.join()
    assert len(history.lines["line"].samples(["n"], *EVER)[0]) == 200_000
    history.close()


def test_more_timelines_than_files_may_be_open(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (200, hard))
    try:
        for _ in range(2):
            history = opened(tmp_path)
            if not history.lines:
                for i in range(250):
                    keep(history, f"t{i}", [START], {f"x{i}": [1.0]})
            history.sync()
            assert len(history.lines) == 250
            history.close()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
