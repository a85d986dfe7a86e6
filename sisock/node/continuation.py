"""What is left of replies that are sent in windows, so that no window asks the node anew."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from sisock.wire.reply import Reply
from sisock.wire.request import DataRequest

KEPT_FOR = 30.0
"""Seconds after the last window in which the next one is asked for, if at all."""

MOST_BYTES = 256 << 20
"""Memory that all remainders may hold."""

MOST_KEPT = 100
"""Remainders that are kept at once."""


class Continuations:
    """Remainders of replies, by what the caller will ask for next.

    A window that finds none is answered by the node's own code, so nothing depends on this but
    the time that it takes: without it the node would read, and everything be checked, once more
    for each window.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._kept: OrderedDict[tuple, Reply] = OrderedDict()
        self._timers: dict[tuple, Any] = {}

    def keep(self, request: DataRequest, following: float, reply: Reply) -> None:
        """Keep what comes from the time `following` on; in the reactor."""
        key = _key(request.fields, following, request.interval.end)
        self._forget(key)
        self._kept[key] = reply
        self._timers[key] = self._reactor.callLater(KEPT_FOR, self._forget, key)
        while len(self._kept) > MOST_KEPT or self._bytes() > MOST_BYTES:
            self._forget(next(iter(self._kept)))

    def _bytes(self) -> int:
        # Each buffer once: many remainders may be views of one that the node keeps anyway.
        held: dict[int, int] = {}
        for reply in self._kept.values():
            held.update(reply.held())
        return sum(held.values())

    def take(self, request: DataRequest) -> Reply | None:
        """What was kept for this request, once; in the reactor."""
        # Relative times are never a continuation; a spacing has been applied to what is kept.
        if request.min_stride or request.max_points is not None or request.sent_start <= 0:
            return None
        key = _key(request.fields, request.interval.start, request.interval.end)
        reply = self._kept.get(key)
        self._forget(key)
        return reply

    def clear(self) -> None:
        """Forget everything, as when samples changed."""
        for key in list(self._kept):
            self._forget(key)

    def _forget(self, key: tuple) -> None:
        self._kept.pop(key, None)
        timer = self._timers.pop(key, None)
        if timer is not None and timer.active():
            timer.cancel()


def _key(fields: list[str], start: float, end: float) -> tuple:
    return (*fields, start, end)
