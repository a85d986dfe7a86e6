"""The grid of all decimated replies, against brute force."""

import itertools
import json
import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from sisock.errors import InvalidArgument
from sisock.wire import grid
from sisock.wire.arrays import WIRE_DTYPES, normalise
from sisock.wire.protocol import BUCKET_SIZES
from sisock.wire.request import parse_get_data
from tests import grid_oracle as oracle
from tests.vectors.make import VECTORS, make

NOW = 1_700_000_000.0
SIZES = [2.0**exponent for exponent in oracle.EXPONENTS]
TEXT = VECTORS.read_text(encoding="utf-8")
GIVEN = json.loads(TEXT)

sizes = st.sampled_from(SIZES)
origins = st.sampled_from([0.0, NOW, -NOW, -1e-3, 1 / 3])


@st.composite
def times_of(draw, w, count):
    """Ascending times, some equal, some on edges, of any density beside w; shape (count,)."""
    unit = w * draw(st.sampled_from([0.01, 0.125, 1.0, 3.0]))
    origin = draw(st.one_of(origins, st.integers(-8, 0).map(lambda i: i * w)))
    strategy = draw(st.sampled_from(["multiples", "fractions", "regular", "edges"]))
    if strategy == "regular":
        return origin + np.arange(count) * unit
    elements = {
        "multiples": st.integers(0, 16).map(float),
        "fractions": st.floats(0, 16, allow_subnormal=False),
        "edges": st.sampled_from([1, math.nextafter(1, 0), math.nextafter(1, 2), 2.0]),
    }[strategy]
    t = origin + draw(arrays.arrays(np.float64, count, elements=elements)) * unit
    return np.sort(t)


NUMBERS = st.one_of(
    st.sampled_from([math.nan, math.inf, -math.inf, 0.0, -0.0, 1.0, 2.0]), st.floats(width=32)
)
LISTS = [
    st.one_of(st.none(), st.integers(-3, 3), st.just(2**53)),
    st.one_of(st.none(), st.booleans()),
    st.sampled_from(["", "a", "b", "ü"]),
    st.sampled_from(["a", "b", None]),
]


@st.composite
def values_of(draw, count):
    """Values as a node has them inside: an array of a type that travels, or a list."""
    if draw(st.booleans()):
        elements = draw(st.sampled_from(LISTS))
        return normalise(draw(st.lists(elements, min_size=count, max_size=count)))
    dtype = np.dtype(draw(st.sampled_from(sorted(WIRE_DTYPES))))
    elements = NUMBERS if dtype.kind == "f" else None
    return draw(arrays.arrays(dtype, count, elements=elements))


@st.composite
def samples(draw, most=60):
    """A size of bucket, times, and values."""
    w, count = draw(sizes), draw(st.integers(0, most))
    return w, draw(times_of(w, count)), draw(values_of(count))


@given(samples())
def test_decimating_equals_brute_force(given_samples):
    w, t, values = given_samples
    kept = grid.decimate(t, values, w)
    assert kept.tolist() == oracle.decimate(t.tolist(), values.tolist(), w)


@given(samples())
def test_edges_are_where_new_buckets_start(given_samples):
    w, t, values = given_samples
    numbers = [oracle.bucket_of(each, w) for each in t.tolist()]
    starts = [i for i, n in enumerate(numbers) if i == 0 or n != numbers[i - 1]]
    edges = grid.edges(t, w)
    assert edges.tolist() == [*starts, len(t)] if len(t) else edges.tolist() in ([], [0])
    if len(t):
        assert grid.keep(values, edges).tolist() == grid.decimate(t, values, w).tolist()


@given(samples(), st.lists(st.integers(0, 60), max_size=4), st.randoms())
def test_any_cut_between_buckets_in_any_order_joins_to_the_whole(given_samples, cuts, chance):
    w, t, values = given_samples
    edges = grid.edges(t, w).tolist() or [0]
    places = sorted({0, len(t), *(edges[cut % len(edges)] for cut in cuts)})
    parts = list(itertools.pairwise(places))
    chance.shuffle(parts)
    kept = []
    for low, high in parts:
        kept += (grid.decimate(t[low:high], values[low:high], w) + low).tolist()
    assert sorted(kept) == grid.decimate(t, values, w).tolist()


@given(samples(), st.integers(1, 6))
def test_decimating_composes(given_samples, doublings):
    w, t, values = given_samples
    kept = np.arange(len(t))
    for step in range(doublings):
        if (size := w * 2**step) in BUCKET_SIZES:
            kept = kept[grid.decimate(t[kept], values[kept], size)]
            assert kept.tolist() == grid.decimate(t, values, size).tolist()


@given(samples(), st.integers(8, 40))
def test_decimating_to_points_equals_brute_force(given_samples, points):
    _, t, values = given_samples
    if len(t) > points:
        assume(oracle.size_for(t[0], t[-1], points) is not None)
    expected = oracle.decimate_to(t.tolist(), values.tolist(), points)
    kept, size = grid.decimate_by(t, values, None, points)
    assert (kept.tolist(), size) == expected
    assert len(kept) <= points


@given(origins, st.floats(0, 1e12, allow_subnormal=False), st.integers(8, 20_000))
def test_the_size_for_a_view_is_the_smallest_that_fits(first, span, points):
    last = first + span
    assert grid.bucket_size_for(first, last, points) == oracle.size_for(first, last, points)


@given(st.tuples(st.floats(-1e300, 1e300), st.floats(-1e300, 1e300)), st.integers(8, 10_000))
def test_a_size_is_found_for_any_times(times, points):
    first, last = sorted(times)
    w = grid.bucket_size_for(first, last, points)
    assert math.frexp(w)[0] == 0.5
    assert 2 * (math.floor(last / w) - math.floor(first / w) + 1) + 2 <= points


@given(st.lists(st.floats(-1e15, 1e15, allow_subnormal=False), max_size=20), sizes)
def test_the_bucket_of_a_time_is_exact(t, w):
    expected = [float(oracle.bucket_of(each, w)) for each in t]
    assert [float(grid.bucket_of(each, w)) for each in t] == expected
    assert np.asarray(grid.bucket_of(np.array(t, dtype=float), w)).tolist() == expected


DENSITIES = st.sampled_from([0.3, 1.0, 7.0, 50.0, 4096.0, 30_000.0])


@settings(max_examples=25)
@given(st.integers(0, 2**32), DENSITIES, st.sampled_from(["<f8", "<f4", "<i4", "|b1", "text"]))
def test_many_samples_of_any_density_equal_brute_force(seed, density, kind):
    chance = np.random.default_rng(seed)
    w = float(chance.choice(SIZES))
    count = int(chance.integers(1, 20_000))
    step = w / density
    origin = float(chance.choice([0.0, -count * step / 2, 1000 * w]))
    t = origin + np.arange(count) * step
    if chance.random() < 0.6:
        t += chance.uniform(0, 0.4 * step, count)
    if chance.random() < 0.4:
        gap = chance.integers(0, count)
        t[gap:] += 10 * w * chance.random()
    t = np.sort(t)
    values = many_values(kind, count, chance)
    expected = oracle.decimate(t.tolist(), values.tolist(), w)
    assert grid.decimate(t, values, w).tolist() == expected


def many_values(kind, count, chance):
    """Values of which some stretches are missing or equal."""
    if kind == "text":
        texts = np.array(["a", "b", "c"], dtype=object)
        return texts[chance.integers(0, 3, count) * chance.integers(0, 2)]
    if kind not in ("<f8", "<f4"):
        return chance.integers(-2, 50, count).astype(kind)
    values = chance.normal(size=count).astype(kind)
    if chance.random() < 0.5:
        values = values.round(1)
    for missing in chance.choice([np.nan, np.inf, -np.inf], chance.integers(0, 5)):
        low = chance.integers(0, count)
        values[low : low + chance.integers(1, 1 + count // 2)] = missing
    return values


@pytest.mark.parametrize("dtype", ["<i8", "<u8"])
def test_large_integers_are_not_compared_as_floats(dtype):
    values = np.full(100_000, 2**60, dtype=dtype)
    values[377] += 1
    assert grid.decimate(np.arange(1e5), values, 2.0**17).tolist() == [0, 377]


def test_the_time_of_a_spike_is_kept():
    t = NOW + np.arange(1e5) / 10
    values = np.sin(t)
    values[12_345] = 1000
    assert 12_345 in grid.decimate(t, values, 2.0**40)
    kept, _ = grid.decimate_by(t, values, None, 8)
    assert {0, 12_345, 99_999} <= set(kept.tolist())


WRONG = [0, -1, -1.0, 3.0, 0.1, 2.0**-21, 2.0**41, math.nan, math.inf, True, "1"]


@pytest.mark.parametrize("w", WRONG)
def test_other_numbers_are_no_sizes_of_buckets(w):
    with pytest.raises(InvalidArgument, match="bucket must be a power of two"):
        parse_get_data((["x"], 1, 1), {"bucket": w})


def test_powers_of_two_are_sizes_of_buckets():
    assert [parse_get_data((["x"], 1, 1), {"bucket": w}).bucket for w in SIZES] == SIZES
    assert sorted(BUCKET_SIZES) == SIZES


def test_the_vectors_are_those_of_the_brute_force():
    assert make() == TEXT


@pytest.mark.parametrize("vector", GIVEN["bucketOf"], ids=str)
def test_vectors_of_buckets(vector):
    assert grid.bucket_of(vector["t"], vector["w"]) == vector["i"]


@pytest.mark.parametrize("vector", GIVEN["sizeFor"], ids=str)
def test_vectors_of_sizes(vector):
    size = grid.bucket_size_for(vector["first"], vector["last"], vector["maxPoints"])
    assert size == vector["w"]


@pytest.mark.parametrize("vector", GIVEN["decimate"])
def test_vectors_of_decimated_samples(vector):
    t, values = np.array(vector["t"]), normalise(vector["values"])
    assert grid.decimate(t, values, vector["w"]).tolist() == vector["kept"]


@pytest.mark.parametrize("vector", GIVEN["decimateTo"])
def test_vectors_of_numbers_of_points(vector):
    t, values = np.array(vector["t"]), normalise(vector["values"])
    kept, w = grid.decimate_by(t, values, None, vector["maxPoints"])
    assert (kept.tolist(), w) == (vector["kept"], vector["w"])
