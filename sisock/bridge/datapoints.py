"""A series as panels draw it: pairs of value and milliseconds, as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from sisock.bridge.tiles import memory_of
from sisock.client.data import Series
from sisock.wire import json_rows

_TEXT_BYTES = 26
"""What a sample takes as JSON, about."""


@dataclass(frozen=True, eq=False)
class Picture(Series):
    """The samples of one field that a panel shows, kept for whoever asks for the same."""

    @cached_property
    def text(self) -> bytes:
        """Its pairs as JSON, without the outer brackets; made once."""
        return b"".join(_written(self))

    @property
    def nbytes(self) -> int:
        """Memory that it takes."""
        return memory_of(self.t, self.values) + _TEXT_BYTES * len(self)


def datapoints(series: Series) -> Iterator[bytes]:
    """Write ``[value,ms],[value,ms]``, in parts that follow each other."""
    return iter([series.text]) if isinstance(series, Picture) else _written(series)


def _written(series: Series) -> Iterator[bytes]:
    return json_rows.pairs(with_truth_as_numbers(series.values), series.t)


def is_numeric(values: np.ndarray) -> bool:
    """Whether values are numbers or booleans, all of them."""
    return values.dtype != object


def with_truth_as_numbers(values: np.ndarray) -> np.ndarray:
    """Booleans as 1, 0 and NaN, which panels draw, whether one is missing or not."""
    if is_numeric(values):
        return values.astype("<f8") if values.dtype == bool else values
    if not set(map(type, values)) <= {bool, type(None)}:
        return values
    return np.array([np.nan if value is None else value for value in values], dtype="<f8")
