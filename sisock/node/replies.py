"""Make replies of the samples that a live node keeps, and live events of those that are new."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from sisock.node.memory import Memory, missing
from sisock.node.timeline import Rows, join
from sisock.store.columns import decode
from sisock.store.history import History
from sisock.wire.arrays import normalise
from sisock.wire.protocol import NEVER_FINAL, Interval
from sisock.wire.reply import Decimated, Reply, Timeline, no_samples

PAUSE = 0.05
"""Seconds between two events of a timeline, at least."""

MAX_RATE = 50_000
"""Values per second beyond which an event says only that there are new ones."""

_NUMBER_BYTES = 60
"""What a number and its time take in JSON, at most."""


class Events:
    """Collect new samples by timeline until they are published.

    `kinds` are the types of the fields; `allowance` are the bytes that one event may have.
    """

    def __init__(self, kinds: Mapping[str, str], allowance: int) -> None:
        self._kinds, self._allowance = kinds, allowance
        self._new: dict[str, list[Rows]] = {}
        self._made_at: dict[str, float] = {}

    def add(self, timeline: str, rows: Rows) -> None:
        """Add new samples."""
        self._new.setdefault(timeline, []).append(rows)

    def make(self, fields_of: Mapping[str, list[str]], now: float) -> list[dict[str, Any]]:
        """Return one event for each timeline that has new samples, given the fields of each.

        `now` is in seconds by a clock that is never set.
        """
        new, self._new = self._new, {}
        return [self._event(name, parts, fields_of[name], now) for name, parts in new.items()]

    def _event(
        self, timeline: str, parts: list[Rows], fields: list[str], now: float
    ) -> dict[str, Any]:
        last, count = float(parts[-1][0][-1]), sum(len(t) * len(columns) for t, columns in parts)
        passed = now - self._made_at.get(timeline, -math.inf)
        self._made_at[timeline] = now
        if count <= MAX_RATE * min(max(passed, PAUSE), 1.0):
            reply = Reply()
            t, columns = join(parts)
            values = {name: decode(column) for name, column in columns.items()}
            add_samples(reply, timeline, last, fields, (t, values), self._kinds)
            numbers = (1 + len(t)) * len(fields)  # those that are missing, too
            size = numbers * _NUMBER_BYTES + 6 * sum(map(len, fields))
            is_small = size < self._allowance and all(
                column.dtype != object for column in reply.data.values()
            )
            if is_small or reply.fits(self._allowance):
                return reply.to_wire()
        return {"timeline": {timeline: {"last": last}}}


def add_samples(
    reply: Reply,
    timeline: str,
    last: float,
    fields: list[str],
    samples: tuple[np.ndarray, Mapping[str, np.ndarray]],
    kinds: Mapping[str, str],
) -> None:
    """Add samples of a timeline to a reply; fields that they lack are missing.

    `last` is the time of the timeline's newest sample, before which none will come.
    """
    t, columns = samples
    reply.timelines[timeline] = Timeline(t, last)
    for name in fields:
        reply.data[name] = columns[name] if name in columns else missing(kinds[name], len(t))
        reply.follows[name] = timeline


def decimated(
    store: Memory | History,
    fields: list[str],
    interval: Interval,
    bucket: float | None,
    max_points: int | None,
    newest: Mapping[str, float],
) -> Reply:
    """Return what buckets keep, or `max_points`; `newest` is the last time of a field's timeline.

    Nothing is ever added before that.
    """
    reply = Reply(bucket={})
    for name in fields:
        final_to = math.nextafter(newest.get(name, NEVER_FINAL), math.inf)
        asked = name, interval.start, interval.end
        if bucket is None:
            t, values, w = store.few(*asked, max_points or 0)
        else:
            (t, values), w = store.decimated(*asked, bucket), bucket
        reply.add_field(name, Decimated(t, values, w, final_to))
    return reply


def latest(store: History, fields: list[str], end: float, timelines: Mapping[str, str]) -> Reply:
    """Return the last value of each field before `end`; `timelines` are those of the fields."""
    lines: dict[str, dict[str, tuple[np.ndarray, np.ndarray]]] = {}
    for name in fields:
        if (found := store.last(name, end)) is not None:
            samples = np.array(found[:1]), normalise(found[1:])
            lines.setdefault(timelines[name], {})[name] = samples
    reply = Reply.merged(lines)
    reply.data = {**no_samples(fields), **reply.data}
    return reply
