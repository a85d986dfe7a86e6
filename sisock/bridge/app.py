"""Answer all routes except panels, with Flask, and find annotations."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any

import numpy as np
from flask import Flask, request

from sisock.bridge.answers import OPEN, Answer, notice_headers
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
from sisock.bridge.targets import SEPARATOR, check_wildcards, matches, parse_target, parse_words
from sisock.bridge.tiles import View, tile_generation
from sisock.errors import InvalidArgument, SisockError
from sisock.wire.arrays import has_value, to_list
from sisock.wire.fields import Field, KnownNode
from sisock.wire.json_rows import dumps
from sisock.wire.protocol import Interval

GAP_INTERVALS = 5  # a gap is longer than this many of the field's intervals
PRESENCE = "nodes."  # prefix of the recorder's fields that tell when a node was registered
FIELD_KEYS = ("description", "type", "units", "interval", "first", "last")
OPTIONAL_KEYS = ("limits", "precision", "labels", "stale_after")
MAX_NAME = 200  # characters of an annotation's name; each of its events repeats it
TILES = "/tiles/"  # the route of all paths that begin with it

ROUTES = {
    "/": ("GET", "root"),
    "/search": ("POST", "search"),
    "/metrics": ("POST", "metrics"),
    "/metric-payload-options": ("POST", "payload_options"),
    "/variable": ("POST", "variable"),
    "/nodes": ("GET", "nodes"),
    "/query": ("POST", "query"),
    "/series": ("GET", "series"),
    "/healthz": ("GET", "healthz"),
    "/readyz": ("GET", "readyz"),
    TILES: ("GET", "tile"),
    "/annotations": ("POST", "annotations"),
    "/tag-keys": ("POST", "tag_keys"),
    "/tag-values": ("POST", "tag_values"),
    "/prometheus": ("GET", "prometheus"),
}
"""Method of each path, and the method of `Panels` or else of `Routes` that answers."""


def make_app(bridge: Bridge, metrics: Metrics) -> Flask:
    """Return the Flask application; of the routes of panels, it only rejects other methods."""
    app, routes = Flask(__name__, static_folder=None), Routes(bridge, metrics)
    app.url_map.merge_slashes = False
    for path, (method, name) in ROUTES.items():
        rule = f"{path}<path:rest>" if path == TILES else path
        app.add_url_rule(rule, name, getattr(routes, name, None), methods=[method])
    return app


async def call_flask(app: Flask, sent: Request) -> Answer:
    """Return the answer of the view for a request; raises HTTPException if there is none."""
    environ = {
        "REQUEST_METHOD": sent.method,
        "PATH_INFO": sent.path.encode().decode("latin-1"),
        "QUERY_STRING": sent.query,
        "CONTENT_LENGTH": str(len(sent.body)),
        "SERVER_NAME": "sisock",
        "SERVER_PORT": "80",
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(sent.body),
    }
    with app.request_context(environ):
        if request.routing_exception is not None:
            raise request.routing_exception
        view: Callable[[], Any] = app.view_functions[request.endpoint or ""]
        answer: Answer = await view()
        return answer


def _body() -> dict[str, Any]:
    return parse_body(request.get_data())


def _json_answer(content: Any, notices: Iterable[str] = (), **headers: str) -> Answer:
    return Answer([dumps(content)], headers={**notice_headers(notices), **headers})


class Routes:
    """Answer the routes as Flask's views: coroutines in the reactor."""

    def __init__(self, bridge: Bridge, metrics: Metrics) -> None:
        self._bridge = bridge
        self._metrics = metrics

    async def root(self) -> Answer:
        """Confirm that the bridge runs, for Grafana's "Save & test"."""
        return Answer([b"sisock Grafana bridge\n"], headers={"Content-Type": "text/plain"})

    async def search(self) -> Answer:
        """List the targets that contain a text (SimpleJSON)."""
        return await self._list_targets(_body().get("target"), lambda name: name)

    async def metrics(self) -> Answer:
        """List all targets (simPod)."""
        return await self._list_targets(None, lambda name: {"value": name, "label": name})

    async def payload_options(self) -> Answer:
        """List the options of a target's payload: there are none (simPod)."""
        return _json_answer([])

    async def variable(self) -> Answer:
        """List the targets that contain a text, for a template variable (simPod)."""
        payload = _body().get("payload")
        text = payload.get("target") if isinstance(payload, dict) else payload
        return await self._list_targets(text, lambda name: {"__text": name, "__value": name})

    async def _list_targets(self, text: Any, entry: Callable[[str], Any]) -> Answer:
        """List the targets that contain `text`, each as `entry` makes it."""
        if text is not None and not isinstance(text, str):
            raise InvalidArgument("target must be a text")
        patterns = [f"*{word}*" for word in parse_words(text or "")]
        share = self._bridge.memory.share()
        known = await self._bridge.fields(share)
        names = [f"{node}::{name}" for node, fields in known.items() for name in fields]
        check_wildcards(len(patterns), len(names))
        found = [entry(name) for name in names if (text or "") in name or matches(name, *patterns)]
        return _json_answer(found, share.notices)

    async def nodes(self) -> Answer:
        """List all nodes, or those that the arguments ``node`` name, with their fields."""
        wanted, share = set(request.args.getlist("node")), self._bridge.memory.share()
        bridge = self._bridge
        is_site_wanted = ({name.partition("/")[0] for name in wanted} or bridge.sites).__contains__
        names = wanted.__contains__, is_site_wanted
        known = await bridge.fields(share, *names) if wanted else {}
        nodes = await bridge.nodes(is_site_wanted)
        share.notices += nodes.unreachable.values()
        found = [_describe(n, known.get(n.name)) for n in nodes if not wanted or n.name in known]
        return _json_answer(found, share.notices, **{"Cache-Control": OPEN})

    async def annotations(self) -> Answer:
        """List nodes that appeared or vanished, or gaps of a field (SimpleJSON)."""
        body, share = _body(), self._bridge.memory.share()
        annotation, interval = body.get("annotation"), parse_range(body.get("range"))
        text = annotation.get("query") if isinstance(annotation, dict) else None
        events = await find_annotations(self._bridge, share, text or "nodes", interval)
        if isinstance(annotation, dict):
            # Grafana matches events to their annotation by the name.
            name = str(annotation.get("name", ""))[:MAX_NAME]
            events = [{**event, "annotation": {"name": name}} for event in events]
        return _json_answer(events, share.notices)

    async def tag_keys(self) -> Answer:
        """List the keys of ad hoc filters."""
        _body()
        return _json_answer([{"type": "string", "text": key} for key in TAG_KEYS])

    async def tag_values(self) -> Answer:
        """List the values of a key of ad hoc filters."""
        key, share = str(_body().get("key")), self._bridge.memory.share()
        known = await self._bridge.fields(share)
        pairs = [(node, field) for node in known for field in known[node].values()]
        values = {tag_values(*pair).get(key) for pair in pairs}
        found = [{"text": value} for value in sorted(v for v in values if v)]
        return _json_answer(found, share.notices)

    async def prometheus(self) -> Answer:
        """Return the metrics in Prometheus's text format."""
        sites = self._bridge.sites
        nodes = dict.fromkeys(sites, 0)
        with suppress(SisockError):
            nodes |= Counter(node.site for node in await self._bridge.nodes())
        gauges: dict[str, Mapping[str, float]] = {
            "cache_bytes": {"": self._bridge.tiles.nbytes},
            "nodes": nodes,
            "router_up": {n: site.connection.session is not None for n, site in sites.items()},
        }
        text, content_type = self._metrics.expose(gauges)
        return Answer([text], headers={"Content-Type": content_type})


def _describe(node: KnownNode, fields: Mapping[str, Field] | None) -> dict[str, Any]:
    """Return a node's entry in the list of nodes."""
    entry: dict[str, Any] = {"name": node.name, "description": node.description}
    entry["generation"] = tile_generation(node)
    if fields is not None:
        entry["fields"] = {name: _describe_field(field) for name, field in fields.items()}
    return entry


def _describe_field(field: Field) -> dict[str, Any]:
    """Return a field's entry in the list of nodes, without optional keys that it lacks."""
    entry = {key: getattr(field, key) for key in FIELD_KEYS}
    for key in OPTIONAL_KEYS:
        if (value := getattr(field, key)) is not None:
            entry[key] = value
    return entry


async def find_annotations(
    bridge: Bridge, share: Share, text: Any, interval: Interval
) -> list[dict[str, Any]]:
    """Return the events for an annotation query, in time order.

    An event has ``time`` (and ``timeEnd``) in milliseconds, ``title``, ``text`` and ``tags``.
    """
    text = text.strip() if isinstance(text, str) else ""
    if text == "nodes":
        return [_event(c) for c in bridge.changes if interval.start <= c.t < interval.end]
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
    events: list[dict[str, Any]] = []
    end = min(interval.end, bridge.now())
    for (node, _), view in found.items():
        prefix = bridge.sites.of(node).prefix
        events += _recorded_changes(view, prefix) if is_recorded else _gaps(node, view, end)
    return sorted(events, key=lambda event: event["time"])


def _event(change: NodeChange) -> dict[str, Any]:
    title = f"{change.node} {'appeared' if change.is_present else 'vanished'}"
    about = {"title": title, "text": f"data node {title}", "tags": ["sisock", "node", change.node]}
    return {"time": round(change.t * 1e3), **about}


def _recorded_changes(view: View, prefix: str) -> Iterator[dict[str, Any]]:
    """Yield events of a node that appeared and vanished, from a recorder's field."""
    node = prefix + view.field.name.removeprefix(PRESENCE)
    for t, is_present in zip(view.samples.t.tolist(), to_list(view.samples.values), strict=True):
        if isinstance(is_present, bool):
            yield _event(NodeChange(t, node, is_present))


def _gaps(node: str, view: View, end: float) -> Iterator[dict[str, Any]]:
    """Yield the gaps of a field before `end`, the time up to which samples can exist."""
    t = view.samples.t[has_value(view.samples.values)]
    spacing = view.field.interval
    if spacing is None and len(t) > 2:
        spacing = float(np.median(np.diff(t)))
    if spacing is None or not len(t):
        return
    # A gap may last until the end.
    edges = np.append(t, end) if end > t[-1] else t
    for index in np.flatnonzero(np.diff(edges) > GAP_INTERVALS * spacing):
        start, stop = float(edges[index]), float(edges[index + 1])
        name = f"{node}::{view.field.name}"
        yield {
            "time": round(start * 1e3),
            "timeEnd": round(stop * 1e3),
            "title": f"gap in {name}",
            "text": f"no samples of {name} for {stop - start:g} s",
            "tags": ["sisock", "gap", node],
        }
