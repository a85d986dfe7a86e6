import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sisock.wire.arrays import merge_timeline

ascending = st.lists(st.integers(0, 30), max_size=30).map(lambda ts: np.array(sorted(ts), float))


@given(st.lists(ascending, min_size=1, max_size=4))
def test_every_sample_keeps_its_own_time(times):
    samples = {f"f{i}": (t, np.arange(len(t)) + 1000.0 * i) for i, t in enumerate(times)}
    t, merged = merge_timeline(samples)
    assert (np.diff(t) >= 0).all()
    for name, (own_t, own_values) in samples.items():
        column = merged[name]
        if not len(own_t):
            assert len(column) == 0
            continue
        present = [(a, v) for a, v in zip(t, column, strict=True) if not math.isnan(v)]
        assert present == list(zip(own_t, own_values, strict=True))


def test_missing_integers_and_booleans_are_none():
    t, merged = merge_timeline(
        {
            "i": (np.array([1.0, 2.0]), np.array([1, 2])),
            "b": (np.array([2.0, 3.0]), np.array([True, False])),
            "s": (np.array([1.0]), np.array(["text"], object)),
            "f": (np.array([3.0]), np.array([0.5], "<f4")),
        }
    )
    assert t.tolist() == [1.0, 2.0, 3.0]
    assert merged["i"].tolist() == [1, 2, None]
    assert merged["b"].tolist() == [None, True, False]
    assert merged["s"].tolist() == ["text", None, None]
    assert merged["f"].dtype == np.float32


def test_equal_times_are_shared_without_a_copy():
    t, x = np.array([1.0, 2.0]), np.array([3.0, 4.0])
    merged_t, merged = merge_timeline({"a": (t, x), "b": (t.copy(), x)})
    assert merged_t is t
    assert merged["a"] is x
