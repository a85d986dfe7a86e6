"""The Grafana bridge's Flask application: sign-in, and errors as Grafana shows them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

from flask import Flask, Response, g, request
from werkzeug.exceptions import HTTPException

from sisock.bridge.metrics import Metrics
from sisock.bridge.server import WebSettings, is_let_in
from sisock.bridge.web_answer import (
    Answer,
    failure,
    failure_of,
    notice_headers,
    refusal,
)
from sisock.wire.json_rows import dumps


def answered(answer: Any, notices: Iterable[str] = ()) -> Response:
    """Answer with something as JSON, and notices in a header."""
    return response_of(Answer([dumps(answer)], headers=notice_headers(notices)))


def response_of(answer: Answer) -> Response:
    """Make it Flask's."""
    response = Response(b"".join(answer.parts), status=answer.status, mimetype="application/json")
    response.headers.update(answer.headers)
    return response


def _http_failure(error: HTTPException) -> Response:
    answer = failure(error.code or 500, f"{error.name}: {error.description}", error.name)
    response = response_of(answer)
    # What may be done instead: the methods of a 405, the right address of a redirection.
    given = error.get_response().headers
    for name in ("Allow", "Location"):
        if name in given:
            response.headers[name] = given[name]
    return response


def make_app(add_routes: Callable[[Flask], None], web: WebSettings, metrics: Metrics) -> Flask:
    """Make the WSGI application.

    Parameters
    ----------
    add_routes : callable
        Registers the routes.
    web : WebSettings
        Whom to let in.
    metrics : Metrics
        Counts.
    """
    app = Flask(__name__, static_folder=None)
    add_routes(app)

    @app.before_request
    def check() -> Response | None:
        g.began = time.perf_counter()
        if request.method == "OPTIONS":
            return Response(status=204)
        if request.path != "/healthz" and not is_let_in(web, request.headers.get("Authorization")):
            return response_of(refusal())
        return None

    @app.after_request
    def finish(response: Response) -> Response:
        metrics.answered(str(request.url_rule or "other"), response.status_code, g.began)
        return response

    app.register_error_handler(HTTPException, _http_failure)
    app.register_error_handler(
        Exception, lambda error: response_of(failure_of(error, request.path))
    )
    return app
