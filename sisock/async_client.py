"""`AsyncClient`: find data nodes and ask them, for programs that run in Twisted's reactor."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from twisted.internet import defer

from sisock.connection import RouterConnection
from sisock.errors import (
    InvalidArgument,
    RouterUnreachable,
    SisockError,
    UnknownField,
    UnknownNode,
)
from sisock.events import LiveSample, Node, NodeEvent, live_samples, parse_node
from sisock.fetch import fetch
from sisock.fields import Field, parse_fields
from sisock.logs import make_logger
from sisock.protocol import (
    check_node_name,
    node_uri,
    uri,
)
from sisock.received import Data, join
from sisock.session import CALL_TIMEOUT, Session
from sisock.settings import Settings, load_settings
from sisock.times import Time, to_sisock_time
from sisock.watch import Watch
from sisock.wire_errors import translated


class AsyncClient:
    """Finds data nodes through the hub and asks them; reconnects by itself.

    Its methods are coroutines for Twisted's reactor (``twisted.internet.defer.ensureDeferred``
    makes Deferreds of them). `sisock.Client` is the same for scripts and notebooks.

    Parameters
    ----------
    settings : Settings, optional
        From the environment if not given.
    timeout : float
        Seconds without any answer after which a call is given up.
    """

    def __init__(
        self, settings: Settings | None = None, timeout: float = CALL_TIMEOUT, reactor: Any = None
    ) -> None:
        self.settings = load_settings() if settings is None else settings
        self.timeout = timeout
        self._connection = RouterConnection(self.settings, self._joined, reactor=reactor)
        self._waiting: list[defer.Deferred] = []
        self._watches: set[Watch] = set()
        self._running: defer.Deferred | None = None
        self._refused: BaseException | None = None
        self._end_callbacks: list[Callable[[BaseException], None]] = []
        self._log = make_logger()

    async def connect(self) -> AsyncClient:
        """Join the router.

        Raises
        ------
        RouterUnreachable, AuthenticationRejected
            If that fails the first time; later on it is tried again for ever.
        """
        if self._running is None:
            self._running = defer.ensureDeferred(self._connection.run())
            self._running.addBoth(self._ended)
            self._connection.on_failure = self._first_try_failed
        try:
            await self._session()
        except SisockError:
            await self.close()  # or it would go on trying behind its caller's back
            raise
        return self

    async def close(self) -> None:
        """Say goodbye."""
        await self._connection.stop()
        self._ended(None)

    def on_end(self, callback: Callable[[BaseException], None]) -> None:
        """Call back when the client has ended for good, with the reason."""
        if self._refused is not None:
            callback(self._refused)
        else:
            self._end_callbacks.append(callback)

    def _first_try_failed(self, error: SisockError) -> None:
        self._connection.on_failure = None
        self._refused = error
        self._tell_waiting()
        defer.ensureDeferred(self._connection.stop())

    def _ended(self, result: Any) -> None:
        self._refused = (
            getattr(result, "value", None)
            or self._refused
            or RouterUnreachable("the client is closed")
        )
        self._tell_waiting()
        callbacks, self._end_callbacks = self._end_callbacks, []
        for callback in callbacks:
            callback(self._refused)

    async def _joined(self, session: Session) -> None:
        self._connection.on_failure = None
        for watch in list(self._watches):
            await watch.begin(session)
        self._tell_waiting()

    def _tell_waiting(self) -> None:
        waiting, self._waiting = self._waiting, []
        for deferred in waiting:
            deferred.callback(None)

    async def _session(self) -> Session:
        """The session, or the next one while the router is away."""
        if self._connection.session is None and self._refused is None:
            joined: defer.Deferred = defer.Deferred()
            self._waiting.append(joined)
            try:
                await joined.addTimeout(self.timeout, self._connection.reactor)
            except defer.TimeoutError:
                self._waiting.remove(joined)
                raise self._connection.last_error or RouterUnreachable(
                    f"the router at {self.settings.address} does not answer"
                ) from None
        if self._refused is not None:
            raise self._refused
        session = self._connection.session
        if session is None:
            raise RouterUnreachable("the connection to the router was lost")
        return session

    async def nodes(self) -> list[Node]:
        """List the data nodes that are there, by name.

        Raises
        ------
        HubMissing
            If no hub answers.
        """
        session = await self._session()
        with translated(None):
            listed = await session.request(uri("consumer.get_data_node"), timeout=self.timeout)
        return sorted((parse_node(entry) for entry in listed), key=lambda node: node.name)

    async def _find(self, name: str) -> Node:
        with suppress(SisockError):
            check_node_name(name)
        for node in await self.nodes():
            if node.name == name:
                return node
        raise UnknownNode(
            f"there is no data node {name!r}: `sisock nodes` lists those that are there"
        )

    async def fields(self, node: str, start: Time = 1, end: Time = 0) -> dict[str, Field]:
        """List the fields of a node.

        Parameters
        ----------
        node : str
            Its name.
        start, end : float, str or datetime
            A field with samples in between is listed; the default is all there is.
        """
        await self._find(node)
        return await self._fields(node, to_sisock_time(start), to_sisock_time(end))

    async def _fields(self, node: str, start: float, end: float) -> dict[str, Field]:
        session = await self._session()
        with translated(node):
            raw = await session.request(
                node_uri(node, "get_fields"), start, end, timeout=self.timeout
            )
        return parse_fields(raw, node)

    async def get(
        self,
        node: str,
        fields: str | Iterable[str],
        start: Time = "-1h",
        end: Time = "now",
        min_stride: float | None = None,
    ) -> Data:
        """Get samples.

        Parameters
        ----------
        node : str
            The node's name.
        fields : str or iterable of str
            Names of fields.
        start, end : float, str or datetime
            Half-open interval, see `sisock.times.to_sisock_time`.
        min_stride : float, optional
            Seconds between successive samples, at least.

        Returns
        -------
        Data
            Field name to `Series`.

        Raises
        ------
        UnknownNode, UnknownField
            If there is none of this name.
        InvalidArgument
            If a time or the spacing cannot be used.
        ReplyTooLarge
            If a node without progressive replies cannot send so much.
        NodeFailed, NodeTimeout
            If the node's own code fails, or nothing comes for `timeout` seconds.
        """
        names = [fields] if isinstance(fields, str) else list(dict.fromkeys(fields))
        interval = to_sisock_time(start), to_sisock_time(end)
        stride = None if min_stride is None else float(min_stride)
        found = await self._find(node)
        known = await self._fields(node, 1, 0)
        for name in names:
            if name not in known:
                raise UnknownField(
                    f"{node!r} has no field {name!r}: `sisock fields {node}` lists those it has"
                )
        session = await self._session()
        with translated(node):
            pieces = await fetch(
                session, node, found.features, names, *interval, stride, self.timeout
            )
        return join(pieces, {name: known[name] for name in names}, node)

    async def watch(self, node: str, callback: Callable[[LiveSample], None]) -> Callable[[], None]:
        """Call back with each new sample of a node, also after it or the router was away.

        Returns
        -------
        callable
            Ends the watching.

        Raises
        ------
        UnknownNode
            If there is no such node now.
        InvalidArgument
            If the node publishes no live samples.
        """
        found = await self._find(node)
        if "live" not in found.features:
            raise InvalidArgument(f"{node!r} publishes no live samples: ask for them with `get`")

        def published(reply: Any, *_: Any, **__: Any) -> None:
            for sample in live_samples(reply, node):
                callback(sample)

        return await self._subscribe(node_uri(node, "data"), published)

    async def watch_nodes(self, callback: Callable[[NodeEvent], None]) -> Callable[[], None]:
        """Call back with each node that comes or goes.

        Returns
        -------
        callable
            Ends the watching.
        """

        def handler(present: bool) -> Callable[..., None]:
            return lambda entry, *_, **__: callback(NodeEvent(parse_node(entry), present))

        stops = [
            await self._subscribe(uri("consumer.data_node_added"), handler(True)),
            await self._subscribe(uri("consumer.data_node_subtracted"), handler(False)),
        ]

        def stop() -> None:
            for each in stops:
                each()

        return stop

    async def _subscribe(self, topic: str, handler: Callable[..., None]) -> Callable[[], None]:
        session = await self._session()
        watch = Watch(topic, handler, self._log)
        self._watches.add(watch)
        await watch.begin(session)

        def stop() -> None:
            self._watches.discard(watch)
            watch.end()

        return stop
