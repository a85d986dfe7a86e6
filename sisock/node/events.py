"""Make the live events of what is new: few of them, and none too large."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from sisock.node.memory import missing
from sisock.node.timeline import Rows, join
from sisock.store.columns import decode
from sisock.wire.arrays import normalise
from sisock.wire.reply import Reply, Timeline

PAUSE = 0.05
"""Seconds between two events of a timeline, at least."""

MAX_RATE = 50_000
"""Values per second beyond which an event says only that there are new ones."""


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
            if reply.fits(self._allowance):
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
        values = columns[name] if name in columns else missing(kinds[name], len(t))
        reply.data[name], reply.follows[name] = normalise(values), timeline
