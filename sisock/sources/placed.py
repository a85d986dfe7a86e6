"""Make up times for the extremes of buckets, where a server does not tell the true ones."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

Extremes = Mapping[float, tuple[Any, Any]]
"""Smallest and largest value by the start of the bucket; None, None if all are missing."""


def place(extremes: Extremes, w: float, start: float, end: float) -> tuple[list[float], list[Any]]:
    """Return the extremes as times and values, at the times that PROTOCOL.md defines for them.

    If the interval from `start` to `end` cuts a bucket of size `w`, the times lie in the interval.
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
