"""Collect metrics for Prometheus, and limit connections and the memory of all answers."""

from __future__ import annotations

import gc
import resource
import time
from collections.abc import Mapping
from typing import Any
from weakref import WeakSet

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from sisock.connection.runtime import allow_open_files
from sisock.connection.settings import DEFAULTS
from sisock.errors import InvalidArgument, SisockError
from sisock.wire.arrays import memory_size
from sisock.wire.reply import Reply

MEMORY_LIMIT = 100_000_000
"""Bytes of samples and JSON that wait for their clients; joining and writing arrays temporarily
takes about twice as much."""

MAX_SAMPLES = int(DEFAULTS["SISOCK_MAX_SAMPLES"])
"""Samples of one answer; as JSON they take 1 GB."""

COLLECT_EVERY = 1.0
"""Minimum seconds between full garbage collections; one takes a tenth of a second."""

SPARE_FILES = 200  # open files that are kept for other purposes than connections
MAX_CONNECTIONS = 2000
"""Open connections; beyond this, the one that is idle for longest is closed."""

SMALL_REQUEST = 1 << 16  # bytes of an unfinished request that a connection may always hold
MAX_HELD = 1 << 26
"""Bytes of all unfinished requests together; beyond this, the next one gets status 503."""

GAUGES = {
    "cache_bytes": "Memory of cached samples",
    "nodes": "Data nodes in the hub's list; 0 without a hub",
    "router_up": "1 while the bridge has joined the router",
}
"""Values that are measured whenever metrics are requested."""


class Metrics:
    """Count requests by path, their seconds, samples and cache hits."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()

        def make(kind: Any, name: str, text: str, *labels: str) -> Any:
            return kind(f"sisock_{name}", text, labels, registry=self._registry)

        requests, seconds = "Requests by path and status", "Seconds until a request is answered"
        self._requests = make(Counter, "http_requests", requests, "path", "status")
        self._seconds = make(Histogram, "http_request_seconds", seconds, "path")
        self._samples = make(Counter, "samples", "Samples in answers")
        self._hits = make(Counter, "cache_hits", "Series that were partly in the cache")
        self._misses = make(Counter, "cache_misses", "Series of which nothing was in the cache")

    def answered(self, path: str, status: int, seconds: float) -> None:
        """Count a request."""
        self._requests.labels(path, status).inc()
        self._seconds.labels(path).observe(seconds)

    def found(self, samples: int, hits: int, misses: int) -> None:
        """Count the samples of an answer, and its series with and without cached tiles."""
        self._samples.inc(samples)
        self._hits.inc(hits)
        self._misses.inc(misses)

    def expose(self, gauges: Mapping[str, Mapping[str, float]]) -> tuple[bytes, str]:
        """Return all metrics and the given gauges as Prometheus's text, and its content type.

        Each gauge has a value per site, or a single one under "".
        """
        current = CollectorRegistry()
        for name, values in gauges.items():
            labels = [] if "" in values else ["site"]
            gauge = Gauge(f"sisock_{name}", GAUGES[name], labels, registry=current)
            for site, value in values.items():
                (gauge.labels(site) if labels else gauge).set(value)
        text = generate_latest(self._registry) + generate_latest(current)
        return text, CONTENT_TYPE_LATEST


class Overloaded(SisockError, MemoryError):
    """The bridge has no memory for further answers at the moment: try again later."""


class TooManySamples(InvalidArgument):
    """An answer has more samples than allowed."""


class AnswerMemory:
    """Limit the total memory of all answers under way.

    One single answer may take more than half of `limit`; it counts as half, so that the other half
    stays free for others. No answer may have more than `max_samples`.
    """

    def __init__(self, limit: int = MEMORY_LIMIT, max_samples: int = MAX_SAMPLES) -> None:
        self.max_samples = max_samples
        self._limit = limit
        self._collected = -COLLECT_EVERY
        # Weak, so that an answer stops counting once it is dropped, however it ended.
        self._shares: WeakSet[Share] = WeakSet()

    def share(self) -> Share:
        """Return the share of a new answer; it counts for as long as the object exists."""
        share = Share(self)
        self._shares.add(share)
        return share

    def check(self, share: Share) -> None:
        """Check that there is enough memory for an answer that has grown; raises `Overloaded`."""
        if self._has_room(share):
            return
        if time.monotonic() - self._collected > COLLECT_EVERY:
            # A failed or abandoned request leaves a cycle: its traceback holds its samples.
            gc.collect()
            self._collected = time.monotonic()
            if self._has_room(share):
                return
        share.nbytes = 0  # the request fails, so its samples are dropped
        raise Overloaded

    def _has_room(self, share: Share) -> bool:
        sizes = [other.nbytes for other in self._shares if other is not share]
        half = self._limit / 2
        total = sum(min(size, half) for size in [*sizes, share.nbytes])
        return total <= self._limit and min(share.nbytes, max(sizes, default=0)) <= half


class Share:
    """Count the memory, samples and cache hits of one answer, and collect its notices."""

    def __init__(self, memory: AnswerMemory) -> None:
        self.nbytes = 0
        self.notices: list[str] = []
        self.hits = self.misses = 0
        self._memory = memory
        self.count = 0

    def add(self, nbytes: int) -> None:
        """Add to the bytes, or subtract; raises `Overloaded` if there is not enough memory."""
        self.nbytes += nbytes
        if nbytes > 0:
            self._memory.check(self)

    def check_size(self, count: int) -> None:
        """Check the number of samples of the answer; raises `TooManySamples`."""
        if count > self._memory.max_samples:
            raise TooManySamples(
                f"{count} samples are more than the {self._memory.max_samples} that one answer may"
                " have: ask for less time, fewer series or a larger interval"
            )

    def take(self, chunk: Reply) -> None:
        """Count the samples and the memory of a received chunk of a reply."""
        self.count += sum(map(len, chunk.data.values()))
        self.check_size(self.count)
        self.add(memory_size(*chunk.data.values(), *(line.t for line in chunk.timelines.values())))


class Crowd(dict[Any, None]):
    """Keep the open connections, the one used last at the end, and limit their number and bytes."""

    def __init__(self) -> None:
        super().__init__()
        allow_open_files()
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._most = min(MAX_CONNECTIONS, max(files - SPARE_FILES, 1))

    def has_room(self) -> bool:
        """Return whether there is room for another; if not, close the one idle for longest."""
        if len(self) < self._most:
            return True
        idle = next((each for each in self if not each.is_busy), None)
        if idle is not None:
            del self[idle]  # Twisted closes it a moment later
            idle.transport.abortConnection()
        return idle is not None

    def use(self, connection: Any) -> None:
        """Add a connection, or note that it has got an answer."""
        self.pop(connection, None)
        self[connection] = None

    def may_hold(self, size: int) -> bool:
        """Return whether a connection may hold so many bytes of an unfinished request."""
        return size <= SMALL_REQUEST or sum(each.held for each in self) <= MAX_HELD
