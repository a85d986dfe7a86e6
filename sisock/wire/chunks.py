"""Cut a reply into windows and chunks, and assemble it from them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from sisock.errors import NodeContractError
from sisock.wire import arrays
from sisock.wire.fields import Field
from sisock.wire.protocol import CHUNK_BYTES, Interval
from sisock.wire.reply import Reply

_CANDIDATES = 4096
"""Times of each timeline that a window may end at."""

_NUMBERS = {int, float, type(None)}

_MAX_AHEAD = 32
"""Room is made for at most so many times of what has come; what stays empty is never touched."""


def first_window(reply: Reply, size: int) -> tuple[Reply, float | None]:
    """Cut off the first samples, about `size` bytes of arrays, at one time for all timelines.

    Returns the samples before the cut, at least those of one instant, and the UNIX time of the
    cut, up to which every timeline is complete; None if nothing is left.
    """
    if reply.arrays_size() <= size:
        return reply, None
    cut = _cut_time(reply, size)
    return (reply, None) if cut is None else (reply.clip(Interval(-math.inf, cut)), cut)


def chunks(reply: Reply, size: int = CHUNK_BYTES) -> Iterator[Reply]:
    """Cut into chunks of at most `size` bytes of arrays, in time order; at least one."""
    longest = max((len(line.t) for line in reply.timelines.values()), default=1)
    count = min(reply.arrays_size() // size + 1, longest)
    if count <= 1:
        yield reply
        return

    def part(i: int) -> Reply:
        return reply.take(lambda _, t: slice(len(t) * i // count, len(t) * (i + 1) // count))

    for i in range(count):
        yield from chunks(part(i), size)  # again, as strings differ in length


def _cut_time(reply: Reply, size: int) -> float | None:
    """Return the latest time so that the samples before it take at most about `size` bytes.

    At least the samples of the first instant come before it, or nothing would ever be sent.
    None if there is no later instant.
    """
    bytes_of = {name: line.t.nbytes for name, line in reply.timelines.items()}
    for name, followed in reply.follows.items():
        bytes_of[followed] += arrays.binary_size(reply.data[name])
    times = [line.t for line in reply.timelines.values()]
    # Of each timeline only the part that `size` has room for, and some samples stand for all.
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
    after = [(each, int(np.searchsorted(each, first, "right"))) for each in times]
    return min((float(each[i]) for each, i in after if i < len(each)), default=None)


class Assembly:
    """Join the decoded chunks of a reply while they come, each array into one block of memory.

    `bucket`, `final_to` and `placed` are what a decimated reply says of its fields, see `Reply`.
    """

    def __init__(self, fields: Mapping[str, Field], node: str) -> None:
        self.bucket: dict[str, float | None] = {}
        self.final_to: dict[str, float] = {}
        self.placed: set[str] = set()
        self._fields = fields
        self._node = node
        self._follows = {name: field.timeline for name, field in fields.items()}
        self._columns = {name: _Column() for name in fields}
        self._times: dict[str, _Column] = {}
        self._untils: dict[str, float] = {}

    def add(self, reply: Reply, share: float = 1.0) -> None:
        """Take the next chunk; with it about that `share` of the whole reply has come."""
        self._follows |= reply.follows
        self.bucket |= reply.bucket or {}
        self.final_to |= reply.final_to
        self.placed |= set(reply.placed)
        for name, line in reply.timelines.items():
            self._times.setdefault(name, _Column()).append(line.t, share)
            if line.finalized_until is not None:
                self._untils[name] = min(self._untils.get(name, math.inf), line.finalized_until)
        for name, column in self._columns.items():
            own, values = reply.timelines.get(self._follows[name]), reply.data.get(name, [])
            if not len(values):
                # A field that ends before the others of its timeline is empty behind its end.
                column.skip(len(own.t) if own else 0)
            elif own is None:
                rule = "it has data, but no timeline of the reply is its own"
                raise NodeContractError(self._node, name, rule)
            else:
                column.append(arrays.as_array(values), share)

    def series(self) -> dict[str, tuple[np.ndarray, np.ndarray, float | None]]:
        """Return times, values and ``finalized_until`` of each field.

        NodeContractError says that the lengths of values and times differ.
        """
        times = {name: column.joined() for name, column in self._times.items()}
        found: dict[str, tuple[np.ndarray, np.ndarray, float | None]] = {}
        for name, column in self._columns.items():
            followed, values = self._follows[name], column.joined(self._fields[name].type)
            t = times[followed] if column.has_samples else np.empty(0)
            if len(values) != len(t):
                rule = f"it has {len(values)} values for {len(t)} times"
                raise NodeContractError(self._node, name, rule)
            found[name] = t, values, self._untils.get(followed) if len(t) else None
        return found


class _Column:
    """What has come of one array: runs of one type, and counts of samples that are missing."""

    def __init__(self) -> None:
        self.has_samples = False
        self._runs: list[np.ndarray | int] = []
        self._memory = np.empty(0)  # of which the last run is the beginning

    def append(self, array: np.ndarray, share: float) -> None:
        self.has_samples = True
        last = self._runs[-1] if self._runs else 0
        if isinstance(last, int) or last.dtype != array.dtype or array.dtype == object:
            self._runs.append(array)
            self._memory = array
            return
        count = len(last) + len(array)
        if count > len(self._memory):
            ahead = 1.05 / max(share, 1 / _MAX_AHEAD)
            self._memory = np.empty(int(count * ahead), dtype=array.dtype)
            self._memory[: len(last)] = last
        self._memory[len(last) : count] = array
        self._runs[-1] = self._memory[:count]

    def skip(self, count: int) -> None:
        self._runs += [count] if count else []

    def joined(self, kind: str = "") -> np.ndarray:
        """Return what has come, with missing values of its type where nothing has."""
        if not self.has_samples:
            return np.empty(0)
        kinds = {run.dtype.kind for run in self._runs if isinstance(run, np.ndarray)}
        missing: Any = (None, object) if kinds & set("bO") else (np.nan, "<f8")
        parts = [np.full(run, *missing) if isinstance(run, int) else run for run in self._runs]
        array = parts[0] if len(parts) == 1 else np.concatenate(parts)
        # A chunk of missing values alone is a list of None, of no type.
        if kind == "number" and array.dtype == object and set(map(type, array)) <= _NUMBERS:
            return array.astype("<f8")
        return array
