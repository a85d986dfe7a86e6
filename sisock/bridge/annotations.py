"""Annotations that Grafana can show: nodes that came and went, and gaps in a field's samples."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from sisock.bridge.bridge import Bridge
from sisock.bridge.find import find
from sisock.bridge.targets import parse_target
from sisock.client.data import Series
from sisock.errors import InvalidArgument
from sisock.wire.protocol import Interval

GAP_INTERVALS = 5
"""A stretch without samples is a gap if it is longer than so many of the field's intervals."""

_GAPS = "gaps "
_HOW = 'an annotation query is "nodes" or "gaps node::field"'


def is_annotation_query(text: str) -> bool:
    """Whether a target is an annotation query, as simPod's plugin sends them."""
    return text == "nodes" or text.startswith(_GAPS)


async def find_annotations(
    bridge: Bridge, text: Any, interval: Interval
) -> tuple[list[dict[str, Any]], list[str]]:
    """Find the events that an annotation query asks for.

    Parameters
    ----------
    bridge : Bridge
        Knows the nodes' changes, and asks for samples.
    text : str
        ``nodes``, or ``gaps`` and a target.
    interval : Interval
        UNIX seconds.

    Returns
    -------
    list of dict
        With ``time`` (and ``timeEnd``) in milliseconds, ``title``, ``text``, ``tags``, in time
        order.
    list of str
        A notice for each node that did not answer.

    Raises
    ------
    InvalidArgument
        If the query is neither.
    """
    if not isinstance(text, str) or not is_annotation_query(text.strip()):
        raise InvalidArgument(_HOW)
    text = text.strip()
    if text == "nodes":
        return list(_changes(bridge, interval)), []
    target = text.removeprefix(_GAPS).strip()
    patterns = parse_target(target)
    if not patterns:
        raise InvalidArgument(_HOW)
    pairs, notices = await find(bridge, {target: patterns})
    found = await bridge.samples(pairs[target], interval, None)
    now = time.time()
    events = [
        event
        for (node, _), each in found.series.items()
        for event in _gaps(node, each, min(interval.end, now))
    ]
    notices = [*dict.fromkeys([*notices, *found.notices])]
    return sorted(events, key=lambda event: event["time"]), notices


def _changes(bridge: Bridge, interval: Interval) -> Iterator[dict[str, Any]]:
    for change in bridge.node_list.changes:
        if interval.start <= change.t < interval.end:
            verb = "appeared" if change.present else "vanished"
            yield {
                "time": round(change.t * 1e3),
                "title": f"{change.node} {verb}",
                "text": f"data node {change.node} {verb}",
                "tags": ["sisock", "node", change.node],
            }


def _gaps(node: str, series: Series, end: float) -> Iterator[dict[str, Any]]:
    """Gaps up to `end`, until when there could be samples."""
    t = present_times(series)
    usual = typical_interval(series, t)
    if usual is None or not len(t):
        return
    # One that goes on at the end has no sample behind it.
    edges = np.append(t, end) if end > t[-1] else t
    for index in np.flatnonzero(np.diff(edges) > GAP_INTERVALS * usual):
        start, stop = float(edges[index]), float(edges[index + 1])
        name = f"{node}::{series.field.name}"
        yield {
            "time": round(start * 1e3),
            "timeEnd": round(stop * 1e3),
            "title": f"gap in {name}",
            "text": f"no samples of {name} for {stop - start:g} s",
            "tags": ["sisock", "gap", node],
        }


def present_times(series: Series) -> np.ndarray:
    """Times at which the field has a value, shape (n,)."""
    if series.values.dtype == object:
        return series.t[[value is not None for value in series.values]]
    if series.values.dtype.kind == "f":
        return series.t[~np.isnan(series.values)]
    return series.t


def typical_interval(series: Series, t: np.ndarray) -> float | None:
    """Seconds between samples: as the node says, or else the median of what is there."""
    if series.field.interval is not None:
        return series.field.interval
    return float(np.median(np.diff(t))) if len(t) > 2 else None
