import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sisock.store.pyramid import (
    FIRST_LEVEL,
    GAP_DTYPE,
    LEVEL_STEP,
    Pyramid,
    ended_gaps,
    entries_of_entries,
    entries_of_samples,
    gap_maxima,
    levels_of,
)

DTYPES = ["<f8", "<f4", "<i8", "<i4", "<i2", "|i1", "<u8", "<u4", "<u2", "|u1"]
LENGTHS = [0, 1, 2, 7, 8, 9, 255, 256, 257, 1000, 2047, 2048, 2049, 4097, 16383, 16384, 16385]
LENGTHS += [33_333, 70_001]
SHAPES = ["noise", "few", "constant", "ramp", "fall", "extremes"]
GAPS = ["none", "few long", "many", "dense", "mostly", "all", "at the edges"]

seeds = st.integers(0, 2**32 - 1)
points = st.one_of(st.integers(8, 40), st.integers(8, 5000), st.just(1000))


def make_values(rng, dtype, count, shape, gaps):
    """Values of a series, with runs of NaN and of infinities."""
    dtype = np.dtype(dtype)
    if dtype.kind == "f":
        low, high = -np.finfo(dtype).max, np.finfo(dtype).max
        noise = rng.standard_normal(count).astype(dtype)
    else:
        low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
        noise = rng.integers(low, high, count, dtype, endpoint=True)
    values = {
        "noise": lambda: noise,
        "few": lambda: rng.integers(3, 6, count).astype(dtype),
        "constant": lambda: np.full(count, 7, dtype),
        "ramp": lambda: np.sort(noise),
        "fall": lambda: np.sort(noise)[::-1].copy(),
        # Neighbouring integers of 64 bits, which floats do not tell apart.
        "extremes": lambda: rng.choice(np.array([low, high, high - dtype.type(1)], dtype), count),
    }[shape]()
    if dtype.kind == "f":
        missing = make_missing(rng, count, gaps)
        values[missing] = rng.choice([np.nan, np.nan, np.inf, -np.inf], missing.sum())
    return values


def make_missing(rng, count, gaps):
    """Say which samples are missing, shape (count,)."""
    missing = np.zeros(count, dtype=bool)
    if gaps == "few long":
        for start in rng.integers(0, max(1, count), 5):
            missing[start : start + rng.integers(1, 3000)] = True
    elif gaps in ("many", "dense", "mostly"):
        missing = rng.random(count) < {"many": 0.01, "dense": 0.3, "mostly": 0.95}[gaps]
    elif gaps == "all":
        missing[:] = True
    elif gaps == "at the edges":
        missing[: rng.integers(0, 400)] = missing[count - rng.integers(0, 400) :] = True
    return missing


def build(t, values):
    """The pyramid of a whole series, in one go."""
    levels, below = {}, None
    for level in levels_of(len(values)):
        whole = len(values) >> level << level
        if level == FIRST_LEVEL:
            below = entries_of_samples(t[:whole], values[:whole], 0, 1 << level)
        else:
            below = entries_of_entries(below[: len(values) >> level << LEVEL_STEP], 1 << LEVEL_STEP)
        levels[level] = below
    starts, lengths, _ = ended_gaps(values, 0, None)
    gaps = np.empty(len(starts), GAP_DTYPE)
    gaps["start"], gaps["length"], gaps["t"] = starts, lengths, t[starts]
    return Pyramid(t, values, levels, gaps, gap_maxima(gaps))


def runs_of(missing):
    """Half-open index ranges of the runs, one sample after the other."""
    runs, start = [], None
    for i, is_missing in enumerate([*missing.tolist(), False]):
        if is_missing and start is None:
            start = i
        elif not is_missing and start is not None:
            runs.append((start, i))
            start = None
    return runs


def check_gaps(missing, shown, max_points):
    """All runs within must be shown once, or the longest."""
    runs = runs_of(missing)
    inner = [(a, b) for a, b in runs if a > 0 and b < len(missing)]
    for a, b in set(runs) - set(inner):
        assert ((shown >= a) & (shown < b)).sum() == (2 if (a, b) == (0, len(missing)) else 1)
    times_shown = np.diff(np.searchsorted(shown, np.array(inner, dtype=int).reshape(-1, 2))).ravel()
    assert set(times_shown.tolist()) <= {0, 1}
    lengths = sorted((b - a for a, b in inner), reverse=True)
    kept = [b - a for (a, b), times in zip(inner, times_shown, strict=True) if times]
    assert sorted(kept, reverse=True) == lengths[: max_points // 4]


def check_overview(values, bounds, index, got, max_points):
    """Check an overview of `values` by the rules, index being of the samples chosen."""
    count = len(values)
    assert (np.diff(index) > 0).all()
    chosen = values[index]
    missing = ~np.isfinite(values) if values.dtype.kind == "f" else np.zeros(count, dtype=bool)
    assert got.dtype == values.dtype
    assert (np.where(missing[index], 0, got) == np.where(missing[index], 0, chosen)).all()
    assert not np.isfinite(got[missing[index]]).any()
    if count <= max_points:
        assert index.tolist() == list(range(count))
        return
    assert len(index) <= max_points
    assert (index[0], index[-1]) == (0, count - 1)
    assert (bounds[0], bounds[-1]) == (0, count)
    assert (np.diff(bounds) > 0).all()
    assert len(bounds) - 1 >= max_points / 16
    for a, b in zip(bounds.tolist(), bounds[1:].tolist(), strict=False):
        present = values[a:b][~missing[a:b]]
        of_bucket = index[(index >= a) & (index < b)]
        of_bucket = values[of_bucket[~missing[of_bucket]]]
        assert len(of_bucket) == 0 if len(present) == 0 else len(of_bucket) > 0
        if len(present):
            assert (of_bucket.min(), of_bucket.max()) == (present.min(), present.max())
    check_gaps(missing, index[missing[index]], max_points)


def check_interval(pyramid, start, stop, max_points):
    """Check one overview; the times of the pyramid must be the indices."""
    t, got = pyramid.overview(start, stop, max_points)
    index = t.astype(int)
    assert (index == t).all()
    bounds = None
    if stop - start > max_points:
        bounds = pyramid.buckets(start, stop, max_points)[0] - start
    check_overview(pyramid.values[start:stop], bounds, index - start, got, max_points)


@settings(max_examples=150)
@given(
    seeds,
    st.sampled_from(DTYPES),
    st.sampled_from(LENGTHS),
    st.sampled_from(SHAPES),
    st.sampled_from(GAPS),
    points,
)
def test_an_overview_keeps_the_picture(seed, dtype, count, shape, gaps, max_points):
    rng = np.random.default_rng(seed)
    values = make_values(rng, dtype, count, shape, gaps)
    pyramid = build(np.arange(count) * 1.0, values)
    intervals = [[0, count], *np.sort(rng.integers(0, count + 1, (3, 2))).tolist()]
    for start, stop in intervals:
        check_interval(pyramid, start, stop, max_points)


@pytest.mark.parametrize("max_points", [8, 9, 16, 50, 1000])
def test_every_alignment_of_an_interval_is_exact(max_points):
    rng = np.random.default_rng(5)
    count = 40_000
    values = make_values(rng, "<i2", count, "noise", "none")
    # Each edge has the extremes of all: whatever an edge forgets is missed.
    pyramid = build(np.arange(count) * 1.0, values)
    for start in [0, 1, 255, 256, 257, 2047, 2048, 2049, 16383, 16384, 16385]:
        for length in [max_points, max_points + 1, 255, 256, 257, 2048, 16384, 16640, 23_000]:
            original = values[[start, start + length - 1]]
            values[start], values[start + length - 1] = -32768, 32767
            check_interval(build(pyramid.t, values), start, start + length, max_points)
            values[[start, start + length - 1]] = original


def test_a_spike_is_found_wherever_it_is():
    count = 20_000
    values = np.zeros(count)
    for spike in np.random.default_rng(8).integers(0, count, 60).tolist():
        values[:] = 0
        values[spike] = 1
        t, got = build(np.arange(count) * 1.0, values).overview(0, count, 8)
        assert t[got == 1].tolist() == [spike]


def test_of_too_many_gaps_the_longest_are_shown():
    rng = np.random.default_rng(2)
    count = 200_000
    lengths = rng.geometric(0.6, 40_000)
    lengths[rng.integers(0, 40_000, 30)] = np.arange(10, 40)
    edges = np.cumsum(np.column_stack([np.full(40_000, 2), lengths]).ravel())
    flips = np.zeros(count, dtype=int)
    flips[edges[edges < count]] = 1
    values = np.where(np.cumsum(flips) % 2, np.nan, rng.standard_normal(count))
    pyramid = build(np.arange(count) * 1.0, values)
    assert len(pyramid.maxima) > 100
    intervals = [(0, count), (777, 100_001)]
    # The longest ones at an interval's edges too, where their blocks are incomplete.
    for gap in pyramid.gaps[np.argsort(pyramid.gaps["length"])[-4:]].tolist():
        intervals += [(gap[0] - 2, min(count, gap[0] + 90_000)), (0, gap[0] + gap[1] + 2)]
    for start, stop in intervals:
        for max_points in (8, 100):
            check_interval(pyramid, start, stop, max_points)
    check_interval(pyramid, 3, count - 5, 5000)


def test_equal_times_do_not_change_what_is_chosen():
    rng = np.random.default_rng(3)
    values = make_values(rng, "<f8", 20_000, "noise", "many")
    index, expected = build(np.arange(20_000) * 1.0, values).overview(10, 19_990, 300)
    t = np.repeat(1.5e9 + np.arange(200), 100)
    got_t, got = build(t, values).overview(10, 19_990, 300)
    assert (got_t == t[index.astype(int)]).all()
    assert got.tobytes() == expected.tobytes()


@given(seeds, st.sampled_from(GAPS), st.lists(st.integers(1, 400), max_size=8))
def test_gaps_found_part_by_part_are_those_of_the_whole(seed, gaps, parts):
    rng = np.random.default_rng(seed)
    count = sum(parts)
    missing = make_missing(rng, count, gaps)
    values = np.where(missing, np.inf, 1.0)
    found, open_start, first = [], None, 0
    for part in parts:
        starts, lengths, open_start = ended_gaps(values[first : first + part], first, open_start)
        found += zip(starts.tolist(), (starts + lengths).tolist(), strict=True)
        first += part
    if open_start is not None:
        found.append((open_start, count))
    assert found == runs_of(missing)


@pytest.mark.parametrize("max_points", [-1, 0, 7])
def test_too_few_points_are_refused(max_points):
    with pytest.raises(ValueError, match="at least 8"):
        build(np.arange(3.0), np.arange(3.0)).overview(0, 3, max_points)


def test_an_overview_reads_little():
    count = 4_000_000
    values = np.sin(np.arange(count) * 1e-3)
    pyramid = build(np.arange(count) * 1.0, values)
    tracemalloc.start()
    try:
        # Read as a whole, the samples' own flags of being missing would take as much as `count`.
        pyramid.overview(1, count - 1, 1000)
        assert tracemalloc.get_traced_memory()[1] < count / 4
    finally:
        tracemalloc.stop()
