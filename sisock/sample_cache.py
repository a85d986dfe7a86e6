"""Samples that can never change, kept in memory so that a refresh asks only for what is new."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

_OBJECT_BYTES = 64
"""What a Python object in an array takes besides the pointer to it, about."""


@dataclass
class Kept:
    """The final samples of one series over one interval without holes.

    Attributes
    ----------
    start, end : float
        UNIX seconds, half-open: every sample in between is here.
    t, values : ndarray, shape (n,)
        The samples.
    """

    start: float
    end: float
    t: np.ndarray = field(default_factory=lambda: np.empty(0))
    values: np.ndarray = field(default_factory=lambda: np.empty(0))

    @property
    def nbytes(self) -> int:
        """Memory that the samples take."""
        per_object = _OBJECT_BYTES if self.values.dtype == object else 0
        return self.t.nbytes + self.values.nbytes + per_object * len(self.values) + 200


class SampleCache:
    """The most recently used series, up to a limit of memory.

    Parameters
    ----------
    limit : int
        Bytes.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._kept: OrderedDict[Hashable, Kept] = OrderedDict()
        self.nbytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: Hashable, start: float) -> Kept | None:
        """What is kept from `start` on without a hole, or None if `start` itself is not covered."""
        kept = self._kept.get(key)
        if kept is None or not kept.start <= start < kept.end:
            return None
        self._kept.move_to_end(key)
        return kept

    def put(self, key: Hashable, kept: Kept) -> None:
        """Keep a series in place of what was kept of it, and drop the oldest beyond the limit."""
        self.drop(key)
        if kept.nbytes > self._limit or kept.end <= kept.start:
            return
        self._kept[key] = kept
        self.nbytes += kept.nbytes
        while self.nbytes > self._limit:
            _, oldest = self._kept.popitem(last=False)
            self.nbytes -= oldest.nbytes

    def drop(self, key: Hashable) -> None:
        """Forget a series."""
        kept = self._kept.pop(key, None)
        if kept is not None:
            self.nbytes -= kept.nbytes

    def drop_all(self, belongs: Callable[[Any], bool]) -> None:
        """Forget the series whose keys `belongs` says yes to."""
        for key in [key for key in self._kept if belongs(key)]:
            self.drop(key)

    def clear(self) -> None:
        """Forget everything."""
        self._kept.clear()
        self.nbytes = 0


def final_until(t: np.ndarray, end: float, finalized_until: float | None) -> float:
    """Up to when a reply can be kept: before it no sample changes and none is added.

    Parameters
    ----------
    t : ndarray, shape (n,)
        Times of the reply.
    end : float
        UNIX time of the end of its interval.
    finalized_until : float or None
        As the node says; None if all samples of the reply are final, after the last of which more
        may still come.
    """
    if finalized_until is not None:
        return min(end, finalized_until)
    return math.nextafter(float(t[-1]), math.inf) if len(t) else -math.inf
