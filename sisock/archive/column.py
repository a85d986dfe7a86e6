"""Compare the parsed samples of one field with its stored ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from sisock.store.series import NOTHING, Series, ascends
from sisock.wire.arrays import Samples, join


class Column:
    """Compare the parsed samples of a field, from `position` on, with the stored ones."""

    def __init__(self, series: Series, position: int) -> None:
        self.series, self.position = series, position
        self._stored = series.snapshot()
        self._last = self._stored.time(position - 1) if position else -np.inf
        self._new: list[Samples] = []

    @property
    def is_all_parsed(self) -> bool:
        """Whether all stored samples were parsed again."""
        return self.position >= len(self._stored)

    def follows(self, t: np.ndarray) -> bool:
        """Return whether these times ascend and follow the previous ones."""
        return not len(t) or bool(t[0] >= self._last and ascends(t))

    def take(self, t: np.ndarray, numbers: np.ndarray) -> bool:
        """Add parsed samples; return whether they equal or extend the stored ones."""
        known = max(0, min(len(self._stored) - self.position, len(t)))
        stored_t, stored = self._stored.samples(self.position, self.position + known)
        is_float = numbers.dtype.kind == "f"
        self._last = t[-1] if len(t) else self._last
        self.position += len(t)
        self._new.append((t[known:], numbers[known:]))
        return np.array_equal(stored_t, t[:known]) and np.array_equal(
            stored, numbers[:known], equal_nan=is_float
        )

    def store(self, identity: Mapping[str, Any]) -> None:
        """Append the new samples to the stored ones."""
        new = [samples for samples in self._new if len(samples[0])]
        self.series.append(*(join(new) if new else NOTHING), **identity)
        self._new = []
