"""What a consumer hears of: nodes, those that come and go, and their live samples."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sisock.client.data import decode
from sisock.wire.arrays import as_text, to_list


@dataclass(frozen=True)
class Node:
    """A data node, as the hub knows it."""

    name: str
    description: str
    features: tuple[str, ...] = ()


@dataclass(frozen=True)
class LiveSample:
    """One new sample of a node: time in UNIX seconds, timeline, and field to value or None."""

    t: float
    timeline: str | None
    values: Mapping[str, Any]


@dataclass(frozen=True)
class NodeEvent:
    """A data node that came or went."""

    node: Node
    present: bool


def parse_node(entry: Mapping[str, Any]) -> Node:
    """A node out of its dictionary in the hub's list."""
    return Node(entry["name"], entry.get("description") or "", tuple(entry.get("features") or ()))


def live_samples(reply: Any, node: str) -> list[LiveSample]:
    """Cut a live message, which has a reply's shape, into samples in time order."""
    single = _single_sample(reply)
    if single is not None:
        return [single]
    piece = decode(reply, node)
    samples = []
    for name, line in piece.lines.items():
        # A field of this timeline has as many values as it has times.
        own = {field: v for field, v in piece.data.items() if len(v) == len(line.t)}
        for i, t in enumerate(line.t.tolist()):
            row = {field: to_list(column[i : i + 1].tolist())[0] for field, column in own.items()}
            samples.append(LiveSample(t, name, row))
    return sorted(samples, key=lambda sample: sample.t)


_PLAIN = {float, bool, str, type(None)}


def _single_sample(reply: Any) -> LiveSample | None:
    """The one sample of a message as nodes publish them, without an array for each value."""
    try:
        ((name, line),) = reply["timeline"].items()
        t = _only(line["t"])
        values = {field: _only(column) for field, column in reply["data"].items()}
    except (AttributeError, KeyError, TypeError, ValueError):
        return None
    if (
        type(t) is not float
        or not math.isfinite(t)
        or not _PLAIN.issuperset(map(type, values.values()))
    ):
        return None
    return LiveSample(t, name, dict(zip(values, to_list(list(values.values())), strict=True)))


def _only(column: Any) -> Any:
    if not isinstance(column, list | tuple):
        raise TypeError
    (value,) = column
    return as_text(value) if isinstance(value, str) else value
