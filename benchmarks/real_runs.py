"""Compare the model with real routers, nodes and watchers, of few of each."""

from __future__ import annotations

import time

from benchmarks.costs import Costs
from benchmarks.counts import CountedStack, Work
from benchmarks.load import node_name
from benchmarks.model import Site, messages, router_seconds
from benchmarks.router_costs import PATIENCE
from benchmarks.stack import CONSUMER
from tests.conftest import wait_for_nodes

FIELDS, HERTZ = 20, 1.0
"""Neither is what the costs were measured with."""

SIZES = ((20, 5, 20, 0), (50, 20, 10, 0), (100, 20, 20, 0), (100, 20, 20, 2))
"""Nodes, watchers, nodes that each of them watches, and proxies."""

SETTLE, SECONDS = 4, 4
TIMES = 4
"""The quietest of so many runs counts, as with the costs: a busy machine only adds."""

FACTOR = 2.0
"""By which the router's CPU time may differ from what is predicted."""

COLUMNS = (
    "nodes", "watchers", "each of", "proxies", "events published", "events sent",
    "router, cores", "all proxies, cores", "factor of the router",
)  # fmt: skip


def small_site(nodes: int, watchers: int, watched: int, proxies: int) -> Site:
    """Return a site whose viewers only watch."""
    return Site(
        nodes, FIELDS, HERTZ, watchers, watched=watched, panels=0, proxies=proxies, bridges=0,
        is_even=True,
    )  # fmt: skip


def run(site: Site) -> Work:
    """Return what a real router does while such a site runs."""
    with CountedStack(site.proxies) as stack:
        watch = map(str, (int(site.pages), site.nodes, int(site.watched)))
        watchers = stack.start(
            "-m", "benchmarks.load", "watchers", *watch, user=CONSUMER, use_socket=False
        )
        watchers.wait_for("ready", PATIENCE)
        serve = map(str, (0, site.nodes, site.fields, site.hertz))
        stack.start("-m", "benchmarks.load", "nodes", *serve, use_socket=False)
        with stack.client() as client:
            wait_for_nodes(client, *map(node_name, range(site.nodes)), seconds=PATIENCE)
        time.sleep(SETTLE)
        found = []
        for _ in range(TIMES):
            with stack.counted() as work:
                time.sleep(SECONDS)
            found.append(work)
    return min(found, key=lambda work: work.cpu[0] / work.seconds)


def header() -> list[str]:
    """Return the first lines of the table."""
    return [f"| {' | '.join(COLUMNS)} |", f"|{' --- |' * len(COLUMNS)}"]


def compare(size: tuple[int, int, int, int], costs: Costs) -> tuple[str, bool]:
    """Return a line of predicted and measured figures, and whether they are near enough."""
    site = small_site(*size)
    work, rates = run(site), site.rates()
    shown = [
        f"{predicted * work.seconds:,.0f}; {work.messages[kind]:,}"
        for kind, predicted in messages(rates).items()
        if kind in ("received publish", "sent event")
    ]
    expected, real = router_seconds(rates, costs, site.proxies), work.cpu[:2] / work.seconds
    shown += [f"{a:.3f}; {b:.3f}" for a, b in zip(expected, real, strict=True)]
    factor = float(real[0]) / expected[0]
    cells = [*map(str, size), *shown, f"{factor:.2f}"]
    return f"| {' | '.join(cells)} |", 1 / FACTOR < factor < FACTOR
