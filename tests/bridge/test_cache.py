"""What is kept is what never changes, and is never shown after it did."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sisock import Client
from sisock.bridge.sample_cache import Kept, SampleCache, final_until
from sisock.testing import wait_until
from tests.bridge.conftest import DAY, JULY_15, iso_range
from tests.bridge.nodes import START
from tests.conftest import wait_for_nodes

HEADER = "# A thing\n# line\n# m/s\n"


def counts(bridge):
    text = bridge.ask("/prometheus").body.decode()
    return {
        name: float(re.search(rf"^sisock_cache_{name}(?:_total)? (\S+)$", text, re.M)[1])
        for name in ("hits", "misses", "bytes")
    }


@pytest.fixture
def archive(router, start, tmp_path):
    folder = tmp_path / "archive"
    folder.mkdir()

    def write(*samples, mode="w"):
        with open(folder / "a.dat", mode) as file:
            file.write(HEADER if mode == "w" else "")
            file.writelines(f"{t} {value}\n" for t, value in samples)

    write((100, 1), (200, 2), (300, 3))
    start(router, "data_nodes/weather.py", "--directory", folder, "--name", "edited")
    with Client(router.settings()) as client:
        wait_for_nodes(client, "edited")
    return write


def shown(bridge, start=50, end=1000):
    (series,) = bridge.query("edited::a", range=iso_range(start, end))
    return [(t // 1000, value) for value, t in series["datapoints"]]


def asked(node):
    """Start, end and number of samples of each request that the node got."""
    lines = [line.split("asked ") for line in node.output.splitlines() if "asked " in line]
    return [tuple(map(int, line[1].split())) for line in lines]


def test_a_refresh_asks_only_for_what_is_new_and_shows_the_same(router, start_bridge, start):
    node = start(router, "tests/bridge/nodes.py", "told", "--name", "told_once")
    with Client(router.settings()) as client:
        wait_for_nodes(client, "told_once")
    fresh = start_bridge()
    assert asked(node) == []
    first = fresh.query("told_once::x", range=iso_range(START, START + 60))
    assert asked(node) == [(0, 60, 60)]
    assert len(first[0]["datapoints"]) == 60
    assert fresh.query("told_once::x", range=iso_range(START, START + 60)) == first
    (start_of_rest, end, count) = asked(node)[1]
    assert (start_of_rest, end, count) == (59, 60, 0)
    later = iso_range(START + 10, START + 70)
    (moved,) = fresh.query("told_once::x", range=later)
    assert asked(node)[2][2] == 10
    assert counts(fresh)["hits"] == 2
    (plain,) = start_bridge().query("told_once::x", range=later)
    assert asked(node)[3] == (10, 70, 60)
    assert moved == plain
    assert [value for value, _ in moved["datapoints"]] == list(range(10, 70))


def test_samples_appended_to_an_archive_are_shown(bridge, archive):
    assert shown(bridge) == [(100, 1), (200, 2), (300, 3)]
    archive((400, 4), mode="a")
    assert shown(bridge) == [(100, 1), (200, 2), (300, 3), (400, 4)]


@pytest.mark.parametrize(
    "samples",
    [
        [(100, 1), (200, 99), (300, 3)],
        [(100, 1), (300, 3)],
        [(100, 1), (150, 7), (200, 2), (300, 3)],
        [(500, 5)],
    ],
    ids=["corrected", "removed", "inserted", "rewritten"],
)
def test_samples_that_change_after_all_are_never_shown_as_they_were(bridge, archive, samples):
    assert shown(bridge) == [(100, 1), (200, 2), (300, 3)]
    assert shown(bridge) == [(100, 1), (200, 2), (300, 3)]
    archive(*samples)
    assert shown(bridge) == samples
    assert shown(bridge) == samples


def test_the_cache_dies_with_its_nodes_session(router, bridge, start, tmp_path):
    folder = tmp_path / "gone"
    folder.mkdir()
    (folder / "a.dat").write_text(HEADER + "100 1\n")
    first = start(router, "data_nodes/weather.py", "--directory", folder, "--name", "edited")
    first.wait_for("is in the hub's list")
    assert shown(bridge) == [(100, 1)]
    first.end()
    (folder / "a.dat").write_text(HEADER + "100 2\n")
    start(router, "data_nodes/weather.py", "--directory", folder, "--name", "edited")
    wait_until(lambda: shown(bridge) == [(100, 2)], 20, "the samples of the new session")


def test_live_samples_of_two_refreshes_are_without_hole_and_duplicate(router, bridge, start):
    start(router, "tests/nodes.py", "ticker", "--name", "cached_ticker")
    with Client(router.settings()) as client:
        wait_for_nodes(client, "cached_ticker")

        def series():
            answer = bridge.ask(
                "/query", {"targets": [{"target": "cached_ticker::count"}], "intervalMs": None}
            )
            return answer.json[0]["datapoints"]

        wait_until(lambda: len(series()) >= 5, 20, "samples")
        first = series()
        wait_until(lambda: len(series()) >= len(first) + 5, 20, "more samples")
        second = series()
        assert second[: len(first)] == first
        everything = client.get("cached_ticker", "count")["count"]
        times = np.rint(everything.t * 1e3).tolist()
        # The node keeps fifty: if the answer came late, the first have gone.
        shown = [t for _, t in second if t >= times[0]]
        assert len(shown) > 5
        assert shown == times[: len(shown)]


@pytest.mark.parametrize("milliseconds", [60_000, 600_000, 7_200_000])
def test_the_spacing_holds_across_what_is_kept_and_what_is_new(start_bridge, bridge, milliseconds):
    fresh = start_bridge()
    for step in range(0, 40000, 4000):
        moved = iso_range(JULY_15 + step, JULY_15 + 20000 + step)
        (series,) = fresh.query(
            "apex_archive::apex_radiometer", range=moved, intervalMs=milliseconds
        )
        t = np.array([ms for _, ms in series["datapoints"]])
        assert (np.diff(t) >= milliseconds).all()
        # Nothing is left out that would have fitted: samples come every minute.
        assert (np.diff(t) < milliseconds + 60_000).all()
        assert t[0] < (JULY_15 + step) * 1000 + milliseconds + 60_000
        assert t[-1] > (JULY_15 + 20000 + step) * 1000 - milliseconds - 60_000
    assert counts(fresh)["hits"] == 9


def test_memory_stays_below_its_limit(start_bridge, bridge):
    small = start_bridge(SISOCK_CACHE_MB="0.1")
    for milliseconds in range(1, 20):
        small.query("apex_archive::apex_radiometer", range=DAY, intervalMs=milliseconds)
        assert counts(small)["bytes"] <= 0.1e6
    assert counts(small)["bytes"] > 0


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 400), st.booleans()), max_size=60),
    st.integers(0, 20000),
)
def test_a_cache_counts_its_memory_and_keeps_the_most_recent(steps, limit):
    cache = SampleCache(limit)
    for key, count, is_text in steps:
        values = np.array(["x"] * count, object) if is_text else np.zeros(count)
        cache.put(key, Kept(0.0, 1.0, np.zeros(count), values))
        assert cache.nbytes <= limit
        kept = cache.get(key)
        assert kept is None or len(kept.t) == count
    for key in range(10):
        cache.drop(key)
    assert (cache.nbytes, len(cache)) == (0, 0)


def test_a_reply_is_kept_up_to_where_it_is_complete():
    t = np.array([10.0, 20.0])
    assert final_until(t, 30.0, 15.0) == 15.0
    assert final_until(t, 30.0, 99.0) == 30.0
    assert 20.0 < final_until(t, 30.0, None) < 20.001
    assert final_until(np.empty(0), 30.0, None) == -np.inf
    assert final_until(np.empty(0), 30.0, None, 25.0) == 25.0
