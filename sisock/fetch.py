"""Asking a data node for samples: one call, or window after window where the node has them."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from twisted.internet import defer

from sisock.errors import NodeContractError, ReplyTooLarge, SisockError
from sisock.fields import Field
from sisock.joining import Joiner, join
from sisock.progress import Progress, ProgressCount
from sisock.protocol import WINDOW_DEFAULT, WINDOW_MAX, Interval, node_uri
from sisock.received import Data, Piece, decode
from sisock.session import Session

ENLARGE_UNDER = 2.0
"""Seconds: only a window that arrives faster makes the next one larger."""

CALLS_AT_ONCE = 4
"""Calls under way to a node that is asked for each field of a timeline by itself."""


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
        self._heard = heard
        self.done = session.request(
            node_uri(node, "get_data"),
            *arguments,
            timeout=None,
            on_progress=self._take,
            **keywords,
        )
        self.done.addCallbacks(self._finish, self._fail)

    def _take(self, piece: Any) -> None:
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
        self.done.addErrback(lambda _: None)
        self.first.addErrback(lambda _: None)
        self.done.cancel()


async def fetch(
    session: Session,
    node: str,
    features: Iterable[str],
    fields: Mapping[str, Field],
    interval: Interval,
    min_stride: float | None,
    timeout: float,
    max_points: int | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    on_piece: Callable[[Any], None] | None = None,
) -> Data:
    """Ask a node for samples, in the best way that it announces.

    Parameters
    ----------
    session : Session
        A joined session.
    node : str
        The node's name.
    features : iterable of str
        What the hub says that the node can do.
    fields : mapping
        Those that are asked for.
    interval : Interval
        UNIX seconds. What a node sends beside it is left out.
    min_stride : float or None
        Seconds between samples, at least.
    timeout : float
        Seconds without any piece of the reply after which the node is given up.
    max_points : int, optional
        Samples of each field, at most; sent only to a node that knows it.
    on_progress : callable, optional
        Called with a `Progress` after each window of a long reply.
    on_piece : callable, optional
        Called with each piece of a reply as it comes, undecoded; an error that it raises ends all.

    Returns
    -------
    Data

    Raises
    ------
    ReplyTooLarge
        If the node answers False.
    NodeContractError
        If its reply is none.
    """
    features = set(features)
    keywords: dict[str, Any] = {"encoding": "binary"} if "binary" in features else {}
    if max_points is not None and "max_points" in features:
        keywords["max_points"] = max_points
    if "progressive" in features:
        stream = _Stream(
            session, node, fields, min_stride, keywords, timeout, on_progress, on_piece
        )
        return (await stream.run(interval)).clip(interval.start, interval.end)

    async def ask(some: Mapping[str, Field]) -> Data:
        arguments = list(some), interval.start, interval.end
        stride = () if min_stride is None else (min_stride,)
        uri = node_uri(node, "get_data")
        reply = await session.request(uri, *arguments, *stride, timeout=timeout, **keywords)
        if on_piece is not None:
            on_piece(reply)
        joined = join([_not_false(reply, node)], some, node)
        return joined.clip(interval.start, interval.end)

    turns = defer.DeferredSemaphore(CALLS_AT_ONCE)
    calls = [
        turns.run(lambda some=some: defer.ensureDeferred(ask(some))) for some in _apart(fields)
    ]
    found = {name: series for data in await gather(calls) for name, series in data.items()}
    return Data({name: found[name] for name in fields})


def _apart(fields: Mapping[str, Field]) -> list[dict[str, Field]]:
    """Group fields so that no two of a group share a timeline.

    Nodes of 2018 read each field from a file of its own and give the times of one of them for all:
    where a file lacks a sample, nothing in a common reply tells which.
    """
    groups: list[dict[str, Field]] = []
    lines: Counter[str] = Counter()
    for name, field in fields.items():
        if lines[field.timeline] == len(groups):
            groups.append({})
        groups[lines[field.timeline]][name] = field
        lines[field.timeline] += 1
    return groups


async def gather(calls: list[defer.Deferred]) -> list[Any]:
    """Wait for all calls; if one fails, cancel the others and raise its error."""
    try:
        return await defer.gatherResults(calls, consumeErrors=True)
    except defer.FirstError as error:
        for call in calls:
            call.cancel()
        raise error.subFailure.value from None


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
        if self._error is not None:
            # Kept, it would keep this frame, and so all that has come, until a full collection.
            error, self._error = self._error, None
            try:
                raise error from None
            finally:
                del error
        return data

    async def _run(self, start: float, end: float) -> Data:
        following: tuple[float, float] | None = (start, end)
        self._progress.begin(start, end)
        while following or self._underway:
            if following:
                self._underway.append(self._open(*following))
                head = _not_false(await self._underway[-1].first, self._node)
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
