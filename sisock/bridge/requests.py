"""Parse the requests of Grafana's JSON plugins; InvalidArgument says what is wrong.

The formats are those of `grafana-simple-json-datasource` 1.4, `simpod-json-datasource` 0.6 and
`yesoreyeram-infinity-datasource`: see docs/how-to/grafana.md.
"""

from __future__ import annotations

import datetime
import math
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from sisock.bridge.targets import Budget, Pattern, matches, parse_target, parse_words, split_top
from sisock.errors import InvalidArgument
from sisock.wire.fields import Field, suggest
from sisock.wire.protocol import EARLIEST, LATEST, MIN_POINTS, Interval

DEFAULT_SECONDS = 3600.0  # length of the range up to now for a request without a range

MAX_ENTRIES = 1000
"""Largest number of targets, or of ad hoc filters, of a request."""

MAX_REF_ID = 100
"""Characters; Grafana uses one or two, and each series repeats them."""

GAPS, RECORDED = "gaps ", "nodes "
"""Prefixes of annotation queries: for gaps of a field, and for the changes of nodes that a recorder
kept. The third kind of query is ``nodes``."""

TAG_KEYS = ("node", "timeline", "units")  # keys of ad hoc filters

ARGUMENTS = ("target", "from", "to", "maxDataPoints", "intervalMs", "interval")  # of ``/series``

_OPERATORS = ("=", "!=", "=~", "!~")

_INTERVAL = re.compile(r"[<>~]?\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|w|M|y)")
_SECONDS = {"ms": 1e-3, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_SECONDS.update(M=30 * 86400, y=365 * 86400)


@dataclass(frozen=True)
class Target:
    """Hold one target of a query: its text, parsed patterns, refId, and format."""

    text: str
    patterns: list[Pattern] = field(compare=False)
    ref_id: str | None = None
    is_table: bool = False


@dataclass(frozen=True)
class Filter:
    """Hold an ad hoc filter; its values are shell patterns."""

    key: str
    operator: str
    values: tuple[str, ...]

    def accepts(self, node: str, field: Field) -> bool:
        """Return whether a field passes the filter; unknown keys let all fields pass."""
        actual = tag_values(node, field).get(self.key)
        return actual is None or matches(actual, *self.values) == (self.operator in ("=", "=~"))


@dataclass(frozen=True)
class Query:
    """Hold a request for samples; `min_stride` is ignored if `max_points` is given."""

    targets: tuple[Target, ...]
    interval: Interval
    min_stride: float | None = None
    max_points: int | None = None
    filters: tuple[Filter, ...] = ()

    def accepts(self, node: str, field: Field) -> bool:
        """Return whether a field passes all filters."""
        return all(one.accepts(node, field) for one in self.filters)


def is_annotation_query(text: str) -> bool:
    """Return whether a target is an annotation query: simPod's plugin sends them to ``/query``."""
    return text == "nodes" or text.startswith((GAPS, RECORDED))


def tag_values(node: str, field: Field) -> dict[str, str]:
    """Return the values of a field by the keys of ad hoc filters."""
    return {"node": node, "timeline": field.timeline, "units": field.units or ""}


def parse_body(body: bytes) -> dict[str, Any]:
    """Parse a JSON body, whatever its content type says; an empty body means ``{}``."""
    if not body.strip():
        return {}
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidArgument(f"the body is not JSON: {error}") from None
    if not isinstance(parsed, dict):
        raise InvalidArgument("the body must be a JSON object")
    return parsed


def parse_query(body: Mapping[str, Any], prefix: str = "range.") -> Query:
    """Parse the body of ``/query``; `prefix` is as in `parse_range`."""
    budget = Budget()
    targets = [_parse_target(entry, budget) for entry in _objects(body, "targets")]
    # SimpleJSON sends ad hoc filters as ``adhocFilters``, simPod also as ``filters``.
    filters = tuple(
        _parse_filter(entry, name, budget)
        for name in ("adhocFilters", "filters")
        for entry in _objects(body, name)
    )
    points = _number(body, "maxDataPoints", 1e9)
    return Query(
        targets=tuple(target for target in targets if target is not None),
        interval=parse_range(body.get("range"), prefix),
        min_stride=_parse_stride(body),
        max_points=None if points is None else max(int(points), MIN_POINTS),
        filters=filters,
    )


def _objects(body: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    """Return a list of objects from a body; empty if it is missing."""
    value = body.get(name)
    if value is None:
        return []
    if not isinstance(value, list) or len(value) > MAX_ENTRIES:
        raise InvalidArgument(f"{name} must be a list of at most {MAX_ENTRIES}")
    if not all(isinstance(entry, dict) for entry in value):
        raise InvalidArgument(f"each entry of {name} must be an object")
    return value


def _number(body: Mapping[str, Any], name: str, limit: float) -> float | None:
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < limit:
        raise InvalidArgument(f"{name} must be a number of at least 0 and below {limit:g}")
    return value


def parse_arguments(arguments: Mapping[str, Sequence[str]]) -> Query:
    """Parse the query arguments of ``/series``; all but ``target`` use the first value only.

    If an interval and ``maxDataPoints`` are given, there is at most one point per interval.
    """
    for name in arguments:
        if name not in ARGUMENTS:
            hint = suggest(name, ARGUMENTS)
            known = f"there are {', '.join(ARGUMENTS)}"
            raise InvalidArgument(f"there is no argument {name!r}{hint}: {known}")
    first = {name: values[0] for name, values in arguments.items() if values}
    body: dict[str, Any] = {
        "targets": [{"target": text} for text in arguments.get("target", ())],
        "range": first,
        "interval": first.get("interval"),
    }
    for name in {"maxDataPoints", "intervalMs"} & first.keys():
        try:
            body[name] = float(first[name])
        except ValueError:
            raise InvalidArgument(f"{name} must be a number, not {first[name]!r}") from None
    query = parse_query(body, prefix="")
    if query.max_points is None or query.min_stride is None:
        return query
    intervals = math.ceil((query.interval.end - query.interval.start) / query.min_stride)
    return replace(query, max_points=max(min(query.max_points, intervals), MIN_POINTS))


def _parse_target(target: Mapping[str, Any], budget: Budget) -> Target | None:
    """Parse one entry of ``targets``; return None if it is hidden or empty."""
    text, ref_id = target.get("target"), target.get("refId")
    if target.get("hide") is True or text is None or text == "":
        return None
    if not isinstance(text, str):
        raise InvalidArgument("target must be a text of the form node::field")
    # SimpleJSON sends the format as `type`; users of simPod's plugin put `type` into the payload.
    payload = target.get("payload")
    formats = target.get("type"), payload.get("type") if isinstance(payload, dict) else None
    ref_id = ref_id[:MAX_REF_ID] if isinstance(ref_id, str) else None
    return Target(text, parse_target(text, budget), ref_id, "table" in formats)


def _parse_filter(entry: Mapping[str, Any], name: str, budget: Budget) -> Filter:
    key, operator, value = entry.get("key"), entry.get("operator", "="), entry.get("value")
    if not isinstance(key, str) or not isinstance(value, str):
        raise InvalidArgument(f"each entry of {name} must have a key and a value")
    if operator not in _OPERATORS:
        known = ", ".join(_OPERATORS)
        raise InvalidArgument(f"the operator of a filter must be one of {known}, not {operator!r}")
    if operator in ("=~", "!~"):
        # Support only what variables expand to, .* and .+, so that matching is always fast.
        parts = [part.removeprefix("^").removesuffix("$") for part in split_top(value)]
        shell = [part.replace(".*", "*").replace(".+", "?*") for part in parts]
        words = tuple(word for part in shell for word in parse_words(part, budget))
        return Filter(key, operator, words)
    budget.spend(1, len(value))
    return Filter(key, operator, (re.sub(r"([*?\[])", r"[\1]", value),))


def parse_range(value: Any, prefix: str = "range.") -> Interval:
    """Parse ``range``; the default is the last hour. `prefix` is that of its keys in errors."""
    value = {} if value is None else value
    if not isinstance(value, dict):
        raise InvalidArgument("range must be an object with from and to")
    start, end = (_parse_time(value.get(name), prefix + name) for name in ("from", "to"))
    if end is None:
        end = time.time()
    if start is None:
        start = end - DEFAULT_SECONDS
    start = max(start, EARLIEST)  # times of zero and below would be relative to now
    if start >= end:
        names = f"{prefix}from must be before {prefix}to, and {prefix}to after 1970"
        raise InvalidArgument(names)
    return Interval(start, end)


def _parse_time(value: Any, name: str) -> float | None:
    """Return UNIX seconds from an ISO time, or from milliseconds as a number or text."""
    if value is None:
        return None
    try:
        seconds = math.nan if isinstance(value, bool) else _seconds(value)
    except (ValueError, TypeError, OverflowError):
        seconds = math.nan
    if not abs(seconds) < LATEST:
        raise InvalidArgument(f"{name} must be an ISO time or milliseconds since 1970")
    return seconds


def _seconds(value: Any) -> float:
    try:
        return float(value) / 1000
    except ValueError:
        moment = datetime.datetime.fromisoformat(value)
        return (moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)).timestamp()


def _parse_stride(body: Mapping[str, Any]) -> float | None:
    """Return the minimum spacing in seconds, from ``intervalMs`` or else ``interval``."""
    milliseconds, text = _number(body, "intervalMs", 1000 * LATEST), body.get("interval")
    if milliseconds is not None:
        seconds = milliseconds / 1000
    elif text is None or text == "":
        return None
    else:
        match = _INTERVAL.fullmatch(text) if isinstance(text, str) else None
        if match is None or not (seconds := float(match[1]) * _SECONDS[match[2]]) < LATEST:
            raise InvalidArgument('interval must be a duration like "20ms", "6h" or "1d"')
    # Times resolve 2e-7 s; much shorter spacings would overflow the number of points.
    return seconds if seconds >= 1e-9 else None
