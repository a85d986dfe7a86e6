"""Cut a reply into windows and chunks."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from sisock.wire import arrays
from sisock.wire.protocol import Interval
from sisock.wire.reply import Reply

_CANDIDATES = 4096  # number of times per timeline that are considered for the end of a window


def first_window(reply: Reply, size: int) -> tuple[Reply, float | None]:
    """Return the first samples, about `size` bytes, cut at one time for all timelines.

    Returns at least the samples of one instant, and the UNIX time of the cut, before which every
    timeline is complete; None if no samples are left.
    """
    if reply.arrays_size() <= size:
        return reply, None
    cut = _cut_time(reply, size)
    return (reply, None) if cut is None else (reply.clip(Interval(-math.inf, cut)), cut)


def chunks(reply: Reply, size: int) -> Iterator[Reply]:
    """Yield chunks of at most `size` bytes of arrays, in time order; at least one."""
    longest = max((len(line.t) for line in reply.timelines.values()), default=1)
    count = min(reply.arrays_size() // size + 1, longest)
    if count <= 1:
        yield reply
        return

    def part(i: int) -> Reply:
        return reply.take(lambda _, t: slice(len(t) * i // count, len(t) * (i + 1) // count))

    for i in range(count):
        yield from chunks(part(i), size)  # cut again if long strings exceed the size


def _cut_time(reply: Reply, size: int) -> float | None:
    """Return the latest time before which the samples take at most about `size` bytes.

    It is after the first instant, or nothing would ever be sent; None if there is no later one.
    """
    bytes_of = {name: line.t.nbytes for name, line in reply.timelines.items()}
    for name, followed in reply.follows.items():
        bytes_of[followed] += arrays.binary_size(reply.data[name])
    times = [line.t for line in reply.timelines.values()]
    # For speed consider only the first part of each timeline, and only some of its samples.
    heads, weights = [], []
    for t, total in zip(times, bytes_of.values(), strict=True):
        head = t[: int(size * len(t) / total) + 2]
        step = len(head) // _CANDIDATES + 1
        heads.append(head[::step])
        weights.append(np.full(len(heads[-1]), step * total / len(t)))
    t = np.concatenate(heads)
    order = np.argsort(t, kind="stable")
    index = int(np.searchsorted(np.cumsum(np.concatenate(weights)[order]), size, side="right"))
    first, cut = t[order[0]], t[order[min(index, len(t) - 1)]]
    if cut > first:
        return float(cut)
    after = [(t, int(np.searchsorted(t, first, "right"))) for t in times]
    return min((float(t[i]) for t, i in after if i < len(t)), default=None)
