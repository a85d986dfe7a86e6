"""`DataNodeServer`, the parent of every data node, and `run`, which makes a program of one."""

from __future__ import annotations

import argparse
import inspect
from abc import abstractmethod
from typing import Any

from twisted.internet import defer, threads
from twisted.python.threadable import isInIOThread

from sisock.connection.health import connection_health
from sisock.connection.logs import make_logger
from sisock.connection.program import add_common_flags, fail, run_program, settings_from_flags
from sisock.connection.reconnect import RouterConnection, global_reactor
from sisock.connection.session import Session
from sisock.errors import InvalidNodeName, NodeContractError, SisockError
from sisock.node.registration import Presence
from sisock.node.serving import Serving
from sisock.wire import protocol


class DataNodeServer:
    """A program that serves the samples of one instrument or archive.

    Override `get_fields` and `get_data`; `sisock.LiveNode` and `sisock.ArchiveNode` are easier
    where they fit. Both methods may block, as they run in threads of their own (several requests
    at once: guard what is not thread-safe), or be coroutines or ``inlineCallbacks``, which run in
    the reactor and must not block.

    Attributes
    ----------
    name : str
        The node's name: one component of a WAMP URI, see `sisock.wire.protocol.check_node_name`.
    description : str
        One line for people; the first line of the class's docstring if not set.
    allowance : int
        Bytes of a reply to a call of the base protocol; a larger one is answered by False.
    log : logger
        Of txaio: ``self.log.warn("{count} lines skipped", count=3)``.
    """

    name: str = ""
    description: str = ""
    allowance: int = protocol.DEFAULT_ALLOWANCE

    log = make_logger()

    _service: NodeService | None = None

    features: tuple[str, ...] = ("binary", "progressive", "max_points")

    @abstractmethod
    def get_fields(self, start: float, end: float) -> Any:
        """Say which fields there are.

        Parameters
        ----------
        start, end : float
            Sisock times, as the caller sent them. A field with a sample in between must be
            listed; one with none may be.

        Returns
        -------
        tuple of two dicts
            Field name to ``{"description", "timeline", "type", "units"}``, and timeline name to
            ``{"interval", "field"}``. `sisock.wire.fields.describe` makes them.
        """

    @abstractmethod
    def get_data(
        self, field: list[str], start: float, end: float, min_stride: float | None = None
    ) -> Any:
        """Return samples.

        Parameters
        ----------
        field : list of str
            Field names.
        start, end : float
            Sisock times, as the caller sent them; `sisock.sisock_to_unix_time` converts them.
        min_stride : float, optional
            Least spacing that the caller wants, in seconds. It is seen to afterwards; a node that
            can skip samples cheaply may use it.

        Returns
        -------
        dict
            ``{"data": {field: values}, "timeline": {name: {"t", "finalized_until"}}}`` with lists
            or arrays; what lies outside of the interval is cut off.
        """

    def get_overview(self, field: list[str], start: float, end: float, max_points: int) -> Any:
        """Return few samples that keep the picture, where that is cheaper than `get_data`.

        Parameters
        ----------
        field : list of str
            Field names.
        start, end : float
            Sisock times, as the caller sent them.
        max_points : int
            Samples of each field, at most; PROTOCOL.md says which must be kept.

        Returns
        -------
        dict or None
            As of `get_data`, with a timeline for each field, named
            ``overview_timeline(timeline, field)``, and ``"follows": {field: name}``.
            None (the default): `get_data` is asked, and its samples are thinned.
        """
        return None

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Add the node's own command-line flags; their values go to the class when it is called."""

    def prepare(self) -> None:
        """Check what the author set, before anything is started."""

    def samples_changed(self) -> None:
        """Say that samples which were called final have changed after all.

        The node leaves the hub's list and comes back, and consumers forget what they kept of it.
        Call it before the changed samples are returned. In a method that blocks it waits until
        consumers have heard it.
        """
        if self._service is not None:
            self._service.come_anew()

    def begin(self, service: NodeService) -> None:
        """Start whatever works beside the requests.

        Called in the reactor, once: when the node holds its name for the first time.
        """

    def end(self) -> None:
        """End whatever works beside the requests."""

    def joined(self, session: Session) -> None:
        """Do what needs the session, each time that the node has joined; in the reactor."""

    def answering(self) -> DataNodeServer:
        """Return the node whose methods answer the requests."""
        return self


class NodeService:
    """A node at work: its procedures, its place in the hub's list, its live topic.

    Parameters
    ----------
    node : DataNodeServer
        The node; its name is checked here.

    Raises
    ------
    InvalidNodeName
        If the node's name cannot be one.
    NodeContractError
        If something else that its author set cannot be.
    """

    def __init__(self, node: DataNodeServer, reactor: Any = None) -> None:
        _check_class(node)
        node.prepare()
        self.node = node
        self.reactor = global_reactor() if reactor is None else reactor
        self.serving = Serving(node.answering(), self.reactor)
        self._presence: Presence | None = None
        self._session: Session | None = None
        self._has_begun = False
        node._service = self

    def _begin_once(self) -> None:
        # A second process with a name that is taken must not disturb the instrument; one that has
        # begun goes on, whatever becomes of its connection.
        if not self._has_begun:
            self._has_begun = True
            self.node.begin(self)

    def stop(self) -> None:
        """End the node's threads and what it does beside the requests; in the reactor."""
        self.serving.stop()
        self.node.end()

    def come_anew(self) -> None:
        """See `DataNodeServer.samples_changed`; in a thread it waits until it is done."""
        if isInIOThread():
            self._come_anew()
        else:
            threads.blockingCallFromThread(self.reactor, self._come_anew)

    def _come_anew(self) -> defer.Deferred:
        self.serving.forget()
        if self._presence is None:
            return defer.succeed(None)
        coming = defer.ensureDeferred(self._presence.come_anew())
        # Without a hub nobody keeps anything of this node.
        return coming.addErrback(lambda _: None)

    async def joined(self, session: Session) -> None:
        """Serve on a session for as long as it lasts."""
        node = self.node
        self._session = session
        self._presence = Presence(
            session,
            node.name,
            node.description or _first_line(node),
            list(node.features),
            {"get_fields": self.serving.get_fields, "get_data": self.serving.get_data},
            self._begin_once,
            self.reactor,
        )
        node.joined(session)
        await self._presence.keep()

    def left(self) -> None:
        """Note that the session is gone."""
        self._session = self._presence = None

    def health(self, connection: RouterConnection) -> str:
        """Whether consumers can find the node, for `sisock.connection.health`."""
        if self._presence is not None and not self._presence.added:
            return f"joined to the router, but {self.node.name!r} is not in the hub's list"
        return connection_health(connection)

    def publish(self, reply: dict[str, Any]) -> None:
        """Publish new samples on the node's live topic, while the node's name is its own."""
        if self._session is not None and self._presence is not None and self._presence.holds_name:
            self._session.publish(protocol.node_uri(self.node.name, "data"), reply)


def _check_class(node: DataNodeServer) -> None:
    """See that a node has a name and all methods that it needs."""
    cls = type(node).__name__
    if not node.name:
        raise InvalidNodeName(f"{cls} has no name: set its attribute name, or use --name")
    protocol.check_node_name(node.name)
    for method in sorted(set(dir(type(node))) - set(vars(node))):
        if getattr(getattr(type(node), method, None), "__isabstractmethod__", False):
            rule = f"the class {cls} has no method {method}: see docs/data-nodes.md"
            raise NodeContractError(node.name, None, rule)


def _first_line(node: DataNodeServer) -> str:
    text = inspect.getdoc(type(node)) or ""
    return text.partition("\n")[0]


def _parse(node: type[DataNodeServer] | DataNodeServer, argv: list[str] | None) -> Any:
    cls = node if isinstance(node, type) else type(node)
    parser = argparse.ArgumentParser(
        description=inspect.getdoc(cls), formatter_class=argparse.RawDescriptionHelpFormatter
    )
    if isinstance(node, type):
        cls.add_arguments(parser)
    own = {action.dest for action in parser._actions} - {"help"}
    add_common_flags(parser)
    parser.add_argument("--name", help=f"the node's name (default: {cls.name or 'none'})")
    parser.add_argument(
        "--check",
        action="store_true",
        help="ask the node itself for fields and samples, say what is wrong, and end",
    )
    args = parser.parse_args(argv)
    return args, {name: getattr(args, name) for name in own}


def _make(cls: type[DataNodeServer], flags: dict[str, Any]) -> DataNodeServer:
    try:
        inspect.signature(cls).bind(**flags)
    except TypeError as error:
        raise SisockError(
            f"{cls.__name__}.__init__: {error}; each of its arguments needs a flag of its name in"
            " add_arguments, and each flag an argument"
        ) from None
    return cls(**flags)


def run(node: type[DataNodeServer] | DataNodeServer, argv: list[str] | None = None) -> None:
    """Run a data node as a program, until SIGTERM or Ctrl-C.

    Parameters
    ----------
    node : class or instance
        A `DataNodeServer`; a class is called with the flags of its own `add_arguments`.
    argv : list of str, optional
        Command-line arguments instead of the program's.
    """
    args, own = _parse(node, argv)
    try:
        instance = _make(node, own) if isinstance(node, type) else node
        if args.name is not None:
            instance.name = args.name
        if args.check:
            _check(instance)
            return
        service = NodeService(instance)
    except SisockError as error:
        fail(error)
    settings = settings_from_flags(args, protocol.USER_SERVER)
    connection = RouterConnection(settings, service.joined, service.left)
    run_program(connection, lambda: None, lambda: service.health(connection))


def _check(node: DataNodeServer) -> None:
    from sisock.node.check import examine

    lines, faults = examine(node)
    print("\n".join(lines), flush=True)
    if faults:
        raise SisockError("\n".join(map(str, faults)))
