"""Pictures, of ``maxDataPoints`` samples: every extreme, whatever is kept; against brute force."""

import numpy as np
import pytest

from sisock import Client
from tests.bridge.conftest import iso_range
from tests.bridge.nodes import GROWING, GROWING_VALUES, SECONDS, START
from tests.bridge.test_cache import asked, counts
from tests.conftest import wait_for_absence, wait_for_nodes

FEWEST = 8


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


def picture(bridge, target, first, last, points):
    """Milliseconds and values, NaN for null, of a range in seconds after START."""
    answer = bridge.query(
        target, range=iso_range(START + first, START + last), maxDataPoints=points
    )
    (series,) = answer
    pairs = np.array(series["datapoints"], dtype=float).reshape(-1, 2)
    return pairs[:, 1], pairs[:, 0]


def check_picture(field, shown, first, last, points):
    """The range's ends, extremes and gaps are there, and nothing that is no sample of it."""
    t, values = GROWING[field][1], GROWING_VALUES[field]
    low, high = np.searchsorted(t, [START + first, START + last])
    ms, real = np.rint(t[low:high] * 1e3), values[low:high]
    got_ms, got = shown
    assert len(got) <= max(points, FEWEST)
    assert (len(got) > 0) == (len(real) > 0)
    if not len(real):
        return
    samples = set(zip(ms.tolist(), np.nan_to_num(real, nan=1e99).tolist(), strict=True))
    assert set(zip(got_ms.tolist(), np.nan_to_num(got, nan=1e99).tolist(), strict=True)) <= samples
    assert (np.diff(got_ms) >= 0).all()
    assert (got_ms[0], got_ms[-1]) == (ms[0], ms[-1])
    finite, shown_finite = real[np.isfinite(real)], got[np.isfinite(got)]
    assert len(finite) == 0 or (finite.min(), finite.max()) == (
        shown_finite.min(),
        shown_finite.max(),
    )
    if points >= 500:
        edges = np.flatnonzero(np.diff(np.isnan(real), prepend=False, append=False))
        gaps = [(ms[a], ms[b - 1]) for a, b in edges.reshape(-1, 2)]
        missing = got_ms[np.isnan(got)]
        assert all(((missing >= a) & (missing <= b)).any() for a, b in gaps)


def views(seed, count):
    """Ranges as somebody zooms and pans through them, and refreshes, all in whole milliseconds."""
    random = np.random.default_rng(seed)
    first, width, points, newest = 0.0, 18000.0, 500, 15000.0
    seen = set()
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
        # The same view may be answered from memory for a second, whatever has come meanwhile.
        while (first, width, points) in seen:
            width -= 0.01
        seen.add((first, width, points))
        yield first, round(first + width, 3), points, newest


# The fast one has more samples than a reply of the protocol's first part.
@pytest.mark.parametrize(
    ("kind", "field"),
    [
        *(("growing", field) for field in GROWING),
        *(("old_growing", field) for field in GROWING if field != "fast"),
    ],
)
def test_no_extreme_is_lost_whatever_was_asked_before(start_bridge, grow, kind, field):
    _, set_newest = grow(kind, f"{kind}_{field}")
    cached, uncached = start_bridge(), start_bridge(SISOCK_CACHE_MB="0.000001")
    for i, (first, last, points, newest) in enumerate(views(len(field), 60)):
        set_newest(newest)
        for bridge in [cached, uncached] if i % 10 == 0 else [cached]:
            shown = picture(bridge, f"{kind}_{field}::{field}", first, last, points)
            check_picture(field, shown, first, min(last, newest), points)
    # Of a node without the protocol's second part nothing is kept.
    assert (counts(cached)["hits"] > 20) == (kind == "growing")
    assert counts(uncached)["bytes"] == 0


def test_a_refresh_asks_for_the_rest_alone(start_bridge, grow):
    node, set_newest = grow("growing", "refreshed")
    bridge = start_bridge()
    for i in range(12):
        set_newest(15_000 + 5 * i)
        first = 12_000 + 5 * i
        shown = picture(bridge, "refreshed::slow", first, first + 3000, 1000)
        check_picture("slow", shown, first, first + 3000, 1000)
    assert asked(node)[0][2] == 3000
    # From the last sample that was not final yet.
    assert asked(node)[1:] == [(14_999 + 5 * i, 15_005 + 5 * i, 6) for i in range(11)]


def test_a_view_of_an_archive_asks_for_what_nobody_has_seen(start_bridge, grow):
    node, _ = grow("growing", "panned")
    bridge = start_bridge()

    def samples_asked(first, last):
        before = len(asked(node))
        shown = picture(bridge, "panned::fast", first, last, 1000)
        check_picture("fast", shown, first, last, 1000)
        return sum(count for _, _, count in asked(node)[before:])

    assert samples_asked(2000, 10_000) == 160_000
    assert samples_asked(2000, 10_000) == 0
    # A fifth is new; of the edge at which it is cut the buckets are not known.
    assert 32_000 < samples_asked(3600, 11_600) < 35_000
    assert samples_asked(5000, 5100) == 2000
    assert samples_asked(5010, 5060) == 0
    assert samples_asked(2000, 10_000) == 0


def test_a_picture_dies_with_its_nodes_session(router, start_bridge, grow):
    node, _ = grow("growing", "mortal")
    bridge = start_bridge()
    first = picture(bridge, "mortal::slow", 0, 9000, 500)
    assert counts(bridge)["bytes"] > 0
    node.end()
    with Client(router.settings()) as client:
        wait_for_absence(client, "mortal")
    assert len(picture(bridge, "mortal::slow", 0, 9000, 500)[0]) == 0
    assert counts(bridge)["bytes"] == 0
    again, _ = grow("growing", "mortal")
    assert (picture(bridge, "mortal::slow", 0, 9000, 500)[0] == first[0]).all()
    assert asked(again)[0] == (0, 9000, 9000)


def test_memory_of_pictures_stays_below_its_limit(start_bridge, grow):
    grow("growing", "remembered")
    small = start_bridge(SISOCK_CACHE_MB="0.1")
    for first, last, points, _ in views(1, 40):
        picture(small, "remembered::fast", first, last, points)
        assert counts(small)["bytes"] <= 0.1e6
    assert counts(small)["bytes"] > 0


def test_too_many_raw_samples_are_refused_while_they_come(start_bridge, grow):
    grow("growing", "immense")
    small = start_bridge(SISOCK_MAX_SAMPLES="100000")
    body = {"range": iso_range(START, START + SECONDS), "targets": [{"target": "immense::fast"}]}
    answer = small.ask("/query", body)
    assert answer.status == 400
    # The first windows have told: 400,000 would be all.
    assert 100_000 < int(answer.json["message"].split()[0]) < 400_000
    assert len(small.ask("/query", {**body, "maxDataPoints": 1000}).json[0]["datapoints"]) > 500


def test_an_old_node_with_too_many_samples_gives_spaced_ones_and_it_is_told(bridge, grow):
    grow("old_growing", "overfull")
    body = {"range": iso_range(START, START + SECONDS), "targets": [{"target": "overfull::fast"}]}
    answer = bridge.ask("/query", {**body, "maxDataPoints": 1000})
    assert len(answer.json[0]["datapoints"]) == 1000
    assert "'overfull' has too many samples" in answer.headers["X-Sisock-Notice"]


def test_infinity_gets_as_many_points_as_its_interval_says(bridge, grow):
    grow("growing", "infinite")

    def rows(**more):
        words = "&".join(f"{key}={value}" for key, value in more.items())
        times = f"from={START * 1000:.0f}&to={(START + 6000) * 1000:.0f}"
        answer = bridge.ask(f"/series?target=infinite::slow&{times}&{words}")
        pairs = [[row["time"], row["value"]] for row in answer.json]
        return np.array(pairs, dtype=float).T

    wide, narrow = rows(maxDataPoints=2000), rows(maxDataPoints=2000, intervalMs=60_000)
    check_picture("slow", wide, 0, 6000, 2000)
    check_picture("slow", narrow, 0, 6000, 100)
    spaced = rows(intervalMs=60_000)
    assert np.diff(spaced[0]).tolist() == [60_000] * 99
