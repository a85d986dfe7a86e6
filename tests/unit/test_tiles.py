"""Views out of tiles, with what they lack asked for, are what buckets keep: against the grid."""

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sisock.bridge.tiles import Samples, TileCache, View, join
from sisock.wire.fields import Field
from sisock.wire.grid import bucket_size_of_spacing, bucket_size_of_view
from sisock.wire.json_rows import dumps, truth_as_numbers
from sisock.wire.protocol import Interval

SERIES = ("node", "generation", "field")
FIELD = Field("field", None, "t", "number", None, None)
END = 1200
FAR = 1e12


def made(seed, count=900):
    """Times, some of them equal, and values with spikes and gaps."""
    random = np.random.default_rng(seed)
    t = np.sort(random.integers(0, 4 * END, count)) / 4
    values = np.where(random.random(count) < 0.05, 100, 1) * random.normal(size=count)
    values[np.repeat(random.random(count // 10) < 0.1, 10)] = np.nan
    return Samples(t, values)


def same(one, other):
    np.testing.assert_array_equal(one.t, other.t)
    np.testing.assert_array_equal(one.values, other.values)


def reply(samples, first, last, w):
    return samples.between(first * w, last * w).decimated(w)


def complete(cache, samples, first, last, w, final_to=FAR, now=FAR):
    """A view, with what it lacks; and as many buckets as that were."""
    runs, missing = cache.find(SERIES, first, last, w, now)
    view = View(FIELD, runs)
    for start, end in missing:
        came = reply(samples, start, end, w)
        view.add(came, first * w, last * w)
        cache.store(SERIES, w, start, end, came, final_to)
    rows = orjson.loads(b"[%s]" % b"".join(view.rows()))
    assert rows == orjson.loads(dumps(list(zip(*as_json(view.samples), strict=True))))
    return view.samples, sum(end - start for start, end in missing)


def missing(cache, first, last, now):
    """The ranges of buckets of a second that are not in a cache."""
    return cache.find(SERIES, first, last, 1.0, now)[1]


def as_json(samples):
    """Values and milliseconds, as panels get them."""
    return truth_as_numbers(samples.values).tolist(), np.rint(samples.t * 1e3).tolist()


sizes = st.sampled_from([0.5, 1.0, 2.0, 4.0, 8.0])
spans = st.tuples(st.integers(0, END), st.integers(1, 500))


@settings(max_examples=300, deadline=None)
@given(
    st.integers(0, 10_000),
    st.lists(st.tuples(sizes, spans, st.integers(0, 2 * END)), max_size=8),
    st.sampled_from([1, 20_000, 10_000_000]),
)
def test_views_are_right_whatever_is_kept(seed, asked, limit):
    samples, cache = made(seed), TileCache(limit)
    for w, (start, length), final_to in asked:
        first, last = int(start / w), int(start / w) + length
        got, _ = complete(cache, samples, first, last, w, final_to)
        same(got, reply(samples, first, last, w))
        assert cache.nbytes <= limit


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 10_000), sizes, spans, st.integers(0, 2 * END))
def test_what_is_not_final_is_asked_for_again(seed, w, span, final_to):
    samples, cache = made(seed), TileCache(10_000_000)
    first, last = int(span[0] / w), int(span[0] / w) + span[1]
    complete(cache, samples, first, last, w, final_to)
    before, after = samples.between(-1, int(final_to / w) * w), made(seed + 1)
    changed = join([before, after.between(int(final_to / w) * w, FAR)])
    same(complete(cache, changed, first, last, w)[0], reply(changed, first, last, w))
    same(complete(cache, samples, first, last, w)[0], reply(changed, first, last, w))


def test_whole_tiles_are_asked_for_but_nothing_after_now():
    cache, samples = TileCache(1_000_000), made(1)
    assert missing(cache, 70, 80, FAR) == [(64, 128)]
    assert missing(cache, 70, 200, FAR) == [(64, 256)]
    assert missing(cache, 70, 200, 150.5) == [(64, 151)]
    assert missing(cache, 70, 200, 10.0) == []
    complete(cache, samples, 70, 130, 1.0, final_to=140.5)
    assert missing(cache, 70, 140, FAR) == []
    assert missing(cache, 70, 141, FAR) == [(140, 192)]


def test_a_cache_without_room_for_a_tile_asks_only_for_the_view():
    cache, samples = TileCache(1), made(1)
    for _ in range(2):
        assert complete(cache, samples, 70, 200, 1.0)[1] == 130
    assert cache.nbytes == 0
    assert missing(cache, 70, 200, 150.5) == [(70, 151)]
    assert missing(cache, 70, 200, 10.0) == []


def test_tiles_of_texts_and_of_booleans_are_joined():
    t, texts = np.arange(200.0), np.array(["a", None] * 100, dtype=object)
    flags = np.arange(200) % 3 == 0
    for values in (texts, flags):
        cache = TileCache(1_000_000)
        for _ in range(2):
            shown, _ = complete(cache, Samples(t, values), 3, 150, 1.0)
            same(shown, Samples(t[3:150], values[3:150]))


@pytest.mark.parametrize("points", [8, 100, 1000])
def test_buckets_are_the_smallest_of_which_a_view_fits(points):
    for start, span in [(1.5e9, 86_400), (1.5e9 + 0.3, 1e-3), (0.001, 1e11), (100.0, 7.7)]:
        w = bucket_size_of_view(Interval(start, start + span), points)

        def count(w, start=start, end=start + span):
            return 2 * int(-(-end // w) - start // w)

        assert count(w) <= points
        assert w == 2.0**-20 or count(w / 2) > points
    assert [bucket_size_of_spacing(x) for x in (1.0, 0.995, 0.98, 60.0, 2.5)] == [1, 1, 0.5, 32, 2]
