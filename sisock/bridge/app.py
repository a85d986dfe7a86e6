"""Answer each route: panels in the reactor, the others by Flask in threads."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any
from urllib.parse import parse_qs

from flask import Flask, Response, request
from twisted.internet import defer, threads
from werkzeug.exceptions import HTTPException

from sisock.bridge import answers
from sisock.bridge.annotations import find_annotations
from sisock.bridge.answers import Answer, failure, failure_of, notice_headers
from sisock.bridge.bridge import Bridge
from sisock.bridge.metrics import Found, Metrics, pick
from sisock.bridge.query import Flight, Views
from sisock.bridge.requests import (
    TAG_KEYS,
    Query,
    is_annotation_query,
    parse_arguments,
    parse_body,
    parse_query,
    parse_range,
    tag_values,
)
from sisock.bridge.server import Handler
from sisock.bridge.streams import Answers, open_streams
from sisock.bridge.targets import Pair, parse_words
from sisock.errors import InvalidArgument, SisockError
from sisock.wire.json_rows import dumps

LONG_ANSWER = 50_000
"""Samples; an answer with more is written in a thread, fewer take less time than the network."""

ROW_BYTES = 40
"""Memory of a sample in a table, or among the rows of all series, besides its own bytes."""

MAX_NAME = 200
"""Characters of an annotation's name, which each of its events repeats."""


ROUTES = {
    "/": ("GET", "root"),
    "/search": ("POST", "search"),
    "/metrics": ("POST", "metrics"),
    "/metric-payload-options": ("POST", "payload_options"),
    "/variable": ("POST", "variable"),
    # Answered by `Panels`; Flask refuses other methods.
    "/query": ("POST", None),
    "/series": ("GET", None),
    "/annotations": ("POST", "annotations"),
    "/tag-keys": ("POST", "tag_keys"),
    "/tag-values": ("POST", "tag_values"),
    "/healthz": ("GET", "healthz"),
    "/prometheus": ("GET", "prometheus"),
}


class Panels:
    """Answer panels, in the reactor."""

    def __init__(self, bridge: Bridge, metrics: Metrics) -> None:
        self._bridge = bridge
        self._views = Views(bridge)
        self._metrics = metrics
        self._flights: dict[tuple[bytes, bytes, bytes], Flight] = {}

    def handlers(self) -> dict[tuple[bytes, bytes], Handler]:
        """Return what answers which method and path."""

        def query(asked: Any) -> Coroutine[Any, Any, Answer]:
            body = asked.content.read()
            return self._once((asked.method, asked.uri, body), lambda: self.query(body))

        def series(asked: Any) -> Coroutine[Any, Any, Answer]:
            text = asked.uri.partition(b"?")[2].decode("ascii", "replace")
            arguments = parse_qs(text, keep_blank_values=True)
            return self._once((asked.method, asked.uri, b""), lambda: self.series(arguments))

        return {
            (b"POST", b"/query"): query,
            (b"GET", b"/series"): series,
            (b"HEAD", b"/series"): series,
        }

    async def _once(
        self, key: tuple[bytes, bytes, bytes], answer: Callable[[], Coroutine[Any, Any, Answer]]
    ) -> Answer:
        """Answer equal requests for views once that have come by the next turn of the reactor."""
        if b"maxDataPoints" not in key[1] + key[2]:
            return await answer()  # it is written as it comes, for one client

        def forget() -> None:
            if self._flights.get(key) is flight:
                del self._flights[key]

        async def job() -> list[Answer]:
            forget()  # of replies that have come, later requests may want newer ones
            return [await answer()]

        flight = self._flights.get(key)
        if flight is None:
            flight = self._flights[key] = Flight(self._bridge.reactor, 0, job, forget)
        made: list[Answer] = await flight.wait()
        if not made:
            return await answer()
        if made[0].body is None:
            return made.pop()  # written as it is taken, for one client
        share = self._bridge.memory.share()
        share.add(len(made[0].body))
        return replace(made[0], share=share)

    async def query(self, body: bytes) -> Answer:
        """Answer with series, tables, and simPod's annotations; raises SisockError."""
        query = parse_query(parse_body(body))
        events, notices = {}, []
        for text in {t.text for t in query.targets if is_annotation_query(t.text)}:
            events[text], more = await find_annotations(self._bridge, text, query.interval)
            notices += more
        texts = {t.text: t.patterns for t in query.targets if t.text not in events}
        pairs, more = await self._bridge.find(texts, query.accepts)
        found = self._bridge.found()
        made = Answers(query, pairs, found, events)
        of_tables, of_panels = made.wanted(True), made.wanted(False)
        span = query.interval, query.min_stride
        if of_tables:
            # Fields of a view have times of their own, which make no rows.
            made.tables = await self._bridge.samples(found, of_tables, *span)
            found.share.add(ROW_BYTES * _count(made.tables, of_tables))
        is_empty = query.interval.start >= query.interval.end
        if query.max_points is None and not of_tables and not is_empty:
            made.streams = await open_streams(self._bridge, found, of_panels, *span)
        else:
            found.series = await self._find(found, of_panels, query)
        headers = notice_headers([*notices, *more, *found.notices])
        if made.streams:
            return self._streamed(made, of_panels, headers)
        # A target that is there twice is answered twice.
        count = _count(found.series, of_panels) + _count(made.tables, of_tables)
        return self._answer(answers.body_of(made.write()), count, headers, found)

    async def series(self, arguments: Mapping[str, Sequence[str]]) -> Answer:
        """Answer Infinity: long rows in time order; raises SisockError."""
        query = parse_arguments(arguments)
        pairs, notices = await self._bridge.find({t.text: t.patterns for t in query.targets})
        wanted = list(dict.fromkeys(pair for each in pairs.values() for pair in each))
        found = self._bridge.found()
        found.series = await self._find(found, wanted, query)
        count = _count(found.series, wanted)
        # All rows are sorted before the first is written.
        found.share.add(ROW_BYTES * count)
        headers = notice_headers([*notices, *found.notices])
        return self._answer(answers.long_rows(pick(found.series, wanted)), count, headers, found)

    async def _find(self, found: Found, pairs: Sequence[Pair], query: Query) -> dict[Pair, Any]:
        if query.max_points is None:
            return await self._bridge.samples(found, pairs, query.interval, query.min_stride)
        return await self._views.find(found, pairs, query.interval, query.max_points)

    def _streamed(self, made: Answers, pairs: list[Pair], headers: Mapping[str, str]) -> Answer:
        def on_end() -> None:
            for stream in made.streams.values():
                stream.stop()
            self._metrics.found(made.found.written, 0, 0)

        try:
            come = sum(made.streams[pair].count(pair[1]) for pair in pairs if pair in made.streams)
            made.found.check_size(come)
        except InvalidArgument:
            on_end()
            raise
        return Answer(made.body(self._bridge.reactor), headers=headers, on_end=on_end)

    def _answer(
        self, parts: Iterator[bytes], count: int, headers: Mapping[str, str], found: Found
    ) -> Answer:
        found.check_size(count)
        on_end = partial(self._metrics.found, count, found.hits, found.misses)
        if count > LONG_ANSWER:
            # Until its end, the samples count as memory of an answer under way.
            return Answer(parts, headers=headers, on_end=on_end, share=found.share)
        return Answer([b"".join(parts)], headers=headers, on_end=on_end)


def _count(series: Mapping[Pair, Any], wanted: Iterable[Pair]) -> int:
    return sum(len(each) for _, each in pick(series, wanted))


def make_app(bridge: Bridge, metrics: Metrics) -> Flask:
    """Return the WSGI application of the routes that are not panels'."""
    app, routes = Flask(__name__, static_folder=None), Routes(bridge, metrics)
    for path, (method, name) in ROUTES.items():
        view = None if name is None else getattr(routes, name)
        app.add_url_rule(path, path, view, methods=[method])
    app.register_error_handler(HTTPException, _http_failure)
    app.register_error_handler(Exception, lambda error: _response(failure_of(error, request.path)))
    return app


def _answered(answer: Any, notices: Iterable[str] = ()) -> Response:
    return _response(Answer([dumps(answer)], headers=notice_headers(notices)))


def _response(answer: Answer) -> Response:
    response = Response(b"".join(answer.parts), status=answer.status, mimetype="application/json")
    response.headers.update(answer.headers)
    return response


def _http_failure(error: HTTPException) -> Response:
    # What may be done instead: the methods of a 405, the right address of a redirection.
    given = error.get_response().headers
    headers = {name: given[name] for name in ("Allow", "Location") if name in given}
    text = f"{error.name}: {error.description}"
    return _response(failure(error.code or 500, text, error.name, headers))


class Routes:
    """Answer the other routes, in threads."""

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
        return _answered(*self._names(parse_body(request.get_data()).get("target")))

    def metrics(self) -> Response:
        """List all targets (simPod)."""
        names, notices = self._names(None)
        return _answered([{"value": name, "label": name} for name in names], notices)

    def payload_options(self) -> Response:
        """List the values of a target's payload, of which there are none (simPod)."""
        return _answered([])

    def variable(self) -> Response:
        """List the targets that contain a text, for a template variable (simPod)."""
        payload = parse_body(request.get_data()).get("payload")
        text = payload.get("target") if isinstance(payload, dict) else payload
        names, notices = self._names(text)
        return _answered([{"__text": name, "__value": name} for name in names], notices)

    def _names(self, text: Any) -> tuple[list[str], list[str]]:
        if text is not None and not isinstance(text, str):
            raise InvalidArgument("target must be a text")
        known, notices = self._ask(self._bridge.fields)
        names = [f"{node}::{name}" for node, fields in known.items() for name in fields]
        patterns = [f"*{word}*" for word in parse_words(text or "")]
        return [
            name
            for name in names
            if (text or "") in name or any(fnmatch.fnmatchcase(name, p) for p in patterns)
        ], notices

    def annotations(self) -> Response:
        """List nodes that came and went, or gaps of a field (SimpleJSON)."""
        body = parse_body(request.get_data())
        about = body.get("annotation")
        text = about.get("query") if isinstance(about, dict) else None
        interval = parse_range(body.get("range"))
        events, notices = self._ask(find_annotations, self._bridge, text or "nodes", interval)
        if isinstance(about, dict):
            # Grafana wants it back to know whose the events are; by the name alone it does.
            name = str(about.get("name", ""))[:MAX_NAME]
            events = [{**event, "annotation": {"name": name}} for event in events]
        return _answered(events, notices)

    def tag_keys(self) -> Response:
        """List the keys of ad hoc filters."""
        parse_body(request.get_data())
        return _answered([{"type": "string", "text": key} for key in TAG_KEYS])

    def tag_values(self) -> Response:
        """List the values of such a key."""
        key = str(parse_body(request.get_data()).get("key"))
        known, notices = self._ask(self._bridge.fields)
        every = [(node, about) for node in known for about in known[node].values()]
        values = {tag_values(*each).get(key) for each in every}
        return _answered([{"text": value} for value in sorted(v for v in values if v)], notices)

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
