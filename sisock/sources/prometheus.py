"""Ask a server with Prometheus's HTTP API for samples, and for the extremes of buckets."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from sisock.sources.http import JsonServer
from sisock.sources.placed import place
from sisock.store.series import NOTHING
from sisock.wire import grid
from sisock.wire.arrays import Samples, join

Labels = Mapping[str, str]

ROWS = 100_000
"""Samples that are read at once, about."""

STEPS = 10_000
"""Buckets that are asked for at once: the server gives 11,000, at most."""

LATEST = 2.0**33
"""The largest bucket that the server's nanoseconds can say; until 2242, it has all times."""

SHIFT, AHEAD = 3_600_000, 3_600_000
"""Milliseconds by which buckets are asked for as if they were earlier, see `_whole`, and for which
samples may be later than this computer's clock."""

SHORT = 1000
"""Milliseconds in which a few samples are read rather than aggregated."""

EARLIEST, BLOCK = 946_684_800_000, 32 * 86_400_000
"""The year 2000, before which no samples are looked for, and a time for which VictoriaMetrics
knows which series had some, in milliseconds."""

MAX_CALLS = 1000
"""Calls to find out since when there are new series."""


class Api:
    """The API of a server."""

    def __init__(self, server: JsonServer) -> None:
        self._server = server
        self.is_closed = True
        """Whether a range has the sample with which it begins, as before Prometheus 3."""

    def ask(self, path: str, **values: Any) -> Any:
        """Return the data of an answer; ValueError says what the server says is wrong."""
        # VictoriaMetrics would move times to those that it has computed before.
        answer = self._server.ask(f"/api/v1/{path}", {"nocache": "1", **values})
        if not isinstance(answer, dict) or answer.get("status") != "success":
            why = answer.get("error") if isinstance(answer, dict) else None
            raise ValueError(why or "the server has no such API: see --url")
        return answer["data"]

    def probe(self) -> None:
        """Find out which ends a range has."""
        found = self.ask("query", query="count_over_time(vector(1)[1s:1s])", time="1000")
        self.is_closed = found["result"][0]["value"][1] == "2"

    def series(self, selectors: Sequence[str], start: int, end: int) -> list[Labels]:
        """Return the labels of all series that have samples from `start` to before `end`, in ms."""
        times = {"start": _seconds(start), "end": _seconds(end - 1)}
        return self.ask("series", **{"match[]": list(selectors)}, **times)

    def metadata(self) -> Mapping[str, list[dict[str, str]]]:
        """Return what targets say of their metrics; nothing, where the server keeps none."""
        try:
            return self._server.ask("/api/v1/metadata").get("data") or {}
        except (ValueError, AttributeError):
            return {}

    def samples(self, selector: str, start: int, end: int) -> Iterator[tuple[Labels, Samples]]:
        """Yield labels and samples of series, from `start` to before `end`, in ms."""
        query = f"{selector}[{end - start}ms]"
        for found in self.ask("query", query=query, time=_seconds(end - 1))["result"]:
            pairs = found.get("values", ())
            t = np.array([t for t, _ in pairs], "<f8")
            inside = t.searchsorted(start / 1000)  # the one before, where ranges are closed
            values = np.array([float(value) for _, value in pairs], "<f8")
            yield found["metric"], (t[inside:], values[inside:])

    def since(self, selectors: Sequence[str], names: set[str]) -> dict[str, int]:
        """Return for series the time in ms before which they have no samples."""
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
        # Of longer times, VictoriaMetrics says of all series that they were there.
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
    """One series, which has no other `labels` of the `known` ones; no samples before `since` ms."""

    type = "number"
    is_placed = True
    min_bucket = 0.125  # of those that are whole milliseconds

    def __init__(self, api: Api, labels: Labels, known: set[str], since: int) -> None:
        self._api, self._since = api, since
        self._labels = {name: value for name, value in labels.items() if name != "__name__"}
        self._selector = selector_of({**dict.fromkeys(sorted(known), ""), **labels})

    def read(self, start: float, end: float) -> Iterator[Samples]:
        """Yield the samples of an interval, many at once."""
        return self._parts(*self._clip(start, end))

    def few(self, start: float, end: float, count: int) -> tuple[Samples, bool]:
        """Return all samples of an interval, and True; of more than `count` the first and last."""
        ends = [self._end(*self._clip(start, end), is_last) for is_last in (False, True)]
        if not len(ends[0][0]):
            return ends[0], True
        first, last = (round(t[0] * 1000) for t, _ in ends)
        # A part of them is counted faster, and mostly more.
        for part in ((last - first) // 64 + 1, last - first + 1):
            if self._count(first, first + part) > count:
                return join(ends), False
        return join(list(self._parts(first, last + 1))), True

    def decimate(self, start: float, end: float, w: float) -> tuple[Any, Any]:
        """Return the smallest and the largest value of each bucket, placed in it."""
        w = min(w, LATEST)
        first, last = self._clip(start, end)
        size = round(w * 1000)
        lower, upper = -(-first // size), last // size  # of the buckets that are not cut
        found: dict[float, tuple[Any, Any]] = {}
        if upper < lower:
            found |= self._cut(first, last, w)
        else:
            found |= self._cut(first, lower * size, w) | self._cut(upper * size, last, w)
            for number in range(lower, upper, STEPS):
                found |= self._whole(number, min(number + STEPS, upper), w)
        # Infinities count as missing, of which the server knows nothing.
        if odd := [t for t, pair in found.items() if math.inf in map(abs, filter(None, pair))]:
            ends = round(min(odd) * 1000), round((max(odd) + w) * 1000)
            found |= self._own(max(first, ends[0]), min(last, ends[1]), w)
        return place(found, w, start, end)

    def _clip(self, start: float, end: float) -> tuple[int, int]:
        """Return the milliseconds of an interval in which there may be samples."""
        now = round(time.time() * 1000)
        first, last = max(_milliseconds(start), self._since), min(_milliseconds(end), now + AHEAD)
        return first, max(first, last)

    def _ask(self, path: str, query: str, **times: str) -> list[tuple[float, float]]:
        """Return times and values that the server computes of the series."""
        for found in self._api.ask(path, query=query, **times)["result"]:
            if self._is_own(found["metric"]):
                pairs = found.get("values") or [found["value"]]
                return [(t, float(value)) for t, value in pairs]
        return []

    def _aggregate(self, function: str, start: int, end: int) -> float | None:
        """Return what a function gives for the samples from `start` to before `end`, if any."""
        length = max(end - start - self._api.is_closed, 1)
        query = f"{function}_over_time({self._selector}[{length}ms])"
        return next((v for _, v in self._ask("query", query, time=_seconds(end - 1))), None)

    def _count(self, start: int, end: int) -> int:
        return int(self._aggregate("count", start, end) or 0) if start < end else 0

    def _raw(self, start: int, end: int) -> Samples:
        for labels, samples in self._api.samples(self._selector, start, end):
            if self._is_own(labels):
                return samples
        return NOTHING

    def _is_own(self, labels: Labels) -> bool:
        """Return whether it is this series, and not one that came with one more label."""
        return self._labels == {n: text for n, text in labels.items() if n != "__name__"}

    def _parts(self, start: int, end: int) -> Iterator[Samples]:
        """Yield samples, in windows that become longer, and shorter where they are dense."""
        span = 60_000
        while start < end:
            stop = min(start + span, end)
            count = self._count(start, stop)
            if count > ROWS and span > SHORT:
                span = max(span * ROWS // (2 * count), SHORT)
                continue
            if count:
                yield self._raw(start, stop)
            start, span = stop, 2 * span

    def _end(self, start: int, end: int, is_last: bool) -> Samples:
        """Return the first or the last sample, if there is one."""
        span, lower, upper = 60_000, start, end
        while lower < upper:
            part = (
                (max(upper - span, lower), upper) if is_last else (lower, min(lower + span, upper))
            )
            if count := self._count(*part):
                break
            lower, upper = (lower, part[0]) if is_last else (part[1], upper)
            span *= 16
        else:
            return NOTHING
        while count > 2000 and part[1] - part[0] > SHORT:
            halves = [(part[0], sum(part) // 2), (sum(part) // 2, part[1])]
            near, far = halves[::-1] if is_last else halves
            few = self._count(*near)
            part, count = (near, few) if few else (far, count)
        t, values = self._raw(*part)
        which = slice(-1, None) if is_last else slice(0, 1)
        return t[which], values[which]

    def _cut(self, start: int, end: int, w: float) -> dict[float, tuple[Any, Any]]:
        """Return the extremes of a part of a bucket."""
        if end - start < SHORT:
            return self._own(start, end, w)
        low, high = (self._aggregate(extreme, start, end) for extreme in ("min", "max"))
        return (
            {}
            if low is None or high is None
            else {grid.bucket_start(start / 1000, w): _pair(low, high)}
        )

    def _whole(self, first: int, last: int, w: float) -> dict[float, tuple[Any, Any]]:
        """Return the extremes of whole buckets, by their numbers."""
        size = round(w * 1000)
        # As if an hour ago: VictoriaMetrics has old values in place of the last half minute's.
        length, shift = size - self._api.is_closed, f"offset -{SHIFT}ms"
        ends = [(number + 1) * size - 1 - SHIFT for number in (first, last - 1)]
        times = {"start": _seconds(ends[0]), "end": _seconds(ends[1]), "step": _seconds(size)}
        if first >= last:
            return {}
        low, high = (
            self._ask(
                "query_range", f"{each}_over_time({self._selector}[{length}ms] {shift})", **times
            )
            for each in ("min", "max")
        )
        highs = dict(high)
        return {
            (first + round((t - ends[0] / 1000) / w)) * w: _pair(value, highs.get(t, value))
            for t, value in low
        }

    def _own(self, start: int, end: int, w: float) -> dict[float, tuple[Any, Any]]:
        """Return the extremes of buckets from their samples."""
        found: dict[float, tuple[Any, Any]] = {}
        for t, values in self._parts(start, end):
            for i in grid.decimate(t, values, w):
                bucket, value = grid.bucket_start(t[i], w), float(values[i])
                known = [each for each in found.get(bucket, ()) if each is not None]
                known += [value] if math.isfinite(value) else []
                found[bucket] = (min(known), max(known)) if known else (None, None)
        return found


def _pair(low: float, high: float) -> tuple[Any, Any]:
    """Return the extremes of a bucket; of one that holds only NaN, the server gives NaN."""
    return (None, None) if math.isnan(low) or math.isnan(high) else (low, high)


def _seconds(milliseconds: int) -> str:
    return f"{milliseconds / 1000:.3f}"


def _milliseconds(t: float) -> int:
    """Return the first of the milliseconds since 1970 that is not before `t` once it is a float."""
    first = math.floor(t * 1000) - 1
    while first / 1000 < t:
        first += 1
    return first


def name_of(labels: Labels) -> str:
    """Return a series' name as Prometheus writes it, with the labels in alphabetical order."""
    named = [f"{name}={quote(labels[name])}" for name in sorted(labels) if name != "__name__"]
    return labels.get("__name__", "") + (f"{{{','.join(named)}}}" if named else "")


def selector_of(labels: Labels) -> str:
    """Return what selects the series with these labels."""
    plain = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
    names = {name: name if plain.fullmatch(name) else quote(name) for name in labels}
    return f"{{{','.join(f'{names[name]}={quote(value)}' for name, value in labels.items())}}}"


def quote(text: str) -> str:
    """Return a text as PromQL writes it."""
    for plain, escaped in (("\\", "\\\\"), ("\n", "\\n"), ('"', '\\"')):
        text = text.replace(plain, escaped)
    return f'"{text}"'
