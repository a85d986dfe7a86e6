"""Bring fields that were sampled at different times to common ones; numpy only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from sisock.wire.arrays import Values, to_list


def merge_timeline(
    samples_of: Mapping[str, tuple[np.ndarray, Values]],
) -> tuple[np.ndarray, dict[str, Values]]:
    """Bring the times and values, of shape (n,), of each field to the union of the times.

    Returns every time at which a field has a sample, shape (m,), and of each field values of this
    shape, missing where the field has no sample; a field without any stays empty.
    """
    filled = {name: samples for name, samples in samples_of.items() if len(samples[0])}
    merged: dict[str, Values] = {name: [] for name in samples_of}
    times = [t for t, _ in filled.values()]
    if all(t is times[0] or np.array_equal(t, times[0]) for t in times[1:]):
        merged |= {name: values for name, (_, values) in filled.items()}
        return (times[0] if times else np.empty(0)), merged
    # As complex numbers that count equal times up, so that none of these is lost: numpy sorts
    # complex numbers by their real part first.
    keys = {
        name: t + 1j * (np.arange(len(t)) - np.searchsorted(t, t))
        for name, (t, _) in filled.items()
    }
    union = np.unique(np.concatenate(list(keys.values())))
    for name, key in keys.items():
        merged[name] = _spread(filled[name][1], np.searchsorted(union, key), len(union))
    return np.ascontiguousarray(union.real), merged


def _spread(values: Values, where: np.ndarray, length: int) -> Values:
    if len(values) == length:
        return values
    if isinstance(values, np.ndarray) and values.dtype.kind == "f":
        spread = np.full(length, np.nan, dtype=values.dtype)
        spread[where] = values
        return spread
    holed: list[Any] = [None] * length
    for index, value in zip(where.tolist(), to_list(values), strict=True):
        holed[index] = value
    return holed
