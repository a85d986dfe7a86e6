"""A reply in windows: call after call, each answered in pieces, joined as they come."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet import defer

from sisock.client.data import Data, Piece, decode
from sisock.client.joining import Joiner
from sisock.client.progress import Progress, ProgressCount
from sisock.connection.session import Session
from sisock.errors import NodeContractError, ReplyTooLarge, SisockError
from sisock.wire.fields import Field
from sisock.wire.protocol import WINDOW_DEFAULT, WINDOW_MAX, Interval, node_uri

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
        heard: Callable[[Any], None],
    ) -> None:
        self.pieces: list[Any] = []
        self.first: defer.Deferred = defer.Deferred()
        self.seconds = 0.0
        self._began = time.monotonic()
        self._heard: Callable[[Any], None] | None = heard
        self.done = session.request(
            node_uri(node, "get_data"),
            *arguments,
            timeout=None,
            on_progress=self._take,
            **keywords,
        )
        self.done.addCallbacks(self._finish, self._fail)

    def _take(self, piece: Any) -> None:
        if self._heard is None:
            return
        self._heard(piece)
        self.pieces.append(piece)
        if not self.first.called:
            self.first.callback(piece)

    def _finish(self, piece: Any) -> None:
        self._take(piece)
        self.seconds = time.monotonic() - self._began

    def _fail(self, failure: Any) -> Any:
        if self.first.called:
            return failure
        self.first.errback(failure)
        return None

    def cancel(self) -> None:
        """Stop; what still comes is dropped."""
        # The session knows this until the router has answered, so it holds on to nothing.
        self.pieces, self._heard = [], None
        self.done.addErrback(lambda _: None)
        self.first.addErrback(lambda _: None)
        self.done.cancel()


def not_false(reply: Any, node: str) -> Any:
    """Return a reply, unless it is the protocol's way to say that it would be too large."""
    if reply is False:
        raise ReplyTooLarge(
            f"the reply of {node!r} is over its allowance: ask for less time, fewer fields or a"
            " larger spacing (min_stride)"
        )
    return reply


class Stream:
    """A reply in windows: at most two calls under way, larger ones while they arrive fast."""

    def __init__(
        self,
        session: Session,
        node: str,
        fields: Mapping[str, Field],
        min_stride: float | None,
        keywords: Mapping[str, Any],
        timeout: float,
        on_progress: Callable[[Progress], None] | None,
        on_piece: Callable[[Any], None] | None,
    ) -> None:
        self._session = session
        self._node = node
        self._fields = fields
        self._min_stride = min_stride
        self._keywords = keywords
        self._timeout = timeout
        self._progress = ProgressCount(on_progress)
        self._on_piece = on_piece
        self._joiner = Joiner(fields, node)
        self._size = WINDOW_DEFAULT
        self._after: dict[str, float] = {}
        self._underway: list[_Window] = []
        self._error: Exception | None = None
        self._timer: Any = None

    async def run(self, interval: Interval) -> Data:
        """Ask for window after window, and join their pieces.

        Raises
        ------
        TimeoutError
            Of Twisted, if no piece came for the time limit.
        """
        # One timer for both windows under way: a second one waits behind the first on the wire.
        reactor = self._session.reactor
        late = defer.TimeoutError(self._timeout, "get_data")
        self._timer = reactor.callLater(self._timeout, self._give_up, late)
        try:
            data = await self._run(interval.start, interval.end)
        except defer.CancelledError:
            if self._error is None:
                raise
        finally:
            if self._timer.active():
                self._timer.cancel()
            for window in self._underway:
                window.cancel()
            # The traceback of an error may last, and with it this.
            del self._joiner
        if self._error is not None:
            raise self._error from None
        return data

    async def _run(self, start: float, end: float) -> Data:
        following: tuple[float, float] | None = (start, end)
        self._progress.begin(start, end)
        while following or self._underway:
            if following:
                self._underway.append(self._open(*following))
                head = not_false(await self._underway[-1].first, self._node)
                following = self._following(head, following)
            if len(self._underway) == 2 or not following or self._min_stride is not None:
                await self._close(self._underway.pop(0))
        return self._joiner.data()

    def _following(self, head: Any, asked: tuple[float, float]) -> tuple[float, float] | None:
        if not isinstance(head, dict):
            raise NodeContractError(self._node, None, "a piece of its reply is not a dict")
        if "next" not in head:
            return None
        start: Any = head["next"]
        end: Any = head.get("end")
        if not all(isinstance(t, int | float) and math.isfinite(t) for t in (start, end)):
            raise NodeContractError(self._node, None, "next and end must be UNIX times")
        if asked[0] > 0 and start <= asked[0]:
            raise NodeContractError(self._node, None, "next does not advance: it has no end")
        return float(start), float(end)

    def _give_up(self, error: Exception) -> None:
        self._error = error
        for window in self._underway:
            window.done.cancel()

    def _heard(self, piece: Any) -> None:
        if self._timer.active():
            self._timer.reset(self._timeout)
        if self._on_piece is None:
            return
        try:
            self._on_piece(piece)
        except SisockError as error:
            self._give_up(error)

    def _open(self, start: float, end: float) -> _Window:
        keywords: dict[str, Any] = dict(self._keywords)
        if "max_points" not in keywords:  # a reply to which is always one window
            keywords["window"] = self._size
        arguments: tuple[Any, ...] = (list(self._fields), start, end)
        if self._min_stride is not None:
            arguments += (self._min_stride,)
            if self._after:
                keywords["after"] = self._after
        return _Window(self._session, self._node, arguments, keywords, self._heard)

    async def _close(self, window: _Window) -> None:
        await window.done
        decoded = [decode(piece, self._node) for piece in window.pieces]
        fraction = self._progress.add(decoded, is_last="next" not in window.pieces[0])
        window.pieces.clear()
        for piece in decoded:
            self._joiner.add(piece, fraction)
            if self._min_stride is not None:
                self._note_last_times(piece)
        if window.seconds < ENLARGE_UNDER:
            self._size = min(self._size * 4, WINDOW_MAX)

    def _note_last_times(self, piece: Piece) -> None:
        for name, line in piece.lines.items():
            if len(line.t):
                self._after[name] = float(line.t[-1])
