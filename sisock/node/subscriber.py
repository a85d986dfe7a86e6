"""Receive what an instrument or a server sends by itself, keep and publish it: `SubscriberNode`."""

from __future__ import annotations

import random
import time
from abc import abstractmethod
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from twisted.internet import defer, task, threads

from sisock.connection.runtime import is_asynchronous
from sisock.errors import SisockError
from sisock.node.live import LiveNode, wait_for
from sisock.wire.fields import check_entries
from sisock.wire.protocol import contract
from sisock.wire.times import counted

MIN_DELAY, MAX_DELAY = 1.0, 60.0  # seconds before reconnecting; doubled if no sample has come

SUMMARY_EVERY = 60.0


class SubscriberNode(LiveNode):
    """A live node for an instrument or server that sends by itself: override `subscribe`.

    Attributes
    ----------
    channels : dict
        Name of a channel to the name of its field, or to a dict with ``field`` and any of the keys
        of `sisock.describe`. A field without a timeline gets its own. Samples of other channels are
        dropped. If `channels` is empty, each channel is a field with the channel's name.
    """

    interval = None
    channels: Mapping[str, str | Mapping[str, Any]] = {}

    _has_logged_end = False

    @abstractmethod
    def subscribe(self) -> Any:
        """Connect, and pass everything that comes to `hear` or `push`, until the connection ends.

        A plain method may block, as it runs in its own thread; a coroutine function must not. It is
        called again 1 to 60 seconds after it has returned or raised.
        """

    def hear(self, channel: str, value: Any, t: Any = None) -> None:
        """Push a value of a channel, or an array of values with an array of times."""
        field = self._field_of.get(channel) if self.channels else channel
        if not field:
            self._left_out += 1
        else:
            self.push({field: value}, t, None if field in self.fields else field)

    def push(self, values: Mapping[str, Any], t: Any = None, timeline: str | None = None) -> None:
        """Accept samples as `LiveNode.push` does."""
        super().push(values, t, timeline)
        self._heard += 1
        if self.trouble is not None:
            self.trouble = self._warn.last = None
        if self._has_logged_end:
            self._has_logged_end = False
            self.log.info("connected again: samples come")

    def prepare(self) -> None:
        """Prepare for samples; raises NodeContractError if an attribute is wrong."""
        with contract(self.name):
            self._field_of, described = _parse_channels(self.channels)
        check_entries(described, self.name)
        self.fields = {**self.fields, **described}
        self._heard = self._left_out = self._reconnects = 0
        self._told = 0, 0, 0
        self._is_stale: set[str] = set()
        self._running = defer.succeed(None)
        super().prepare()

    def begin(self, service: Any) -> None:
        """Subscribe, and subscribe again whenever the connection has ended."""
        super().begin(service)
        self._running = defer.ensureDeferred(self._stay_subscribed(service.reactor))
        service.repeat(1.0, self._tell_of_stale, now=False)
        service.repeat(SUMMARY_EVERY, self._sum_up, now=False)

    def end(self) -> None:
        """End the connection; later samples are refused."""
        super().end()
        self._running.cancel()

    async def take_sample(self, reactor: Any) -> list[str]:
        """Subscribe until a sample comes, or for `CHECK_FOR` seconds; raises as `subscribe`."""
        subscribed = self._subscribe_once(reactor)
        await wait_for(lambda: self._heard or subscribed.called, reactor)
        subscribed.cancel()
        with suppress(defer.CancelledError):
            await subscribed
        return []

    def _subscribe_once(self, reactor: Any) -> defer.Deferred:
        if is_asynchronous(self.subscribe):
            return defer.maybeDeferred(self.subscribe)
        return threads.deferToThreadPool(reactor, self._pool, self.subscribe)

    async def _stay_subscribed(self, reactor: Any) -> None:
        delay = MIN_DELAY
        while True:
            heard, why = self._heard, "it was closed"
            try:
                await self._subscribe_once(reactor)
            except Exception as error:
                why = _explain(error)
            if self._has_ended.is_set():
                return
            self._reconnects += 1
            delay = MIN_DELAY if self._heard > heard else min(2 * delay, MAX_DELAY)
            ended = f"the connection has ended ({why})"
            self._warn(f"{ended}; next try within {delay:.0f} s")
            # This still holds when the next connection is there, but silent.
            self.trouble = self._warn.last = f"{ended}; no sample has come since"
            self._has_logged_end |= self._warn.is_logged
            with suppress(defer.CancelledError):
                await task.deferLater(reactor, delay * random.uniform(0.5, 1.0))

    def _tell_of_stale(self) -> None:
        """Log once when a timeline becomes stale, and when samples come again."""
        for name, line in list(self._intake.lines.items()):
            silent = time.monotonic() - line.came_at
            is_stale = self.stale_after is not None and silent > self.stale_after
            if is_stale == (name in self._is_stale):
                continue
            self._is_stale ^= {name}
            text = f"nothing has come for {silent:.0f} s" if is_stale else "samples come again"
            self.log.warn("timeline {name!r}: {text}", name=name, text=text)

    def _sum_up(self) -> None:
        now = self._taken, self._dropped + self._left_out, self._reconnects
        samples, dropped, reconnects = (a - b for a, b in zip(now, self._told, strict=True))
        self._told = now
        self.log.info(
            "{samples} of {fields}, {dropped} dropped, {reconnects}",
            samples=counted(samples, "sample"),
            fields=counted(len(self._intake.kinds), "field"),
            dropped=dropped,
            reconnects=counted(reconnects, "reconnect"),
        )


def _explain(error: Exception) -> str:
    """Return why a connection has ended, and what to do if nothing accepts it."""
    text = str(error) if isinstance(error, SisockError) else f"{type(error).__name__}: {error}"
    if isinstance(error, ConnectionRefusedError):
        text = f"nothing listens there: is it on, and is the port right? {text}"
    return text


def _parse_channels(channels: Any) -> tuple[dict[str, str], dict[str, dict[str, Any]]]:
    """Return the field of each channel, and the entry of each field."""
    if not isinstance(channels, Mapping):
        raise ValueError(f"its channels must be a dict, not {type(channels).__name__}")
    field_of: dict[str, str] = {}
    described: dict[str, dict[str, Any]] = {}
    for channel, given in channels.items():
        if not isinstance(given, str | Mapping):
            raise ValueError(f"the channel {channel!r} needs the name of a field, or a dict")
        entry = {"field": given} if isinstance(given, str) else dict(given)
        field = field_of[channel] = entry.pop("field", channel)
        described[field] = {"timeline": field, **entry}
    return field_of, described
