import math
import signal
import time

import numpy as np
import pytest

from sisock.client.client import Client
from sisock.testing import wait_until
from sisock.wire.protocol import USER_SERVER
from tests.conftest import Program, wait_for_nodes
from tests.faults.helpers import TICKER, listed

DEPTH = 50
"""Samples that the ticker keeps at least; it drops an eighth at a time."""

WARNINGS = (
    "read failed, a sample is lost: OSError: the instrument does not answer",
    "read returned a string for 'count', which is a number: the value is lost",
    "read failed, a sample is lost: TypeError: it returned NoneType, not a dict",
    "read has not returned for 2 s: its sample is lost",
)


@pytest.fixture(scope="module")
def ticker(router, tmp_path_factory):
    """A ticker, begun with the first of these tests."""
    label = "troubled_ticker"
    log = tmp_path_factory.mktemp(label) / "log"
    node = Program([*TICKER, "--name", label], router.environ(USER_SERVER), log)
    node.label = label
    with Client(router.settings()) as client:
        wait_for_nodes(client, label)
    yield node
    node.end()


def kept(client, ticker):
    # A client's "now" is before the node's: the newest sample may lie between.
    return client.get(ticker.label, ["count", "state", "even"], start=1, end=time.time() + 60)


def kept_once(client, ticker, condition, what):
    """What the node keeps once it fulfils a condition."""

    def fetch():
        data = kept(client, ticker)
        return data if condition(data) else None

    return wait_until(fetch, 30, what)


def kept_after(client, ticker, t):
    """What the node keeps once it has a sample later than `t`."""
    return kept_once(client, ticker, lambda data: newest(data) > t, f"a sample after {t}")


def newest(data):
    return data["count"].t.max(initial=0)


def newest_count(data):
    counts = data["count"].values
    return np.nanmax(counts, initial=0)


def is_lost(count):
    """Whether the ticker's reading of this number fails as a whole."""
    return count % 10 in (3, 7) or count == 9


def test_each_failed_reading_costs_its_own_sample_and_a_warning(client, ticker):
    data = kept_once(client, ticker, lambda data: newest_count(data) >= 28, "28 readings")
    counts = data["count"].values
    columns = without_nan(counts.tolist()), data["state"].values, data["even"].values
    rows = list(zip(*columns, strict=True))
    # The node reads from its start on, and keeps the newest: the oldest may be another one.
    first, last = np.flatnonzero(~np.isnan(counts))[[0, -1]]
    assert counts[first] == 1 or len(counts) >= DEPTH
    assert rows[first : last + 1] == [
        (count, "ok", count % 2 == 0) if count % 10 != 5 else (None, "odd", False)
        for count in range(int(counts[first]), int(counts[last]) + 1)
        if not is_lost(count)
    ]
    for warning in WARNINGS:
        ticker.wait_for(warning)
    assert ticker.process.poll() is None
    assert "Traceback" not in ticker.output


def test_times_of_kept_samples_ascend_and_none_is_final_after_the_newest(client, ticker):
    data = kept(client, ticker)
    for _ in range(20):
        data = kept_after(client, ticker, newest(data))
        t = data["count"].t
        assert (np.diff(t) > 0).all()
        assert t[-1] <= time.time()
        for series in data.values():
            assert series.finalized_until <= t[-1]


def test_the_newest_fifty_samples_are_kept_through_all_trouble(client, ticker):
    kept_once(client, ticker, lambda data: len(data["count"]) >= 40, "40 samples")
    early = kept(client, ticker)["count"]
    data = kept_once(client, ticker, lambda data: early.t[-1] < data["count"].t[0], "50 more")
    for _ in range(5):
        assert all(DEPTH <= len(series) < 1.3 * DEPTH for series in data.values())
        counts = data["count"].values
        known = counts[~np.isnan(counts)].astype(int)
        # These are the last ones, with none missing but those that were lost.
        wanted = [c for c in range(known[0], known[-1] + 1) if not is_lost(c) and c % 10 != 5]
        assert known.tolist() == wanted
        data = kept_after(client, ticker, newest(data))


def test_a_watcher_gets_each_kept_sample_once_and_in_order(client, ticker):
    with client.watch(ticker.label) as stream:
        watched = [stream.next(timeout=30) for _ in range(40)]
        data = kept(client, ticker)
        t = data["count"].t
        # The node keeps fifty: if the answer came late, the first have gone.
        watched = [sample for sample in watched if sample.t >= t[0]]
        assert len(watched) > 10
        between = (t >= watched[0].t) & (t <= watched[-1].t)
        assert [sample.t for sample in watched] == t[between].tolist()
        for field, series in data.items():
            values = [sample.values[field] for sample in watched]
            assert without_nan(values) == without_nan(series.values[between].tolist())
    assert ticker.label in listed(client)


def without_nan(values):
    """The values, a missing one as None: a live sample says None where an array has NaN."""
    return [None if isinstance(value, float) and math.isnan(value) else value for value in values]


def test_a_node_whose_instrument_fails_never_leaves_the_hubs_list(router, start, client):
    name = "never_leaves"
    ticker = start(router, *TICKER, "--name", name)
    wait_for_nodes(client, name)
    with client.watch_nodes() as events, client.watch(name) as stream:
        for _ in range(30):
            stream.next(timeout=30)
        # The first event that names the node is that of its end.
        ticker.signal(signal.SIGTERM)
        assert ticker.wait() == 0
        event = events.next(timeout=30)
        while event.node.name != name:
            event = events.next(timeout=30)
        assert not event.present
