"""What the Grafana bridge answers to each path; runs in the threads of the HTTP server.

What requests mean is in `sisock/grafana.py`, what is asked of the nodes in `sisock/bridge.py`.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Coroutine
from typing import Any

from flask import Flask, Response, request
from twisted.internet import defer, threads

from sisock import grafana, grafana_answers
from sisock.annotations import find_annotations, is_annotation_query
from sisock.bridge import Bridge
from sisock.bridge_app import answered, json_response
from sisock.bridge_find import find
from sisock.bridge_metrics import Metrics
from sisock.bridge_query import Samples
from sisock.errors import InvalidArgument
from sisock.fields import Field
from sisock.grafana import Query, Target
from sisock.grafana_filters import TAG_KEYS
from sisock.targets import parse_words

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
            ("/query", self.query, "POST"),
            ("/series", self.series, "GET"),
            ("/annotations", self.annotations, "POST"),
            ("/tag-keys", self.tag_keys, "POST"),
            ("/tag-values", self.tag_values, "POST"),
            ("/healthz", self.healthz, "GET"),
            ("/prometheus", self.prometheus, "GET"),
        ):
            app.add_url_rule(path, view_func=view, methods=[method])

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

    def query(self) -> Response:
        """Answer a panel: series, tables, and simPod's annotations."""
        query = grafana.parse_query(grafana.parse_body(request.get_data()))
        data = [target for target in query.targets if not is_annotation_query(target.text)]
        pairs, found = self._find(query, data)
        answers: list[Any] = []
        notices = [notice for each in found.values() for notice in each.notices]
        for target in query.targets:
            if not is_annotation_query(target.text):
                answers += _answers_of(target, pairs[target.text], found[target.table])
                continue
            events, more = self._ask(find_annotations, self._bridge, target.text, query.interval)
            notices += more
            answers.append(grafana_answers.annotation_table(events, target.ref_id))
        return json_response(grafana_answers.body_of(answers), [*dict.fromkeys(notices)])

    def _find(
        self, query: Query, targets: list[Target]
    ) -> tuple[dict[str, list[tuple[str, str]]], dict[bool, Samples]]:
        """Look up what the targets stand for, and ask for it; tables' samples are under True."""
        texts = {target.text: target.patterns for target in targets}

        def accepts(node: str, field: Field) -> bool:
            return all(each.accepts(node, field) for each in query.filters)

        pairs, notices = self._ask(find, self._bridge, texts, accepts)
        found: dict[bool, Samples] = {}
        for is_table in {target.table for target in targets} or {False}:
            mine = [target.text for target in targets if target.table == is_table]
            wanted = {pair for text in mine for pair in pairs[text]}
            # The fields of a picture have times of their own, which make no rows.
            points = None if is_table else query.max_points
            stride = query.min_stride if points is None else None
            each = self._ask(self._bridge.samples, wanted, query.interval, stride, points)
            # A target that is there twice is answered twice.
            each.check_size(sum(len(s) for text in mine for _, s in each.pick(pairs[text])))
            each.notices = [*dict.fromkeys([*notices, *each.notices])]
            self._metrics.found(each)
            found[is_table] = each
        return pairs, found

    def series(self) -> Response:
        """Answer Infinity: long rows in time order."""
        arguments = request.args
        targets = [{"target": text} for text in arguments.getlist("target")]
        given = {"from": arguments.get("from"), "to": arguments.get("to")}
        points, interval = arguments.get("maxDataPoints"), arguments.get("interval")
        body: dict[str, Any] = {"targets": targets, "range": given, "interval": interval}
        if points is not None:
            body["maxDataPoints"] = grafana.parse_number(points, "maxDataPoints")
        if "intervalMs" in arguments:
            body["intervalMs"] = grafana.parse_number(arguments["intervalMs"], "intervalMs")
        query = grafana.with_fewer_points(grafana.parse_query(body))
        pairs, every = self._find(query, query.targets)
        chosen = dict.fromkeys(pair for each in pairs.values() for pair in each)
        found = every[False]
        return json_response(grafana_answers.long_rows(found.pick(chosen)), found.notices)

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


def _answers_of(target: Target, pairs: list[tuple[str, str]], found: Samples) -> list[Any]:
    if target.table:
        return [grafana_answers.table_answer(found.pick(pairs), target.ref_id)]
    if not target.patterns:
        return [grafana_answers.empty_answer(target.text, target.ref_id)]
    return [
        grafana_answers.series_answer(node, found.series[node, name], target.ref_id)
        if (node, name) in found.series
        else grafana_answers.empty_answer(f"{node}::{name}", target.ref_id)
        for node, name in pairs
    ]
