import math
import os
import threading
import tracemalloc

import numpy as np

from tests.unit.stores import assert_holds, fill, same, series
from tests.unit.test_pyramid import build


def test_what_was_given_stays_valid(opened):
    store = opened()
    t, values = series(50_000)
    fill(store, t[:20_000], values[:20_000])
    views = [store.read(-math.inf, math.inf), (store.t, store.values)]
    pyramid = store._pyramid
    fill(store, t[20_000:], values[20_000:])
    store.clear()
    assert (len(store), store.identity) == (0, {})
    other_t, other = series(30_000, "<i2")
    fill(store, other_t, other)
    views_of_other = store.read(-math.inf, math.inf)
    store.close()
    for got_t, got in views:
        assert same(got_t, t[:20_000]) and same(got, values[:20_000])
    expected = build(t[:20_000], values[:20_000])
    assert same(pyramid.overview(5, 19_000, 500)[0], expected.overview(5, 19_000, 500)[0])
    assert same(views_of_other[1], other)
    assert_holds(opened(), other_t, other)


def test_a_store_cleared_is_empty_when_it_is_opened_again(opened, tmp_path):
    store = opened()
    fill(store, *series(20_000))
    store.append([1e10], np.ones(1))
    store.clear()
    assert sorted(os.listdir(tmp_path / "store")) == ["lock", "manifest.json"]
    store.append([-5], np.ones(1, "<u2"))
    store.close()
    store = opened()
    assert (len(store), store.identity, store.was_damaged) == (0, {}, False)
    fill(store, *series(300, "<u1"))
    assert len(store) == 300


def test_one_reads_while_another_commits(opened):
    store = opened()
    t, values = series(200_000)
    whole = build(t, values)
    failures, is_done = [], threading.Event()

    def read():
        while not is_done.is_set():
            got_t, got = store.read(-math.inf, math.inf)
            _, overview = store.overview(t[0], t[len(got_t) // 2], 100)
            if not (same(got_t, t[: len(got_t)]) and same(got, values[: len(got)])):
                failures.append(len(got_t))
            stop = int((t < t[len(got_t) // 2]).sum())
            if not same(overview, whole.overview(0, stop, 100)[1]):
                failures.append(stop)

    fill(store, t[:1000], values[:1000])
    reader = threading.Thread(target=read)
    reader.start()
    try:
        for first in range(1000, 200_000, 9950):
            fill(store, t[first : first + 9950], values[first : first + 9950])
    finally:
        is_done.set()
        reader.join()
    assert failures == []
    assert len(store) == 200_000


def test_memory_stays_small(opened):
    store = opened()
    t, values = series(2_000_000, gaps="many")
    later = t - t[0] + t[-1]
    tracemalloc.start()
    try:
        store.append(t, values)
        store.commit({})
        store.append(later[::2], values[::2])
        store.commit({"more": True})
        store.overview(0, math.inf, 2000)
        assert tracemalloc.get_traced_memory()[1] < 6e6
    finally:
        tracemalloc.stop()
    assert len(store) == 3_000_000
