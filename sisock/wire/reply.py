"""The answer to ``get_data``: thinned, cut and encoded here, for every node.

`Reply` holds the answer between a node's code and the wire, and between the wire and a client.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sisock.wire import arrays as values
from sisock.wire import thinning
from sisock.wire.arrays import Values
from sisock.wire.protocol import PIECE_BYTES, Interval

_TIME_BYTES = 8
_OVERHEAD_BYTES = 80
"""What a field or a timeline takes on the wire besides its name and its arrays, at most."""


@dataclass
class Timeline:
    """The times that one or more fields share.

    Attributes
    ----------
    t : ndarray of float64, shape (n,)
        UNIX seconds, ascending.
    finalized_until : float or None
        Time before which the samples never change; None if all of them are final.
    """

    t: np.ndarray
    finalized_until: float | None = None


@dataclass
class Reply:
    """Samples of some fields over one interval.

    Attributes
    ----------
    data : dict
        Field name to its values: shape (n,) like its timeline's `t`, or empty.
    timelines : dict
        Name to `Timeline`; each one has a field with data.
    follows : dict
        Name of each field that has data to that of its timeline.
    """

    data: dict[str, Values] = field(default_factory=dict)
    timelines: dict[str, Timeline] = field(default_factory=dict)
    follows: dict[str, str] = field(default_factory=dict)

    def select(self, timeline: str) -> Iterator[str]:
        """Names of the fields that follow a timeline."""
        return (name for name, followed in self.follows.items() if followed == timeline)

    def _take(self, chosen: Mapping[str, slice | np.ndarray]) -> Reply:
        """Keep some samples of each timeline, and only what then still has any."""
        taken = Reply(data={name: [] for name in self.data})
        for name, which in chosen.items():
            line = self.timelines[name]
            t = line.t[which]
            if not len(t):
                continue
            taken.timelines[name] = Timeline(t, line.finalized_until)
            for each in self.select(name):
                taken.data[each] = _choose(self.data[each], which)
                taken.follows[each] = name
        return taken

    def clip(self, interval: Interval) -> Reply:
        """Keep the samples of the half-open interval."""
        chosen = {}
        for name, line in self.timelines.items():
            low, high = np.searchsorted(line.t, [interval.start, interval.end])
            chosen[name] = slice(int(low), int(high))
        return self._take(chosen)

    def thin(self, min_stride: float, after: Mapping[str, float]) -> Reply:
        """Keep samples that stand at least `min_stride` seconds apart, per timeline."""
        return self._take(
            {
                name: thinning.stride_indices(line.t, min_stride, after.get(name))
                for name, line in self.timelines.items()
            }
        )

    def overview(self, max_points: int) -> Reply:
        """Keep at most so many samples of each field, with a timeline of its own for each."""
        kept = Reply(data={name: [] for name in self.data})
        for name, followed in self.follows.items():
            line, field_values = self.timelines[followed], self.data[name]
            which = _overview_indices(field_values, max_points)
            own = overview_timeline(followed, name)
            kept.data[name] = values.take(field_values, which)
            kept.timelines[own] = Timeline(line.t[which], line.finalized_until)
            kept.follows[name] = own
        return kept

    def _sample_bytes(self, timeline: str) -> float:
        """Mean size of one sample of a timeline, all its fields and the time, in bytes."""
        arrays = sum(values.binary_size(self.data[name]) for name in self.select(timeline))
        return _TIME_BYTES + arrays / len(self.timelines[timeline].t)

    def head(self, size: int) -> tuple[Reply, float | None]:
        """Cut off the first samples, about `size` bytes of arrays, at one time for all timelines.

        Returns
        -------
        reply : Reply
            The samples before the cut; at least those of one instant.
        next : float or None
            UNIX time of the cut, up to which every timeline is complete; None if nothing is left.
        """
        weights = {name: self._sample_bytes(name) for name in self.timelines}
        total = sum(weights[name] * len(line.t) for name, line in self.timelines.items())
        if total <= size:
            return self, None
        cut = _cut_time([(line.t, weights[name]) for name, line in self.timelines.items()], size)
        if cut is None:
            return self, None
        return self.clip(Interval(-math.inf, cut)), cut

    def pieces(self, size: int = PIECE_BYTES) -> Iterator[Reply]:
        """Cut into pieces of at most `size` bytes of arrays, in time order; at least one."""
        weights = {name: self._sample_bytes(name) for name in self.timelines}
        total = sum(weights[name] * len(line.t) for name, line in self.timelines.items())
        # Each timeline's share of a piece may be rounded up by one sample.
        room = max(size - sum(weights.values()), 1)
        longest = max((len(line.t) for line in self.timelines.values()), default=1)
        count = min(max(math.ceil(total / room), 1), longest)
        for i in range(count):
            piece = self._take(
                {
                    name: slice(len(line.t) * i // count, len(line.t) * (i + 1) // count)
                    for name, line in self.timelines.items()
                }
            )
            # Strings differ in length, and the slices are made by the mean.
            if count < longest and piece._arrays_size() > size:
                yield from piece._halves(size)
            else:
                yield piece

    def _halves(self, size: int) -> Iterator[Reply]:
        longest = max(len(line.t) for line in self.timelines.values())
        if longest < 2 or self._arrays_size() <= size:
            yield self
            return
        for is_second in (False, True):
            half: dict[str, slice | np.ndarray] = {}
            for name, line in self.timelines.items():
                middle = (len(line.t) + 1) // 2
                half[name] = slice(middle, None) if is_second else slice(middle)
            yield from self._take(half)._halves(size)

    def binary_size(self) -> int:
        """Bytes of the reply in binary encoding, about."""
        return self._arrays_size() + self._overhead()

    def held(self) -> dict[int, int]:
        """Return the buffers that the reply keeps in memory: the id of each, and its bytes."""
        arrays = [*self.data.values(), *(line.t for line in self.timelines.values())]
        return dict(values.held_by(array) for array in arrays)

    def _arrays_size(self) -> int:
        arrays = sum(values.binary_size(v) for v in self.data.values())
        return arrays + sum(line.t.nbytes for line in self.timelines.values())

    def fits(self, allowance: int) -> bool:
        """Whether the reply as lists takes at most `allowance` bytes in any serializer."""
        everything = [*self.data.values(), *(line.t for line in self.timelines.values())]
        overhead = self._overhead()
        if overhead + sum(map(values.largest_size, everything)) <= allowance:
            return True
        # The cheap one first: JSON has to be written to know its size.
        return all(
            overhead + sum(map(size, everything)) <= allowance
            for size in (values.cbor_size, values.json_size)
        )

    def _overhead(self) -> int:
        names = [*self.data, *self.timelines]
        return sum(len(name) * 6 for name in names) + _OVERHEAD_BYTES * (len(names) + 1)

    def to_wire(self, binary: bool = False, follows: bool = False) -> dict[str, Any]:
        """The dictionary that travels.

        Parameters
        ----------
        binary : bool
            Arrays as bytes, and else as lists.
        follows : bool
            Say which field follows which timeline, as a reply to ``max_points`` does.
        """
        encode = values.to_binary if binary else values.to_list
        return {
            **({"follows": dict(self.follows)} if follows else {}),
            "data": {name: encode(v) if len(v) else [] for name, v in self.data.items()},
            "timeline": {
                name: {"t": encode(line.t), "finalized_until": line.finalized_until}
                for name, line in self.timelines.items()
            },
        }


def overview_timeline(timeline: str, field_name: str) -> str:
    """Name of a field's own timeline in a reply to ``max_points``."""
    return f"{timeline}/{field_name}"


def _overview_indices(field_values: Values, max_points: int) -> np.ndarray:
    if isinstance(field_values, list):
        # Integers with missing ones become numbers with NaN, texts and booleans objects.
        is_number = set(map(type, field_values)) <= {int, type(None)}
        field_values = np.array(field_values, dtype="<f8" if is_number else object)
    return thinning.overview_indices(field_values, max_points)


def _choose(field_values: Values, which: slice | np.ndarray) -> Values:
    if isinstance(which, slice):
        return field_values[which]
    return values.take(field_values, which)


def _cut_time(lines: list[tuple[np.ndarray, float]], size: int) -> float | None:
    """The latest time so that the samples before it take at most `size` bytes.

    At least the samples of the first instant come before it, or nothing would ever be sent.
    None if there is no later instant.
    """
    if len(lines) == 1:
        ((only, sample_bytes),) = lines
        cut = float(only[min(int(size / sample_bytes), len(only) - 1)])
        return cut if cut > only[0] else _next_time(only, float(only[0]))
    # No timeline can send more than the whole size: only that much has to be merged.
    heads = [(t[: int(size / weight) + 2], weight) for t, weight in lines]
    t = np.concatenate([t for t, _ in heads])
    order = np.argsort(t, kind="stable")
    weight = np.concatenate([np.full(len(head), w) for head, w in heads])[order]
    t = t[order]
    index = int(np.searchsorted(np.cumsum(weight), size, side="right"))
    first = float(min(head[0] for head, _ in heads))
    cut = float(t[min(index, len(t) - 1)])
    if cut > first:
        return cut
    later = [_next_time(t, first) for t, _ in lines]
    return min((time for time in later if time is not None), default=None)


def _next_time(t: np.ndarray, after: float) -> float | None:
    index = int(np.searchsorted(t, after, "right"))
    return float(t[index]) if index < len(t) else None
