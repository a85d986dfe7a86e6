"""Answer the routes that are not panels', by Flask in threads, and find annotations."""

from __future__ import annotations

import fnmatch
import io
import sys
from collections.abc import Callable, Coroutine, Iterable, Iterator
from typing import Any

import numpy as np
from flask import Flask, Response, request
from twisted.internet import defer, threads
from werkzeug.exceptions import HTTPException

from sisock.bridge.answers import Answer, failure, failure_of, notice_headers
from sisock.bridge.bridge import Bridge, NodeChange
from sisock.bridge.http import Request
from sisock.bridge.metrics import Metrics, Share
from sisock.bridge.requests import (
    GAPS,
    RECORDED,
    TAG_KEYS,
    is_annotation_query,
    parse_body,
    parse_range,
    tag_values,
)
from sisock.bridge.targets import SEPARATOR, parse_target, parse_words
from sisock.bridge.tiles import View
from sisock.errors import InvalidArgument, SisockError
from sisock.wire.arrays import has_value, to_list
from sisock.wire.json_rows import dumps
from sisock.wire.protocol import Interval

GAP_INTERVALS = 5
"""Time without samples is a gap if it is longer than so many of the field's intervals."""

PRESENCE = "nodes."
"""What the names of a recorder's fields begin with that say which nodes are there."""

MAX_NAME = 200
"""Characters of an annotation's name, which each of its events repeats."""

ROUTES = {
    "/": ("GET", "root"),
    "/search": ("POST", "search"),
    "/metrics": ("POST", "metrics"),
    "/metric-payload-options": ("POST", "payload_options"),
    "/variable": ("POST", "variable"),
    # Answered by `sisock.bridge.panels`; Flask refuses other methods.
    "/query": ("POST", None),
    "/series": ("GET", None),
    "/annotations": ("POST", "annotations"),
    "/tag-keys": ("POST", "tag_keys"),
    "/tag-values": ("POST", "tag_values"),
    "/healthz": ("GET", "healthz"),
    "/prometheus": ("GET", "prometheus"),
}


def make_app(bridge: Bridge, metrics: Metrics) -> Flask:
    """Return the WSGI application of the routes that are not panels'."""
    app, routes = Flask(__name__, static_folder=None), Routes(bridge, metrics)
    for path, (method, name) in ROUTES.items():
        view = None if name is None else getattr(routes, name)
        app.add_url_rule(path, path, view, methods=[method])
    app.register_error_handler(HTTPException, _http_failure)
    app.register_error_handler(Exception, lambda error: _response(failure_of(error, request.path)))
    return app


def call_wsgi(application: Any, request: Request) -> Answer:
    """Have a WSGI application answer a request; of its headers it sees ``Host`` alone."""
    host = b"".join(request.values(b"host")[:1]).decode("latin-1")
    environ = {
        "REQUEST_METHOD": request.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": request.path.encode().decode("latin-1"),
        "QUERY_STRING": request.query,
        "CONTENT_LENGTH": str(len(request.body)),
        "SERVER_NAME": "sisock",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_HOST": host or "sisock",
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(request.body),
        "wsgi.errors": sys.stderr,
    }
    began: list[Any] = []
    parts = application(environ, lambda *said: began.extend(said[:2]))
    body, (status, headers) = b"".join(parts), began
    given = {name: value for name, value in headers if name != "Content-Length"}
    return Answer([body], int(status.split()[0]), given)


def _body() -> dict[str, Any]:
    return parse_body(request.get_data())


def _answered(answer: Any, notices: Iterable[str] = ()) -> Response:
    return _response(Answer([dumps(answer)], headers=notice_headers(notices)))


def _response(answer: Answer) -> Response:
    given = {"Content-Type": "application/json", **answer.headers}
    return Response(answer.body, answer.status, given)


def _http_failure(error: HTTPException) -> Response:
    # What may be done instead: the methods of a 405, the right address of a redirection.
    given = error.get_response().headers
    headers = {name: given[name] for name in ("Allow", "Location") if name in given}
    text = f"{error.name}: {error.description}"
    return _response(failure(error.code or 500, text, error.name, headers))


class Routes:
    """Answer the routes, in threads."""

    def __init__(self, bridge: Bridge, metrics: Metrics) -> None:
        self._bridge = bridge
        self._metrics = metrics

    def _ask(self, method: Callable[..., Coroutine], *args: Any) -> Any:
        """Run a coroutine in the reactor and wait for it in this thread."""
        return threads.blockingCallFromThread(
            self._bridge.reactor, lambda: defer.ensureDeferred(method(*args))
        )

    def root(self) -> Response:
        """Say that the bridge is there, for "Save & test"."""
        return Response("sisock Grafana bridge\n", mimetype="text/plain")

    def search(self) -> Response:
        """List the targets that contain a text (SimpleJSON)."""
        return self._listed(_body().get("target"), lambda name: name)

    def metrics(self) -> Response:
        """List all targets (simPod)."""
        return self._listed(None, lambda name: {"value": name, "label": name})

    def payload_options(self) -> Response:
        """List the values of a target's payload, of which there are none (simPod)."""
        return _answered([])

    def variable(self) -> Response:
        """List the targets that contain a text, for a template variable (simPod)."""
        payload = _body().get("payload")
        text = payload.get("target") if isinstance(payload, dict) else payload
        return self._listed(text, lambda name: {"__text": name, "__value": name})

    def _listed(self, text: Any, entry: Callable[[str], Any]) -> Response:
        if text is not None and not isinstance(text, str):
            raise InvalidArgument("target must be a text")
        patterns = [f"*{word}*" for word in parse_words(text or "")]
        share = self._bridge.memory.share()
        known = self._ask(self._bridge.fields, share)
        names = [f"{node}::{name}" for node, fields in known.items() for name in fields]
        found = [
            entry(name)
            for name in names
            if (text or "") in name or any(fnmatch.fnmatchcase(name, p) for p in patterns)
        ]
        return _answered(found, share.notices)

    def annotations(self) -> Response:
        """List nodes that came and went, or gaps of a field (SimpleJSON)."""
        body, share = _body(), self._bridge.memory.share()
        about = body.get("annotation")
        text = about.get("query") if isinstance(about, dict) else None
        asked = share, text or "nodes", parse_range(body.get("range"))
        events = self._ask(find_annotations, self._bridge, *asked)
        if isinstance(about, dict):
            # Grafana wants it back to know whose the events are; by the name alone it does.
            name = str(about.get("name", ""))[:MAX_NAME]
            events = [{**event, "annotation": {"name": name}} for event in events]
        return _answered(events, share.notices)

    def tag_keys(self) -> Response:
        """List the keys of ad hoc filters."""
        _body()
        return _answered([{"type": "string", "text": key} for key in TAG_KEYS])

    def tag_values(self) -> Response:
        """List the values of such a key."""
        key, share = str(_body().get("key")), self._bridge.memory.share()
        known = self._ask(self._bridge.fields, share)
        every = [(node, about) for node in known for about in known[node].values()]
        values = {tag_values(*each).get(key) for each in every}
        found = [{"text": value} for value in sorted(v for v in values if v)]
        return _answered(found, share.notices)

    def healthz(self) -> Response:
        """Say whether router and hub are there: 200, or 503 with the reason."""
        return _answered({"status": "ok", "nodes": len(self._ask(self._bridge.nodes))})

    def prometheus(self) -> Response:
        """Give what was counted, in Prometheus's text format."""
        text, content_type = self._metrics.expose(self._ask(self._gauges))
        return Response(text, content_type=content_type)

    async def _gauges(self) -> dict[str, float]:
        try:
            nodes = len(await self._bridge.nodes())
        except SisockError:
            nodes = 0
        is_up = self._bridge.connection.session is not None
        return {"cache_bytes": self._bridge.tiles.nbytes, "nodes": nodes, "router_up": is_up}


async def find_annotations(
    bridge: Bridge, share: Share, text: Any, interval: Interval
) -> list[dict[str, Any]]:
    """Find the events that an annotation query asks for, in time order.

    An event has ``time`` (and ``timeEnd``) in milliseconds, ``title``, ``text`` and ``tags``.
    """
    text = text.strip() if isinstance(text, str) else ""
    if text == "nodes":
        return [_change(each) for each in bridge.changes if interval.start <= each.t < interval.end]
    is_recorded = text.startswith(RECORDED)
    target = text.removeprefix(RECORDED if is_recorded else GAPS).strip()
    if is_recorded and SEPARATOR not in target:
        target += f"{SEPARATOR}{PRESENCE}*"
    patterns = parse_target(target) if is_annotation_query(text) else []
    if not patterns:
        raise InvalidArgument(
            'an annotation query is "nodes", "nodes recorder" or "gaps node::field"'
        )
    pairs = await bridge.find(share, {target: patterns})
    found = await bridge.samples(share, pairs[target], interval, None)
    end = min(interval.end, bridge.now())
    events = [
        event
        for (node, _), view in found.items()
        for event in (_recorded(view) if is_recorded else _gaps(node, view, end))
    ]
    return sorted(events, key=lambda event: event["time"])


def _change(change: NodeChange) -> dict[str, Any]:
    title = f"{change.node} {'appeared' if change.is_present else 'vanished'}"
    tags = ["sisock", "node", change.node]
    return {
        "time": round(change.t * 1e3),
        "title": title,
        "text": f"data node {title}",
        "tags": tags,
    }


def _recorded(view: View) -> Iterator[dict[str, Any]]:
    """Return the comings and goings of a node that a recorder kept."""
    node = view.field.name.removeprefix(PRESENCE)
    for t, is_present in zip(view.samples.t.tolist(), to_list(view.samples.values), strict=True):
        if isinstance(is_present, bool):
            yield _change(NodeChange(t, node, is_present))


def _gaps(node: str, view: View, end: float) -> Iterator[dict[str, Any]]:
    """Return gaps up to `end`, until when there could be samples."""
    t = view.samples.t[has_value(view.samples.values)]
    usual = view.field.interval
    if usual is None and len(t) > 2:
        usual = float(np.median(np.diff(t)))
    if usual is None or not len(t):
        return
    # A gap that goes on at the end has no sample behind it.
    edges = np.append(t, end) if end > t[-1] else t
    for index in np.flatnonzero(np.diff(edges) > GAP_INTERVALS * usual):
        start, stop = float(edges[index]), float(edges[index + 1])
        name = f"{node}::{view.field.name}"
        yield {
            "time": round(start * 1e3),
            "timeEnd": round(stop * 1e3),
            "title": f"gap in {name}",
            "text": f"no samples of {name} for {stop - start:g} s",
            "tags": ["sisock", "gap", node],
        }
