"""How much memory all answers of the bridge take together, and who is sent away when it is full."""

from __future__ import annotations

import gc
import time
from collections.abc import Mapping
from typing import Any
from weakref import WeakValueDictionary

from sisock.errors import SisockError

LIMIT = 100_000_000
"""Bytes of samples and of JSON that wait for their clients; while arrays are joined or written they
take about twice as much."""

_LISTED_BYTES = 64
"""What a value takes that comes in a list, about."""

COLLECT_EVERY = 1.0
"""Seconds between full collections of garbage, at least; one takes a tenth of a second."""


class Overloaded(SisockError, MemoryError):
    """The bridge has as many answers under way as it has memory for: try again later."""


class AnswerMemory:
    """Counts what the answers that there are take.

    Parameters
    ----------
    limit : int
        Bytes. One answer alone may take more, and counts as half of it then: the other half is
        left to the others.
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._collected = -COLLECT_EVERY
        # An answer that is not there any more takes nothing, whatever became of it.
        self._shares: WeakValueDictionary[int, Share] = WeakValueDictionary()

    def share(self) -> Share:
        """Return the count of one more answer, which lasts as long as the object."""
        share = Share(self)
        self._shares[id(share)] = share
        return share

    def check(self, share: Share) -> None:
        """Check that there is room for an answer that has grown.

        Raises
        ------
        Overloaded
        """
        if not self._has_room(share) and time.monotonic() - self._collected > COLLECT_EVERY:
            # The traceback of a request that failed, or whose client left, is a cycle.
            gc.collect()
            self._collected = time.monotonic()
        if not self._has_room(share):
            share.nbytes = 0  # whoever asked drops what has come
            raise Overloaded

    def _has_room(self, share: Share) -> bool:
        others = [ref() for ref in self._shares.valuerefs()]
        sizes = [each.nbytes for each in others if each is not None and each is not share]
        half = self._limit / 2
        total = sum(min(size, half) for size in [*sizes, share.nbytes])
        return total <= self._limit and min(share.nbytes, max(sizes, default=0)) <= half


class Share:
    """What one answer takes."""

    def __init__(self, memory: AnswerMemory) -> None:
        self.nbytes = 0
        self._memory = memory

    def add(self, nbytes: int) -> None:
        """Count more bytes.

        Raises
        ------
        Overloaded
            If there is no room for them.
        """
        self.nbytes += nbytes
        self._memory.check(self)


def size_of(piece: Any) -> int:
    """Return about how many bytes a piece of a reply takes, as it came; 0 if it is none."""
    try:
        arrays = [*piece["data"].values(), *(line["t"] for line in piece["timeline"].values())]
        return sum(
            len(each["values"]) if isinstance(each, Mapping) else _LISTED_BYTES * len(each)
            for each in arrays
        )
    except (AttributeError, KeyError, TypeError):
        return 0  # whoever decodes it says what is wrong
