"""What the Grafana bridge counts, for Prometheus."""

from __future__ import annotations

import time
from functools import lru_cache

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from sisock.bridge.bridge import Bridge
from sisock.bridge.query import Samples


class Metrics:
    """Requests, seconds, samples, cache hits and nodes."""

    def __init__(self) -> None:
        registry = CollectorRegistry()
        self._registry = registry
        self._requests = Counter(
            "sisock_http_requests", "Requests answered", ["path", "status"], registry=registry
        )
        self._seconds = Histogram(
            "sisock_http_request_seconds", "Seconds to answer", ["path"], registry=registry
        )
        self._samples = Counter("sisock_samples", "Samples in answers", registry=registry)
        self._hits = Counter(
            "sisock_cache_hits", "Series that began in the cache", registry=registry
        )
        self._misses = Counter(
            "sisock_cache_misses", "Series asked for in whole", registry=registry
        )
        # Looked up by their labels they take longer than they count.
        self._counter_of = lru_cache(lambda path, status: self._requests.labels(path, str(status)))
        self._histogram_of = lru_cache(self._seconds.labels)
        self._cache_bytes = Gauge("sisock_cache_bytes", "Memory of the cache", registry=registry)
        self._nodes = Gauge("sisock_nodes", "Data nodes in the hub's list", registry=registry)
        self._up = Gauge("sisock_router_up", "Whether the router is joined", registry=registry)

    def answered(self, path: str, status: int, began: float) -> None:
        """Count a request that began at this `time.perf_counter`."""
        self._counter_of(path, status).inc()
        self._histogram_of(path).observe(time.perf_counter() - began)

    def found(self, found: Samples) -> None:
        """Count what was found for a request."""
        self._samples.inc(sum(map(len, found.series.values())))
        self._hits.inc(found.cache_hits)
        self._misses.inc(found.cache_misses)

    def expose(self, bridge: Bridge) -> tuple[bytes, str]:
        """Text and content type of all figures."""
        self._nodes.set(len(bridge.nodes))
        self._up.set(bridge.connection.session is not None)
        self._cache_bytes.set(bridge.cache.nbytes)
        return generate_latest(self._registry), CONTENT_TYPE_LATEST
