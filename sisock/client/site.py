"""Stay joined to a router, the only one or one of several sites, and know its nodes."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from twisted.internet import defer

from sisock.client.directory import Directory
from sisock.client.display import table
from sisock.connection.reconnect import RouterConnection
from sisock.connection.runtime import Turns
from sisock.connection.session import Session, gather
from sisock.connection.settings import Settings, find_sites, load_settings
from sisock.connection.sites import load_sites
from sisock.connection.transport import silence
from sisock.errors import (
    AuthenticationRejected,
    ClientClosed,
    HubMissing,
    RouterUnreachable,
    SisockError,
    SiteUnreachable,
    UnknownField,
    UnknownNode,
)
from sisock.wire.fields import Field, KnownNode, suggest

LIST_TIMEOUT = 5.0  # seconds to wait for each site when listing the nodes of all sites


@dataclass(frozen=True)
class NodeEvent:
    """A data node that came or went."""

    node: KnownNode
    present: bool


class NodeList(list[KnownNode]):
    """Data nodes, sorted by name; `unreachable` maps each site that is left out to the reason."""

    unreachable: Mapping[str, str] = {}

    def _repr_html_(self) -> str:
        """Show a table in a notebook."""
        return table(("node", "description"), [(node.name, node.description) for node in self])

    def check(self) -> NodeList:
        """Return the list; raises SiteUnreachable if it lacks the nodes of a site."""
        if self.unreachable:
            raise SiteUnreachable("; ".join(self.unreachable.values()))
        return self


def load_routers(router: str | None = None, log_level: str | None = None) -> list[Settings]:
    """Return the settings of each site, or of the one router if there are no sites.

    The parameters are a program's flags; `router` is the address of the one router.
    """
    if router is not None or find_sites() is None:
        return [load_settings(router=router, log_level=log_level)]
    level = {} if log_level is None else {"LOGLEVEL": log_level}
    return list(load_sites({**os.environ, **level}).values())


class Site:
    """Stay joined to one router, and know its nodes.

    `name`, and the `prefix` of its nodes, are empty if there is only one router. `timeout` is in
    seconds, for each answer. `on_change` and `on_back` are as in `Directory`. `watches` has each
    running `Watch`; those of one node share a lock of `locks`, because autobahn confuses a
    beginning subscription with an ending one.
    """

    def __init__(
        self,
        settings: Settings,
        timeout: float,
        reactor: Any,
        on_change: Callable[[KnownNode, bool], None],
        on_back: Callable[[KnownNode], None] = lambda node: None,
    ) -> None:
        self.name = settings.site or ""
        self.prefix = f"{self.name}/" if self.name else ""
        self.timeout = timeout
        self.connection = RouterConnection(
            settings, self._joined, lambda: self.directory.left(), reactor
        )
        self.reactor = self.connection.reactor
        self.directory = Directory(
            self.reactor, timeout, on_change, self._added, on_back, self.name
        )
        self.turns = Turns(self.reactor)
        self.watches: set[Any] = set()
        self.locks: defaultdict[str, defer.DeferredLock] = defaultdict(defer.DeferredLock)
        self.connection.on_failure = lambda error: self._tell_waiting()
        self.ended: BaseException | None = None
        self._began_at = self.reactor.seconds()
        self._has_joined = False
        self._waiting: list[defer.Deferred] = []

    def start(self, on_end: Callable[[BaseException], None]) -> None:
        """Join the router, and stay joined until `stop`; report a final error to `on_end`."""

        def end(reason: Any) -> None:
            if reason is not None:
                self._end(reason.value)
                on_end(reason.value)

        self._began_at = self.reactor.seconds()
        defer.ensureDeferred(self.connection.run()).addBoth(end)

    async def stop(self) -> None:
        """Leave the router."""
        await self.connection.stop()
        self._end(ClientClosed())

    def _end(self, reason: BaseException) -> None:
        self.ended = self.ended or reason
        self._tell_waiting()

    async def _joined(self, session: Session) -> None:
        self._has_joined = True
        steps = [self.directory.joined(session)]
        steps += [watch.begin(session) for watch in self.watches]
        beginning = defer.ensureDeferred(gather(steps))
        self._tell_waiting()
        await beginning

    def _added(self, node: str) -> None:
        """Make the watches of a node ask for samples that they may have missed."""
        for watch in [each for each in self.watches if each.node == node]:
            watch.lose()

    def _tell_waiting(self) -> None:
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            each.callback(None)

    @property
    def is_starting(self) -> bool:
        """Whether the site has just started and its list of nodes may come soon."""
        is_new = self.reactor.seconds() < self._began_at + LIST_TIMEOUT
        return is_new and not self.directory.is_listed and self.connection.last_error is None

    def current(self) -> Session:
        """Return the session; raises RouterUnreachable if there is none."""
        if self.connection.session is None:
            raise self.lost()
        return self.connection.session

    def lost(self) -> Exception:
        """Return an error that says why there is no session."""
        why = self.connection.last_error or "the router has not answered yet"
        return self.with_name(RouterUnreachable(f"{why}; the client tries again by itself"))

    async def session(self, timeout: float | None = None) -> Session:
        """Return the session, or wait for the next one.

        Raises RouterUnreachable after `timeout` seconds, or at once if no attempt to join has ever
        succeeded and the last one failed. A router that hangs up may have just started: it gets
        the whole time.
        """
        end = self.reactor.seconds() + (self.timeout if timeout is None else timeout)
        with self.named():
            while self.ended is None:
                if self.connection.session is not None:
                    return self.connection.session
                error = self.connection.last_error
                is_patient = self._has_joined or self.connection.is_router_there
                if error is not None and not is_patient:
                    raise error
                await self._next_attempt(end - self.reactor.seconds())
            raise self.ended

    async def _next_attempt(self, seconds: float) -> None:
        """Wait until an attempt to join succeeds or fails; else raises RouterUnreachable."""
        attempt: defer.Deferred = defer.Deferred()
        self._waiting.append(attempt)
        try:
            await attempt.addTimeout(max(seconds, 0), self.reactor)
        except defer.TimeoutError:
            why = RouterUnreachable(silence(self.connection.settings))
            raise self.connection.last_error or why from None
        finally:
            if attempt in self._waiting:
                self._waiting.remove(attempt)

    def with_name(self, error: Exception) -> Exception:
        """Return an error; if it comes from a site's router or hub, add the site's name."""
        is_own = isinstance(error, RouterUnreachable | HubMissing | AuthenticationRejected)
        if not (self.name and is_own) or isinstance(error, ClientClosed | SiteUnreachable):
            return error
        return SiteUnreachable(f"the site {self.name!r} cannot be reached: {error}")

    @contextmanager
    def named(self) -> Iterator[None]:
        """Add the site's name to errors of its router and hub."""
        try:
            yield
        except SisockError as error:
            raise self.with_name(error) from None

    async def nodes(self, is_fresh: bool) -> list[KnownNode]:
        """Return the nodes; with `is_fresh` ask the hub now. Return the known ones if it is slow.

        Raises SiteUnreachable if there is no session; it waits for one only just after the start.
        """
        timeout = min(LIST_TIMEOUT, self.timeout)
        await self.session(max(self._began_at + timeout - self.reactor.seconds(), 0))
        ask = self.directory.refresh if is_fresh else self.directory.nodes
        with self.named():
            try:
                return await defer.ensureDeferred(ask()).addTimeout(timeout, self.reactor)
            except defer.TimeoutError:
                if self.directory.is_listed:
                    return await self.directory.nodes()
                raise HubMissing("the hub has not sent its list of nodes yet") from None

    async def wanted(
        self, node: str, names: str | Iterable[str] | None
    ) -> tuple[KnownNode, dict[str, Field]]:
        """Return a node and its fields, all or those in `names`; raises UnknownField."""
        await self.session()
        found = await self.directory.node(node)
        if names is not None:
            names = [names] if isinstance(names, str) else list(names)
        known = await self.directory.fields(found, names)
        for name in known if names is None else names:
            if name not in known:
                hint = suggest(name, known)
                raise UnknownField(
                    f"{node!r} has no field {name!r}{hint}: `sisock fields {node}` lists its fields"
                )
        return found, known if names is None else {name: known[name] for name in names}


class Sites(dict[str, Site]):
    """All sites by name, or the one router as ""."""

    def __init__(self, sites: Iterable[Site]) -> None:
        super().__init__((site.name, site) for site in sites)
        self.only = self.get("")

    def of(self, node: str) -> Site:
        """Return the site of a node; raises UnknownNode."""
        site = self.only or self.get(node.partition("/")[0])
        if site is None:
            raise UnknownNode(
                f"{node!r} names no known site: write site/node, with one of the sites"
                f" {', '.join(self)}"
            )
        return site

    def check(self) -> None:
        """Raise RouterUnreachable if no router is joined."""
        if not any(site.connection.session for site in self.values()):
            next(iter(self.values())).current()

    async def nodes(
        self, is_fresh: bool = True, is_wanted: Callable[[str], bool] = lambda site: True
    ) -> NodeList:
        """Return the nodes of all wanted sites that can be reached, and why others cannot.

        With `is_fresh` the hubs are asked now. If there is only one router, raises
        RouterUnreachable and HubMissing.
        """
        if self.only is not None:
            await self.only.session()
            directory = self.only.directory
            return NodeList(await (directory.refresh() if is_fresh else directory.nodes()))
        found, unreachable = NodeList(), {}

        async def list_one(site: Site) -> None:
            try:
                found.extend(await site.nodes(is_fresh))
            except SisockError as error:
                unreachable[site.name] = str(error)

        await gather(list_one(site) for name, site in self.items() if is_wanted(name))
        found.sort(key=lambda node: node.name)
        found.unreachable = {name: unreachable[name] for name in self if name in unreachable}
        return found
