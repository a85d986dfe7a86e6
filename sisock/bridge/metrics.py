"""Count what the bridge does, for Prometheus, and the memory that all its answers take."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterable, Mapping
from functools import lru_cache
from weakref import WeakSet

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from sisock.errors import InvalidArgument, SisockError
from sisock.wire.reply import Reply

MEMORY_LIMIT = 100_000_000
"""Bytes of samples and of JSON that wait for their clients; while arrays are joined or written they
take about twice as much."""

MAX_SAMPLES = 20_000_000
"""Samples of one answer: as many take 1 GB as JSON."""

COLLECT_EVERY = 1.0
"""Seconds between full collections of garbage, at least; one takes a tenth of a second."""

_OBJECT_BYTES = 64
"""Memory of a Python object in an array, about."""


class Metrics:
    """Count requests to some paths, seconds, samples and cache hits."""

    def __init__(self, paths: Iterable[str] = ()) -> None:
        self._paths = frozenset(paths)
        self._registry = registry = CollectorRegistry()
        labels = ["path", "status"]
        requests = Counter("sisock_http_requests", "Requests", labels, registry=registry)
        seconds = Histogram("sisock_http_request_seconds", "Seconds", ["path"], registry=registry)
        # Looked up by their labels they take longer than they count.
        self._requests_of = lru_cache(lambda path, status: requests.labels(path, str(status)))
        self._seconds_of = lru_cache(seconds.labels)
        self._samples = Counter("sisock_samples", "Samples in answers", registry=registry)
        self._hits = Counter("sisock_cache_hits", "Series partly of tiles", registry=registry)
        self._misses = Counter("sisock_cache_misses", "Series of no tile", registry=registry)

    def answered(self, path: str, status: int, seconds: float) -> None:
        """Count a request; paths that are none of ours are counted as one."""
        path = path if path in self._paths else "other"
        self._requests_of(path, status).inc()
        self._seconds_of(path).observe(seconds)

    def found(self, samples: int, hits: int, misses: int) -> None:
        """Count the samples of an answer, and the series that were partly of tiles, or of none."""
        self._samples.inc(samples)
        self._hits.inc(hits)
        self._misses.inc(misses)

    def expose(self, gauges: Mapping[str, float]) -> tuple[bytes, str]:
        """Return text and content type of all figures, and of some that are given."""
        current = CollectorRegistry()
        for name, value in gauges.items():
            Gauge(f"sisock_{name}", name.replace("_", " "), registry=current).set(value)
        text = generate_latest(self._registry) + generate_latest(current)
        return text, CONTENT_TYPE_LATEST


class Overloaded(SisockError, MemoryError):
    """The bridge has as many answers under way as it has memory for: try again later."""


class TooManySamples(InvalidArgument):
    """An answer is larger than one may be."""


class AnswerMemory:
    """Limit the bytes that all answers under way take together.

    One answer alone may take more, and counts as half of the limit then: the other half is left
    to the others. None may have more than `max_samples`.
    """

    def __init__(self, limit: int = MEMORY_LIMIT, max_samples: int = MAX_SAMPLES) -> None:
        self.max_samples = max_samples
        self._limit = limit
        self._collected = -COLLECT_EVERY
        # An answer that is not there any more takes nothing, whatever became of it.
        self._shares: WeakSet[Share] = WeakSet()

    def share(self) -> Share:
        """Return the share of one more answer, which lasts as long as the object."""
        share = Share(self)
        self._shares.add(share)
        return share

    def check(self, share: Share) -> None:
        """Check that there is room for an answer that has grown; raises `Overloaded`."""
        if not self._has_room(share) and time.monotonic() - self._collected > COLLECT_EVERY:
            # The traceback of a request that failed, or whose client left, is a cycle.
            gc.collect()
            self._collected = time.monotonic()
        if not self._has_room(share):
            share.nbytes = 0  # the client's samples are dropped
            raise Overloaded

    def _has_room(self, share: Share) -> bool:
        sizes = [each.nbytes for each in self._shares if each is not share]
        half = self._limit / 2
        total = sum(min(size, half) for size in [*sizes, share.nbytes])
        return total <= self._limit and min(share.nbytes, max(sizes, default=0)) <= half


class Share:
    """Count the memory and the samples of one answer, and what was found for it."""

    def __init__(self, memory: AnswerMemory) -> None:
        self.nbytes = 0
        self.notices: list[str] = []
        self.hits = self.misses = 0
        self._memory = memory
        self.count = 0

    def add(self, nbytes: int) -> None:
        """Count more bytes, or fewer; raises `Overloaded` if there is no room for them."""
        self.nbytes += nbytes
        if nbytes > 0:
            self._memory.check(self)

    def check_size(self, count: int) -> None:
        """Check how many samples the answer has; raises `TooManySamples`."""
        if count > self._memory.max_samples:
            raise TooManySamples(
                f"{count} samples are more than the {self._memory.max_samples} that one answer may"
                " have: ask for less time, fewer series or a larger interval"
            )

    def take(self, chunk: Reply) -> None:
        """Count the samples and the memory of a chunk of a reply as it comes."""
        self.count += sum(map(len, chunk.data.values()))
        self.check_size(self.count)
        self.add(size_of(*chunk.data.values(), *(line.t for line in chunk.timelines.values())))


def size_of(*arrays: np.ndarray) -> int:
    """Return about how many bytes arrays take."""
    return sum(
        each.nbytes + (_OBJECT_BYTES * len(each) if each.dtype == object else 0) for each in arrays
    )
