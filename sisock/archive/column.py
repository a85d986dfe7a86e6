"""The samples of one field while its files are parsed: what of them is stored already."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from sisock.store.series import NOTHING, Series, ascends
from sisock.wire.arrays import Samples, join


class Column:
    """The samples of one field: those that are stored, compared to those that are parsed."""

    def __init__(self, series: Series, position: int) -> None:
        self.series, self.position = series, position
        self._stored = series.snapshot()
        self._last = self._stored.time(position - 1) if position else -np.inf
        self._rest: list[Samples] = []

    @property
    def is_whole(self) -> bool:
        """Whether no more is stored than was parsed."""
        return self.position >= len(self._stored)

    def follows(self, t: np.ndarray) -> bool:
        """Return whether these times come behind those before."""
        return not len(t) or bool(t[0] >= self._last and ascends(t))

    def take(self, t: np.ndarray, numbers: np.ndarray) -> bool:
        """Take parsed samples; say whether they are the stored ones, or behind these."""
        known = max(0, min(len(self._stored) - self.position, len(t)))
        found_t, found = self._stored.samples(self.position, self.position + known)
        is_float = numbers.dtype.kind == "f"
        self._last = t[-1] if len(t) else self._last
        self.position += len(t)
        self._rest.append((t[known:], numbers[known:]))
        return np.array_equal(found_t, t[:known]) and np.array_equal(
            found, numbers[:known], equal_nan=is_float
        )

    def store(self, identity: Mapping[str, Any]) -> None:
        """Append what is behind the stored samples."""
        rest = [samples for samples in self._rest if len(samples[0])]
        self.series.append(*(join(rest) if rest else NOTHING), **identity)
        self._rest = []
