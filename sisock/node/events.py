"""Turn the new samples of a live node into live events."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from sisock.history.columns import Rows, decode, join
from sisock.wire.reply import Reply, Timeline

PAUSE = 0.05  # minimum seconds between two events of a timeline
MAX_RATE = 50_000  # values per second; above this, events only say that there are new samples
_NUMBER_BYTES = 60  # maximum bytes of a number and its time in JSON


class Events:
    """Collect new samples by timeline until they are published.

    `kinds` has the type of each field; `allowance` is the maximum size of an event in bytes.
    """

    def __init__(self, kinds: Mapping[str, str], allowance: int) -> None:
        self._kinds, self._allowance = kinds, allowance
        self._new: dict[str, list[Rows]] = {}
        self._made_at: dict[str, float] = {}

    def add(self, timeline: str, rows: Rows) -> None:
        """Add new samples."""
        self._new.setdefault(timeline, []).append(rows)

    def make(self, fields_of: Mapping[str, list[str]], now: float) -> list[dict[str, Any]]:
        """Return an event for each timeline with new samples, and forget these.

        `fields_of` has the fields of each timeline; `now` is in seconds by a monotonic clock.
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
            numbers = (1 + len(t)) * len(fields)  # including missing values
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
    """Add samples of a timeline to a reply, with missing values for fields without a column.

    `last` is the time of the timeline's newest sample; all earlier samples are final.
    """
    t, columns = samples
    reply.timelines[timeline] = Timeline(t, last)
    for name in fields:
        if (column := columns.get(name)) is None:
            column = np.full(len(t), np.nan if kinds[name] == "number" else None)
        reply.data[name] = column
        reply.follows[name] = timeline
