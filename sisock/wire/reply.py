"""Define the reply to ``get_data``: check, decimate, encode and decode it, cut it into chunks."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from sisock.errors import NodeContractError
from sisock.wire import arrays, grid
from sisock.wire.fields import listed_fields
from sisock.wire.protocol import NEVER_FINAL, Interval, check_number

_OVERHEAD_BYTES = 80
"""Maximum bytes of a field or a timeline on the wire, without its name and its arrays."""

_HALVINGS = 40  # of the interval in which the end of a window is searched for


@dataclass
class Timeline:
    """The times that one or more fields share: ascending UNIX seconds, shape (n,).

    Samples before `finalized_until` never change; None: all samples are final.
    """

    t: np.ndarray
    finalized_until: float | None = None


@dataclass(frozen=True)
class Decimated:
    """The decimated samples of one field, as ``get_decimated`` returns them.

    `bucket` is the bucket size in seconds (None: all samples are kept). Everything before
    `final_to` is complete and final. If `is_placed`, the times say only in which bucket a value is.
    """

    t: Any
    values: Any
    bucket: float | None
    final_to: float
    is_placed: bool = False


def just_after(last: float | None) -> float:
    """Return the ``final_to`` of samples that are all final; `last` is the last time, or None."""
    return NEVER_FINAL if last is None else math.nextafter(last, math.inf)


@dataclass
class Reply:
    """Samples of some fields over one interval.

    `follows` maps a field to its timeline. Values in `data` are empty, or have the shape (n,) of
    that timeline's times. A decoded chunk may lack fields in `follows`. `bucket`, `final_to` and
    `placed` belong to a decimated reply, see the protocol; otherwise `bucket` is None. If the node
    has not read a long interval to its end, `until` is the time up to which it has.
    """

    data: dict[str, np.ndarray] = field(default_factory=dict)
    timelines: dict[str, Timeline] = field(default_factory=dict)
    follows: dict[str, str] = field(default_factory=dict)
    bucket: dict[str, float | None] | None = None
    final_to: dict[str, float] = field(default_factory=dict)
    placed: list[str] = field(default_factory=list)
    until: float | None = None

    def take(self, choose: Callable[[str, np.ndarray], slice | np.ndarray]) -> Reply:
        """Keep what `choose` selects, given a timeline's name and times; drop empty timelines."""
        chosen = {name: choose(name, line.t) for name, line in self.timelines.items()}
        taken = replace(self, data=no_samples(self.data), timelines={}, follows={})
        for name, line in self.timelines.items():
            if len(t := line.t[chosen[name]]):
                taken.timelines[name] = Timeline(t, line.finalized_until)
        for name, followed in self.follows.items():
            if followed in taken.timelines and len(self.data.get(name, ())):
                taken.data[name] = self.data[name][chosen[followed]]
                taken.follows[name] = followed
        return taken

    def clip(self, interval: Interval) -> Reply:
        """Keep the samples of the half-open interval."""
        ends = [interval.start, interval.end]
        times = [line.t for line in self.timelines.values()]
        if all(len(t) and ends[0] <= t[0] and t[-1] < ends[1] for t in times):
            return self
        return self.take(lambda _, t: slice(*np.searchsorted(t, ends).tolist()))

    def stride(self, min_stride: float, after: Mapping[str, float]) -> Reply:
        """Keep samples at least `min_stride` seconds apart; `after` has the last earlier times."""
        return self.take(lambda name, t: grid.stride_indices(t, min_stride, after.get(name)))

    def decimate(self, bucket: float | None = None, max_points: int | None = None) -> Reply:
        """Decimate to buckets of one size, or to at most `max_points` samples of each field."""
        kept = Reply(bucket={})
        for name, values in self.data.items():
            followed = self.follows.get(name)
            if followed is None:
                kept.add_field(name, Decimated(values, values, bucket, NEVER_FINAL))
                continue
            t, until = self.timelines[followed].t, self.timelines[followed].finalized_until
            which, w = grid.decimate_by(t, values, bucket, max_points)
            final_to = just_after(float(t[-1])) if until is None else until
            kept.add_field(name, Decimated(t[which], values[which], w, final_to))
            kept.timelines[name].finalized_until = until
        return kept

    def add_field(self, name: str, own: Decimated) -> None:
        """Add a field to a decimated reply, with a timeline of its own."""
        assert self.bucket is not None
        self.data[name], self.bucket[name] = own.values, own.bucket
        self.final_to[name] = own.final_to
        if len(own.t):
            self.timelines[name] = Timeline(own.t, own.final_to)
            self.follows[name] = name
            self.placed += [name] if own.is_placed else []

    @classmethod
    def merged(
        cls, found: Mapping[str, tuple[str, arrays.Samples]], fields: Iterable[str]
    ) -> Reply:
        """Build a reply for `fields` from the timeline and the final samples of each one found."""
        reply = cls(no_samples(fields))
        lines: defaultdict[str, dict[str, arrays.Samples]] = defaultdict(dict)
        for name, (line, samples) in found.items():
            lines[line][name] = samples
        for line, own in lines.items():
            t, merged = arrays.merge_timeline(own)
            reply.data |= merged
            if len(t):
                reply.timelines[line] = Timeline(t)
                reply.follows |= {name: line for name, values in merged.items() if len(values)}
        return reply

    def line(self, name: str) -> Timeline:
        """Return the timeline of values; raises ValueError if the reply lacks it."""
        if name not in self.timelines:
            raise ValueError("it has data, but no timeline of the reply is its own")
        return self.timelines[name]

    def last(self) -> dict[str, tuple[str, arrays.Samples]]:
        """Return the timeline and the last sample of each field that has a value."""
        found = {}
        for name, line in self.follows.items():
            which = arrays.last_present(self.data[name])
            if len(which):
                found[name] = line, (self.timelines[line].t[which], self.data[name][which])
        return found

    def arrays_size(self) -> int:
        """Return the bytes of all arrays in binary encoding."""
        return sum(map(arrays.binary_size, self._arrays()))

    def held(self) -> Iterator[tuple[int, int]]:
        """Return the id and the size in bytes of each buffer that the reply keeps in memory."""
        return map(arrays.held_by, self._arrays())

    def fits(self, allowance: int, binary: bool = False) -> bool:
        """Return whether the encoded reply takes at most `allowance` bytes, in any serializer."""
        names = [*self.data, *self.timelines, *(self.bucket or ()), *self.final_to, *self.placed]
        room = allowance - sum(len(name) * 6 + _OVERHEAD_BYTES for name in names) - _OVERHEAD_BYTES
        # The cheap size first: for the other one JSON has to be written.
        sizes = (arrays.binary_size,) if binary else (arrays.cbor_size, arrays.json_size)
        return all(sum(map(size, self._arrays())) <= room for size in sizes)

    def _arrays(self) -> list[np.ndarray]:
        return [*self.data.values(), *(line.t for line in self.timelines.values())]

    def to_wire(self, binary: bool = False) -> dict[str, Any]:
        """Return the reply as a dictionary for the wire, with arrays as bytes or as lists."""
        encode = arrays.to_binary if binary else arrays.to_list
        wire: dict[str, Any] = {
            "data": {name: encode(v) if len(v) else [] for name, v in self.data.items()},
            "timeline": {
                name: {"t": encode(line.t), "finalized_until": line.finalized_until}
                for name, line in self.timelines.items()
            },
        }
        if self.bucket is not None:
            wire |= {"follows": self.follows, "bucket": self.bucket, "final_to": self.final_to}
            wire |= {"placed": self.placed} if self.placed else {}
        return wire


def no_samples(names: Iterable[str]) -> dict[str, np.ndarray]:
    """Return the data of fields without samples."""
    return {name: np.empty(0) for name in names}


def read_timeline(
    name: Any, line: Any, read: Callable[[Any], np.ndarray] = arrays.normalise
) -> Timeline:
    """Check a timeline of a reply, with times converted by `read`; raises ValueError."""
    if not isinstance(line, Mapping) or "t" not in line:
        raise ValueError(f'timeline {name!r} must be a dict with "t"')
    t = arrays.as_times(read(line["t"]), f"the times of timeline {name!r}")
    what = f"finalized_until of timeline {name!r}"
    return Timeline(t, _number_or_none(what, line.get("finalized_until")))


def decode(chunk: Any, node: str) -> Reply:
    """Decode a reply or a chunk on the consumer's side; raises NodeContractError if malformed."""
    try:
        lines, follows, bucket = chunk["timeline"], chunk.get("follows"), chunk.get("bucket")
        final_to = chunk.get("final_to") or {}
        if follows is None:
            follows = {each: name for name in lines for each in listed_fields(lines[name]) or ()}
        return Reply(
            {name: arrays.from_wire(encoded) for name, encoded in chunk["data"].items()},
            {name: read_timeline(name, line, arrays.from_wire) for name, line in lines.items()},
            {name: str(line) for name, line in follows.items()},
            bucket and {name: _number_or_none("bucket", w) for name, w in bucket.items()},
            {name: check_number("final_to", t) for name, t in final_to.items() if t is not None},
            list(chunk.get("placed") or ()),
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise NodeContractError(node, None, f"its reply cannot be read: {error}") from None


def _number_or_none(name: str, value: Any) -> float | None:
    return None if value is None else check_number(name, value)


def first_window(reply: Reply, size: int) -> tuple[Reply, float | None]:
    """Return the first samples, about `size` bytes, and the UNIX time at which they are cut off.

    Every timeline is complete before that time. The samples are those of one instant at least; the
    time is None if none are left.
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
    """Return a time before which the samples take at most about `size` bytes.

    It is always after the first instant, so that something is sent; None if there is no later one.
    """
    times = {name: line.t for name, line in reply.timelines.items()}
    bytes_of = {name: t.nbytes for name, t in times.items()}
    for name, followed in reply.follows.items():
        bytes_of[followed] += arrays.binary_size(reply.data[name])
    first, last = min(t[0] for t in times.values()), max(t[-1] for t in times.values())
    low, high = first, last
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        taken = (t.searchsorted(middle) / len(t) * bytes_of[name] for name, t in times.items())
        low, high = (low, middle) if sum(taken) > size else (middle, high)
    after = [(t, t.searchsorted(first, "right")) for t in times.values()]
    second = min((float(t[i]) for t, i in after if i < len(t)), default=None)
    return second if second is None else max(float(low), second)
