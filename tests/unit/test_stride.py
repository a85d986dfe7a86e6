import tracemalloc

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sisock.wire.grid import stride_indices

spacings = st.lists(
    st.one_of(
        st.floats(0, 1e4),
        st.sampled_from([0.0, 0.1, 0.25, 1.0, 60.0]),
        st.just(1e-7),
    ),
    max_size=300,
)
strides = st.one_of(st.floats(0, 1e5), st.sampled_from([0.0, 0.1, 0.3, 1.0, 60.0, 120.0]))
starts = st.sampled_from([0.0, 1.5e9, 1500076800.123456])


def greedy(t, stride, last=None):
    """The definition, sample by sample."""
    kept = []
    for i, now in enumerate(t):
        if last is None or now - last >= stride:
            kept.append(i)
            last = now
    return kept


@given(starts, spacings, strides)
def test_the_spacing_is_kept_and_no_more_is_dropped(start, gaps, stride):
    t = start + np.cumsum([0.0, *gaps])
    kept = stride_indices(t, stride)
    assert kept[0] == 0
    assert (np.diff(t[kept]) >= stride).all()
    # No sample that is dropped could have stood between its neighbours.
    assert kept.tolist() == greedy(t, stride)


@given(starts, spacings, strides, st.integers(0, 300))
def test_two_windows_equal_one(start, gaps, stride, cut):
    t = start + np.cumsum([0.0, *gaps])
    first = stride_indices(t[:cut], stride)
    after = t[:cut][first[-1]] if len(first) else None
    second = stride_indices(t[cut:], stride, after)
    assert [*first.tolist(), *(second + min(cut, len(t))).tolist()] == greedy(t, stride)


@given(st.integers(2, 2000), st.sampled_from([1e-3, 0.1, 1.0, 7.0]), st.integers(1, 50))
def test_a_multiple_of_the_spacing_keeps_every_nth_sample(count, spacing, multiple):
    t = np.arange(count) * 1.0 * spacing
    assert stride_indices(t, 0).tolist() == list(range(count))
    assert stride_indices(np.arange(count) * 1.0, multiple).tolist() == list(
        range(0, count, multiple)
    )


def test_no_samples_stay_none():
    assert stride_indices(np.empty(0), 5.0).tolist() == []
    assert stride_indices(np.empty(0), 0.0, after=3.0).tolist() == []


def test_that_all_samples_are_kept_is_found_without_an_object_for_each():
    t = np.arange(100_000) * 1.0
    tracemalloc.start()
    try:
        kept = stride_indices(t, 1.0, after=-1.0)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept.tolist() == list(range(len(t)))
    assert peak < 3 * t.nbytes
