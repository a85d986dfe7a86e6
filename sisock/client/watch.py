"""Follow the new samples of a node, across reconnections."""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Callable, Container, Mapping
from contextlib import suppress
from typing import Any

from twisted.internet import defer
from twisted.python.failure import Failure

from sisock.client.merge import MAX_EVENTS, Batch, Gap, Last, Merger, Passed, read_events
from sisock.client.missed import fetch_missed
from sisock.client.site import Site
from sisock.connection.runtime import RepeatedWarning, make_logger
from sisock.connection.session import Session, subscribed
from sisock.errors import HubMissing, NodeContractError, RouterUnreachable, UnknownNode
from sisock.wire.fields import Field, KnownNode
from sisock.wire.protocol import contract

PAUSE = 3.0  # seconds before asking a node again, after an error or if it publishes nothing
GIVE_UP = 60.0  # seconds of errors after which missed samples count as lost
MAX_TIMELINES = 50_000  # maximum of a node; if there are more, the least recent is dropped

_AWAY = (HubMissing, RouterUnreachable, UnknownNode)
"""Errors of a node that is absent, and may come back with all its samples."""

log = make_logger()


class Watch:
    """Pass on the new samples of a node, each once and in order, and gaps.

    Samples come from the node's topic or, if it publishes none, from calls every few seconds. After
    a break the node is asked for missed samples, timeline by timeline; see `Merger`. Events are
    noted when they come, and handled later, as a ping of the router may be behind them. If too many
    wait, they are dropped, and the node is asked for their samples.

    Parameters
    ----------
    on_samples : callable
        Called with each `Batch` and `Gap`. If it returns a Deferred, nothing more is passed on
        until that has fired; samples that do not fit into memory are fetched later.
    fields : container of str, optional
        Fields of interest; all if None. Samples without a value of these fields are left out.
    after : mapping, optional
        Time of the last known sample of each timeline. If None, begin with the first event.
    since : float, optional
        UNIX time at which timelines that are not in `after` begin; now if None.
    """

    def __init__(
        self,
        site: Site,
        node: str,
        on_samples: Callable[[Batch | Gap], defer.Deferred | None],
        fields: Container[str] | None = None,
        after: Mapping[str, float] | None = None,
        since: float | None = None,
    ) -> None:
        self.node = node
        self._site = site
        self._on_samples = on_samples
        self._wanted = fields
        self._since = time.time() if since is None else since
        self._lines = {name: Merger(name, t, is_live=False) for name, t in (after or {}).items()}
        self._fields: dict[str, dict[str, Field]] = {}
        self._timeline_of: dict[str, str] = {}
        self._is_new = after is None
        self._must_look = False
        self._is_polled = False
        self._is_passing = False
        self._heard: list[Any] = []
        self._passed: deque[Batch | Gap] = deque()
        self._subscription: Any = None
        self._task: defer.Deferred | None = None
        self._pause: defer.Deferred | None = None
        self._room: defer.Deferred | None = None
        self._failing_since: float | None = None
        self._warn = RepeatedWarning(log)
        site.watches.add(self)

    @property
    def _is_running(self) -> bool:
        return self in self._site.watches

    async def begin(self, session: Session) -> None:
        """Subscribe on a session; raises as `subscribed`."""
        self._subscription = None
        self._stop()
        lock, topic = self._site.locks[self.node], self._site.directory.uri(self.node, "data")
        begun = lock.run(session.subscribe, self._hear, topic)
        self._subscription = await subscribed(begun, self._site.timeout, session.reactor)
        if not self._is_running:
            self.end()
        elif not self._is_new:
            self.lose()
        self._is_new = False

    def end(self) -> None:
        """Unsubscribe."""
        self._site.watches.discard(self)
        self._heard.clear()
        self._passed.clear()
        self._stop()
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            lock = self._site.locks[self.node]
            lock.run(subscription.unsubscribe).addErrback(lambda _: None)

    def lose(self) -> None:
        """Ask for samples that may have been missed."""
        self._handle()  # these came before the break
        self._lose_all()
        if self._pause is not None and not self._pause.called:
            self._pause.callback(None)
        self._start()

    def _lose_all(self) -> None:
        self._must_look = True
        for line in self._lines.values():
            line.lose()

    def _start(self) -> None:
        if self._task is None and self._is_running:
            self._task = defer.Deferred()  # set before the coroutine runs, as it may end at once
            task = defer.ensureDeferred(self._catch_up())
            if self._task is not None:
                self._task = task

    def _stop(self) -> None:
        task, self._task = self._task, None
        if task is not None and not self._is_passing:
            task.addErrback(lambda _: None)
            task.cancel()

    def _hear(self, *args: Any, **_: Any) -> None:
        """Note an event."""
        if not self._is_running:
            return
        if not self._heard:
            self._site.turns.add(self._handle)
        self._heard.append(args[0] if args else None)
        if len(self._heard) > MAX_EVENTS:
            self._warn(f"asking {self.node!r} for samples: its events come too fast")
            self._heard.clear()
            self.lose()

    def _handle(self) -> None:
        """Handle the events that have come."""
        events, self._heard = self._heard, []
        try:
            for each in read_events(events, self.node, self._timeline_of, self._wanted):
                self._take(each)
        except NodeContractError as error:
            self._warn(f"asking for the samples of an event that cannot be used: {error}")
            self.lose()

    def _take(self, heard: Batch | Last) -> None:
        """Handle samples of a timeline, or the time of its last one."""
        line = self._line(heard.timeline)
        with contract(self.node):
            if isinstance(heard, Batch):
                self._pass(line.hear(heard))
            else:
                line.hear_of(heard.t)
        if not line.is_live:
            self._start()

    def _line(self, name: str) -> Merger:
        """Return the `Merger` of an event's timeline, and mark it as the most recent one."""
        line = self._lines.pop(name, None)
        if line is None:
            line = Merger(name, is_live=self._task is None)
            # The fields that are being read may be older than this timeline: read them again.
            self._must_look |= self._task is not None
        self._lines[name] = line
        if len(self._lines) > MAX_TIMELINES:
            del self._lines[next(iter(self._lines))]
        return line

    def _pass(self, passed: Passed) -> None:
        """Pass on samples and gaps, now or when there is room."""
        self._passed += passed
        self._is_passing = True
        while self._passed and self._room is None and self._is_running:
            each = self._passed.popleft()
            room = deliver(f"the node {self.node!r}", self._on_samples, each)
            if room is not None and not room.called:
                self._room = room.addBoth(self._go_on)
        self._is_passing = False
        if self._room is not None:
            for line in self._lines.values():
                line.hold()
            self._start()

    async def _catch_up(self) -> None:
        """Ask until no sample is missed; for ever if the node publishes nothing."""
        while self._is_running:
            try:
                await self._read_all()
                self._failing_since = None
            except defer.CancelledError:
                raise
            except Exception as error:
                self._fail(error)
            if self._is_complete() and not self._is_polled:
                self._task = None
                return
            await self._sleep()
            if self._is_polled:
                self._lose_all()

    def _is_complete(self) -> bool:
        return not self._must_look and all(line.is_live for line in self._lines.values())

    async def _sleep(self) -> None:
        self._pause = defer.Deferred()
        with suppress(defer.TimeoutError):
            await self._pause.addTimeout(PAUSE, self._site.reactor)

    def _fail(self, error: Exception) -> None:
        self._must_look = True
        if isinstance(error, _AWAY):
            self._failing_since = None
            log.debug("{node}: {why}", node=self.node, why=str(error))
            return
        self._warn(f"asking {self.node!r} again for missed samples: {error}")
        now = self._site.reactor.seconds()
        self._failing_since = now if self._failing_since is None else self._failing_since
        if now - self._failing_since > GIVE_UP and not self._is_polled:
            self._must_look = False
            for line in [line for line in self._lines.values() if line.is_behind]:
                line.give_up()
                self._pass(line.release())

    async def _read_all(self) -> None:
        while self._is_running:
            for line in list(self._lines.values()):
                await self._release(line)
            if self._is_complete():
                return
            is_fresh, self._must_look = self._must_look, False
            await self._site.session()
            directory = self._site.directory
            node = await directory.node(self.node)
            self._is_polled = "live" not in node.features
            self._note(await (directory.ask_fields if is_fresh else directory.fields)(node))
            for name, line in list(self._lines.items()):
                if name in self._fields or not self._must_look:
                    await self._read(line, node)

    def _note(self, known: Mapping[str, Field]) -> None:
        """Note the node's fields of interest, and begin new timelines."""
        self._timeline_of = {name: each.timeline for name, each in known.items()}
        fields: defaultdict[str, dict[str, Field]] = defaultdict(dict)
        for name, each in known.items():
            if self._wanted is None or name in self._wanted:
                fields[each.timeline][name] = each
        self._fields = fields
        for name in fields.keys() - self._lines.keys():
            self._lines[name] = Merger(name, is_live=False)

    async def _read(self, line: Merger, node: KnownNode) -> None:
        """Ask for the samples that a timeline missed, then go on with its events."""
        while line.is_behind and self._is_running:
            await self._wait_for_room()
            try:
                fields = self._fields.get(line.timeline, {})
                self._pass(await fetch_missed(self._site, node, line, fields, self._since))
            except BaseException:
                line.lose()
                raise
        await self._release(line)

    async def _release(self, line: Merger) -> None:
        """Go on with the events of a timeline, unless samples were missed."""
        while not (line.is_live or line.is_behind) and self._is_running:
            await self._wait_for_room()
            if not line.is_behind:
                self._pass(line.release())

    def _go_on(self, result: Any) -> None:
        if isinstance(result, Failure):
            log.error("samples of {node} are lost: {why}", node=self.node, why=str(result.value))
        self._room = None
        self._pass([])

    async def _wait_for_room(self) -> None:
        while self._room is not None:
            waiter: defer.Deferred = defer.Deferred()  # of its own, as a task that ends cancels it
            self._room.addBoth(waiter.callback)
            await waiter


def deliver(what: str, callback: Callable[..., Any], *args: Any) -> Any:
    """Call back, and return the result; if it raises, log that the event is lost."""
    try:
        return callback(*args)
    except Exception as error:
        why = f"{type(error).__name__}: {error}"
        log.error("an event of {what} is lost: {why}", what=what, why=why)
