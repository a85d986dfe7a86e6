"""Asking a data node for samples: one call, or window after window where the node has them."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any

from twisted.internet import defer
from twisted.python.failure import Failure

from sisock.errors import ReplyTooLarge
from sisock.protocol import WINDOW_DEFAULT, WINDOW_MAX, node_uri
from sisock.received import decode
from sisock.session import Session

ENLARGE_UNDER = 2.0
"""Seconds: only a window that arrives faster makes the next one larger."""


class _Window:
    """One progressive call under way."""

    def __init__(
        self,
        session: Session,
        node: str,
        arguments: tuple,
        keywords: Mapping[str, Any],
        quiet: float,
    ) -> None:
        self.pieces: list[Any] = []
        self.first: defer.Deferred = defer.Deferred()
        self._began = time.monotonic()
        self.seconds = 0.0
        self._quiet = quiet
        self._reactor = session.reactor
        self.done = session.request(
            node_uri(node, "get_data"),
            *arguments,
            timeout=None,
            on_progress=self._take,
            **keywords,
        )
        self._timer = self._reactor.callLater(quiet, self._give_up)
        self._timed_out = False
        self.done.addCallbacks(self._finish, self._fail)

    def _take(self, piece: Any) -> None:
        self.pieces.append(piece)
        self._timer.reset(self._quiet)
        if not self.first.called:
            self.first.callback(piece)

    def _finish(self, piece: Any) -> None:
        self._take(piece)
        self._timer.cancel()
        self.seconds = time.monotonic() - self._began

    def _fail(self, failure: Any) -> Any:
        if self._timer.active():
            self._timer.cancel()
        if self._timed_out:
            failure = Failure(defer.TimeoutError(self._quiet, "get_data"))
        if self.first.called:
            return failure
        self.first.errback(failure)
        return None

    def _give_up(self) -> None:
        self._timed_out = True
        self.done.cancel()

    def cancel(self) -> None:
        """Stop; what still comes is dropped."""
        self.done.addErrback(lambda _: None)
        self.first.addErrback(lambda _: None)
        self.done.cancel()


async def fetch(
    session: Session,
    node: str,
    features: Iterable[str],
    fields: list[str],
    start: float,
    end: float,
    min_stride: float | None,
    timeout: float,
) -> list[Any]:
    """Ask a node for samples, in the best way that it announces.

    Parameters
    ----------
    session : Session
        A joined session.
    node : str
        The node's name.
    features : iterable of str
        What the hub says that the node can do.
    fields : list of str
        Field names.
    start, end : float
        Sisock times.
    min_stride : float or None
        Seconds between samples, at least.
    timeout : float
        Seconds without any answer after which the node is given up.

    Returns
    -------
    list of dict
        The pieces of the reply, as they came.

    Raises
    ------
    ReplyTooLarge
        If the node answers False.
    """
    features = set(features)
    keywords: dict[str, Any] = {"encoding": "binary"} if "binary" in features else {}
    if "progressive" in features:
        stream = _Stream(session, node, fields, min_stride, keywords, timeout)
        return await stream.run(start, end)
    reply = await session.request(
        node_uri(node, "get_data"),
        fields,
        start,
        end,
        *(() if min_stride is None else (min_stride,)),
        timeout=timeout,
        **keywords,
    )
    return [_not_false(reply, node)]


def _not_false(reply: Any, node: str) -> Any:
    if reply is False:
        raise ReplyTooLarge(
            f"the reply of {node!r} is over its allowance: ask for less time, fewer fields or a"
            " larger spacing (min_stride)"
        )
    return reply


class _Stream:
    """A reply in windows: at most two calls under way, larger ones while they arrive fast."""

    def __init__(
        self,
        session: Session,
        node: str,
        fields: list[str],
        min_stride: float | None,
        keywords: Mapping[str, Any],
        timeout: float,
    ) -> None:
        self._session = session
        self._node = node
        self._fields = fields
        self._min_stride = min_stride
        self._keywords = keywords
        self._timeout = timeout
        self._size = WINDOW_DEFAULT
        self._after: dict[str, float] = {}

    async def run(self, start: float, end: float) -> list[Any]:
        pieces: list[Any] = []
        underway: list[_Window] = []
        try:
            following: tuple[float, float] | None = (start, end)
            while following or underway:
                if following:
                    underway.append(self._open(*following))
                    head = _not_false(await underway[-1].first, self._node)
                    following = (head["next"], head["end"]) if "next" in head else None
                if len(underway) == 2 or not following or self._min_stride is not None:
                    await self._close(underway.pop(0), pieces)
        finally:
            for window in underway:
                window.cancel()
        return pieces

    def _open(self, start: float, end: float) -> _Window:
        keywords: dict[str, Any] = {**self._keywords, "window": self._size}
        arguments: tuple[Any, ...] = (self._fields, start, end)
        if self._min_stride is not None:
            arguments += (self._min_stride,)
            if self._after:
                keywords["after"] = self._after
        return _Window(self._session, self._node, arguments, keywords, self._timeout)

    async def _close(self, window: _Window, pieces: list[Any]) -> None:
        await window.done
        for piece in window.pieces:
            pieces.append(piece)
            if self._min_stride is not None:
                self._note_last_times(piece)
        if window.seconds < ENLARGE_UNDER:
            self._size = min(self._size * 4, WINDOW_MAX)

    def _note_last_times(self, piece: Any) -> None:
        for name, line in decode(piece, self._node)[1].items():
            if len(line.t):
                self._after[name] = float(line.t[-1])
