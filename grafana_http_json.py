"""The Grafana bridge: answers the JSON plugins' HTTP requests from the data nodes.

A Flask application inside of a Twisted process: each request in a thread, the WAMP session in the
reactor. What requests mean is in `sisock/grafana.py`, what is asked of the nodes in
`sisock/bridge.py`; this file holds the routes.
"""

from __future__ import annotations

import argparse
import fnmatch
import os
from collections.abc import Callable, Coroutine
from typing import Any

from flask import Flask, Response, request
from twisted.internet import defer, threads
from werkzeug.exceptions import HTTPException

from sisock import grafana, grafana_answers
from sisock.annotations import find_annotations, is_annotation_query
from sisock.bridge import Bridge, Samples
from sisock.bridge_metrics import Metrics
from sisock.errors import HubMissing, InvalidArgument, RouterUnreachable, SettingsError, SisockError
from sisock.fields import Field
from sisock.grafana import Query, Target
from sisock.logs import make_logger
from sisock.program import add_common_flags, fail, run_program, settings_from_flags
from sisock.protocol import USER_CONSUMER
from sisock.targets import expand, parse_words
from sisock.web import WebSettings, is_let_in, load_web_settings, serve

NODE_TIMEOUT = 10.0
"""Seconds that one node may take for one request, unless SISOCK_NODE_TIMEOUT says otherwise."""

CACHE_MEGABYTES = 256
"""Memory for final samples, unless SISOCK_CACHE_MB says otherwise."""

NOTICE = "X-Sisock-Notice"

CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "GET, POST, OPTIONS",
    "Access-Control-Allow-Headers": "Accept, Authorization, Content-Type",
    "Access-Control-Expose-Headers": NOTICE,
    "Access-Control-Max-Age": "86400",
}

log = make_logger()


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
        return _answer(names, notices)

    def metrics(self) -> Response:
        """List all targets (simPod)."""
        names, notices = self._names(None)
        return _answer([{"value": name, "label": name} for name in names], notices)

    def payload_options(self) -> Response:
        """List the values of a target's payload, of which there are none (simPod)."""
        return _answer([])

    def variable(self) -> Response:
        """List the targets that contain a text, for a template variable (simPod)."""
        payload = grafana.parse_body(request.get_data()).get("payload")
        text = payload.get("target") if isinstance(payload, dict) else payload
        names, notices = self._names(text)
        return _answer([{"__text": name, "__value": name} for name in names], notices)

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
        for target in query.targets:
            if target in data:
                answers += _answers_of(target, pairs[target.text], found)
            else:
                events = self._ask(find_annotations, self._bridge, target.text, query.interval)
                answers.append(grafana_answers.annotation_table(events))
        return _answer(answers, found.notices)

    def _find(
        self, query: Query, targets: list[Target]
    ) -> tuple[dict[str, list[tuple[str, str]]], Samples]:
        """Look up what the targets stand for, and ask for all of it at once."""
        catalogue: list[tuple[str, Field]] = []
        notices: list[str] = []
        wild = any(pattern.literal is None for target in targets for pattern in target.patterns)
        if wild:
            catalogue, notices = self._ask(self._bridge.catalogue)
        passed = [
            (node, field.name)
            for node, field in catalogue
            if all(each.accepts(node, field) for each in query.filters)
        ]
        pairs = {target.text: expand(target.patterns, passed) for target in targets}
        wanted = {pair for each in pairs.values() for pair in each}
        found = self._ask(self._bridge.samples, wanted, query.interval, query.min_stride)
        found.notices = [*dict.fromkeys([*notices, *found.notices])]
        self._metrics.found(found)
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
        query = grafana.parse_query(body)
        pairs, found = self._find(query, query.targets)
        chosen = dict.fromkeys(pair for each in pairs.values() for pair in each)
        return _json(grafana_answers.long_rows(found.pick(chosen)), found.notices)

    def annotations(self) -> Response:
        """List nodes that came and went, or gaps of a field (SimpleJSON)."""
        body = grafana.parse_body(request.get_data())
        about = body.get("annotation")
        text = about.get("query") if isinstance(about, dict) else None
        interval = grafana.parse_range(body.get("range"))
        events = self._ask(find_annotations, self._bridge, text or "nodes", interval)
        return _answer([{**event, "annotation": about} for event in events])

    def tag_keys(self) -> Response:
        """List the keys of ad hoc filters."""
        grafana.parse_body(request.get_data())
        return _answer([{"type": "string", "text": key} for key in grafana.TAG_KEYS])

    def tag_values(self) -> Response:
        """List the values of such a key."""
        key = grafana.parse_body(request.get_data()).get("key")
        catalogue, notices = self._ask(self._bridge.catalogue)
        values = {
            {"node": node, "timeline": field.timeline, "units": field.units}.get(str(key))
            for node, field in catalogue
        }
        return _answer([{"text": value} for value in sorted(v for v in values if v)], notices)

    def healthz(self) -> Response:
        """Say whether router and hub are there: 200, or 503 with the reason."""
        self._ask(self._bridge.refresh_nodes)
        return _answer({"status": "ok", "nodes": len(self._bridge.nodes)})

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


def _answer(answer: Any, notices: list[str] | None = None) -> Response:
    return _json(grafana_answers.dumps(answer), notices)


def _json(body: bytes, notices: list[str] | None = None, status: int = 200) -> Response:
    response = Response(body, status=status, mimetype="application/json")
    if notices:
        text = "; ".join(notices).encode("ascii", "replace").decode().replace("\n", " ")
        response.headers[NOTICE] = text[:1000]
    return response


def _failure(status: int, message: str, kind: str) -> Response:
    """Give an error as Grafana shows it: the text of ``message``."""
    return _json(grafana_answers.dumps({"message": message, "error": kind}), status=status)


def _sisock_failure(error: SisockError) -> Response:
    status = 502
    if isinstance(error, InvalidArgument):
        status = 400
    elif isinstance(error, RouterUnreachable | HubMissing):
        status = 503
    return _failure(status, str(error), type(error).__name__)


def _http_failure(error: HTTPException) -> Response:
    return _failure(error.code or 500, f"{error.name}: {error.description}", error.name)


def _unforeseen(error: Exception) -> Response:
    log.error(
        "{path} failed: {kind}: {why}", path=request.path, kind=type(error).__name__, why=error
    )
    return _failure(500, "the bridge failed: its log has the details", type(error).__name__)


def make_app(bridge: Bridge, web: WebSettings, metrics: Metrics) -> Flask:
    """Make the WSGI application."""
    app = Flask(__name__, static_folder=None)
    Routes(bridge, metrics).add_to(app)

    @app.before_request
    def check() -> Response | None:
        metrics.begin()
        if request.method == "OPTIONS":
            return Response(status=204)
        if request.path != "/healthz" and not is_let_in(web, request.headers.get("Authorization")):
            refused = _failure(401, "sign in with the bridge's token or password", "unauthorized")
            refused.headers["WWW-Authenticate"] = 'Basic realm="sisock"'
            return refused
        return None

    @app.after_request
    def finish(response: Response) -> Response:
        response.headers.update(CORS)
        metrics.end(str(request.url_rule or "other"), response.status_code)
        return response

    app.register_error_handler(SisockError, _sisock_failure)
    app.register_error_handler(HTTPException, _http_failure)
    app.register_error_handler(Exception, _unforeseen)
    return app


def _positive(name: str, default: float) -> float:
    text = os.environ.get(name) or str(default)
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < 1e9:
        raise SettingsError(f"{name} must be a positive number, not {text!r}")
    return number


def main() -> None:
    """Run the bridge until SIGTERM or Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_common_flags(parser)
    settings = settings_from_flags(parser.parse_args(), USER_CONSUMER)
    try:
        web = load_web_settings()
        cache_bytes = int(_positive("SISOCK_CACHE_MB", CACHE_MEGABYTES) * 1e6)
        bridge = Bridge(settings, _positive("SISOCK_NODE_TIMEOUT", NODE_TIMEOUT), cache_bytes)
    except SisockError as error:
        fail(error)

    async def start() -> None:
        await serve(make_app(bridge, web, Metrics()), web, bridge.connection.reactor)
        log.info("listening on http://{bind}:{port}/", bind=web.bind, port=web.port)

    run_program(bridge.connection, start)


if __name__ == "__main__":
    main()
