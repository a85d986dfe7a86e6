"""What the Grafana bridge answers, whoever sends it: errors, notices and CORS."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from sisock.bridge.answer_memory import Overloaded
from sisock.connection.logs import make_logger
from sisock.errors import HubMissing, InvalidArgument, RouterUnreachable, SisockError
from sisock.wire.json_rows import dumps

_NOTICE_LENGTH = 1000

RETRY_AFTER = "5"
"""Seconds after which one who was sent away may try again."""

NOTICE = "X-Sisock-Notice"

CORS = {"Access-Control-Expose-Headers": NOTICE}

PREFLIGHT = {
    **CORS,
    "Access-Control-Allow-Methods": "GET, POST, OPTIONS",
    "Access-Control-Allow-Headers": "Accept, Authorization, Content-Type",
    "Access-Control-Max-Age": "86400",
}
"""What a browser asks before it asks."""

log = make_logger()


@dataclass(frozen=True)
class Answer:
    """An answer of JSON.

    Attributes
    ----------
    parts : iterable of bytes
        The body; an iterator makes them as they are asked for.
    status : int
    headers : mapping
        But for those that all answers have.
    is_long : bool
        To make the parts takes so long that it wants a thread.
    held : object
        What must be there until the client has taken all.
    """

    parts: Iterable[bytes]
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    is_long: bool = False
    held: Any = None


def notice_headers(notices: Iterable[str]) -> dict[str, str]:
    """Put notices into a header."""
    # A header holds no control characters, and no others than ASCII for sure.
    text = "; ".join(notices)[:_NOTICE_LENGTH]
    return {NOTICE: re.sub(r"[^\x20-\x7e]+", " ", text)} if text else {}


def failure(status: int, message: str, kind: str) -> Answer:
    """Give an error as Grafana shows it: the text of ``message``."""
    return Answer([dumps({"message": message, "error": kind})], status)


def refusal() -> Answer:
    """Ask who did not sign in to do so."""
    refused = failure(401, "sign in with the bridge's token or password", "unauthorized")
    return replace(refused, headers={"WWW-Authenticate": 'Basic realm="sisock"'})


def failure_of(error: Exception, path: str) -> Answer:
    """Give any error; one that nobody has foreseen goes to the log."""
    kind = type(error).__name__
    if not isinstance(error, SisockError):
        log.error("{path} failed: {kind}: {why}", path=path, kind=kind, why=error)
        return failure(500, "the bridge failed: its log has the details", kind)
    if isinstance(error, Overloaded):
        return replace(failure(503, str(error), kind), headers={"Retry-After": RETRY_AFTER})
    status = 502
    if isinstance(error, InvalidArgument):
        status = 400
    elif isinstance(error, RouterUnreachable | HubMissing):
        status = 503
    return failure(status, str(error), kind)
