"""Bringing fields that were sampled at different times to common ones; pure numpy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from sisock.wire import arrays as values
from sisock.wire.arrays import Values


def merge_timeline(
    samples_of: Mapping[str, tuple[np.ndarray, Values]],
) -> tuple[np.ndarray, dict[str, Values]]:
    """Bring fields of one timeline to the union of their times.

    Parameters
    ----------
    samples_of : mapping
        Field name to its times and values, each of shape (n,).

    Returns
    -------
    t : ndarray of float64, shape (m,)
        Every time at which a field has a sample.
    merged : dict
        Field name to values of shape (m,), missing where that field has no sample; a field
        without any sample stays empty.
    """
    filled = {name: samples for name, samples in samples_of.items() if len(samples[0])}
    empty: dict[str, Values] = {name: [] for name in samples_of if name not in filled}
    times = [t for t, _ in filled.values()]
    if all(t is times[0] or np.array_equal(t, times[0]) for t in times[1:]):
        return (times[0] if times else np.empty(0)), {
            **{name: field_values for name, (_, field_values) in filled.items()},
            **empty,
        }
    keys = {name: _instants(t) for name, (t, _) in filled.items()}
    union = np.unique(np.concatenate(list(keys.values())))
    merged = {
        name: _spread(filled[name][1], np.searchsorted(union, key), len(union))
        for name, key in keys.items()
    }
    return np.ascontiguousarray(union.real), {**merged, **empty}


def _instants(t: np.ndarray) -> np.ndarray:
    """Times as complex numbers that count equal times up, so that none of these is lost.

    Numpy sorts complex numbers by their real part first.
    """
    return t + 1j * (np.arange(len(t)) - np.searchsorted(t, t))


def _spread(field_values: Values, where: np.ndarray, length: int) -> Values:
    if len(field_values) == length:
        return field_values
    if isinstance(field_values, np.ndarray) and field_values.dtype.kind == "f":
        spread = np.full(length, np.nan, dtype=field_values.dtype)
        spread[where] = field_values
        return spread
    holed: list[Any] = [None] * length
    for index, value in zip(where.tolist(), values.to_list(field_values), strict=True):
        holed[index] = value
    return holed
