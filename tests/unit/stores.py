"""Stores for tests, samples for them, and what a view must answer."""

import math
import resource
from contextlib import contextmanager

import numpy as np

from sisock.history.columns import encode
from sisock.store.catalogue import Store
from sisock.wire import grid

EVER = -math.inf, math.inf


def open_store(name="store"):
    """A store of this name in ``SISOCK_CACHE``, which must not have to go elsewhere."""

    def fail(text):
        raise AssertionError(text)

    return Store(name, fail)


def keep(history, timeline, t, values):
    """Have a history keep lists or arrays, whose times must ascend."""
    times = np.array(t, dtype="<f8")
    columns = {name: encode(each) for name, each in values.items()}
    present = {name: each.copy() for name, each in columns.items() if each is not None}
    if len(times):
        history.put(timeline, (times, present))


def series(count, dtype="<f8", seed=1, missing=0.1):
    """Times with some that are equal and some gaps, and values of which some are missing."""
    rng = np.random.default_rng(seed)
    t = 1.5e9 + np.cumsum(rng.choice([0, 0.25, 0.25, 9], count))
    values = (rng.normal(size=count).cumsum() * 100).astype(dtype)
    if values.dtype.kind == "f":
        values[rng.random(count) < missing] = np.nan
    return t, values


def fill(pyramid, t, values, step=10_000, **identity):
    """Append samples, in several steps, and bring the levels up to them."""
    for first in range(0, len(t), step):
        pyramid.base.append(t[first : first + step], values[first : first + step], **identity)
    for _ in pyramid.extend():
        pass
    return pyramid


def same(found, expected):
    """Whether two pairs of times and values are the same, to the bit."""
    return all(
        a.dtype == b.dtype and a.tobytes() == b.tobytes()
        for a, b in zip(found, expected, strict=True)
    )


def check_view(view, t, values, start, end, w, max_points, stored=None):
    """Compare all that a view of the first `stored` samples answers with what all samples give."""
    inside = (t >= start) & (t < end)
    stored = len(t) if stored is None else stored
    later = t[stored:][inside[stored:]], values[stored:][inside[stored:]]
    before = inside & (np.arange(len(t)) < stored)
    assert same(view.samples(start, end), (t[before], values[before]))
    t, values = t[inside], values[inside]
    kept = grid.decimate(t, values, w) if len(t) else np.arange(0)
    found = view.decimate(start, end, w, None, later)
    assert same((found.t, found.values), (t[kept], values[kept]))
    found = view.decimate(start, end, None, max_points, later)
    kept, size = grid.decimate_by(t, values, None, max_points)
    assert found.bucket == size
    assert same((found.t, found.values), (t[kept], values[kept]))


@contextmanager
def small_disk(size):
    """Have no file grow beyond some bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
