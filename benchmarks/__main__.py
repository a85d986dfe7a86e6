"""Run the benchmarks: ``python -m benchmarks [--peers | --sources | --scale] [NAME …]``.

Without names the whole table is measured, and goes into the documents as well; with names
only those rows are measured and printed.
"""

from __future__ import annotations

import argparse
import signal
from collections.abc import Callable, Iterable
from functools import partial

from benchmarks import (
    archives,
    bulk,
    dashboards,
    freshness,
    history,
    live,
    memory,
    panels,
    paths,
    pushing,
    replicas,
    router_costs,
    source,
    source_memory,
    weather,
)
from benchmarks.report import Figure, publish, table

Measure = Callable[[int], Iterable[Figure]]

ROUNDS = 11

ALONE: dict[str, Measure] = {
    "size": source.size,
    "structure": source.structure,
    "paths calls": paths.figures,
    "b3": panels.same_view,
    "c": archives.against_ten_million,
    "raw": panels.raw_against_orjson,
    "fresh": freshness.figures,
    "memory": memory.figures,
    "bulk": bulk.figures,
    "lists": weather.figures,
    "live": live.figures,
    "history": history.figures,
    "push": pushing.figures,
}
PEERS: dict[str, Measure] = {
    "b1 b2": panels.new_views,
    "d": dashboards.many_clients,
    "e": dashboards.ten_panels,
    "raw": panels.raw_against_victoria,
    "c": archives.against_victoria,
    "history": history.beside_others,
}
DATABASES = "sqlite", "duckdb", "postgresql", "influxdb", "prometheus", "victoriametrics"


def bridges(rounds: int) -> Iterable[Figure]:
    """Measure bridges; only these rows need haproxy and nginx."""
    from benchmarks import balanced

    return balanced.figures(rounds)


SCALE: dict[str, Measure] = {
    "router": router_costs.figures,
    "replicas": replicas.figures,
    "bridges cache": bridges,
}


def extremes(kind: str, rounds: int) -> Iterable[Figure]:
    """Measure a database; only these rows need the libraries of databases."""
    from benchmarks import source_extremes

    return source_extremes.figures(kind, rounds)


def main() -> None:
    """Measure, print and publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="which rows; all if none is given")
    parser.add_argument("--peers", action="store_true", help="those against VictoriaMetrics")
    parser.add_argument(
        "--sources", action="store_true", help="of docs/how-to/sources; takes hours"
    )
    parser.add_argument("--scale", action="store_true", help="of proxies, replicas and bridges")
    parser.add_argument("--gigabytes", type=float, default=10, help="that a source has (10)")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="repetitions (%(default)s)")
    given = parser.parse_args()
    sources: dict[str, Measure] = {
        f"memory {kind.lower()}": partial(source_memory.figures, kind, given.gigabytes)
        for kind in source_memory.KINDS
    }
    sources |= {f"extremes extremes-{kind}": partial(extremes, kind) for kind in DATABASES}
    tables = {"sources": sources, "peers": PEERS, "scale": SCALE}
    section = next((name for name in tables if getattr(given, name)), "bench")
    rows = tables.get(section, ALONE)
    if unknown := set(given.names) - set(" ".join(rows).split()):
        parser.error(f"no such row: {', '.join(unknown)}")
    figures: list[Figure] = []
    for names, measure in rows.items():
        if not given.names or set(given.names) & set(names.split()):
            found = list(measure(given.rounds))
            print(f"{table(found)}\n", flush=True)
            figures += found
    if not given.names:
        publish(section, table(figures))


if __name__ == "__main__":
    # A shell that starts this in the background has SIGINT ignored, and the router would, too.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    main()
