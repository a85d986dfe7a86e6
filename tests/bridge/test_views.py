"""Views of panels: what the grid keeps of whole buckets, whatever was asked before; brute force."""

import http.client
import math
import re

import numpy as np
import pytest

from sisock import Client
from sisock.testing import wait_until
from tests.bridge.conftest import iso_range
from tests.bridge.nodes import GROWING, GROWING_VALUES, SECONDS, START
from tests.conftest import wait_for_absence, wait_for_nodes

MIN_POINTS = 8


@pytest.fixture
def grow(router, start, tmp_path):
    """Start a node of a kind, whose samples go up to a second that can be told anew."""
    newest = tmp_path / "newest"

    def set_newest(seconds):
        swap = tmp_path / "swap"
        swap.write_text(str(seconds))
        swap.replace(newest)

    def run(kind, name):
        set_newest(SECONDS)
        node = start(router, "tests/bridge/nodes.py", kind, "--name", name, TEST_NEWEST=str(newest))
        with Client(router.settings()) as client:
            wait_for_nodes(client, name)
        return node, set_newest

    return run


def counts(bridge):
    text = bridge.ask("/prometheus").body.decode()
    return {
        name: float(re.search(rf"^sisock_cache_{name}(?:_total)? (\S+)$", text, re.M)[1])
        for name in ("hits", "misses", "bytes")
    }


def asked(node):
    """Start, end and number of samples of each request that the node got."""
    lines = [line.split("asked ") for line in node.output.splitlines() if "asked " in line]
    return [tuple(map(int, line[1].split())) for line in lines]


def shown(bridge, target, first, last, points):
    """Milliseconds and values, NaN for null, of a range in seconds after START."""
    span = iso_range(START + first, START + last)
    (series,) = bridge.query(target, range=span, maxDataPoints=points)
    pairs = np.array(series["datapoints"], dtype=float).reshape(-1, 2)
    return pairs[:, 1], pairs[:, 0]


def decimated(t, values, w):
    """What buckets of one size keep, one after the other."""
    kept = []
    buckets = np.floor(t / w)
    for number in np.unique(buckets):
        (which,) = np.nonzero(buckets == number)
        real = which[np.isfinite(values[which])]
        if len(real):
            kept += sorted({real[np.argmin(values[real])], real[np.argmax(values[real])]})
        else:
            kept.append(which[0])
    return t[kept], values[kept]


def expected(field, first, last, points, newest=SECONDS):
    """The view of a field, as issue 11 has it."""
    (interval, t), values = GROWING[field], GROWING_VALUES[field]
    start, end, points = START + first, START + last, max(points, MIN_POINTS)
    is_fine = interval is not None and (end - start) / interval <= points
    if is_fine:
        w = 2.0 ** math.floor(math.log2(1.01 * interval))
    else:
        sizes = (2.0**exponent for exponent in range(-20, 41))
        w = next(w for w in sizes if 2 * (math.ceil(end / w) - math.floor(start / w)) <= points)
    low, high = math.floor(start / w) * w, math.ceil(end / w) * w
    inside = slice(*np.searchsorted(t, [low, min(high, START + newest)]))
    t, values = decimated(t[inside], values[inside], w)
    if is_fine:  # of such a field there is one sample in a bucket
        count = np.searchsorted(t, end)
        t, values = t[:count], values[:count]
    while len(t) > points:
        w *= 2
        t, values = decimated(t, values, w)
    return np.rint(t * 1e3), values


def check(field, got, *view):
    for one, other in zip(got, expected(field, *view), strict=True):
        np.testing.assert_array_equal(one, other)


def views(seed, count):
    """Ranges as somebody zooms and pans through them, and refreshes, all in whole milliseconds."""
    random = np.random.default_rng(seed)
    first, width, points, newest = 0.0, 18000.0, 500, 15000.0
    for _ in range(count):
        step = random.choice(["zoom", "pan", "refresh", "jump", "points"])
        if step == "zoom":
            middle = first + width * random.random()
            width = min(max(width * random.choice([0.25, 0.5, 2, 3]), 0.5), 19000)
            first = middle - width / 2
        elif step == "pan":
            first += width * random.uniform(-0.6, 0.6)
        elif step == "refresh":
            newest = min(newest + 5, SECONDS)
            first = newest - width
        elif step == "jump":
            first = random.uniform(0, SECONDS - width)
        else:
            points = int(random.choice([1, 8, 60, 500, 1000, 3000, 20000]))
        first = round(min(max(first, 0.0), SECONDS - width), 3)
        yield first, round(first + width, 3), points, newest


@pytest.mark.parametrize("field", GROWING)
def test_views_are_exact_whatever_was_asked_before(start_bridge, grow, field):
    _, set_newest = grow("growing", f"exact_{field}")
    cached, uncached = start_bridge(), start_bridge(SISOCK_CACHE_MB="0.000001")
    for i, view in enumerate(views(len(field), 40)):
        set_newest(view[-1])
        for bridge in [cached, uncached] if i % 10 == 0 else [cached]:
            check(field, shown(bridge, f"exact_{field}::{field}", *view[:3]), *view)
    assert counts(cached)["hits"] > 14
    assert counts(uncached)["bytes"] == 0


@pytest.mark.parametrize("field", ["slow", "random"])
def test_of_an_old_node_every_extreme_is_shown(start_bridge, grow, field):
    _, set_newest = grow("old_growing", f"old_{field}")
    bridge = start_bridge()
    for first, last, points, newest in views(len(field), 20):
        set_newest(newest)
        ms, got = shown(bridge, f"old_{field}::{field}", first, last, points)
        assert len(ms) <= max(points, MIN_POINTS)
        t = GROWING[field][1]
        inside = slice(*np.searchsorted(t, [START + first, START + min(last, newest)]))
        real = GROWING_VALUES[field][inside]
        if field == "slow" and np.isfinite(real).any():
            assert (np.nanmin(got), np.nanmax(got)) == (np.nanmin(real), np.nanmax(real))
        assert set(ms) <= set(np.rint(t[inside] * 1e3))
    assert counts(bridge)["bytes"] == 0


def test_a_refresh_asks_for_the_buckets_alone_that_were_not_final(start_bridge, grow):
    node, set_newest = grow("growing", "refreshed")
    bridge = start_bridge()
    for i in range(12):
        newest = 15_000 + 5 * i
        set_newest(newest)
        view = 12_000 + 5 * i, 15_000 + 5 * i, 4000
        check("slow", shown(bridge, "refreshed::slow", *view), *view, newest)
    first, *rest = asked(node)
    assert 3000 <= first[2] < 3000 + 64
    assert all(count <= 64 + 6 for _, _, count in rest)
    # From the last second that was not final yet.
    assert all(one == 14_999 + 5 * i for i, (one, _, _) in enumerate(rest))


def test_a_view_asks_for_tiles_that_no_view_has_had(start_bridge, grow):
    node, _ = grow("growing", "panned")
    bridge = start_bridge()

    def samples_asked(first, last):
        before = len(asked(node))
        check("fast", shown(bridge, "panned::fast", first, last, 1000), first, last, 1000)
        return sum(count for _, _, count in asked(node)[before:])

    # Buckets of 16 s, tiles of 1024.
    assert 160_000 < samples_asked(2000, 9900) < 200_000
    assert samples_asked(2000, 9900) == samples_asked(2100, 9800) == 0
    assert samples_asked(3600, 11_500) in (20_480, 40_960)
    assert samples_asked(2500, 10_400) == 0
    assert samples_asked(5000, 5045) > 0
    assert samples_asked(5005, 5040) == 0


def test_nothing_is_shown_of_a_node_that_has_ended(router, start_bridge, grow):
    node, _ = grow("growing", "mortal")
    bridge = start_bridge()
    view = 0, 9000, 500
    check("slow", shown(bridge, "mortal::slow", *view), *view)
    assert counts(bridge)["bytes"] > 0
    node.end()
    with Client(router.settings()) as client:
        wait_for_absence(client, "mortal")
    shows_nothing = lambda: len(shown(bridge, "mortal::slow", *view)[0]) == 0  # noqa: E731
    wait_until(shows_nothing, 40, "the bridge to hear of the end")
    again, _ = grow("growing", "mortal")
    bridge.wait_for_node("mortal")
    check("slow", shown(bridge, "mortal::slow", *view), *view)
    assert len(asked(again)) == 1


def test_memory_of_tiles_stays_below_its_limit(start_bridge, grow):
    grow("growing", "remembered")
    small = start_bridge(SISOCK_CACHE_MB="0.1")
    for first, last, points, _ in views(1, 40):
        shown(small, "remembered::fast", first, last, points)
        assert counts(small)["bytes"] <= 0.1e6
    assert counts(small)["bytes"] > 0


def test_too_many_samples_cut_an_answer_off_while_it_is_written(start_bridge, grow):
    grow("growing", "immense")
    small = start_bridge(SISOCK_MAX_SAMPLES="100000")
    body = {"range": iso_range(START, START + SECONDS), "targets": [{"target": "immense::fast"}]}
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        small.ask("/query", body)
    small.program.wait_for("ask for less")
    assert len(small.ask("/query", {**body, "maxDataPoints": 1000}).json[0]["datapoints"]) > 500


def test_all_samples_come_while_they_are_written(start_bridge, grow):
    grow("growing", "whole")
    names = ["fast", "slow", "random", "fast"]
    series = start_bridge().query(
        *(f"whole::{name}" for name in names),
        range=iso_range(START + 10, START + SECONDS),
        intervalMs=None,
    )
    for name, each in zip(names, series, strict=True):
        t = GROWING[name][1]
        inside = slice(np.searchsorted(t, START + 10), None)
        pairs = np.array(each["datapoints"], dtype=float)
        np.testing.assert_array_equal(pairs[:, 1], np.rint(t[inside] * 1e3))
        np.testing.assert_array_equal(pairs[:, 0], GROWING_VALUES[name][inside])


def test_an_old_node_with_too_many_samples_gives_spaced_ones(bridge, grow):
    grow("old_growing", "overfull")
    body = {"range": iso_range(START, START + SECONDS), "targets": [{"target": "overfull::fast"}]}
    answer = bridge.ask("/query", {**body, "maxDataPoints": 1000})
    assert 500 < len(answer.json[0]["datapoints"]) <= 1000
    assert "'overfull' has too many samples" in answer.headers["X-Sisock-Notice"]


def test_infinity_gets_as_many_points_as_its_interval_says(bridge, grow):
    grow("growing", "infinite")

    def rows(**more):
        words = "&".join(f"{key}={value}" for key, value in more.items())
        times = f"from={START * 1000:.0f}&to={(START + 6000) * 1000:.0f}"
        answer = bridge.ask(f"/series?target=infinite::slow&{times}&{words}")
        return np.array([[row["time"], row["value"]] for row in answer.json], dtype=float).T

    check("slow", rows(maxDataPoints=2000), 0, 6000, 2000)
    check("slow", rows(maxDataPoints=2000, intervalMs=60_000), 0, 6000, 100)
    assert np.diff(rows(intervalMs=60_000)[0]).tolist() == [60_000] * 99
