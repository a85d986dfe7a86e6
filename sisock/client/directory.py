"""Keep the list of data nodes and their fields, so that not every call asks the hub."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable
from typing import Any

from twisted.internet import defer

from sisock.connection.session import (
    Session,
    SingleFlight,
    gather,
    repeat_once,
    subscribed,
    translated,
)
from sisock.errors import HubMissing, RouterUnreachable, SisockError, UnknownNode
from sisock.wire.fields import Field, KnownNode, parse_fields, parse_node, suggest
from sisock.wire.protocol import Interval, node_uri, uri

READ_AGAIN = 30.0  # seconds between readings of the list: no event announces a hub's restart
SETTLE = 5.0  # seconds in which nodes add themselves again after a restart of router or hub
HUB_RETRY = 2.0  # seconds before calling a hub again that did not answer
ASK_AGAIN = 1.0  # seconds before reading the list again for a node that is not in it
FIELDS_AGE = 3.0  # seconds before asking a node again whether it has more fields
MAX_NODES = 10_000  # maximum length of the list


class Directory:
    """Keep the list of nodes by subscription, and the fields of each.

    The hub's list is read at each join, every 30 s, and soon after a known node is added again,
    which is a sign that the hub has restarted. A node has left if an event says so, or if the list
    lacks it for `SETTLE` seconds: until then it can add itself again.

    `timeout` is in seconds, for each answer of the hub or a node. `on_change` is called with a
    `KnownNode` and whether it is present, for each change after the first list; a new generation
    counts as leaving and coming back. `on_added` is called with the name for each event that a node
    was added, even if nothing has changed; `on_back` with a node that was in `absent`. With a
    `site`, all nodes are named ``site/node``. `is_listed`: the list was read on this session.
    """

    def __init__(
        self,
        reactor: Any,
        timeout: float,
        on_change: Callable[[KnownNode, bool], None],
        on_added: Callable[[str], None] = lambda name: None,
        on_back: Callable[[KnownNode], None] = lambda node: None,
        site: str = "",
    ) -> None:
        self._site = site
        self._reactor = reactor
        self._timeout = timeout
        self._on_change = on_change
        self._on_added = on_added
        self._on_back = on_back
        self._session: Session | None = None
        self._nodes: dict[str, KnownNode] = {}
        # Nodes that the list lacks since a time, or that it may lack after a join (infinity).
        self._doubtful: dict[str, float] = {}
        self.is_listed = False
        self._is_telling = False  # whether to call back; true after the first list
        # By the node's name: its generation, the time of the request, and its fields.
        self._fields: dict[str, tuple[str, float, dict[str, Field]]] = {}
        # By name of an unlisted node: when the hub was asked for it, if in the last second.
        self._missed: dict[str, float] = {}
        self._shared = SingleFlight()
        self._next_look: Any = None

    async def joined(self, session: Session) -> None:
        """Subscribe on a new session, and read the list; raises as `subscribed`."""
        self._session = session
        begun = [
            session.subscribe(self._added, uri("consumer.data_node_added")),
            session.subscribe(self._subtracted, uri("consumer.data_node_subtracted")),
        ]
        steps = [subscribed(each, self._timeout, self._reactor) for each in begun]
        # The call is sent after the subscriptions, so that no change is missed.
        await gather([*steps, self._look()])

    def left(self) -> None:
        """Note that the session has ended; the list is read again after the next join."""
        self._session, self.is_listed = None, False
        self._doubtful = dict.fromkeys(self._nodes, math.inf)
        self._look_in(0)  # only cancels the next reading, as there is no session

    def tell(self) -> None:
        """Call `on_change` from now on, also with the nodes of the first list."""
        self._is_telling = True

    async def nodes(self) -> list[KnownNode]:
        """Return the nodes by name; ask the hub only if they are not known yet.

        Raises RouterUnreachable or HubMissing.
        """
        if not self.is_listed:
            return await self._shared.ask(self._session, self.refresh)
        return [self._nodes[name] for name in sorted(self._nodes.keys() - self._doubtful.keys())]

    async def refresh(self) -> list[KnownNode]:
        """Ask the hub, and return the nodes that it lists, by name; raises as `nodes`."""
        began = self._reactor.seconds()
        answer = await self._ask(None, uri("consumer.get_data_node"))
        if not isinstance(answer, list) or len(answer) > MAX_NODES:
            raise HubMissing(f"the hub's answer is not a list of at most {MAX_NODES} data nodes")
        parsed = [parse_node(entry, self._site, self.current) for entry in answer]
        listed = [node for node in parsed if node is not None]
        self.is_listed = True
        for node in listed:
            self._put(node.name, node)
        self._doubt(self._nodes.keys() - {node.name for node in listed}, began)
        self._is_telling = True
        self._fields = {name: kept for name, kept in self._fields.items() if name in self._nodes}
        return await self.nodes()

    def _doubt(self, missing: set[str], now: float) -> None:
        """Remove nodes that have been missing in the hub's list for some time."""
        for name in missing:
            since = self._doubtful[name] = min(self._doubtful.get(name, math.inf), now)
            if now - since >= SETTLE:
                self._put(name, None)
        if self._doubtful:
            self._look_in(SETTLE)

    def absent(self) -> set[str]:
        """Return the names that `nodes` omits but `on_change` was not called for."""
        return set(self._doubtful)

    def current(self, name: str) -> KnownNode | None:
        """Return the node with this name if it is known, without asking the hub."""
        return None if name in self._doubtful else self._nodes.get(name)

    async def node(self, name: str) -> KnownNode:
        """Return the node with this name; raises UnknownNode, or as `nodes`.

        While no hub answers, or the node may add itself again after a restart of router or hub, it
        is returned unchanged.
        """
        try:
            await self.nodes()
        except HubMissing:
            if name in self._nodes:
                return self._nodes[name]
            raise
        now = self._reactor.seconds()
        self._missed = {each: t for each, t in self._missed.items() if now - t < ASK_AGAIN}
        if not self.current(name) and name not in self._missed:
            if self._session in self._shared:  # a running call may be too old to have this node
                await self._shared.ask(self._session, self.refresh)
            if not self.current(name):
                await self._shared.ask(self._session, self.refresh)
            self._missed[name] = now
        if (found := self._nodes.get(name)) is not None:
            return found
        raise UnknownNode(
            f"there is no data node {name!r}{suggest(name, self._nodes)}: `sisock nodes` lists the"
            " available ones"
        )

    def uri(self, name: str, verb: str) -> str:
        """Return the URI of a node's procedure or topic, see `node_uri`; also of unknown nodes."""
        return node_uri(name.removeprefix(f"{self._site}/") if self._site else name, verb)

    async def fields(
        self, node: KnownNode, wanted: Iterable[str] | None = None
    ) -> dict[str, Field]:
        """Return the cached fields of a node's generation, or ask the node.

        The node is asked if a wanted name is unknown or, without `wanted`, after 3 s. If that
        fails, raises UnknownNode, NodeTimeout, NodeFailed, NodeContractError or RouterUnreachable.
        """
        generation, asked_at, known = self._fields.get(node.name, ("", 0.0, {}))
        if generation == node.generation:
            is_young = self._reactor.seconds() - asked_at < FIELDS_AGE
            if is_young if wanted is None else all(name in known for name in wanted):
                return known
        return await self._shared.ask((node.name, node.generation), lambda: self.ask_fields(node))

    async def ask_fields(
        self, node: KnownNode, interval: Interval | None = None
    ) -> dict[str, Field]:
        """Ask a node for all fields, or those with samples in an interval; raises as `fields`."""
        began = self._reactor.seconds()
        times = (1, 0) if interval is None else (interval.start, interval.end)
        procedure = node.uri("get_fields")
        answer = await repeat_once(
            lambda: self._ask(node.name, procedure, *times), lambda: node.replicas is not None
        )
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

    def _added(self, entry: Any, *_: Any, **__: Any) -> None:
        # A node that announces no generation begins a new one each time it is added.
        has_own = isinstance(entry, dict) and "generation" in entry
        node = parse_node(entry, self._site, self.current if has_own else lambda _: None)
        if node is None or (node.name not in self._nodes and len(self._nodes) >= MAX_NODES):
            return
        if self._is_telling and node.name in self._nodes:
            self._look_in(ASK_AGAIN)
        self._put(node.name, node)
        self._on_added(node.name)

    def _subtracted(self, entry: Any, *_: Any, **__: Any) -> None:
        if (node := parse_node(entry, self._site, self.current)) is not None:
            self._missed.pop(node.name, None)  # the node may come back at once
            self._put(node.name, None)

    def _put(self, name: str, node: KnownNode | None) -> None:
        """Note that a node is present, or has left (None); call back if that is new."""
        before = self._nodes.pop(name, None)
        was_absent = self._doubtful.pop(name, None) is not None
        if node is not None:
            self._nodes[name] = node
        own = None if node is None else node.entry.get("generation")
        is_same = before is not None and node is not None and own in (None, before.generation)
        if is_same and was_absent and node is not None:
            self._on_back(node)
        if is_same or not self._is_telling:
            return
        if before is not None:
            self._on_change(before, False)
        if node is not None:
            self._on_change(node, True)

    def _look_in(self, seconds: float) -> None:
        """Schedule the next reading of the list, instead of any earlier one."""
        if self._next_look is not None and self._next_look.active():
            self._next_look.cancel()
        if self._session is not None:
            self._next_look = self._reactor.callLater(
                seconds, lambda: defer.ensureDeferred(self._look())
            )

    async def _look(self) -> None:
        """Read the list, and schedule the next reading."""
        try:
            await self._shared.ask(self._session, self.refresh)
        except SisockError:
            self.tell()  # report nodes that are listed later as new
            self._look_in(HUB_RETRY)
            return
        # Jitter, so that not all consumers call in the same instant.
        self._look_in(SETTLE if self._doubtful else READ_AGAIN * random.uniform(0.7, 1.0))
