"""A model of sites: how busy each part is, and how long an event waits.

Each part that has one thread is a queue with one server. The load is the sum of rates times costs,
the delay is simulated: nodes publish at regular times that are independent of each other, an
event goes to all its watchers at once, and all else comes at random.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import cbor2
import numpy as np

from benchmarks.costs import Costs
from sisock.node.events import MAX_RATE, PAUSE, add_samples
from sisock.node.registration import CHECK
from sisock.wire.reply import Reply

MAX_CONNECTIONS = 10_000
"""Connections to a router, or to a proxy, in `.crossbar/config.json`."""

EVENTS_PER_SECOND = 1 / PAUSE
ADDS_PER_SECOND = 1 / (0.85 * CHECK)
"""By which a node checks that it is listed; `CHECK` times 0.7 to 1."""

PINGS_PER_SECOND = 0.4
"""Of a session: the router's and its own, every five seconds each."""

TILE_SECONDS = 1.0
"""For which an HTTP cache keeps a tile that is not final."""

PACKET_BYTES = 170
"""What WAMP, WebSocket, TLS, TCP and IP add to an event."""

FULL = 0.7
"""Load of a part with one thread above which delays grow fast."""

MAX_GROWTH = 7.0
"""Power of two: how much larger a site is tried at most."""

MANY = 100_000
"""Panels of a simulation."""

SIMULATED = 30.0
"""Seconds of a simulation."""


@dataclass(frozen=True)
class Site:
    """A site: what it has, and what its viewers look at.

    Attributes
    ----------
    nodes, fields, hertz : float
        Nodes, fields of each, and samples per second.
    pages, grafana, tiles : float
        Viewers with the page, with Grafana, and with a page that reads tiles by an HTTP cache.
    watched : float
        Nodes of this site that a viewer looks at.
    panels, refresh, zoom : float
        Panels of a viewer; seconds between two requests for each, by Grafana or for tiles; seconds
        between two looks at the past, with the page.
    proxies, bridges : int
        Processes.
    is_even : bool
        All nodes are watched by as many; otherwise the n-th by 1/n of those of the first.
    """

    nodes: int
    fields: int
    hertz: float
    pages: float
    grafana: float = 0
    tiles: float = 0
    watched: float = 5
    panels: float = 10
    refresh: float = 10
    zoom: float = 60
    proxies: int = 0
    bridges: int = 1
    sites: int = 1
    is_even: bool = False

    @property
    def viewers(self) -> float:
        """All viewers."""
        return self.pages + self.grafana + self.tiles

    @property
    def popularity(self) -> np.ndarray:
        """The share of each node in what viewers look at."""
        weight = np.ones(self.nodes) if self.is_even else 1 / np.arange(1, self.nodes + 1)
        return weight / weight.sum()

    @property
    def subscribers(self) -> np.ndarray:
        """The number of watchers of each node."""
        return np.minimum(self.pages, self.pages * self.watched / self.sites * self.popularity)

    @property
    def watched_at_all(self) -> np.ndarray:
        """The share of time in which each node has a watcher."""
        return np.minimum(1, self.subscribers)

    @property
    def events(self) -> float:
        """Events of a node per second; faster samples are coalesced."""
        return min(self.hertz, EVENTS_PER_SECOND)

    @property
    def is_told_only(self) -> bool:
        """Whether an event says only that there are new samples, which each watcher gets."""
        return self.fields * self.hertz > MAX_RATE

    @property
    def values(self) -> float:
        """Values of an event."""
        return 1 if self.is_told_only else self.fields * self.hertz / self.events

    def rates(self) -> dict[str, float]:
        """Return what happens at the router in a second, named as the costs are."""
        publish = self.nodes * self.events
        dispatch = self.events * float(self.watched_at_all.sum())
        event = self.events * float(self.subscribers.sum())
        fetched = event if self.is_told_only else 0.0
        looks = self.pages * self.panels / self.sites / self.zoom
        calls = looks + self.grafana_panels + self.missed_tiles
        return {
            "publish": publish,
            "publish field": publish * (self.values - 1),
            "dispatch": dispatch,
            "dispatch field": dispatch * (self.values - 1),
            "event": event,
            "event field": event * (self.values - 1),
            "add": self.nodes * ADDS_PER_SECOND,
            "call": calls + fetched,
            "megabyte": fetched * self.fields * self.hertz / self.events * 16 / 1e6,
            "session": self.nodes + self.pages + self.bridges,
        }

    @property
    def grafana_panels(self) -> float:
        """Panels that Grafana asks of this site per second; the newest samples take a call."""
        return self.grafana * self.panels / self.sites / self.refresh

    @property
    def tile_requests(self) -> float:
        """Requests for open tiles of this site per second; viewers keep those that are final."""
        return self.tiles * self.panels / self.sites / self.refresh

    @property
    def missed_tiles(self) -> float:
        """Requests per second that the HTTP cache has to pass on: each tile, once in its time."""
        each = self.tile_requests * self.popularity
        return float((each / (1 + each * TILE_SECONDS)).sum())


def messages(rates: Mapping[str, float]) -> dict[str, float]:
    """Return the router's messages by kind, as Crossbar counts them, for events and adds."""
    return {
        "received publish": rates["publish"],
        "sent event": rates["event"],
        "received call": rates["add"] + rates["call"],
        "sent result": rates["add"] + rates["call"],
    }


def of_router(costs: Costs, proxies: int) -> Mapping[str, Sequence[float]]:
    """Return the costs of a router with so many proxies; more than two cost what two do."""
    return costs["router"][str(min(proxies, 2))]


def router_seconds(rates: Mapping[str, float], costs: Costs, proxies: int) -> tuple[float, float]:
    """Return the CPU seconds per second of the router, and of all proxies together."""
    each = np.array([of_router(costs, proxies)[name][:2] for name in rates])
    router, in_proxies = np.array(list(rates.values())) @ each
    return float(router), float(in_proxies)


def loads(site: Site, costs: Costs, gigabits: float = 1.0) -> dict[str, float]:
    """Return how busy each part of a site is; 1 is all that it can do."""
    rates = site.rates()
    router, proxies = router_seconds(rates, costs, site.proxies)
    of_node = {name: cost[2] for name, cost in costs["router"]["0"].items()}
    favourite = rates["call"] * float(site.popularity[0])
    read = of_node["publish"] + of_node["publish field"] * (site.values - 1)
    panels, tiles = site.grafana_panels, site.missed_tiles
    answers = panels * costs["bridge panel"] + tiles * costs["bridge tile"]
    sent = rates["event"] * event_bytes(site) + rates["megabyte"] * 1e6
    found = {
        "router": router,
        "each proxy": proxies / site.proxies if site.proxies else 0.0,
        "most watched node": site.events * read + favourite * of_node["call"],
        "each bridge": answers * site.sites / site.bridges,
        "HTTP cache": site.tile_requests * site.sites * costs["cache tile"],
        "network": sent * 8 / (gigabits * 1e9),
        "connections": rates["session"] / MAX_CONNECTIONS / max(site.proxies, 1),
    }
    return {part: load for part, load in found.items() if load}


def event_bytes(site: Site) -> float:
    """Return the bytes of an event on the wire, with what CBOR, TLS and TCP add."""
    if site.is_told_only:
        return PACKET_BYTES
    names, rows = [f"field{i}" for i in range(site.fields)], round(site.values / site.fields)
    t, reply = np.arange(float(rows)), Reply()
    columns = dict.fromkeys(names, t + 0.1)
    add_samples(reply, "node", 0.0, names, (t, columns), dict.fromkeys(names, "number"))
    return PACKET_BYTES + len(cbor2.dumps(reply.to_wire()))


def full_at(site: Site, costs: Costs, part: str, what: str) -> float:
    """Return the number of viewers or nodes at which a part is full.

    0 if it is without any, infinite if it is with a hundred times as many.
    """
    limit = 1.0 if part in ("connections", "network") else FULL

    def is_full(factor: float) -> bool:
        return loads(scaled(site, what, factor), costs).get(part, 0.0) >= limit

    low, high = -10.0, MAX_GROWTH
    if is_full(2**low):
        return 0.0
    if not is_full(2**high):
        return np.inf
    while high - low > 0.01:
        middle = (low + high) / 2
        low, high = (low, middle) if is_full(2**middle) else (middle, high)
    return 2**high * (site.nodes if what == "nodes" else site.viewers)


def scaled(site: Site, what: str, factor: float) -> Site:
    """Return a site with so many times the viewers or nodes."""
    if what == "nodes":
        return replace(site, nodes=max(1, round(site.nodes * factor)))
    grown = {kind: getattr(site, kind) * factor for kind in ("pages", "grafana", "tiles")}
    return replace(site, **grown)


def queue(arrivals: np.ndarray, services: np.ndarray) -> np.ndarray:
    """Return the delay of each job at one server, first come, first served: waiting and service."""
    order = np.argsort(arrivals, kind="stable")
    came, takes = arrivals[order], services[order]
    done = np.cumsum(takes)
    done = done + np.maximum.accumulate(came - (done - takes))
    delays = np.empty_like(arrivals)
    delays[order] = done - came
    return delays


def event_delay(site: Site, costs: Costs, column: int = 0) -> float:
    """Return the seconds that an event takes in the router, or in each proxy with `column` 1.

    The 99th percentile of deliveries, to the last watcher of each event; infinite if there is more
    to do than the process can.
    """
    rates, each = site.rates(), of_router(costs, site.proxies)
    # A proxy has its share of every node's watchers, and of everything else.
    share = 1 / site.proxies if column else 1.0
    cost = {name: share * each[name][column] for name in rates}
    if sum(rates[name] * cost[name] for name in rates) >= 1:
        return np.inf
    random = np.random.default_rng(1)
    readings = np.arange(0, SIMULATED, 1 / site.events)
    phases = random.uniform(0, 1 / site.events, site.nodes)
    fields, watchers = site.values - 1, site.subscribers
    each_takes = {
        name: cost[name] + cost[f"{name} field"] * fields
        for name in ("publish", "dispatch", "event")
    }
    takes = each_takes["publish"] + each_takes["dispatch"] * site.watched_at_all
    takes = takes + each_takes["event"] * watchers
    arrivals, services = [np.add.outer(phases, readings).ravel()], [np.repeat(takes, len(readings))]
    # A call is two messages, and the work of an idle session is its pings.
    for name, number in (("add", 1), ("call", 2), ("session", PINGS_PER_SECOND)):
        jobs = random.poisson(rates[name] * number * SIMULATED)
        arrivals.append(random.uniform(0, SIMULATED, jobs))
        services.append(np.full(jobs, cost[name] / number))
    delays = queue(np.concatenate(arrivals), np.concatenate(services))[: len(services[0])]
    return percentile_of(delays, np.repeat(watchers, len(readings)))


def login_seconds(site: Site, costs: Costs) -> float:
    """Return the seconds until all are back after a restart of the router, by CPU time alone."""
    router, proxies, _ = of_router(costs, site.proxies)["login"]
    return site.rates()["session"] * max(router, proxies / max(site.proxies, 1))


def panel_delay(site: Site, costs: Costs) -> float:
    """Return the seconds that a panel takes in a bridge, the 99th percentile, without its call."""
    rate, cost = site.grafana_panels * site.sites / site.bridges, costs["bridge panel"]
    if rate * cost >= 1:
        return np.inf
    random = np.random.default_rng(1)
    arrivals = random.uniform(0, MANY / rate, MANY)
    return percentile_of(queue(arrivals, np.full(MANY, cost)), np.ones(MANY))


def percentile_of(delays: np.ndarray, weights: np.ndarray, part: float = 0.99) -> float:
    """Return the delay that a part of all weights does not exceed."""
    order = np.argsort(delays)
    passed = np.cumsum(weights[order])
    return float(delays[order][np.searchsorted(passed, part * passed[-1])])
