"""Series of a store: what is appended is there, whatever happens to the process."""

import math
import os
import random
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from sisock.store.series import Damaged, TypeDiffers
from tests.unit.stores import EVER, check_view, fill, open_store, same, series

TOP = Path(__file__).parent.parent.parent


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SISOCK_CACHE", str(tmp_path))
    return tmp_path / "store"


@pytest.mark.parametrize("dtype", ["<f8", "<f4", "<i8", "<i2", "|u1", "|b1"])
@pytest.mark.parametrize("name", ["a", "", "..", "a/b", "x" * 5000, "\udcff", "é"])
def test_samples_are_kept_under_any_name_in_any_type(name, dtype):
    t, values = series(20_000, dtype)
    store = open_store()
    fill(store.open(name), t[:100], values[:100], made_of="a")
    fill(store.open(name), t[100:], values[100:], step=777, made_of="b")
    for _ in range(2):
        pyramid = store.open(name)
        assert pyramid.base.record.identity == {"made_of": "b"}
        assert same(pyramid.view().samples(*EVER), (t, values))
        store.close()
        store = open_store()


@pytest.mark.parametrize("t", [[4, 5], [5, 6, 5.9], [5, math.nan, 6], [math.nan], [5, math.inf]])
def test_times_that_do_not_ascend_are_refused(t):
    base = open_store().open("a").base
    base.append(np.array([1, 4.5, 4.5, 5]), np.arange(4))
    with pytest.raises(ValueError):
        base.append(np.array(t, dtype=float), np.arange(len(t)))
    base.append(np.array([5.0, 6.0]), np.arange(2))
    t, values = base.snapshot().samples(0, 9)
    assert t.tolist() == [1, 4.5, 4.5, 5, 5, 6]
    assert values.tolist() == [0, 1, 2, 3, 0, 1]


@pytest.mark.parametrize(
    ("stored", "later", "wider"),
    [
        *[("<i4", "<i2", None), ("<f8", "<f4", None), ("<i8", "<u4", None), ("<f8", "|b1", None)],
        *[("<f8", "<i8", "<f8"), ("<f4", "<f8", "<f8"), ("<i4", "<f4", "<f8")],
        *[("<i8", "<f8", "<f8"), ("|b1", "<i4", "<i4")],
    ],
)
def test_values_that_do_not_fit_say_which_type_does(stored, later, wider):
    base = open_store().open("a").base
    base.append(np.ones(1), np.ones(1, stored))
    if wider is None:
        base.append(np.ones(1), np.ones(1, later))
    else:
        with pytest.raises(TypeDiffers) as raised:
            base.append(np.ones(1), np.ones(1, later))
        assert raised.value.wider == wider
    assert base.record.dtype == stored


def test_values_that_are_no_numbers_are_refused():
    base = open_store().open("a").base
    for values in (np.array(["a"]), np.ones(1, complex), np.ones(1, ">f8")):
        with pytest.raises(ValueError, match="cannot be stored"):
            base.append(np.ones(1), values)


def test_arrays_cannot_be_written():
    for count in (10, 30_000):
        pyramid = fill(open_store(f"{count}").open("a"), *series(count))
        for array in pyramid.view().samples(*EVER):
            with pytest.raises(ValueError, match="read-only"):
                array[0] = array[1]


def test_one_reads_while_another_appends():
    t, values = series(200_000)
    pyramid = fill(open_store().open("a"), t[:1000], values[:1000])
    failures, is_done = [], threading.Event()

    def read():
        while not is_done.is_set():
            view = pyramid.view()
            count = len(view.samples(*EVER)[0])
            try:
                check_view(view, t[:count], values[:count], *EVER, 256.0, 100)
            except AssertionError as error:
                failures.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for first in range(1000, 200_000, 9950):
            fill(pyramid, t[first : first + 9950], values[first : first + 9950])
    finally:
        is_done.set()
        reader.join()
    assert failures == []
    assert len(pyramid.base) == 200_000


def test_few_files_are_open_whatever_is_read():
    before = len(os.listdir("/proc/self/fd"))
    store = open_store()
    t, values = series(20_000)
    for i in range(150):
        fill(store.open(f"{i}"), t, values)
    views = [store.open(f"{i}").view().decimate(*EVER, None, 100) for i in range(150)]
    assert len(views) == 150
    assert len(os.listdir("/proc/self/fd")) - before < 140


WRITER = """
import random, sys
from tests.unit.stores import fill, open_store
import numpy as np

store = open_store()
print("opened", flush=True)
while True:
    pyramid = store.open("a")
    count = len(pyramid.base)
    if count > 300_000:
        store.make("a")
        continue
    i = np.arange(count, count + random.choice([1, 300, 3000, 40_000]))
    fill(pyramid, i // 3 * 0.5, i * 2654435761 % 1000003, step=10**6, count=int(i[-1]) + 1)
    print("appended", flush=True)
"""


def test_a_process_killed_at_any_moment_leaves_what_it_appended(cache):
    counts = set()
    for _ in range(12):
        command = [sys.executable, "-c", WRITER]
        with subprocess.Popen(command, cwd=TOP, stdout=subprocess.PIPE) as process:
            assert process.stdout.readline() == b"opened\n"
            for _ in range(random.randrange(5)):
                assert process.stdout.readline() == b"appended\n"
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(random.uniform(0, 0.05))
            process.send_signal(signal.SIGKILL)
        store = open_store()
        pyramid = store.open("a")
        count = len(pyramid.base)
        counts.add(count)
        assert pyramid.base.record.identity.get("count", 0) == count
        i = np.arange(count)
        samples = i // 3 * 0.5, i * 2654435761 % 1000003
        if count:  # without samples there is no type yet
            check_view(pyramid.view(), *samples, *EVER, 64.0, 100)
        store.close()
    assert len(counts) > 4


def harm(path, how):
    size = path.stat().st_size
    position = random.randrange(size)
    if how == "a bit":
        data = bytearray(path.read_bytes())
        data[position] ^= 1 << random.randrange(8)
        path.write_bytes(data)
    elif how == "zeros":
        data = path.read_bytes()
        path.write_bytes(data[:position] + bytes(size - position))
    elif how == "the end":
        os.truncate(path, position)
    else:
        path.unlink()


@pytest.mark.parametrize("how", ["a bit", "zeros", "the end", "all"])
@pytest.mark.parametrize(
    "kind", ["*-0.0.t", "*-0.0.values", "*-16.0.t", "*-256.0.values", "*.sqlite"]
)
def test_damage_is_noticed_or_does_not_matter(cache, kind, how):
    t = 1e9 + np.arange(140_000.0)
    values = np.sin(t)
    for _ in range(12 if how == "a bit" else 3):
        store = open_store()
        fill(store.make("a"), t, values)
        store.close()
        harm(next(cache.glob(kind)), how)
        store = open_store()
        pyramid = store.open("a")
        try:
            if len(pyramid.base):
                view = pyramid.view()
                check_view(view, t, values, *EVER, 1024.0, 100)
                check_view(view, t, values, t[300], t[60_000], 64.0, 5000)
        except Damaged:
            pyramid = store.make("a")
        if not len(pyramid.base):
            check_view(fill(pyramid, t, values).view(), t, values, *EVER, 1024.0, 100)
        store.close()


def test_files_that_do_not_count_are_removed(cache):
    store = open_store()
    t, values = series(40_000)
    fill(store.open("a"), t, values)
    store.close()
    names = {path.name for path in cache.iterdir()}
    (cache / "77-0.0.t").write_bytes(b"x")
    with open(next(cache.glob("*-0.0.t")), "ab") as file:
        file.write(b"x" * 1001)
    store = open_store()
    pyramid = store.open("a")
    assert not (cache / "77-0.0.t").exists()
    more = fill(pyramid, t + t[-1], values)
    assert same(more.view().samples(0, t[-1] + 1)[0][:40_000], t)
    check_view(
        more.view(), *map(np.concatenate, [(t, t + t[-1]), (values, values)]), *EVER, 64.0, 99
    )
    assert names <= {path.name for path in cache.iterdir()}


@pytest.mark.parametrize("parts", [[1] * 700, [100, 411, 1, 1, 9000], [512, 1], [513]])
def test_series_that_grow_from_small_to_large_are_kept(cache, parts):
    t, values = series(sum(parts))
    count = 0
    for part in parts:
        if count % 50 < 2:
            store = open_store()
        base = store.open("a").base
        view, known = store.open("a").view(), count
        base.append(t[count : count + part], values[count : count + part])
        count += part
        assert same(view.samples(*EVER), (t[:known], values[:known])) or not known
        if count % 50 < 2:
            store.close()
    store.close()
    pyramid = open_store().open("a")
    assert same(pyramid.view().samples(*EVER), (t, values))


def test_damage_to_small_series_is_noticed(cache):
    t, values = series(200)
    for _ in range(20):
        store = open_store()
        for field in "abc":
            fill(store.make(field), t, values)
        store.close()
        harm(cache / "catalogue.sqlite", "a bit")
        store = open_store()
        for field in "abc":
            pyramid = store.open(field)
            try:
                if len(pyramid.base):
                    check_view(pyramid.view(), t, values, *EVER, 16.0, 20)
            except Damaged:
                store.make(field)
        store.close()
