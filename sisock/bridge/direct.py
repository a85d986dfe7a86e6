"""The bridge's answers to panels, given in the reactor: what most requests ask for.

Flask knows the same routes (`sisock/bridge/routes.py`), but only to refuse other methods.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from urllib.parse import parse_qs

from twisted.internet import defer
from twisted.web.server import Request

from sisock.bridge.answer_memory import AnswerMemory
from sisock.bridge.metrics import Metrics
from sisock.bridge.panels import Panels
from sisock.bridge.server import WebSettings, is_let_in
from sisock.bridge.web_answer import Answer, failure_of, refusal
from sisock.bridge.web_direct import MOST_AHEAD, Handler

_LONG = 4 * MOST_AHEAD
"""What a long answer takes on its way: parts that wait, and those that are made and joined."""


def direct_routes(
    panels: Panels, web: WebSettings, metrics: Metrics, memory: AnswerMemory
) -> dict[tuple[bytes, bytes], Handler]:
    """Handlers by method and path.

    Parameters
    ----------
    panels : Panels
        Answers panels.
    web : WebSettings
        Whom to let in.
    metrics : Metrics
        Counts.
    memory : AnswerMemory
        What all answers take.
    """

    def handler(path: str, answer: Callable[[Request], Awaitable[Answer]]) -> Handler:
        async def handle(request: Request) -> Answer:
            began = time.perf_counter()
            if is_let_in(web, request.getHeader("authorization")):
                try:
                    given = await answer(request)
                    # The samples are counted already, and the same bytes may go to many.
                    share = memory.share()
                    share.add(_LONG if given.is_long else sum(map(len, given.parts)))
                    given = replace(given, held=share)
                except defer.CancelledError:
                    raise
                except Exception as error:
                    given = failure_of(error, path)
            else:
                given = refusal()
            metrics.answered(path, given.status, began)
            return given

        return handle

    return {
        (b"POST", b"/query"): handler("/query", lambda r: panels.query(r.content.read())),
        **{
            (method, b"/series"): handler("/series", lambda r: panels.series(_arguments(r)))
            for method in (b"GET", b"HEAD")
        },
    }


def _arguments(request: Request) -> dict[str, list[str]]:
    _, _, query = request.uri.partition(b"?")
    return parse_qs(query.decode("ascii", "replace"), keep_blank_values=True)
