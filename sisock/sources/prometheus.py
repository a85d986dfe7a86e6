"""Query a server with Prometheus's HTTP API for samples, and for the extremes of buckets."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from sisock.sources.http import JsonServer, first_tick, quote
from sisock.store.series import NOTHING
from sisock.wire import grid
from sisock.wire.arrays import Samples

Labels = Mapping[str, str]

ROWS, FEW_ROWS = 100_000, 2000  # samples to read at once, and if only a few are needed
STEPS = 10_000  # buckets per request; the server's limit is 11,000
LATEST = 2.0**33  # seconds; the largest bucket that the server's nanoseconds can represent

SHIFT, AHEAD = 3_600_000, 3_600_000
"""Milliseconds by which `_whole_buckets` shifts requests to the past, and by which samples may be
ahead of this computer's clock."""

SHORT = 1000
"""Milliseconds; the samples of a shorter interval are read instead of aggregated by the server."""

EARLIEST, BLOCK = 946_684_800_000, 32 * 86_400_000
"""Milliseconds: the year 2000, before which no samples are searched; and the longest interval for
which VictoriaMetrics tells exactly which series have samples."""

MAX_CALLS = 1000  # largest number of calls to find the first samples of new series


class Api:
    """Call the API of a server."""

    def __init__(self, server: JsonServer) -> None:
        self._server = server
        self.is_closed = True
        """Whether a range includes a sample at its start, as before Prometheus 3."""

    def ask(self, path: str, **values: Any) -> Any:
        """Return the data of an answer; raises ValueError with the server's error message."""
        # Without nocache VictoriaMetrics aligns times to results that it has cached.
        answer = self._server.ask(f"/api/v1/{path}", {"nocache": "1", **values})
        if not isinstance(answer, dict) or answer.get("status") != "success":
            why = answer.get("error") if isinstance(answer, dict) else None
            raise ValueError(why or "the server has no such API: see --url")
        return answer["data"]

    def probe(self) -> None:
        """Find out whether ranges include their start (`is_closed`)."""
        answer = self.ask("query", query="count_over_time(vector(1)[1s:1s])", time="1000")
        self.is_closed = answer["result"][0]["value"][1] == "2"

    def series(self, selectors: Sequence[str], start: int, end: int) -> list[Labels]:
        """Return the labels of all series that have samples from `start` to before `end`, in ms."""
        times = {"start": _seconds(start), "end": _seconds(end - 1)}
        return self.ask("series", **{"match[]": list(selectors)}, **times)

    def metadata(self) -> Mapping[str, list[dict[str, str]]]:
        """Return the metadata of all metrics; empty if the server keeps none."""
        try:
            return self._server.ask("/api/v1/metadata").get("data") or {}
        except (ValueError, AttributeError):
            return {}

    def samples(self, selector: str, start: int, end: int) -> Iterator[tuple[Labels, Samples]]:
        """Yield labels and samples of series, from `start` to before `end`, in ms."""
        query = f"{selector}[{_duration(end - start)}]"
        for series in self.ask("query", query=query, time=_seconds(end - 1))["result"]:
            pairs = series.get("values", ())
            t = np.array([t for t, _ in pairs], "<f8")
            inside = t.searchsorted(start / 1000)  # without the start of a closed range
            values = np.array([float(value) for _, value in pairs], "<f8")
            yield series["metric"], (t[inside:], values[inside:])

    def since(self, selectors: Sequence[str], names: set[str]) -> dict[str, int]:
        """Return by series a time in ms before which it has no samples; search by bisection."""
        found: dict[str, int] = {}
        calls = 0

        def present(start: int, end: int) -> set[str]:
            nonlocal calls
            calls += 1
            return {name_of(labels) for labels in self.series(selectors, start, end)}

        def search(start: int, end: int, names: set[str]) -> None:
            if end - start <= 1 or calls >= MAX_CALLS:
                found.update(dict.fromkeys(names, start))
                return
            middle = (start + end) // 2
            early = present(start, middle) & names
            for half in ((start, middle, early), (middle, end, names - early)):
                if half[2]:
                    search(*half)

        now = round(time.time() * 1000)
        recent = now - BLOCK
        # For long intervals VictoriaMetrics lists all series, so search block by block.
        old = present(EARLIEST, recent) & names
        new = names - old
        for start in range(EARLIEST, recent, BLOCK):
            if old and (here := present(start, start + BLOCK) & old):
                search(start, start + BLOCK, here)
                old -= here
        if old or new:
            search(recent, now + AHEAD, old | new)
        return found


class PrometheusSeries:
    """Read the series with these of all `known` labels; it has no samples before `since` ms."""

    type = "number"
    is_placed = True
    min_bucket = 0.125  # the smallest power of two that is a whole number of milliseconds

    def __init__(self, api: Api, labels: Labels, known: set[str], since: int) -> None:
        self._api, self._since = api, since
        self._labels = {name: value for name, value in labels.items() if name != "__name__"}
        self._selector = selector_of({**dict.fromkeys(sorted(known), ""), **labels})

    def read(self, start: float, end: float, limit: int | None = None) -> Iterator[Samples]:
        """Yield the samples of an interval in large parts, or the first `limit` or more of them."""
        found, rows = 0, ROWS if limit is None else max(limit, FEW_ROWS)
        for t, values in self._parts(*self._clip(start, end), rows):
            yield t, values
            found += len(t)
            if limit is not None and found >= limit:
                return

    def read_last(self, start: float, end: float) -> Samples:
        """Return the last sample of an interval, if there is one."""
        parts = self._parts(*self._clip(start, end), FEW_ROWS, is_backwards=True)
        t, values = next(parts, NOTHING)
        return t[-1:], values[-1:]

    def decimate(self, start: float, end: float, w: float) -> tuple[Any, Any]:
        """Return smallest and largest value of each bucket, at made-up times in the bucket."""
        w = min(w, LATEST)
        first, last = self._clip(start, end)
        size = round(w * 1000)
        lower, upper = -(-first // size), last // size  # the whole buckets
        found: dict[float, tuple[Any, Any]] = {}
        if upper < lower:
            found |= self._partial_bucket(first, last, w)
        else:
            found |= self._partial_bucket(first, lower * size, w)
            found |= self._partial_bucket(upper * size, last, w)
            for number in range(lower, upper, STEPS):
                found |= self._whole_buckets(number, min(number + STEPS, upper), w)
        # Infinities count as missing, which the server does not know: read those buckets.
        if infinite := [t for t, pair in found.items() if math.inf in map(abs, filter(None, pair))]:
            ends = round(min(infinite) * 1000), round((max(infinite) + w) * 1000)
            found |= self._read_buckets(max(first, ends[0]), min(last, ends[1]), w)
        return grid.place(found, w, start, end)

    def _clip(self, start: float, end: float) -> tuple[int, int]:
        """Return the milliseconds of an interval in which there may be samples."""
        now = round(time.time() * 1000)
        first = max(first_tick(start, 1000), self._since)
        return first, max(first, min(first_tick(end, 1000), now + AHEAD))

    def _ask(self, path: str, query: str, **times: str) -> list[tuple[float, float]]:
        """Return times and values that the server computes from the series."""
        for series in self._api.ask(path, query=query, **times)["result"]:
            if self._is_own(series["metric"]):
                pairs = series.get("values") or [series["value"]]
                return [(t, float(value)) for t, value in pairs]
        return []

    def _aggregate(self, function: str, start: int, end: int) -> float | None:
        """Return a function of the samples from `start` to before `end`; None without samples."""
        length = max(end - start - self._api.is_closed, 1)
        query = f"{function}_over_time({self._selector}[{_duration(length)}])"
        return next((v for _, v in self._ask("query", query, time=_seconds(end - 1))), None)

    def _count(self, start: int, end: int) -> int:
        return int(self._aggregate("count", start, end) or 0) if start < end else 0

    def _raw(self, start: int, end: int) -> Samples:
        for labels, samples in self._api.samples(self._selector, start, end):
            if self._is_own(labels):
                return samples
        return NOTHING

    def _is_own(self, labels: Labels) -> bool:
        """Return whether labels are those of this series, and not of one with additional labels."""
        return self._labels == {n: text for n, text in labels.items() if n != "__name__"}

    def _parts(
        self, start: int, end: int, rows: int = ROWS, is_backwards: bool = False
    ) -> Iterator[Samples]:
        """Yield samples in windows, whose length adapts to the density of samples."""
        span = 60_000
        while start < end:
            begin, stop = max(end - span, start), min(start + span, end)
            part = (begin, end) if is_backwards else (start, stop)
            count = self._count(*part)
            if count > rows and span > SHORT:
                span = max(span * rows // (2 * count), SHORT)
                continue
            if count:
                yield self._raw(*part)
            start, end = (start, begin) if is_backwards else (stop, end)
            span *= 16 if 16 * count < rows else 2

    def _partial_bucket(self, start: int, end: int, w: float) -> dict[float, tuple[Any, Any]]:
        """Return the extremes of a part of a bucket."""
        if end - start < SHORT:
            return self._read_buckets(start, end, w)
        low, high = (self._aggregate(extreme, start, end) for extreme in ("min", "max"))
        if low is None or high is None:
            return {}
        return {grid.bucket_start(start / 1000, w): _pair(low, high)}

    def _whole_buckets(self, first: int, last: int, w: float) -> dict[float, tuple[Any, Any]]:
        """Return the extremes of the buckets from number `first` to before `last`."""
        size = round(w * 1000)
        # Shifted by an hour, as VictoriaMetrics returns old values for the last half minute.
        length, shift = _duration(size - self._api.is_closed), f"offset -{_duration(SHIFT)}"
        ends = [(number + 1) * size - 1 - SHIFT for number in (first, last - 1)]
        times = {"start": _seconds(ends[0]), "end": _seconds(ends[1]), "step": _seconds(size)}
        if first >= last:
            return {}
        low, high = (
            self._ask(
                "query_range", f"{name}_over_time({self._selector}[{length}] {shift})", **times
            )
            for name in ("min", "max")
        )
        highs = dict(high)
        return {
            (first + round((t - ends[0] / 1000) / w)) * w: _pair(value, highs.get(t, value))
            for t, value in low
        }

    def _read_buckets(self, start: int, end: int, w: float) -> dict[float, tuple[Any, Any]]:
        """Read samples and return the extremes of their buckets."""
        found: dict[float, tuple[Any, Any]] = {}
        for t, values in self._parts(start, end):
            for i in grid.decimate(t, values, w):
                bucket, value = grid.bucket_start(t[i], w), float(values[i])
                known = [extreme for extreme in found.get(bucket, ()) if extreme is not None]
                known += [value] if math.isfinite(value) else []
                found[bucket] = (min(known), max(known)) if known else (None, None)
        return found


def _pair(low: float, high: float) -> tuple[Any, Any]:
    """Return the extremes of a bucket, None if it has only NaN."""
    return (None, None) if math.isnan(low) or math.isnan(high) else (low, high)


def _seconds(milliseconds: int) -> str:
    return f"{milliseconds / 1000:.3f}"


def _duration(milliseconds: int) -> str:
    """Return a duration in PromQL: VictoriaMetrics takes 8126ms, but not 8s126ms, for 8125 ms."""
    seconds, rest = divmod(milliseconds, 1000)
    return "".join(f"{n}{unit}" for n, unit in ((seconds, "s"), (rest, "ms")) if n)


def name_of(labels: Labels) -> str:
    """Return the name of a series in Prometheus's notation, with sorted labels."""
    named = [f"{name}={quote(labels[name])}" for name in sorted(labels) if name != "__name__"]
    return labels.get("__name__", "") + (f"{{{','.join(named)}}}" if named else "")


def selector_of(labels: Labels) -> str:
    """Return the PromQL selector of the series with these labels."""
    plain = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
    names = {name: name if plain.fullmatch(name) else quote(name) for name in labels}
    return f"{{{','.join(f'{names[name]}={quote(value)}' for name, value in labels.items())}}}"
