"""Samples that change after all are never shown as they were."""

import numpy as np
import pytest

from sisock import Client
from sisock.testing import wait_until
from tests.bridge.conftest import JULY_15, iso_range
from tests.conftest import wait_for_nodes

SOON = 20
"""Seconds after a write; on an idle machine it is one."""

HEADER = "# A thing\n# line\n# m/s\n"


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


def shown(bridge, start=50, end=1000, points=None):
    (series,) = bridge.query("edited::a", range=iso_range(start, end), maxDataPoints=points)
    return [(t // 1000, value) for value, t in series["datapoints"]]


@pytest.mark.parametrize("points", [None, 100])
def test_samples_appended_to_an_archive_are_shown(bridge, archive, points):
    assert shown(bridge, points=points) == [(100, 1), (200, 2), (300, 3)]
    archive((400, 4), mode="a")
    whole = [(100, 1), (200, 2), (300, 3), (400, 4)]
    wait_until(lambda: shown(bridge, points=points) == whole, SOON, "the new sample")


@pytest.mark.parametrize("points", [None, 100])
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
def test_samples_that_change_after_all_are_shown_as_they_are(bridge, archive, samples, points):
    for _ in range(2):
        assert shown(bridge, points=points) == [(100, 1), (200, 2), (300, 3)]
    archive(*samples)
    wait_until(lambda: shown(bridge, points=points) == samples, SOON, "the samples as they are")
    assert shown(bridge, points=points) == samples


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
    wait_until(lambda: shown(bridge) == [(100, 2)], 40, "the samples of the new session")


def test_live_samples_of_two_refreshes_are_without_hole_and_duplicate(router, bridge, start):
    start(router, "tests/nodes.py", "ticker", "--name", "cached_ticker")
    with Client(router.settings()) as client:
        wait_for_nodes(client, "cached_ticker")

        def series():
            answer = bridge.ask(
                "/query", {"targets": [{"target": "cached_ticker::count"}], "intervalMs": None}
            )
            return answer.json[0]["datapoints"]

        wait_until(lambda: len(series()) >= 5, 40, "samples")
        first = series()
        wait_until(lambda: len(series()) >= len(first) + 5, 40, "more samples")
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
