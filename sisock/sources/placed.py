"""Place the extremes of buckets of which nobody knows the times."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

Extremes = Mapping[float, tuple[Any, Any]]
"""Of the start of each bucket its smallest and its largest value; None, None: all are missing."""


def place(extremes: Extremes, w: float, start: float, end: float) -> tuple[list[float], list[Any]]:
    """Return times and values of samples, as PROTOCOL.md places them in buckets of size `w`.

    A bucket that is cut by the interval from `start` to `end` has them inside of it.
    """
    t: list[float] = []
    values: list[Any] = []
    last = math.nextafter(end, -math.inf)
    for bucket in sorted(extremes):
        low, high = extremes[bucket]
        t.append(max(bucket, start))
        values.append(low)
        if high != low:
            t.append(min(max(bucket + w / 2, start), last))
            values.append(high)
    return t, values
