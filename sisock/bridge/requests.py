"""Grafana's requests, as the JSON plugins send them, made sisock's; nothing here needs a server.

Read from the sources of `grafana-simple-json-datasource` 1.4, `simpod-json-datasource` 0.6 and
`yesoreyeram-infinity-datasource`: see docs/grafana.md.
"""

from __future__ import annotations

import datetime
import math
import re
import time
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from sisock.bridge.filters import Filter, parse_filters
from sisock.bridge.targets import Budget, Pattern, parse_target
from sisock.errors import InvalidArgument
from sisock.wire.protocol import FEWEST_POINTS, Interval

DEFAULT_SECONDS = 3600.0
"""Length of the range of a request that has none, up to now."""

MOST_TARGETS = 1000

LONGEST_REF_ID = 100
"""Characters; Grafana's are one or two, and each series repeats it."""

_EARLIEST = 1e-3
"""Sisock time zero and below is relative, so a range begins after 1970 did."""

_LATEST = 1e11
"""Seconds; larger numbers are times in milliseconds, or no times."""

_COUNTED = {"requestId", "startTime", "endTime", "panelId", "dashboardId", "panelPluginId"}
"""What tells a request of Grafana from others that ask the same."""

_INTERVAL = re.compile(r"[<>~]?\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|w|M|y)")
_SECONDS = {"ms": 1e-3, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_SECONDS.update(M=30 * 86400, y=365 * 86400)


@dataclass(frozen=True)
class Target:
    """One target of a query.

    Attributes
    ----------
    text : str
        As it was written.
    patterns : list of Pattern
        What it stands for.
    ref_id : str or None
        Grafana's letter for it, which the answer repeats.
    table : bool
        Answer with a table.
    """

    text: str
    patterns: list[Pattern]
    ref_id: str | None = None
    table: bool = False


@dataclass(frozen=True)
class Query:
    """A request for samples.

    Attributes
    ----------
    targets : list of Target
    interval : Interval
        UNIX seconds.
    min_stride : float or None
        Grafana's interval, in seconds.
    max_points : int or None
        Points that the panel can show, which then says how much is wanted, and not the interval.
    filters : list of Filter
    """

    targets: list[Target]
    interval: Interval
    min_stride: float | None = None
    max_points: int | None = None
    filters: list[Filter] = field(default_factory=list)


def parse_body(body: bytes) -> dict[str, Any]:
    """Read the body of a request, of whatever content type; empty is the same as ``{}``.

    Raises
    ------
    InvalidArgument
        If it is not a JSON object.
    """
    if not body.strip():
        return {}
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidArgument(f"the body is not JSON: {error}") from None
    if not isinstance(parsed, dict):
        raise InvalidArgument("the body must be a JSON object")
    return parsed


def key_of(body: Mapping[str, Any]) -> Hashable:
    """What a body asks for: the same for two requests that only count themselves differently."""
    try:
        return orjson.dumps({name: value for name, value in body.items() if name not in _COUNTED})
    except orjson.JSONEncodeError:
        # Nested deeper than orjson writes: equal to none.
        return object()


def parse_query(body: Mapping[str, Any], now: float | None = None) -> Query:
    """Read the body of ``/query``.

    Raises
    ------
    InvalidArgument
        Naming the part that is wrong.
    """
    targets = body.get("targets")
    if targets is None:
        targets = []
    if not isinstance(targets, list) or len(targets) > MOST_TARGETS:
        raise InvalidArgument(f"targets must be a list of at most {MOST_TARGETS}")
    budget = Budget()
    parsed = [_parse_target(target, budget) for target in targets]
    return Query(
        targets=[target for target in parsed if target is not None],
        interval=parse_range(body.get("range"), now),
        min_stride=parse_stride(body),
        max_points=_parse_max_points(body.get("maxDataPoints")),
        filters=parse_filters(body, budget),
    )


def _parse_target(target: Any, budget: Budget) -> Target | None:
    """One entry of ``targets``; None if it is hidden or not filled in yet."""
    if not isinstance(target, Mapping):
        raise InvalidArgument("each of the targets must be an object")
    text, ref_id = target.get("target"), target.get("refId")
    if target.get("hide") is True or text is None or text == "":
        return None
    if not isinstance(text, str):
        raise InvalidArgument("target must be a text of the form node::field")
    if isinstance(ref_id, str) and len(ref_id) > LONGEST_REF_ID:
        raise InvalidArgument(f"refId has at most {LONGEST_REF_ID} characters")
    return Target(
        text=text,
        patterns=parse_target(text, budget),
        ref_id=ref_id if isinstance(ref_id, str) else None,
        table=_is_table(target),
    )


def _is_table(target: Mapping[str, Any]) -> bool:
    """SimpleJSON says it by ``type``; simPod's payload is free, and says it the same way."""
    payload = target.get("payload")
    in_payload = isinstance(payload, Mapping) and payload.get("type") == "table"
    return target.get("type") == "table" or in_payload


def parse_range(value: Any, now: float | None = None) -> Interval:
    """Read ``range``; without one it is the last hour.

    Raises
    ------
    InvalidArgument
        If a time cannot be read, or ``from`` is after ``to``.
    """
    now = time.time() if now is None else now
    if value is None:
        value = {}
    if not isinstance(value, Mapping):
        raise InvalidArgument("range must be an object with from and to")
    end = parse_time(value["to"], "range.to") if value.get("to") is not None else now
    start = (
        parse_time(value["from"], "range.from")
        if value.get("from") is not None
        else end - DEFAULT_SECONDS
    )
    if start > end:
        raise InvalidArgument("range.from is after range.to")
    return Interval(max(start, _EARLIEST), max(end, _EARLIEST))


def parse_time(value: Any, name: str) -> float:
    """Read a time: ISO, or milliseconds since 1970, also as text.

    Returns
    -------
    float
        UNIX seconds.

    Raises
    ------
    InvalidArgument
        Naming the time.
    """
    seconds = math.nan
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            seconds = _parse_iso(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        # An integer of any length comes out of JSON.
        seconds = value / 1000 if abs(value) < 1000 * _LATEST else math.nan
    if not abs(seconds) < _LATEST:
        raise InvalidArgument(f"{name} must be an ISO time or milliseconds since 1970")
    return seconds


def _parse_iso(text: str) -> float:
    try:
        moment = datetime.datetime.fromisoformat(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=datetime.UTC)
        return moment.timestamp()
    except (ValueError, OverflowError):
        return math.nan


def parse_stride(body: Mapping[str, Any]) -> float | None:
    """Least spacing in seconds: ``intervalMs``, or else ``interval``.

    Raises
    ------
    InvalidArgument
        If it cannot be read.
    """
    milliseconds, text = body.get("intervalMs"), body.get("interval")
    if milliseconds is not None:
        if isinstance(milliseconds, bool) or not isinstance(milliseconds, int | float):
            raise InvalidArgument("intervalMs must be a number of milliseconds")
        if not 0 <= milliseconds < 1000 * _LATEST:
            raise InvalidArgument("intervalMs must not be negative, nor beyond all measure")
        # Times are told to 2e-7 s; of much shorter spacings no span has a finite number.
        return milliseconds / 1000 if milliseconds >= 1e-6 else None
    if text is None or text == "":
        return None
    match = _INTERVAL.fullmatch(text) if isinstance(text, str) else None
    if match is None or not (seconds := float(match[1]) * _SECONDS[match[2]]) < _LATEST:
        raise InvalidArgument('interval must be a duration as "20ms", "6h" or "1d"')
    return seconds if seconds >= 1e-9 else None


def with_fewer_points(query: Query) -> Query:
    """Ask for no more points than there are intervals, if both are given."""
    if query.max_points is None or query.min_stride is None:
        return query
    intervals = math.ceil((query.interval.end - query.interval.start) / query.min_stride)
    return replace(query, max_points=max(min(query.max_points, intervals), FEWEST_POINTS))


def parse_arguments(arguments: Mapping[str, Sequence[str]]) -> Query:
    """Read the arguments of ``/series``, of which the first of each name counts, but for targets.

    Raises
    ------
    InvalidArgument
        Naming the one that is wrong.
    """
    given = {name: values[0] for name, values in arguments.items() if values}
    body: dict[str, Any] = {
        "targets": [{"target": text} for text in arguments.get("target", ())],
        "range": {"from": given.get("from"), "to": given.get("to")},
        "interval": given.get("interval"),
    }
    for name in {"maxDataPoints", "intervalMs"} & given.keys():
        body[name] = parse_number(given[name], name)
    return with_fewer_points(parse_query(body))


def parse_number(text: str, name: str) -> float:
    """Read a number out of a URL.

    Raises
    ------
    InvalidArgument
        Naming it.
    """
    try:
        return float(text)
    except ValueError:
        raise InvalidArgument(f"{name} must be a number, not {text!r}") from None


def _parse_max_points(value: Any) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e9:
        raise InvalidArgument("maxDataPoints must be a positive number")
    return max(int(value), FEWEST_POINTS)
