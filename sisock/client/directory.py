"""Know the data nodes and their fields without asking each time."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Coroutine, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from twisted.internet import defer

from sisock.connection.session import Session, translated
from sisock.errors import HubMissing, RouterUnreachable, SisockError, UnknownNode
from sisock.wire.fields import Field, parse_fields
from sisock.wire.protocol import Interval, node_uri, uri

READ_AGAIN = 30.0
"""Seconds between readings of the hub's list: nobody tells a consumer of a hub that restarted."""

SETTLE = 5.0
"""Seconds after a restart of router or hub in which the nodes add themselves again."""

HUB_RETRY = 2.0
"""Seconds after which a hub that did not answer is asked again."""

ASK_AGAIN = 1.0
"""Seconds after which the hub is asked again for a node that it does not list."""

FIELDS_AGE = 3.0
"""Seconds for which the known fields of a node are taken to be all: new ones show within 5 s."""


@dataclass(frozen=True)
class KnownNode:
    """A data node as the hub lists it.

    Attributes
    ----------
    features : frozenset of str
        What it can do beyond Part 1 of the protocol.
    generation : str
        What a consumer caches belongs to it: the node's own, or one that the consumer made.
    replicas : int or None
        Sessions that serve under this name, if the node has replicas.
    entry : mapping
        The hub's own words.
    """

    name: str
    description: str = ""
    features: frozenset[str] = frozenset()
    generation: str = ""
    replicas: int | None = None
    entry: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True)
class NodeEvent:
    """A data node that came or went."""

    node: KnownNode
    present: bool


class Directory:
    """Keep the list of nodes by subscription, and what each says of its fields.

    The hub's list is read at each join, every 30 s, and some seconds after a node that was there
    has been added again: then its hub has restarted, and the others must show that they live.

    `timeout` are the seconds that the hub or a node may take to answer. `on_change` is called with
    a `KnownNode` and whether it is present now, for each that comes or goes, but not for those of
    the first list. A node of another generation goes and comes. `on_added` is called with the name
    of each that is heard to have been added, also if it is the same as before.
    """

    def __init__(
        self,
        reactor: Any,
        timeout: float,
        on_change: Callable[[KnownNode, bool], None],
        on_added: Callable[[str], None] = lambda name: None,
    ) -> None:
        self._reactor = reactor
        self._timeout = timeout
        self._on_change = on_change
        self._on_added = on_added
        self._session: Session | None = None
        self._nodes: dict[str, KnownNode] = {}
        # Which of them have yet to show, after a restart of router or hub, that they live.
        self._doubtful: set[str] = set()
        self._is_listed = False  # on this session
        self._is_telling = False  # since the first list
        self._settled_at = 0.0
        # By the node's name: its generation, when it was asked, and what it said.
        self._fields: dict[str, tuple[str, float, dict[str, Field]]] = {}
        # Who waits for the answer to each question that is under way.
        self._waiting: dict[Hashable, list[defer.Deferred]] = {}
        # When the hub was last asked in vain for a name, in the last second.
        self._missed: dict[str, float] = {}
        self._next_look: Any = None

    async def joined(self, session: Session) -> None:
        """Subscribe on a new session, and read the list; raises as `subscribed`."""
        self._session = session
        if self._is_telling:
            self._settled_at = self._reactor.seconds() + SETTLE
        begun = [
            session.subscribe(self._added, uri("consumer.data_node_added")),
            session.subscribe(self._subtracted, uri("consumer.data_node_subtracted")),
        ]
        steps = [subscribed(each, self._timeout, self._reactor) for each in begun]
        # On the wire the question follows the subscriptions, so that no change is missed.
        await gather([*steps, self._look()])

    def left(self) -> None:
        """Note that the session is gone: the list is to be read anew."""
        self._session, self._is_listed = None, False
        self._doubtful = set(self._nodes)
        self._look_in(0)  # without a session: not at all

    async def nodes(self) -> list[KnownNode]:
        """Return the nodes by name, as known or else asked; RouterUnreachable, HubMissing."""
        if not self._is_listed:
            return await self._share(self._session, self.refresh)
        return [self._nodes[name] for name in sorted(self._nodes.keys() - self._doubtful)]

    async def refresh(self) -> list[KnownNode]:
        """Ask the hub, and return the nodes that it lists, by name; raises as `nodes`."""
        began = self._reactor.seconds()
        answer = await self._ask(None, uri("consumer.get_data_node"))
        try:
            listed = [_parse_node(entry, self.current(entry["name"])) for entry in answer]
        except (AttributeError, KeyError, TypeError):
            raise HubMissing("the hub's answer is not a list of data nodes") from None
        missing = self._nodes.keys() - {node.name for node in listed}
        self._is_listed = True
        self._doubtful |= missing
        for node in listed:
            self._put(node.name, node)
        for name in missing if began >= self._settled_at else ():
            self._put(name, None)
        self._is_telling = True
        self._fields = {name: kept for name, kept in self._fields.items() if name in self._nodes}
        return await self.nodes()

    def current(self, name: str) -> KnownNode | None:
        """Return the node of this name as far as is known, without asking."""
        return None if name in self._doubtful else self._nodes.get(name)

    async def node(self, name: str) -> KnownNode:
        """Return the node of this name; UnknownNode if there is none, else raises as `nodes`."""
        await self.nodes()
        now = self._reactor.seconds()
        if not self.current(name) and now - self._missed.get(name, -math.inf) >= ASK_AGAIN:
            recent = {each: t for each, t in self._missed.items() if now - t < ASK_AGAIN}
            self._missed = recent | {name: now}
            await self._share(self._session, self.refresh)
        if (found := self.current(name)) is not None:
            return found
        raise UnknownNode(
            f"there is no data node {name!r}: `sisock nodes` lists those that are there"
        )

    async def fields(
        self, node: KnownNode, wanted: Iterable[str] | None = None
    ) -> dict[str, Field]:
        """Return the fields of a node, as last heard in its generation.

        The node is asked if a wanted name is unknown or, where none is given, after 3 s; then
        raises UnknownNode, NodeTimeout, NodeFailed, NodeContractError or RouterUnreachable.
        """
        generation, asked_at, known = self._fields.get(node.name, ("", 0.0, {}))
        if generation == node.generation:
            is_young = self._reactor.seconds() - asked_at < FIELDS_AGE
            if is_young if wanted is None else all(name in known for name in wanted):
                return known
        return await self._share((node.name, node.generation), lambda: self.ask_fields(node))

    async def ask_fields(
        self, node: KnownNode, interval: Interval | None = None
    ) -> dict[str, Field]:
        """Ask a node for its fields, or those with samples in an interval; raises as `fields`."""
        began = self._reactor.seconds()
        times = (1, 0) if interval is None else (interval.start, interval.end)
        answer = await self._ask(node.name, node_uri(node.name, "get_fields"), *times)
        fields = parse_fields(answer, node.name)
        current = self.current(node.name)
        if interval is None and current and current.generation == node.generation:
            self._fields[node.name] = node.generation, began, fields
        return fields

    async def _ask(self, node: str | None, procedure: str, *args: float) -> Any:
        if (session := self._session) is not None:
            with translated(node):
                answer = await session.request(procedure, *args, timeout=self._timeout)
            if session is self._session:
                return answer
        raise RouterUnreachable("the connection to the router was lost")

    def _share(self, key: Hashable, ask: Callable[[], Coroutine]) -> defer.Deferred:
        """Return what an equal question under way is answered, or ask it."""
        waiter: defer.Deferred = defer.Deferred()
        waiting = self._waiting.setdefault(key, [])
        waiting.append(waiter)

        def tell(answer: Any) -> None:
            for each in self._waiting.pop(key):
                each.callback(answer)

        if len(waiting) == 1:
            defer.ensureDeferred(ask()).addBoth(tell)
        return waiter

    def _added(self, entry: Any, *_: Any, **__: Any) -> None:
        name = entry["name"]
        node = _parse_node(entry, self.current(name) if "generation" in entry else None)
        if self._is_telling and name in self._nodes:
            self._settled_at = self._reactor.seconds() + SETTLE
            self._look_in(SETTLE)
        self._put(name, node)
        self._on_added(name)

    def _subtracted(self, entry: Any, *_: Any, **__: Any) -> None:
        self._missed.pop(entry["name"], None)  # it may have come back at once
        self._put(entry["name"], None)

    def _put(self, name: str, node: KnownNode | None) -> None:
        """Note that a node is there, or not, and tell of it if that is new."""
        before = self._nodes.pop(name, None)
        self._doubtful.discard(name)
        if node is not None:
            self._nodes[name] = node
        own = None if node is None else node.entry.get("generation")
        is_same = before is not None and node is not None and own in (None, before.generation)
        if is_same or not self._is_telling:
            return
        if before is not None:
            self._on_change(before, False)
        if node is not None:
            self._on_change(node, True)

    def _look_in(self, seconds: float) -> None:
        """Plan when the list is read again, instead of any earlier plan."""
        if self._next_look is not None and self._next_look.active():
            self._next_look.cancel()
        if self._session is not None:
            self._next_look = self._reactor.callLater(
                seconds, lambda: defer.ensureDeferred(self._look())
            )

    async def _look(self) -> None:
        """Read the list, and see to it that it is read again."""
        try:
            await self._share(self._session, self.refresh)
            # Jitter, so that not all consumers ask in the same instant.
            pause = READ_AGAIN * random.uniform(0.7, 1.0)
        except SisockError:
            self._is_telling = True  # whatever is listed later has come
            self._settled_at = self._reactor.seconds() + HUB_RETRY + SETTLE
            pause = HUB_RETRY
        unsettled = self._settled_at - self._reactor.seconds()
        self._look_in(min(pause, unsettled) if unsettled > 0 else pause)


def _parse_node(entry: Mapping[str, Any], before: KnownNode | None) -> KnownNode:
    """Return the node of an entry of the hub's list.

    If it says nothing of its generation, that is as before, or a new one.
    """
    generation, replicas = entry.get("generation"), entry.get("replicas")
    if not isinstance(generation, str):
        is_same = before is not None and "generation" not in before.entry
        generation = before.generation if before is not None and is_same else uuid4().hex
    return KnownNode(
        entry["name"],
        entry.get("description") or "",
        frozenset(entry.get("features") or ()),
        generation,
        replicas if isinstance(replicas, int) else None,
        entry,
    )


async def subscribed(subscribing: defer.Deferred, timeout: float, reactor: Any) -> Any:
    """Return a subscription; RouterUnreachable, AuthenticationRejected if the router refuses."""
    with translated(None):
        try:
            return await subscribing.addTimeout(timeout, reactor)
        except defer.TimeoutError:
            raise RouterUnreachable("the router does not answer a subscription") from None


async def gather(calls: Iterable[Any]) -> list[Any]:
    """Wait for all calls; if one fails, cancel the others and raise its error."""
    started = [defer.ensureDeferred(call) for call in calls]
    try:
        return await defer.gatherResults(started, consumeErrors=True)
    except defer.FirstError as error:
        for call in started:
            call.cancel()
        raise error.subFailure.value from None
