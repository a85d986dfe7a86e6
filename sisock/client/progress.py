"""How far a long reply has come."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sisock.client.data import Piece
from sisock.wire.protocol import sisock_to_unix_time


@dataclass(frozen=True)
class Progress:
    """How far a long reply has come.

    Attributes
    ----------
    samples : int
        Samples received, all fields together.
    fraction : float
        Part that has been received of the time from the first sample to the interval's end; 1
        when all has come.
    """

    samples: int
    fraction: float


class ProgressCount:
    """Counts what has come, and tells it.

    Parameters
    ----------
    tell : callable, optional
        Called with a `Progress`.
    """

    def __init__(self, tell: Callable[[Progress], None] | None = None) -> None:
        self._tell = tell
        self._samples = 0
        self._has_begun = False
        self._start = self._end = 0.0

    def begin(self, start: float, end: float) -> None:
        """Take the sisock times of the request."""
        now = time.time()
        self._start, self._end = sisock_to_unix_time(start, now), sisock_to_unix_time(end, now)

    def add(self, pieces: Sequence[Piece], is_last: bool) -> float:
        """Count the pieces of one window; returns the fraction that has come."""
        times: list[float] = []
        for piece in pieces:
            self._samples += sum(map(len, piece.data.values()))
            filled = [line.t for line in piece.lines.values() if len(line.t)]
            times += [float(t[end]) for t in filled for end in (0, -1)]
        if not self._has_begun and times:
            # The request may begin long before the first sample.
            self._has_begun, self._start = True, max(self._start, min(times))
        if is_last:
            fraction = 1.0
        else:
            whole = max(self._end - self._start, 1e-9)
            fraction = (max(times, default=self._start) - self._start) / whole
        fraction = min(max(fraction, 0.0), 1.0)
        if self._tell is not None:
            self._tell(Progress(self._samples, fraction))
        return fraction
