"""Query InfluxDB 1.x for samples, and for the extremes of buckets."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from sisock.sources.http import JsonServer, first_tick, quote
from sisock.store.series import NOTHING
from sisock.wire import grid
from sisock.wire.arrays import Samples, as_samples, join

ROWS = 20_000  # rows per chunk of an answer
STATEMENTS = 100  # largest number of statements of a request

LATEST = 2.0**33
"""Seconds; the latest time that the server can represent (the year 2242), and largest bucket."""

EARLY = 119
"""Nanoseconds before a bucket's start that a float rounds to the start: floats from 2004 to 2038
are 238 ns apart."""

TYPES = {"float": "number", "integer": "number", "string": "string", "boolean": "bool"}


class Influx:
    """Query one database; `policy` is the retention policy, None for the default one."""

    def __init__(self, server: JsonServer, database: str, policy: str | None) -> None:
        self._server, self._parameters = server, {"db": database, "epoch": "ns"}
        self._parameters |= {"chunked": "true", "chunk_size": str(ROWS)}
        self._parameters |= {} if policy is None else {"rp": policy}

    def select(self, statements: Sequence[str]) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield the number of the statement, and a series with ``name``, ``tags`` and ``values``.

        Raises ValueError with the server's error message.
        """
        for first in range(0, len(statements), STATEMENTS):
            query = ";".join(statements[first : first + STATEMENTS])
            for answer in self._server.answers("/query", {**self._parameters, "q": query}):
                for result in answer.get("results") or [answer]:
                    if "error" in result:
                        raise ValueError(result["error"])
                    for series in result.get("series", ()):
                        yield first + result["statement_id"], series

    def find(
        self, is_wanted: Any
    ) -> Iterator[tuple[str, dict[str, str], str, str, dict[str, float]]]:
        """Yield measurement, tags, field and type of all series, with ``first`` and ``last``."""
        kinds: dict[tuple[str, str], set[str]] = {}
        for _, series in self.select(["SHOW FIELD KEYS"]):
            for field, kind in series["values"] if is_wanted(series["name"]) else ():
                kinds.setdefault((series["name"], field), set()).add(kind)
        ends: dict[tuple[int, frozenset[Any]], dict[str, float]] = {}
        statements = [
            f"SELECT {end}({quote(field)}) FROM {quote(name)} GROUP BY *"
            for name, field in kinds
            for end in ("first", "last")
        ]
        for number, series in self.select(statements):
            key = number // 2, frozenset(series.get("tags", {}).items())
            end = "last" if number % 2 else "first"
            ends.setdefault(key, {})[end] = series["values"][0][0] / 10**9
        fields = list(kinds.items())
        for (which, tags), known in sorted(
            ends.items(), key=lambda item: (item[0][0], sorted(item[0][1]))
        ):
            (name, field), has = fields[which]
            # Of several types the server returns the first, in the order of `TYPES`.
            kind = next(TYPES[name_of_type] for name_of_type in TYPES if name_of_type in has)
            yield name, dict(sorted(tags)), field, kind, known


class InfluxSeries:
    """Read one field of a measurement; `tags` are all tags, '' for those that it does not have."""

    is_placed = True

    def __init__(
        self, influx: Influx, name: str, tags: Mapping[str, str], field: str, kind: str
    ) -> None:
        self._influx, self._field, self.type = influx, quote(field), kind
        # The server needs buckets of whole nanoseconds, and does not decimate texts.
        self.min_bucket = math.inf if kind == "string" else 2.0**-9
        where = [f"{quote(tag)} = {quote(value, chr(39))}" for tag, value in tags.items()]
        self._from = f"FROM {quote(name)} WHERE {' AND '.join([*where, ''])}"

    def read(self, start: float, end: float, limit: int | None = None) -> Iterator[Samples]:
        """Yield the samples of an interval, in large parts; only the first `limit`, if given."""
        return self._rows(start, end, "" if limit is None else f"LIMIT {limit}")

    def read_last(self, start: float, end: float) -> Samples:
        """Return the last sample of an interval, if there is one."""
        return join([NOTHING, *self._rows(start, end, "ORDER BY time DESC LIMIT 1")])

    def decimate(self, start: float, end: float, w: float) -> tuple[Any, Any]:
        """Return smallest and largest value of each bucket, at made-up times in the bucket."""
        w = min(w, LATEST)
        field, source = self._field, self._source(start, end)
        buckets = f"GROUP BY time({int(w * 1e9)}ns, -{EARLY}ns) fill(none)"
        # One statement with both would take the server almost twice as long.
        statements = [f"SELECT {extreme}({field}) {source} {buckets}" for extreme in ("min", "max")]
        if self.type == "bool":
            conditions = [f"{source} AND {field} = {value}" for value in ("false", "true")]
            statements = [f"SELECT count({field}) {rows} {buckets}" for rows in conditions]
        found: tuple[dict[float, Any], ...] = {}, {}
        for number, series in self._influx.select(statements):
            for nanoseconds, value in series["values"]:
                value = bool(number) if self.type == "bool" else value
                found[number][(nanoseconds + EARLY) / 10**9] = value
        low, high = {**found[1], **found[0]}, {**found[0], **found[1]}
        return grid.place({t: (low[t], high[t]) for t in low}, w, start, end)

    def _rows(self, start: float, end: float, limit: str) -> Iterator[Samples]:
        query = f"SELECT {self._field} {self._source(start, end)} {limit}"
        for _, series in self._influx.select([query]):
            times, values = zip(*series["values"], strict=True)
            seconds, rest = np.divmod(np.array(times, dtype="<i8"), 10**9)
            yield as_samples(seconds + rest / 1e9, values)

    def _source(self, start: float, end: float) -> str:
        """Return the FROM and WHERE clauses for an interval."""
        first, last = (first_tick(min(max(t, 0.0), LATEST), 10**9) for t in (start, end))
        return f"{self._from}time >= {first} AND time < {last}"
