"""Keep the newest samples of a live node, in numpy arrays of fixed size."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import numpy as np


class RingBuffer:
    """Times and the values of some fields, the newest `depth` samples; for any threads.

    `numeric` says of each field whether its values are numbers, kept as float64, NaN when missing;
    others are objects. The arrays are twice as long as the depth and are moved down when they are
    full, so that what is kept is always one contiguous range.
    """

    def __init__(self, depth: int, numeric: Mapping[str, bool]) -> None:
        if depth < 1:
            raise ValueError("a ring buffer keeps at least one sample")
        self._depth = depth
        self._end = 0
        self._lock = threading.Lock()
        self._t = np.empty(2 * depth)
        self._values = {
            name: np.full(2 * depth, np.nan) if is_number else np.full(2 * depth, None, object)
            for name, is_number in numeric.items()
        }

    def __len__(self) -> int:
        return min(self._end, self._depth)

    @property
    def newest(self) -> float | None:
        """Time of the newest sample in UNIX seconds, or None."""
        return float(self._t[self._end - 1]) if self._end else None

    def append(self, t: float, values: Mapping[str, Any]) -> None:
        """Add a sample, not older than the newest; a field that is not in `values` is missing."""
        with self._lock:
            if self._end == len(self._t):
                for array in (self._t, *self._values.values()):
                    array[: self._depth] = array[self._depth :]
                self._end = self._depth
            self._t[self._end] = t
            for name, array in self._values.items():
                array[self._end] = values.get(name, np.nan if array.dtype.kind == "f" else None)
            self._end += 1

    def drop_after(self, t: float) -> int:
        """Forget the samples later than `t`, after a clock was set back; returns how many."""
        with self._lock:
            first = self._end - len(self)
            keep = int(np.searchsorted(self._t[first : self._end], t, side="right"))
            dropped = len(self) - keep
            self._end -= dropped
        return dropped

    def snapshot(
        self, start: float, end: float, fields: list[str]
    ) -> tuple[np.ndarray, dict[str, np.ndarray], float | None]:
        """Return copies of the samples of the half-open interval ``[start, end)``.

        Those are times, values of each of the `fields` that exist, and the newest time of all.
        """
        with self._lock:
            first = self._end - len(self)
            low, high = first + np.searchsorted(self._t[first : self._end], [start, end])
            chosen = {
                name: self._values[name][low:high].copy() for name in fields if name in self._values
            }
            return self._t[low:high].copy(), chosen, self.newest
