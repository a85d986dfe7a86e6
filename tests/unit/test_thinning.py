import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from sisock.wire.thinning import GAP_SHARE, mean_interval, overview_indices, stride_indices

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
def test_min_stride_keeps_the_first_sample_and_the_spacing_and_drops_no_more(start, gaps, stride):
    t = start + np.cumsum([0.0, *gaps])
    kept = stride_indices(t, stride)
    assert kept[0] == 0
    assert (np.diff(t[kept]) >= stride).all()
    # No sample that is dropped could have stood between its neighbours.
    assert kept.tolist() == greedy(t, stride)


@given(starts, spacings, strides, st.integers(0, 300))
def test_thinning_in_two_windows_equals_thinning_at_once(start, gaps, stride, cut):
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


def test_mean_interval_needs_two_different_times():
    assert mean_interval(np.array([1.0, 2.0, 4.0])) == 1.5
    assert mean_interval(np.array([1.0])) is None
    assert mean_interval(np.array([1.0, 1.0])) is None


def gaps_of(values):
    """Runs of missing samples, as pairs of begin and end."""
    missing = np.isnan(values.astype(float))
    edges = np.flatnonzero(np.diff(missing, prepend=False, append=False))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def check_overview(values, most):
    """What PROTOCOL.md says of max_points, against brute force."""
    kept = overview_indices(values, most)
    assert len(kept) <= most
    assert (np.diff(kept) > 0).all()
    if len(values) <= most:
        assert kept.tolist() == list(range(len(values)))
        return
    assert kept[0] == 0 and kept[-1] == len(values) - 1
    numbers = values.astype(float)
    chosen = numbers[kept]
    shown = [any(begin <= i < end for i in kept) for begin, end in gaps_of(values)]
    lengths = [end - begin for begin, end in gaps_of(values)]
    if len(shown) <= most // GAP_SHARE:
        assert all(shown)
    elif not all(shown):
        hidden = max(n for n, is_shown in zip(lengths, shown, strict=True) if not is_shown)
        assert sum(n >= hidden for n, is_shown in zip(lengths, shown, strict=True) if is_shown) >= (
            most // GAP_SHARE
        )
    if np.isnan(numbers).all():
        return
    assert np.nanmin(chosen) == np.nanmin(numbers) and np.nanmax(chosen) == np.nanmax(numbers)
    # There are equal buckets, at least a sixteenth of the points, all of whose extremes are in.
    sizes = range(1, len(values) * 16 // most + 1)
    assert any(has_extremes(numbers, set(kept.tolist()), size) for size in sizes)


def has_extremes(numbers, kept, size):
    for begin in range(0, len(numbers), size):
        run = numbers[begin : begin + size]
        if np.isnan(run).all():
            continue
        inside = [numbers[i] for i in range(begin, begin + len(run)) if i in kept]
        if np.nanmin(run) not in inside or np.nanmax(run) not in inside:
            return False
    return True


@given(
    values=arrays.arrays(
        np.float64,
        st.integers(1, 400),
        elements=st.one_of(st.just(np.nan), st.integers(-5, 5).map(float), st.floats(-1e9, 1e9)),
    ),
    most=st.integers(8, 100),
)
def test_an_overview_keeps_extremes_ends_and_gaps(values, most):
    check_overview(values, most)


@given(
    values=arrays.arrays(
        st.sampled_from([np.dtype(c) for c in ("<i8", "|u1", "|i1", "<f4", "<u8")]),
        st.integers(0, 300),
    ).filter(lambda v: v.dtype.kind != "f" or np.isfinite(v).all()),
    most=st.integers(8, 64),
)
def test_an_overview_of_any_type_of_number_is_exact(values, most):
    kept = values[overview_indices(values, most)]
    if len(values):
        assert kept.min() == values.min() and kept.max() == values.max()
        assert kept[0] == values[0] and kept[-1] == values[-1]
    assert len(kept) <= most


def test_large_integers_are_not_compared_as_floats():
    values = np.full(1000, 2**60, dtype="<i8")
    values[377] += 1
    assert 377 in overview_indices(values, 8)


@pytest.mark.parametrize("kind", ["<U3", "|b1", object])
def test_what_is_not_a_number_is_thinned_evenly(kind):
    kept = overview_indices(np.zeros(1001, dtype=kind), 11)
    assert kept.tolist() == list(range(0, 1001, 100))


def test_the_longest_gaps_are_shown_if_there_are_too_many():
    values = np.ones(10_000)
    values[::20] = np.nan
    for begin, end in ((1005, 1015), (5005, 5016), (9005, 9017)):
        values[begin:end] = np.nan
    kept = set(overview_indices(values, 12).tolist())
    assert all(
        kept & set(range(begin, end)) for begin, end in ((1005, 1015), (5005, 5016), (9005, 9017))
    )


def test_an_infinite_value_counts_as_missing():
    values = np.arange(1000.0)
    values[500] = np.inf
    kept = overview_indices(values, 16)
    assert 500 in kept and 999 in kept
