"""The model of sites: what follows from its definitions, whatever the costs are."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.model import FULL, Site, event_delay, full_at, loads, messages, queue, scaled
from benchmarks.router_costs import WHAT

EACH = {name: [1e-4, 2e-4, 3e-4] for name in WHAT} | {
    f"{name} field": [1e-6] * 3 for name in ("dispatch", "event")
}
COSTS = {
    "router": {"0": EACH, "1": EACH, "2": EACH},
    "bridge panel": 2e-3,
    "bridge tile": 1e-3,
    "cache tile": 1e-5,
}
SITE = Site(nodes=200, fields=10, hertz=1, pages=20, grafana=10, tiles=10)


def delays_by_hand(arrivals, services):
    free, delays = -np.inf, {}
    for i in np.argsort(arrivals, kind="stable"):
        free = max(free, arrivals[i]) + services[i]
        delays[i] = free - arrivals[i]
    return [delays[i] for i in range(len(arrivals))]


def test_a_queue_serves_one_after_the_other():
    random = np.random.default_rng(0)
    arrivals, services = random.uniform(0, 100, 500), random.exponential(0.19, 500)
    np.testing.assert_allclose(queue(arrivals, services), delays_by_hand(arrivals, services))


@pytest.mark.parametrize("load", [0.3, 0.7])
def test_random_jobs_wait_as_pollaczek_and_khinchine_say(load):
    random = np.random.default_rng(0)
    arrivals = np.sort(random.uniform(0, 1e6, 1_000_000))
    waiting = queue(arrivals, np.full(len(arrivals), load)) - load
    assert waiting.mean() == pytest.approx(load**2 / 2 / (1 - load), rel=0.05)


def test_watchers_of_all_nodes_are_those_of_the_viewers():
    even = replace(SITE, is_even=True)
    assert even.subscribers.sum() == pytest.approx(SITE.pages * SITE.watched)
    favourite, *others = SITE.subscribers
    assert SITE.pages >= favourite > max(others)


def test_fast_samples_share_events():
    slow, fast = replace(SITE, hertz=20), replace(SITE, hertz=100)
    assert slow.events == fast.events == 20
    assert (slow.values, fast.values) == (10, 50)


def test_very_fast_samples_are_asked_for_by_each_watcher():
    fastest = replace(SITE, hertz=10_000)
    assert fastest.values == 1
    more = fastest.rates()["call"] - SITE.rates()["call"]
    assert more == pytest.approx(fastest.rates()["event"])


def test_sites_share_the_viewers_of_all():
    ten = replace(SITE, sites=10, pages=200, is_even=True)
    one = replace(SITE, is_even=True)
    assert messages(ten.rates())["sent event"] == messages(one.rates())["sent event"]
    assert ten.rates()["session"] > one.rates()["session"]


def test_viewers_of_a_cache_cost_a_node_a_call_per_tile_and_second():
    rates = [replace(SITE, tiles=tiles).missed_tiles for tiles in (10, 1e4, 1e9)]
    assert rates == sorted(rates)
    assert rates[0] < replace(SITE, tiles=10).tile_requests
    assert rates[-1] == pytest.approx(SITE.nodes, rel=1e-3)


@pytest.mark.parametrize("what", ["viewers", "nodes"])
def test_a_part_is_full_at_the_size_that_is_said(what):
    size = full_at(SITE, COSTS, "router", what)
    grown = scaled(SITE, what, size / getattr(SITE, what))
    assert loads(grown, COSTS)["router"] == pytest.approx(FULL, rel=0.02)


def test_what_is_no_part_of_a_site_is_left_out():
    alone = loads(replace(SITE, grafana=0, tiles=0), COSTS)
    assert not alone.keys() & {"each proxy", "each bridge", "HTTP cache"}


def test_events_wait_longer_the_busier_a_router_is():
    sizes = [replace(SITE, nodes=nodes) for nodes in (200, 2000, 6000)]
    delays = [event_delay(site, COSTS) for site in sizes]
    assert delays == sorted(delays)
    assert event_delay(replace(SITE, nodes=20_000), COSTS) == np.inf
