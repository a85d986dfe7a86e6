"""The history of a live node holds what a plain list would, however it is written and reopened."""

import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sisock.store.history import History
from sisock.wire import arrays, grid
from tests import grid_oracle

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
    found_t, found = history.samples(line, [field], start, end)
    assert found_t.tolist() == t
    assert plain(found[field]) == values
    found_t, found = history.decimated(field, start, end, w)
    kept = grid_oracle.decimate(t, values, w)
    assert found_t.tolist() == [t[i] for i in kept]
    assert plain(found) == [values[i] for i in kept]
    found_t, found, size = history.few(field, start, end, max_points)
    kept, expected = grid_oracle.decimate_to(t, values, max_points)
    assert size == expected
    assert found_t.tolist() == [t[i] for i in kept]
    assert plain(found) == [values[i] for i in kept]
    there = [(a, v) for a, v in zip(model.t, every, strict=True) if a < end and v is not None]
    assert history.last(field, end) == (there[-1] if there else None)


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


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
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
        history.append("line", t, columns)
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
        history.append("line", t, columns)
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
    found_t, found = history.samples("line", list(fields), start, end)
    assert np.array_equal(found_t, t)
    for field in fields:
        values = columns[field][low:high]
        values = arrays.normalise(values) if values.dtype.kind == "O" else values
        assert plain(found[field]) == plain(values)
        found_t, decimated = history.decimated(field, start, end, w)
        kept = grid.decimate(t, values, w)
        assert np.array_equal(found_t, t[kept])
        assert plain(decimated) == plain(arrays.take(values, kept))
        found_t, few, size = history.few(field, start, end, max_points)
        kept, expected = grid.decimate_to(t, values, max_points)
        assert size == expected
        assert np.array_equal(found_t, t[kept])
        assert plain(few) == plain(arrays.take(values, kept))


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
    t, columns = fill(history, [9000] * 18)
    history.tidy()
    assert len(list(tmp_path.glob("*/segment-*"))) == 3
    for interval in INTERVALS:
        compare(history, t, columns, interval, 64.0, 500)
    history.close()
    history = opened(tmp_path)
    compare(history, t, columns, EVER, 256.0, 300)
    history.close()
