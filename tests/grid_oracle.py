"""The grid of the protocol as one would explain it, bucket by bucket: slow, and easy to check.

Times are lists of floats, values lists of numbers, booleans or strings, None for a missing one.
All arithmetic on times is exact. A result is a list of indices of the samples that are kept.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

EXPONENTS = range(-20, 41)
SIZES = [Fraction(2) ** exponent for exponent in EXPONENTS]


def bucket_of(t: float, w: float | Fraction) -> int:
    """Return i, for which t is in [i·w, (i+1)·w)."""
    return math.floor(Fraction(t) / Fraction(w))


def is_missing(value: Any) -> bool:
    """Whether a value counts as missing."""
    return value is None or (isinstance(value, float) and not math.isfinite(value))


def keep(values: list[Any], bucket: list[int]) -> list[int]:
    """Return which of the samples of one bucket, given by their indices, are kept."""
    present = [i for i in bucket if not is_missing(values[i])]
    if not present:
        return bucket[:1]
    if any(isinstance(values[i], str) for i in bucket):
        different = [i for i in bucket if values[i] != values[bucket[0]]]
        return sorted({bucket[0], different[0] if different else bucket[-1]})
    # Of equal values, min and max return the first.
    smallest = min(present, key=lambda i: values[i])
    largest = max(present, key=lambda i: values[i])
    return sorted({smallest, largest})


def decimate(t: list[float], values: list[Any], w: float | Fraction) -> list[int]:
    """Return the samples that ``bucket=w`` asks for."""
    buckets: dict[int, list[int]] = {}
    for i, time in enumerate(t):
        buckets.setdefault(bucket_of(time, w), []).append(i)
    return [i for number in sorted(buckets) for i in keep(values, buckets[number])]


def size_for(first: float, last: float, max_points: int) -> float | None:
    """Return the smallest w for which the buckets from first to last fit into max_points."""
    for w in SIZES:
        buckets = bucket_of(last, w) - bucket_of(first, w) + 1
        if 2 * buckets + 2 <= max_points:
            return float(w)
    return None


def decimate_to(
    t: list[float], values: list[Any], max_points: int
) -> tuple[list[int], float | None]:
    """Return the samples that ``max_points`` asks for, and their w; None for all samples."""
    if len(t) <= max_points:
        return list(range(len(t))), None
    w = size_for(t[0], t[-1], max_points)
    assert w is not None, "the samples are too far apart for any grid"
    return sorted({0, len(t) - 1, *decimate(t, values, w)}), w


def view(
    t: list[float], values: list[Any], start: float, end: float, w: float | None
) -> list[tuple[float, Any]]:
    """Return the decimated samples of whole buckets around [start, end); w None: all in it."""
    if w is None:
        return [(a, v) for a, v in zip(t, values, strict=True) if start <= a < end]
    low, high = bucket_of(start, w) * Fraction(w), -bucket_of(-end, w) * Fraction(w)
    inside = [i for i, a in enumerate(t) if low <= a < high]
    t, values = [t[i] for i in inside], [values[i] for i in inside]
    return [(t[i], values[i]) for i in decimate(t, values, w)]
