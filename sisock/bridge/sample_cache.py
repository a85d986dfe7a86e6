"""Samples that can never change, kept in memory so that a refresh asks only for what is new."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from sisock.bridge.tiles import memory_of


class Sized(Protocol):
    """Whatever knows how much memory it takes."""

    @property
    def nbytes(self) -> int:
        """Bytes."""


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
        return memory_of(self.t, self.values)


class SampleCache:
    """The most recently used samples, up to a limit of memory.

    Parameters
    ----------
    limit : int
        Bytes.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._kept: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
        self.nbytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: Hashable) -> Any:
        """What was put there, or None."""
        if key not in self._kept:
            return None
        self._kept.move_to_end(key)
        return self._kept[key][0]

    def put(self, key: Hashable, kept: Sized) -> None:
        """Keep something in place of what was there, and drop the oldest beyond the limit."""
        self.drop(key)
        size = kept.nbytes
        if size > self.limit:
            return
        self._kept[key] = kept, size
        self.nbytes += size
        while self.nbytes > self.limit:
            _, (_, oldest) = self._kept.popitem(last=False)
            self.nbytes -= oldest

    def drop(self, key: Hashable) -> None:
        """Forget what is there."""
        _, size = self._kept.pop(key, (None, 0))
        self.nbytes -= size

    def drop_all(self, belongs: Callable[[Any], bool]) -> None:
        """Forget all whose keys `belongs` says yes to."""
        for key in [key for key in self._kept if belongs(key)]:
            self.drop(key)

    def clear(self) -> None:
        """Forget everything."""
        self._kept.clear()
        self.nbytes = 0


def final_until(
    t: np.ndarray, end: float, finalized_until: float | None, known: float = -math.inf
) -> float:
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
    known : float
        The same of earlier replies, which may have come further.
    """
    if finalized_until is not None:
        return min(end, finalized_until)
    after_last = math.nextafter(float(t[-1]), math.inf) if len(t) else -math.inf
    return max(after_last, min(end, known))
