"""Data node of series on any server with Prometheus's HTTP API."""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import sisock
from sisock.archive.database import DatabaseNode, Series
from sisock.sources.http import JsonServer
from sisock.sources.options import Described, read_password
from sisock.sources.prometheus import Api, PrometheusSeries, name_of

MAX_FIELDS = 10_000

RECENT = 120_000
"""Milliseconds; a series without a sample for longer is not measured any more."""


UNITS = {"seconds": "s", "bytes": "B", "celsius": "°C", "meters": "m", "volts": "V"}
UNITS |= {"amperes": "A", "joules": "J", "grams": "g", "hertz": "Hz", "watts": "W", "pascals": "Pa"}
"""Units by the last word of a metric's name, by Prometheus's conventions."""


class Prometheus(DatabaseNode):
    """Series of Prometheus, VictoriaMetrics, or another server with their HTTP API.

        sisock node prometheus --url http://prometheus:9090 --selector '{job="node"}'

    Each series is a field, like node_load1{instance="a:9100",job="node"}. Samples stay on the
    server, which also finds the extremes of buckets.
    """

    name = "prometheus"

    def __init__(self, url: str, selector: list[str], lateness: float, **flags: Any) -> None:
        super().__init__()
        self.lateness, self._selectors = lateness, selector
        self._described = Described(flags["config"])
        password = read_password(flags["password_file"], "PROMETHEUS_PASSWORD")
        self._api = Api(JsonServer(url, flags["user"], password, flags["ca_file"]))
        self._since: dict[str, int] = {}
        self._last: dict[str, float] = {}

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Add the flags that name the server and its series."""
        add = parser.add_argument
        add("--url", default="http://localhost:9090", help="the server (default: %(default)s)")
        selector = "series, like up or '{job=\"node\"}'; may be repeated"
        add("--selector", action="append", required=True, help=selector)
        add("--user", help="the password is in PROMETHEUS_PASSWORD, or --password-file")
        add("--password-file", type=Path, metavar="FILE", help="file of the password")
        add("--ca-file", type=Path, metavar="FILE", help="certificates to trust, for https")
        lateness = "how late samples may arrive (default: %(default)s)"
        add("--lateness", type=float, default=10.0, metavar="SECONDS", help=lateness)
        add("--config", type=Path, metavar="FILE", help="TOML file of units and limits")

    def find_fields(self) -> dict[str, tuple[Series, dict[str, Any]]]:
        """Find all series, also those that are not measured any more."""
        api, now = self._api, round(time.time() * 1000)
        api.probe()
        every = {name_of(each): each for each in api.series(self._selectors, 1000, now + RECENT)}
        if len(every) > MAX_FIELDS:
            self._warn(f"only {MAX_FIELDS} of {len(every)} series are served: see --selector")
            every = dict(sorted(every.items())[:MAX_FIELDS])
        if new := every.keys() - self._since.keys():
            self._since |= api.since(self._selectors, new)
        for selector in self._selectors:
            for labels, (t, _) in api.samples(selector, now - RECENT, now + RECENT):
                if len(t):
                    self._last[name_of(labels)] = float(t[-1])
        known, metadata = {label for each in every.values() for label in each}, api.metadata()
        return {name: self._field(name, every[name], known, metadata) for name in sorted(every)}

    def _field(
        self, name: str, labels: dict[str, str], known: set[str], metadata: Any
    ) -> tuple[Series, dict[str, Any]]:
        series = PrometheusSeries(self._api, labels, known, self._since[name])
        ends = {"first": self._since[name] / 1000, "last": self._last.get(name)}
        entry = describe_metric(labels.get("__name__", ""), metadata) | ends
        return series, entry | self._described[name]


def describe_metric(name: str, metadata: Mapping[str, list[dict[str, str]]]) -> dict[str, Any]:
    """Return units and description of a metric, or else those of its family."""
    families = (name, re.sub(r"_(total|sum|count|bucket|created|info)$", "", name))
    about = next((metadata[each][0] for each in families if metadata.get(each)), {})
    last = families[1].rpartition("_")[2]
    units = None if name.endswith(("_count", "_bucket")) else UNITS.get(last)
    return {"description": about.get("help") or None, "units": about.get("unit") or units}


if __name__ == "__main__":
    sisock.run(Prometheus)
