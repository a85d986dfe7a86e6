"""The Grafana bridge's Flask application: sign-in, CORS, and errors as Grafana shows them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

from sisock import grafana_answers
from sisock.bridge_metrics import Metrics
from sisock.errors import HubMissing, InvalidArgument, RouterUnreachable, SisockError
from sisock.logs import make_logger
from sisock.web import WebSettings, is_let_in

_NOTICE_LENGTH = 1000

NOTICE = "X-Sisock-Notice"

CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "GET, POST, OPTIONS",
    "Access-Control-Allow-Headers": "Accept, Authorization, Content-Type",
    "Access-Control-Expose-Headers": NOTICE,
    "Access-Control-Max-Age": "86400",
}

log = make_logger()


def answered(answer: Any, notices: list[str] | None = None) -> Response:
    """Answer with something as JSON, and notices in a header."""
    return json_response(grafana_answers.dumps(answer), notices)


def json_response(
    body: bytes | list[bytes], notices: list[str] | None = None, status: int = 200
) -> Response:
    """Answer with JSON, in one or in several parts, and notices in a header."""
    response = Response(body, status=status, mimetype="application/json")
    if notices:
        # A header holds no control characters, and no others than ASCII for sure.
        text = "; ".join(notices)[:_NOTICE_LENGTH]
        response.headers[NOTICE] = re.sub(r"[^\x20-\x7e]+", " ", text)
    return response


def _failure(status: int, message: str, kind: str) -> Response:
    """Give an error as Grafana shows it: the text of ``message``."""
    return json_response(grafana_answers.dumps({"message": message, "error": kind}), status=status)


def _sisock_failure(error: SisockError) -> Response:
    status = 502
    if isinstance(error, InvalidArgument):
        status = 400
    elif isinstance(error, RouterUnreachable | HubMissing):
        status = 503
    return _failure(status, str(error), type(error).__name__)


def _http_failure(error: HTTPException) -> Response:
    response = _failure(error.code or 500, f"{error.name}: {error.description}", error.name)
    # What may be done instead: the methods of a 405, the right address of a redirection.
    given = error.get_response().headers
    for name in ("Allow", "Location"):
        if name in given:
            response.headers[name] = given[name]
    return response


def _unforeseen(error: Exception) -> Response:
    log.error(
        "{path} failed: {kind}: {why}", path=request.path, kind=type(error).__name__, why=error
    )
    return _failure(500, "the bridge failed: its log has the details", type(error).__name__)


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
