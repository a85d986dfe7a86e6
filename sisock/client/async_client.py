"""`AsyncClient`: find data nodes and ask them, for programs that run in Twisted's reactor."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from sisock.client.client_session import ClientSession
from sisock.client.data import Data
from sisock.client.events import LiveSample, Node, NodeEvent, live_samples
from sisock.client.fetch import fetch
from sisock.client.progress import Progress
from sisock.client.watch import NodeWatch, Watch, list_nodes
from sisock.connection.wire_errors import translated
from sisock.errors import (
    InvalidArgument,
    SisockError,
    UnknownField,
    UnknownNode,
)
from sisock.wire.fields import Field, parse_fields
from sisock.wire.protocol import (
    check_node_name,
    node_uri,
)
from sisock.wire.request import check_max_points
from sisock.wire.times import Time, to_interval


class AsyncClient(ClientSession):
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

    async def nodes(self) -> list[Node]:
        """List the data nodes that are there, by name.

        Raises
        ------
        HubMissing
            If no hub answers.
        """
        listed = await list_nodes(await self._session(), self.timeout)
        return sorted(listed, key=lambda node: node.name)

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
        interval = to_interval(start, end)
        await self._find(node)
        return await self._fields(node, interval.start, interval.end)

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
        *,
        max_points: int | None = None,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> Data:
        """Get samples.

        Parameters
        ----------
        node : str
            The node's name.
        fields : str or iterable of str
            Names of fields.
        start, end : float, str or datetime
            Half-open interval, see `sisock.wire.times.to_sisock_time`.
        min_stride : float, optional
            Seconds between successive samples, at least.
        max_points : int, optional
            Samples of each field, at most, chosen to keep the picture: smallest and largest of
            each of many runs of samples, both ends, gaps. At least 8.
        on_progress : callable, optional
            Called with a `Progress` after each window of a long reply, in the reactor's thread.

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
        interval = to_interval(start, end)
        stride = None if min_stride is None else float(min_stride)
        check_max_points(max_points, stride)
        found = await self._find(node)
        known = await self._fields(node, 1, 0)
        for name in names:
            if name not in known:
                raise UnknownField(
                    f"{node!r} has no field {name!r}: `sisock fields {node}` lists those it has"
                )
        session = await self._session()
        with translated(node):
            data = await fetch(
                session,
                node,
                found.features,
                {name: known[name] for name in names},
                interval,
                stride,
                self.timeout,
                max_points,
                on_progress,
            )
        if max_points is not None and "max_points" not in found.features:
            return data.overview(max_points)
        return data

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
        RouterUnreachable, HubMissing
            If router or hub does not answer.
        """
        found = await self._find(node)
        if "live" not in found.features:
            raise InvalidArgument(f"{node!r} publishes no live samples: ask for them with `get`")

        def published(reply: Any) -> None:
            for sample in live_samples(reply, node):
                callback(sample)

        topic = node_uri(node, "data")
        return await self._keep(Watch(topic, published, self._subscribing, self.timeout))

    async def watch_nodes(self, callback: Callable[[NodeEvent], None]) -> Callable[[], None]:
        """Call back with each node that comes or goes, also while the router was away.

        Where no event tells of it, a node's end is reported within 30 s.

        Returns
        -------
        callable
            Ends the watching.

        Raises
        ------
        RouterUnreachable
            If the router does not answer.
        """
        return await self._keep(NodeWatch(callback, self._subscribing, self.timeout))
