"""Samples for tests of `SampleStore`, and what a store of them must hold."""

import numpy as np

from tests.unit.test_pyramid import build, make_values

FILES = ["times", "values", "level_08", "level_11", "level_14", "gaps", "gap_maxima"]
PATHS = ["manifest.json", *(f"{name}.cache" for name in FILES)]


def series(count, dtype="<f8", gaps="many", seed=1):
    """Times with some that are equal, and values with gaps."""
    rng = np.random.default_rng(seed)
    t = 1.5e9 + np.cumsum(rng.choice([0, 0.25, 0.25, 9], count))
    return t, make_values(rng, dtype, count, "noise", gaps)


def fill(store, t, values, identity=None):
    store.append(t, values)
    store.commit(identity or {"samples": len(store) + len(t)})


def same(a, b):
    return a.dtype == b.dtype and a.tobytes() == b.tobytes()


def assert_holds(store, t, values):
    """The store must hold these samples, and the very pyramid that they give at once."""
    expected = build(t, values)
    found = store._pyramid
    assert len(store) == len(t)
    assert same(found.t, t) and same(found.values, values)
    assert found.levels.keys() == expected.levels.keys()
    for level, entries in expected.levels.items():
        assert same(found.levels[level], entries)
    assert same(found.gaps, expected.gaps)
    assert same(found.maxima, expected.maxima)
