"""What a view takes of tiles, with what it asks for, has every extreme: against brute force."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sisock.bridge.tiles import ROW_SAMPLES, Tile, TileRow, take
from sisock.wire.thinning import overview_indices


def made(seed, count=400):
    """Times, some of them equal, and values with spikes and gaps."""
    random = np.random.default_rng(seed)
    t = np.sort(random.integers(0, 300, count)).astype(float)
    values = np.where(random.random(count) < 0.05, 100, 1) * random.normal(size=count)
    values[np.repeat(random.random(count // 10) < 0.1, 10)] = np.nan
    return t, values


def cut(t, values, start, end, points=None):
    low, high = np.searchsorted(t, [start, end])
    t, values = t[low:high], values[low:high]
    which = slice(None) if points is None else overview_indices(values, points)
    return t[which], values[which]


def tiles_of(t, values, edges, points, raw, until):
    """A tile between each two edges; the last is cut off at a time, as an unfinal reply is."""
    tiles = []
    for i, (start, end) in enumerate(itertools.pairwise(edges)):
        of = cut(t, values, start, end, None if raw[i] else points)
        stop = until if i == len(edges) - 2 else end
        if start < stop:
            of_final = cut(*of, start, min(stop, end))
            is_cut = not raw[i] and len(of_final[0]) < len(of[0])
            tiles.append(Tile(start, min(stop, end), *of_final, raw[i], is_cut))
    return tiles


def figures(t, values):
    finite = values[np.isfinite(values)]
    ends = (t[0], t[-1]) if len(t) else ()
    return (*ends, *((finite.min(), finite.max()) if len(finite) else ()))


@settings(max_examples=400)
@given(
    st.integers(0, 10_000),
    st.lists(st.integers(0, 300), min_size=2, max_size=5, unique=True),
    st.integers(8, 120),
    st.lists(st.booleans(), min_size=4, max_size=4),
    st.tuples(st.integers(0, 300), st.integers(0, 300)),
    st.integers(0, 300),
)
def test_no_extreme_and_no_end_is_lost_wherever_a_view_cuts(seed, edges, points, raw, view, until):
    t, values = made(seed)
    start, end = sorted(view)
    tiles = tiles_of(t, values, sorted(edges), points, raw, until)
    parts, holes = take(tiles, (start, end))
    spans = sorted([(part.start, part.end) for part in parts] + holes)
    if start < end:
        assert (spans[0][0], spans[-1][1]) == (start, end)
    assert all(one[1] == other[0] for one, other in itertools.pairwise(spans))
    pieces = [(part.start, part.t, part.values) for part in parts]
    pieces += [(hole[0], *cut(t, values, *hole, 16)) for hole in holes]
    pieces.sort(key=lambda piece: piece[0])
    if pieces:
        joined = [np.concatenate([piece[i] for piece in pieces]) for i in (1, 2)]
        assert figures(*joined) == figures(*cut(t, values, start, end))


def test_a_view_uses_the_inside_of_a_tile_and_not_only_whole_ones():
    t = np.arange(10_000.0)
    few = cut(t, np.sin(t), 0, 10_000, 1000)
    parts, holes = take([Tile(0, 10_000, *few, False)], (1000, 9000))
    assert [part.is_raw for part in parts] == [False]
    assert parts[0].end - parts[0].start > 7500
    assert [hole[0] for hole in holes] == [1000, parts[0].end]


def test_raw_tiles_that_touch_become_one():
    row = TileRow()
    for start in range(0, 100, 10):
        t = np.arange(start, start + 10.0)
        row.add(Tile(start, start + 10, t, t, True), (0, 100))
    assert [(tile.start, tile.end, len(tile.t)) for tile in row.tiles] == [(0, 100, 100)]
    assert (row.tiles[0].values == np.arange(100)).all()


def test_raw_tiles_that_overlap_have_each_sample_once():
    row, t = TileRow(), np.arange(100.0)
    row.add(Tile(0, 60, t[:60], t[:60], True), (0, 100))
    row.add(Tile(10, 20, t[10:20], t[10:20], True), (0, 100))
    row.add(Tile(40, 100, t[40:], t[40:], True), (0, 100))
    assert [tile.t.tolist() for tile in row.tiles] == [t.tolist()]


@pytest.mark.parametrize("is_raw", [True, False])
def test_a_row_drops_what_is_farthest_from_the_view(is_raw):
    row, t = TileRow(), np.arange(50_000.0)
    for i in range(10):
        start = i * 50_000.0
        row.add(Tile(start, start + 50_000, t + start, t, is_raw), (start, start + 50_000))
        assert sum(len(tile.t) for tile in row.tiles) <= ROW_SAMPLES
    assert [tile.start for tile in row.tiles] == [300_000.0, 350_000.0, 400_000.0, 450_000.0]
