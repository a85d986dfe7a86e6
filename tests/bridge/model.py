"""A node whose samples a test changes at will, and what a bridge may answer of them.

Each state of the node's samples is a `Version`. An answer is right if it is what brute force makes
of one version that held between request and answer. As requests for the same may share a call
that is under way, the version of a call that was under way at the request counts too, unless the
bridge has heard of a new generation since.
"""

from __future__ import annotations

import bisect
import itertools
import math
import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from twisted.internet import task

from sisock.client.client import reactor_thread
from sisock.testing import RouterProcess, wait_until
from sisock.wire.protocol import uri
from tests import grid_oracle as oracle
from tests.integration.peers import Member

NEVER_FINAL = -1e300
TYPES = {"regular": "number", "irregular": "number", "flag": "bool", "word": "string"}
INTERVALS = {"regular": 1.0, "irregular": None, "flag": 2.5, "word": None}
VALUES = {
    "number": [*range(-9, 10), 0.5, 1e6, -1e6, None],
    "bool": [True, False, False, None],
    "string": ["a", "a", "b", "ü"],
}

Samples = tuple[list[float], list[Any]]


@dataclass
class Version:
    """The samples of all fields from `begin` to `end` (monotonic), and what is final of them."""

    samples: dict[str, Samples]
    generation: str
    final_to: float
    begin: float = 0.0
    end: float = math.inf
    is_announced: bool = True

    def cut(self, name: str, start: float, end: float) -> Samples:
        """Return the samples of one field in an interval."""
        t, values = self.samples[name]
        low, high = bisect.bisect_left(t, start), bisect.bisect_left(t, end)
        return t[low:high], values[low:high]

    def views(self, name: str, start: float, end: float, w: float | None) -> list[list[Any]]:
        """Return what a panel may show, as pairs of value and milliseconds.

        A panel of regular data may do without a sample at or behind its end.
        """
        low, high = start - (w or 0), end + (w or 0)
        shown = oracle.view(*self.cut(name, low, high), start, end, w)
        inside = [(t, value) for t, value in shown if t < end or not self._is_alone(name, t, w)]
        return [
            [[_drawn(value), round(t * 1000)] for t, value in each]
            for each in ([shown] if INTERVALS[name] is None else [shown, inside])
        ]

    def _is_alone(self, name: str, t: float, w: float | None) -> bool:
        """Whether the sample at `t` has its bucket for itself."""
        assert w is not None
        first = oracle.bucket_of(t, w) * w
        return len(self.cut(name, first, first + w)[0]) == 1


def _drawn(value: Any) -> Any:
    return float(value) if isinstance(value, bool) else value


@dataclass
class Call:
    """A call of the node: when its samples were taken, when what it was for was answered."""

    generation: str
    begin: float
    end: float = math.inf


@dataclass
class ModelNode:
    """The node: a bare session that replies from the present version, at once or late.

    `known` returns the names of nodes that the bridge knows, each with its generation.
    """

    router: RouterProcess
    name: str
    chance: random.Random
    known: Callable[[], dict[str, str]]
    lag: float = 0.0
    versions: list[Version] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    absences: list[tuple[float, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._generations = itertools.count()
        self._lock = threading.Lock()
        self._marks, self._marker = itertools.count(), Member(self.router)
        self.clock = math.floor(time.time()) - 6000.0
        self.versions.append(Version({name: ([], []) for name in TYPES}, "first", NEVER_FINAL))
        self._join()
        self.append(1500)

    @property
    def present(self) -> Version:
        """The version of now."""
        return self.versions[-1]

    def _join(self) -> None:
        self._member = Member(self.router)
        for verb, procedure in (("get_fields", self._get_fields), ("get_data", self._get_data)):
            self._member.do("register", procedure, uri(f"consumer.{self.name}.{verb}"))
        self._add()

    def _add(self) -> None:
        features, generation = ["bucket", "max_points"], self.present.generation
        assert self._member.add(self.name, features=features, generation=generation)

    def close(self) -> None:
        """Leave."""
        self._member.close()
        self._marker.close()

    # What the test does with it.

    def append(self, seconds: int) -> None:
        """Add the samples of so many more seconds, as far as there is a present."""
        begin = self.clock
        self.clock = min(begin + seconds, math.floor(time.time()) - 2.0)
        samples = self._copy()
        for name, (t, values) in samples.items():
            for new in self._times(name, begin, self.clock):
                t.append(new)
                values.append(self.chance.choice(VALUES[TYPES[name]]))
        self._change(samples, self._final_to(samples))

    def revise(self) -> None:
        """Change samples that are not final."""
        samples = self._copy()
        self._scramble(samples, self.present.final_to)
        self._change(samples, self.present.final_to)

    def correct(self, meanwhile: Callable[[], None]) -> None:
        """Change any samples, and announce a new generation before any reply has them."""
        samples = self._copy()
        for _ in range(8):
            self._scramble(samples, NEVER_FINAL)
        self._change(samples, self._final_to(samples, NEVER_FINAL), is_new=True)
        meanwhile()
        self._add()
        self._announce()

    def restart(self, with_new_samples: bool) -> None:
        """Leave and come again: with other samples, or the same and the same generation."""
        left = time.monotonic()
        self._member.close()
        samples = self._copy()
        if with_new_samples:
            self._scramble(samples, NEVER_FINAL)
            self._change(samples, self._final_to(samples, NEVER_FINAL), is_new=True)
        self._join()
        self._announce()
        self.absences.append((left, time.monotonic()))

    def _copy(self) -> dict[str, Samples]:
        return {name: (list(t), list(v)) for name, (t, v) in self.present.samples.items()}

    def _times(self, name: str, begin: float, end: float) -> Iterator[float]:
        if (interval := INTERVALS[name]) is not None:
            # Never closer than the interval, however short what is appended.
            first, last = math.ceil(begin / interval), math.ceil(end / interval)
            yield from (i * interval for i in range(first, last))
        else:
            # In eighths of a second, that are exact as milliseconds too.
            steps = range(round((end - begin) * 8))
            chosen = self.chance.choices(steps, k=len(steps) // 20)
            yield from sorted(begin + step / 8 for step in chosen)

    def _scramble(self, samples: dict[str, Samples], after: float) -> None:
        """Change, remove and insert samples at or after a time."""
        for name, (t, values) in samples.items():
            low = bisect.bisect_left(t, after)
            if self.chance.random() < 0.5 or low == len(t):
                continue
            i = self.chance.randrange(low, len(t))
            for j in range(i, min(i + self.chance.randrange(1, 40), len(t))):
                values[j] = self.chance.choice(VALUES[TYPES[name]])
            if INTERVALS[name] is None:
                t.insert(i, t[i])
                values.insert(i, self.chance.choice(VALUES[TYPES[name]]))
            del t[i + 1 : i + 1 + self.chance.randrange(4)]
            del values[i + 1 : i + 1 + len(values) - len(t)]

    def _final_to(self, samples: dict[str, Samples], at_least: float | None = None) -> float:
        """Choose a time before which nothing will change in this generation."""
        past = self.present.final_to if at_least is None else at_least
        back = self.chance.choice([0.0, 0.0, 7.0, 100.0, math.inf])
        return max(past, NEVER_FINAL, self.clock - back)

    def _change(self, samples: dict[str, Samples], final_to: float, is_new: bool = False) -> None:
        generation = f"g{next(self._generations)}" if is_new else self.present.generation
        now = time.monotonic()
        version = Version(samples, generation, final_to, now, is_announced=not is_new)
        with self._lock:
            if not is_new:
                self.present.end = now
            self.versions.append(version)

    def _announce(self) -> None:
        """The hub has published the present generation: wait until the bridge has heard of it."""
        with self._lock:
            self.present.is_announced = True
        self._wait_until_heard()
        with self._lock:
            for version in self.versions:
                if version.generation != self.present.generation:
                    version.end = min(version.end, time.monotonic())

    def _wait_until_heard(self) -> None:
        """Wait until the bridge knows what the hub publishes now, and so all before."""
        name, mark = f"{self.name}_marker", f"m{next(self._marks)}"
        assert self._marker.add(name, features=["bucket"], generation=mark)
        wait_until(lambda: self.known().get(name) == mark, 60, "the bridge to hear of the hub")

    # What the bridge asks.

    def _get_fields(self, start: float, end: float) -> tuple[dict[str, Any], dict[str, Any]]:
        fields = {
            name: {"description": None, "timeline": name, "type": kind, "units": None}
            for name, kind in TYPES.items()
        }
        return fields, {name: {"interval": INTERVALS[name], "field": [name]} for name in TYPES}

    def _get_data(self, names: list[str], start: float, end: float, *_: Any, **asked: Any) -> Any:
        with self._lock:
            version = self.present
            self.calls.append(Call(version.generation, time.monotonic()))
        now = time.time()
        start, end = (t if t > 0 else now + t for t in (start, end))
        answer = reply(version, names, start, end, asked)
        reactor = reactor_thread()
        wait = self.lag * self.chance.random()

        def send() -> Any:
            if not version.is_announced:
                return task.deferLater(reactor, 0.01, send)
            return answer

        return task.deferLater(reactor, wait, send) if wait else send()

    # What the bridge may answer.

    def valid(self, asked: float, answered: float) -> list[Version]:
        """Return the versions of which an answer may be, the latest first."""
        with self._lock:
            under_way = [call for call in self.calls if call.begin <= asked <= call.end]
            versions = [replace(version) for version in self.versions]
        found = []
        for version in reversed(versions):
            shared = [c.begin for c in under_way if c.generation == version.generation]
            is_current = any(
                v.generation == version.generation and v.end >= asked for v in versions
            )
            earliest = min([asked, *shared]) if is_current else asked
            if version.begin <= answered and version.end >= earliest:
                found.append(version)
        return found

    def end_calls(self, requests: list[tuple[float, float]]) -> None:
        """Note when all requests so far were sent and answered: with them, their calls are over."""
        with self._lock:
            for call in self.calls:
                if call.end == math.inf:
                    ends = (end for begin, end in requests if begin <= call.begin <= end)
                    call.end = max(ends, default=call.begin)

    def was_absent(self, asked: float, answered: float) -> bool:
        """Whether the node was not there at some time between request and answer."""
        return any(left <= answered and asked <= back for left, back in self.absences)


def reply(
    version: Version, names: list[str], start: float, end: float, asked: dict[str, Any]
) -> dict[str, Any]:
    """Return a reply of Part 1, or of decimated samples, by brute force."""
    assert set(asked) <= {"bucket", "max_points", "min_stride"}, asked
    reply: dict[str, Any] = {"data": {}, "timeline": {}}
    sizes: dict[str, float | None] = {}
    for name in names:
        t, values = version.cut(name, start, end)
        w, kept = asked.get("bucket"), list(range(len(t)))
        if w is not None:
            kept = oracle.decimate(t, values, w)
        elif "max_points" in asked:
            kept, w = oracle.decimate_to(t, values, asked["max_points"])
        reply["data"][name], sizes[name] = [values[i] for i in kept], w
        if kept:
            until = version.final_to
            reply["timeline"][name] = {"t": [t[i] for i in kept], "finalized_until": until}
    if "bucket" in asked or "max_points" in asked:
        reply["follows"] = {name: name for name in reply["timeline"]}
        reply["bucket"] = sizes
        reply["final_to"] = dict.fromkeys(names, version.final_to)
    return reply
