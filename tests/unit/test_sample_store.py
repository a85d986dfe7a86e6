import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sisock.errors import SettingsError
from sisock.store.pyramid import Pyramid
from sisock.store.sample_store import SampleStore
from tests.unit.stores import assert_holds, fill, same, series
from tests.unit.test_pyramid import (
    DTYPES,
    GAPS,
    LENGTHS,
    SHAPES,
    check_overview,
    make_values,
    points,
    seeds,
)

TOP = Path(__file__).parent.parent.parent


def index_pyramid(pyramid):
    """The pyramid with indices as times, by which a test can tell what was chosen."""
    levels = {level: entries.copy() for level, entries in pyramid.levels.items()}
    for entries in levels.values():
        entries["t_min"], entries["t_max"] = entries["index_min"], entries["index_max"]
    gaps = pyramid.gaps.copy()
    gaps["t"] = gaps["start"]
    t = np.arange(len(pyramid.t)) * 1.0
    return Pyramid(t, pyramid.values, levels, gaps, pyramid.maxima)


@settings(max_examples=60)
@given(
    seeds,
    st.sampled_from(DTYPES),
    st.sampled_from(LENGTHS),
    st.sampled_from(SHAPES),
    st.sampled_from(GAPS),
    points,
)
def test_samples_in_many_chunks_are_those_in_one(
    tmp_path_factory, fast_disk, seed, dtype, count, shape, gaps, max_points
):
    folder = tmp_path_factory.mktemp("store")
    rng = np.random.default_rng(seed)
    t = 1e9 + np.cumsum(rng.choice([0, 1, 7.5], count))
    values = make_values(rng, dtype, count, shape, gaps)
    cuts = np.sort(rng.integers(0, count + 1, rng.integers(0, 12))).tolist()
    store = SampleStore.open(folder)
    for a, b in zip([0, *cuts], [*cuts, count], strict=True):
        store.append(t[a:b], values[a:b])
        if rng.random() < 0.4:
            store.commit({"until": b})
        if rng.random() < 0.2:
            store.commit({"until": b})
            store.close()
            store = SampleStore.open(folder)
    store.commit({})
    assert not store.was_damaged
    if count:
        assert_holds(store, t, values)
    start, end = np.sort(rng.choice([*t, 0, 1e9, 1e10], 2)).tolist()
    check_answers(store, t, values, start, end, max_points)
    store.close()


def check_answers(store, t, values, start, end, max_points):
    first, stop = (int((t < limit).sum()) for limit in (start, end))
    got_t, got = store.read(start, end)
    assert got_t.tolist() == t[first:stop].tolist()
    if not len(t):
        return
    assert same(got, values[first:stop])
    got_t, got = store.overview(start, end, max_points)
    pyramid = index_pyramid(store._pyramid)
    index = pyramid.overview(first, stop, max_points)[0].astype(int)
    bounds = None
    if stop - first > max_points:
        bounds = pyramid.buckets(first, stop, max_points)[0] - first
    check_overview(values[first:stop], bounds, index - first, got, max_points)
    assert same(got_t, t[index])


def test_samples_are_seen_after_commit_only(opened):
    store = opened()
    assert (len(store), store.identity, store.was_damaged) == (0, {}, False)
    t, values = series(5000)
    # A gap that one commit begins and the next one ends.
    values[2990:3010] = np.nan
    store.append(t[:3000], values[:3000])
    assert len(store) == len(store.t) == len(store.read(-math.inf, math.inf)[0]) == 0
    store.commit({"file": "a", "size": 3})
    store.append(t[3000:], values[3000:])
    assert (len(store), store.identity) == (3000, {"file": "a", "size": 3})
    store.close()
    again = opened()
    assert_holds(again, t[:3000], values[:3000])
    assert again.identity == {"file": "a", "size": 3}
    assert not again.was_damaged
    with pytest.raises(ValueError, match=f"after {t[2999]}"):
        again.append([t[0]], np.ones(1))
    fill(again, t[3000:], values[3000:])
    assert_holds(again, t, values)


def test_maps_cannot_be_written(opened):
    store = opened()
    for _ in range(2):
        fill(store, *series(10_000, seed=0))
        for array in (store.t, store.values, *store._pyramid.levels.values()):
            with pytest.raises(ValueError, match="read-only"):
                array[0] = array[1]
        store.clear()


def test_an_identity_alone_is_kept(opened):
    store = opened()
    store.commit({"nothing": [None, True, 0.1, "\u00fc"]})
    store.close()
    store = opened()
    assert store.identity == {"nothing": [None, True, 0.1, "\u00fc"]}
    with pytest.raises(ValueError):
        store.commit({"size": math.nan})
    with pytest.raises(TypeError):
        store.commit({"path": Path("a")})
    assert store.identity == {"nothing": [None, True, 0.1, "\u00fc"]}


def test_a_commit_of_nothing_new_writes_nothing(opened, tmp_path):
    store = opened()
    fill(store, *series(3000), {"a": 1})
    before = (tmp_path / "store" / "manifest.json").stat()
    store.commit({"a": 1})
    assert (tmp_path / "store" / "manifest.json").stat() == before
    store.commit({"a": 2})
    assert store.identity == {"a": 2}


@pytest.mark.parametrize(
    "t",
    [
        *([4, 5], [5, 6, 5.9, 7], [5, math.nan, 6], [math.nan], [5, math.inf], [math.inf]),
        *([*range(5, 65_541), 65_539], [[5]], [5, 6, 7]),
    ],
    ids=lambda t: repr(t)[:30],
)
def test_times_that_do_not_ascend_are_refused(opened, t):
    store = opened()
    fill(store, [1, 4.5, 4.5, 5], np.arange(4.0))
    store.append([5, 5], np.arange(2.0))
    with pytest.raises(ValueError):
        store.append(t, np.zeros(2 if t == [5, 6, 7] else len(t)))
    store.append([5, 6], np.arange(2.0))
    store.commit({})
    assert store.t.tolist() == [1, 4.5, 4.5, 5, 5, 5, 5, 6]
    assert store.values.tolist() == [0, 1, 2, 3, 0, 1, 0, 1]


def test_values_of_a_type_that_holds_less_are_refused(opened):
    fits = {("<i4", "<i2"), ("<i4", "<u2"), ("<f8", "<i4"), ("<f8", "<f4"), ("<i8", "<u4")}
    for stored, later in [*fits, ("<f8", "<i8"), ("<f8", "<u8"), ("<f4", "<f8"), ("<f4", "<i4")]:
        store = opened(f"{stored}{later}")
        fill(store, [1], np.ones(1, stored))
        if (stored, later) in fits:
            store.append([2], np.full(1, 3, later))
        else:
            with pytest.raises(ValueError, match="do not fit exactly into a store of"):
                store.append([2], np.full(1, 3, later))
        store.append([4], np.full(1, 5, stored))
        store.commit({})
        assert store.values.dtype.str == stored
        assert store.values.tolist() == ([1, 3, 5] if (stored, later) in fits else [1, 5])
    for values in (np.ones(1, bool), np.ones(1, ">f8"), np.array(["a"]), np.ones(1, complex)):
        with pytest.raises(ValueError, match="cannot be stored"):
            opened(f"{values.dtype.str[1:]}").append([1], values)


def test_no_samples_settle_no_type(opened):
    store = opened()
    store.append([], np.empty(0, "<f8"))
    fill(store, [1], np.array([2**63 - 1]))
    assert store.values.tolist() == [2**63 - 1]


def test_a_folder_is_opened_once_at_a_time(opened, tmp_path):
    store = opened()
    fill(store, *series(100))
    with pytest.raises(SettingsError, match="in use by another process"):
        opened()
    script = "import sys, pathlib\nfrom sisock.store.sample_store import SampleStore\n"
    script += "SampleStore.open(pathlib.Path(sys.argv[1]))"
    command = [sys.executable, "-c", script, str(tmp_path / "store")]
    refused = subprocess.run(command, cwd=TOP, capture_output=True, text=True, timeout=60)
    assert "SettingsError: the cache folder" in refused.stderr
    store.close()
    with pytest.raises(ValueError, match="closed"):
        store.append([1e10], np.ones(1))
    with pytest.raises(ValueError, match="closed"):
        store.commit({})
    with pytest.raises(ValueError, match="closed"):
        store.clear()
    assert subprocess.run(command, cwd=TOP, timeout=60).returncode == 0
    assert len(opened()) == 100
