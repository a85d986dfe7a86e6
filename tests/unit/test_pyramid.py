"""Views of samples and levels answer exactly what all samples give."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sisock.store.series import Damaged
from tests.unit.stores import EVER, check_view, fill, open_store, same, series

COUNT = 120_000
STEPS = {"regular": [1.0], "equal": [0, 1], "gaps": [1, 1, 1, 5000], "dense": [2.0**-9]}


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """Series of several kinds, with their pyramids, appended in two parts."""
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SISOCK_CACHE", str(tmp_path_factory.mktemp("cache")))
        store = open_store()
        for kind, steps in STEPS.items():
            rng = np.random.default_rng(3)
            t = -3e4 + np.cumsum(rng.choice(steps, COUNT))
            _, values = series(COUNT, "<i4" if kind == "equal" else "<f4", missing=0.02)
            if kind == "gaps":
                values[20_000:60_000] = np.nan
            pyramid = fill(store.open(kind), t[:70_000], values[:70_000])
            fill(pyramid, t[70_000:], values[70_000:])
            found[kind] = pyramid, t, values
    return found


@settings(max_examples=150)
@given(st.data())
def test_a_view_answers_as_all_samples_do(stored, data):
    pyramid, t, values = stored[data.draw(st.sampled_from(sorted(STEPS)))]
    time = st.one_of(
        st.sampled_from([*EVER, t[0], t[-1], math.nextafter(t[-1], math.inf), 0.0]),
        st.integers(0, COUNT - 1).map(lambda i: t[i]),
        st.floats(t[0] - 10, t[-1] + 10),
        st.integers(-8, 30).map(lambda i: i * 2.0**12),
    )
    start, end = sorted([data.draw(time), data.draw(time)])
    w = 2.0 ** data.draw(st.integers(-20, 40))
    check_view(pyramid.view(), t, values, start, end, w, data.draw(st.integers(8, 4000)))


@settings(max_examples=30)
@given(
    # Without any sample there is no type.
    st.lists(st.integers(0, 30_000), min_size=1, max_size=6).filter(any),
    st.sampled_from(["<f8", "<i8", "|u1", "|b1"]),
    st.integers(0, 100),
    st.integers(1, 3000),
)
def test_a_view_with_a_tail_is_of_both(tmp_path_factory, parts, dtype, seed, tail):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SISOCK_CACHE", str(tmp_path_factory.mktemp("cache")))
        pyramid = open_store().open("a")
    t, values = series(sum(parts) + tail, dtype, seed)
    begin = 0
    for count in parts:
        fill(pyramid, t[begin : begin + count], values[begin : begin + count])
        begin += count
    view = pyramid.view()
    for start, end in (EVER, (t[len(t) // 3], t[-1]), (t[-1], math.inf), (t[begin], t[-1] + 1)):
        check_view(view, t, values, start, end, 64.0, 50, begin)


def test_levels_are_short_and_no_more_than_are_needed(stored):
    pyramid, _, _ = stored["regular"]
    for w in (16.0, 256.0):
        assert len(pyramid.view().decimate(*EVER, w, None).t) <= 2 * (COUNT / w + 2)


def test_few_samples_have_no_levels_and_many_have(tmp_path, monkeypatch):
    monkeypatch.setenv("SISOCK_CACHE", str(tmp_path))
    store = open_store()
    small = fill(store.open("small"), *series(1000))
    assert list(small.extend()) == []
    large = fill(store.open("large"), *series(100_000))
    assert list(large.extend()) == []
    few = large.view().decimate(*EVER, None, 100)
    assert len(few.t) <= 100 and few.bucket is not None
    files = {path.name for path in (tmp_path / "store").iterdir()}
    assert len([name for name in files if name.endswith(".t")]) >= 3


def test_levels_are_kept_over_a_restart(tmp_path, monkeypatch):
    monkeypatch.setenv("SISOCK_CACHE", str(tmp_path))
    t, values = series(100_000)
    store = open_store()
    fill(store.open("a"), t[:90_000], values[:90_000])
    names = {path.name for path in (tmp_path / "store").glob("*.t")}
    store.close()
    pyramid = open_store().open("a")
    assert {path.name for path in (tmp_path / "store").glob("*.t")} == names
    check_view(pyramid.view(), t[:90_000], values[:90_000], *EVER, 256.0, 100)
    fill(pyramid, t[90_000:], values[90_000:])
    check_view(pyramid.view(), t, values, t[77], t[99_900], 256.0, 100)


def test_levels_are_chosen_anew_when_the_series_has_doubled(tmp_path, monkeypatch):
    monkeypatch.setenv("SISOCK_CACHE", str(tmp_path))
    sparse = np.arange(40_000) * 600.0
    dense = sparse[-1] + np.arange(1, 200_000) * 0.5
    t = np.concatenate([sparse, dense])
    values = np.sin(np.arange(len(t)))
    pyramid = fill(open_store().open("a"), sparse, values[:40_000])
    fill(pyramid, dense, values[40_000:])
    for start, end in (EVER, (dense[1000], dense[-5]), (sparse[7], dense[3])):
        check_view(pyramid.view(), t, values, start, end, 4096.0, 300)


def test_levels_dropped_while_they_are_extended_are_made_anew(tmp_path, monkeypatch):
    monkeypatch.setenv("SISOCK_CACHE", str(tmp_path))
    t, values = series(100_000)
    pyramid = open_store().open("a")
    pyramid.base.append(t, values)
    extending = pyramid.extend()
    next(extending), next(extending)  # the finest level is complete
    pyramid.drop_levels()
    list(extending)
    assert list(pyramid.extend())
    check_view(pyramid.view(), t, values, *EVER, 16.0, 100)
    assert not list(pyramid.extend())


def test_a_view_stays_the_same_while_more_is_appended(tmp_path, monkeypatch):
    monkeypatch.setenv("SISOCK_CACHE", str(tmp_path))
    store = open_store()
    t, values = series(150_000)
    pyramid = fill(store.open("a"), t[:100_000], values[:100_000])
    view = pyramid.view()
    fill(pyramid, t[100_000:], values[100_000:])
    later = fill(store.make("a"), *series(30_000, "<i2", seed=7))
    del pyramid
    check_view(view, t[:100_000], values[:100_000], *EVER, 1024.0, 200)
    arrays = view.samples(*EVER)
    del view
    names = {path.name.partition("-")[0] for path in (tmp_path / "store").glob("*.t")}
    assert names == {str(later.base.record.key)}
    assert same(arrays, (t[:100_000], values[:100_000]))


def test_many_samples_of_one_time_are_answered_once(tmp_path, monkeypatch):
    monkeypatch.setenv("SISOCK_CACHE", str(tmp_path))
    t = np.repeat([1e9, 1e9 + 50_000], 40_000)
    values = np.sin(np.arange(len(t)))
    pyramid = fill(open_store().open("a"), t, values)
    for start, end in (EVER, (1e9, 1e9 + 1), (1e9 + 1, math.inf)):
        check_view(pyramid.view(), t, values, start, end, 64.0, 100)


@pytest.mark.parametrize("kind", ["*-16.0.t", "*-256.0.values"])
def test_of_a_damaged_level_only_levels_are_made_anew(tmp_path, monkeypatch, kind):
    monkeypatch.setenv("SISOCK_CACHE", str(tmp_path))
    t = 1e9 + np.arange(200_000.0)
    store = open_store()
    pyramid = fill(store.open("a"), t, np.sin(t))
    key = pyramid.base.record.key
    store.close()
    (path,) = (tmp_path / "store").glob(kind)
    content = path.read_bytes()
    path.write_bytes(bytes(len(content)))
    store = open_store()
    with pytest.raises(Damaged) as raised:
        view = store.open("a").view()
        for w in (16.0, 256.0):
            view.decimate(*EVER, w, None)
    store.repair("a", raised.value)
    check_view(store.open("a").view(), t, np.sin(t), *EVER, 256.0, 100)
    pyramid = fill(store.open("a"), t[:0], t[:0])
    assert pyramid.base.record.key == key
    assert path.read_bytes() == content
