"""What the Grafana bridge answers to each path; runs in the threads of the HTTP server.

What requests mean is in `requests.py`, what is asked of the nodes in `bridge.py`.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Coroutine
from typing import Any

from flask import Flask, Response, request
from twisted.internet import defer, threads

from sisock.bridge import requests as grafana
from sisock.bridge.annotations import find_annotations
from sisock.bridge.app import answered
from sisock.bridge.bridge import Bridge
from sisock.bridge.filters import TAG_KEYS
from sisock.bridge.metrics import Metrics
from sisock.bridge.targets import parse_words
from sisock.errors import InvalidArgument

LONGEST_NAME = 200
"""Characters of an annotation's name, which each of its events repeats."""


class Routes:
    """What the bridge answers to each path.

    Parameters
    ----------
    bridge : Bridge
        Asks the nodes, in the reactor.
    metrics : Metrics
        Counts.
    """

    def __init__(self, bridge: Bridge, metrics: Metrics) -> None:
        self._bridge = bridge
        self._metrics = metrics

    def _ask(self, method: Callable[..., Coroutine], *args: Any) -> Any:
        """Run a coroutine in the reactor and wait for it in this thread."""
        return threads.blockingCallFromThread(
            self._bridge.connection.reactor, lambda: defer.ensureDeferred(method(*args))
        )

    def add_to(self, app: Flask) -> None:
        """Register all routes."""
        for path, view, method in (
            ("/", self.root, "GET"),
            ("/search", self.search, "POST"),
            ("/metrics", self.metrics, "POST"),
            ("/metric-payload-options", self.payload_options, "POST"),
            ("/variable", self.variable, "POST"),
            # Answered in the reactor (`sisock/bridge/direct.py`); other methods are refused here.
            ("/query", None, "POST"),
            ("/series", None, "GET"),
            ("/annotations", self.annotations, "POST"),
            ("/tag-keys", self.tag_keys, "POST"),
            ("/tag-values", self.tag_values, "POST"),
            ("/healthz", self.healthz, "GET"),
            ("/prometheus", self.prometheus, "GET"),
        ):
            app.add_url_rule(path, path, view, methods=[method])

    def root(self) -> Response:
        """Say that the bridge is there: what "Save & test" asks."""
        return Response("sisock Grafana bridge\n", mimetype="text/plain")

    def search(self) -> Response:
        """List the targets that contain a text (SimpleJSON)."""
        text = grafana.parse_body(request.get_data()).get("target")
        names, notices = self._names(text)
        return answered(names, notices)

    def metrics(self) -> Response:
        """List all targets (simPod)."""
        names, notices = self._names(None)
        return answered([{"value": name, "label": name} for name in names], notices)

    def payload_options(self) -> Response:
        """List the values of a target's payload, of which there are none (simPod)."""
        return answered([])

    def variable(self) -> Response:
        """List the targets that contain a text, for a template variable (simPod)."""
        payload = grafana.parse_body(request.get_data()).get("payload")
        text = payload.get("target") if isinstance(payload, dict) else payload
        names, notices = self._names(text)
        return answered([{"__text": name, "__value": name} for name in names], notices)

    def _names(self, text: Any) -> tuple[list[str], list[str]]:
        if text is not None and not isinstance(text, str):
            raise InvalidArgument("target must be a text")
        catalogue, notices = self._ask(self._bridge.catalogue)
        names = [f"{node}::{field.name}" for node, field in catalogue]
        if not text:
            return names, notices
        patterns = [f"*{word}*" for word in parse_words(text)]

        def is_meant(name: str) -> bool:
            return text in name or any(fnmatch.fnmatchcase(name, p) for p in patterns)

        return list(filter(is_meant, names)), notices

    def annotations(self) -> Response:
        """List nodes that came and went, or gaps of a field (SimpleJSON)."""
        body = grafana.parse_body(request.get_data())
        about = body.get("annotation")
        text = about.get("query") if isinstance(about, dict) else None
        interval = grafana.parse_range(body.get("range"))
        events, notices = self._ask(find_annotations, self._bridge, text or "nodes", interval)
        if isinstance(about, dict):
            # Grafana wants it back to know whose the events are; by the name alone it does.
            name = str(about.get("name", ""))[:LONGEST_NAME]
            events = [{**event, "annotation": {"name": name}} for event in events]
        return answered(events, notices)

    def tag_keys(self) -> Response:
        """List the keys of ad hoc filters."""
        grafana.parse_body(request.get_data())
        return answered([{"type": "string", "text": key} for key in TAG_KEYS])

    def tag_values(self) -> Response:
        """List the values of such a key."""
        key = grafana.parse_body(request.get_data()).get("key")
        catalogue, notices = self._ask(self._bridge.catalogue)
        values = {
            {"node": node, "timeline": field.timeline, "units": field.units}.get(str(key))
            for node, field in catalogue
        }
        return answered([{"text": value} for value in sorted(v for v in values if v)], notices)

    def healthz(self) -> Response:
        """Say whether router and hub are there: 200, or 503 with the reason."""
        self._ask(self._bridge.refresh_nodes)
        return answered({"status": "ok", "nodes": len(self._bridge.nodes)})

    def prometheus(self) -> Response:
        """Give what was counted, in Prometheus's text format."""
        text, content_type = self._metrics.expose(self._bridge)
        return Response(text, content_type=content_type)
