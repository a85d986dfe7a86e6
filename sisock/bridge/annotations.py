"""Find annotations that Grafana can show: nodes that came and went, and gaps in samples."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from sisock.bridge.bridge import Bridge, NodeChange
from sisock.bridge.requests import GAPS, RECORDED, is_annotation_query
from sisock.bridge.targets import SEPARATOR, parse_target
from sisock.client.data import Series
from sisock.errors import InvalidArgument
from sisock.wire.arrays import has_value, to_list
from sisock.wire.protocol import Interval

GAP_INTERVALS = 5
"""Time without samples is a gap if it is longer than so many of the field's intervals."""

PRESENCE = "nodes."
"""What the names of a recorder's fields begin with that say which nodes are there."""


async def find_annotations(
    bridge: Bridge, text: Any, interval: Interval
) -> tuple[list[dict[str, Any]], list[str]]:
    """Find the events that an annotation query asks for, in time order, and notices of nodes.

    An event has ``time`` (and ``timeEnd``) in milliseconds, ``title``, ``text`` and ``tags``.
    """
    text = text.strip() if isinstance(text, str) else ""
    if text == "nodes":
        return [
            _change(each) for each in bridge.changes if interval.start <= each.t < interval.end
        ], []
    is_recorded = text.startswith(RECORDED)
    target = text.removeprefix(RECORDED if is_recorded else GAPS).strip()
    if is_recorded and SEPARATOR not in target:
        target += f"{SEPARATOR}{PRESENCE}*"
    patterns = parse_target(target) if is_annotation_query(text) else []
    if not patterns:
        raise InvalidArgument(
            'an annotation query is "nodes", "nodes recorder" or "gaps node::field"'
        )
    pairs, notices = await bridge.find({target: patterns})
    found = bridge.found()
    series = await bridge.samples(found, pairs[target], interval, None)
    end = min(interval.end, bridge.now())
    events = [
        event
        for (node, _), each in series.items()
        for event in (_recorded(each) if is_recorded else _gaps(node, each, end))
    ]
    return sorted(events, key=lambda event: event["time"]), [*notices, *found.notices]


def _change(change: NodeChange) -> dict[str, Any]:
    title = f"{change.node} {'appeared' if change.is_present else 'vanished'}"
    tags = ["sisock", "node", change.node]
    return {
        "time": round(change.t * 1e3),
        "title": title,
        "text": f"data node {title}",
        "tags": tags,
    }


def _recorded(series: Series) -> Iterator[dict[str, Any]]:
    """Return the comings and goings of a node that a recorder kept."""
    node = series.field.name.removeprefix(PRESENCE)
    for t, is_present in zip(series.t.tolist(), to_list(series.values), strict=True):
        if isinstance(is_present, bool):
            yield _change(NodeChange(t, node, is_present))


def _gaps(node: str, series: Series, end: float) -> Iterator[dict[str, Any]]:
    """Return gaps up to `end`, until when there could be samples."""
    t = series.t[has_value(series.values)]
    usual = series.field.interval
    if usual is None and len(t) > 2:
        usual = float(np.median(np.diff(t)))
    if usual is None or not len(t):
        return
    # A gap that goes on at the end has no sample behind it.
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
