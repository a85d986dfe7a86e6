"""Define what the author of a data node writes: the class `DataNodeServer`."""

from __future__ import annotations

import argparse
from abc import abstractmethod
from functools import cached_property
from typing import Any

import txaio

from sisock.wire import protocol


class DataNodeServer:
    """A program that serves the samples of one instrument or archive.

    Override `get_fields` and `get_data`; `sisock.LiveNode` and `sisock.ArchiveNode` are easier
    where they fit. The methods may block, as they run in threads of their own, several at once, or
    be coroutines or ``inlineCallbacks``, which run in the reactor and must not block.

    Attributes
    ----------
    name : str
        The node's name: one component of a WAMP URI, see `sisock.wire.protocol.check_node_name`.
    description : str
        One line for people; the first line of the class's docstring if not set.
    trouble : str or None
        What keeps the node from serving now, for people. Shown behind the description in the hub's
        list within 10 s, until it is None again.
    allowance : int
        Bytes that a reply of the base protocol may have; False is sent instead of a larger one.
    log : logger
        Of txaio: ``self.log.warn("{count} lines skipped", count=3)``.
    """

    name: str = ""
    description: str = ""
    trouble: str | None = None
    is_replica: bool = False
    allowance: int = protocol.DEFAULT_ALLOWANCE
    features: tuple[str, ...] = ("binary", "progressive", "max_points", "bucket", "latest")

    service: Any = None
    """The `sisock.node.service.NodeService` that runs this node, if one does."""

    @cached_property
    def log(self) -> Any:
        """Return the node's logger."""
        return txaio.make_logger()

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
            ``{"interval", "field"}``. `sisock.describe` makes them.
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
            Least spacing that the caller wants, in seconds. You may ignore it, as it is applied to
            what you return; use it if skipping samples saves work.

        Returns
        -------
        dict
            ``{"data": {field: values}, "timeline": {name: {"t", "finalized_until"}}}`` with lists
            or arrays; what lies outside of the interval is cut off.
        """

    def get_decimated(
        self,
        field: list[str],
        start: float,
        end: float,
        bucket: float | None = None,
        max_points: int | None = None,
    ) -> Any:
        """Return decimated samples, if the node has a cheaper way than `get_data`.

        Parameters
        ----------
        field, start, end
            As of `get_data`.
        bucket : float, optional
            Size of the buckets in seconds.
        max_points : int, optional
            Instead of it: samples of each field, at most. PROTOCOL.md says which are kept.

        Returns
        -------
        dict or None
            Field name to `sisock.wire.reply.Decimated`.
            None (the default): `get_data` is asked, and its samples are decimated.
        """

    def get_latest(self, field: list[str], end: float) -> Any:
        """Return the last sample of each field before `end`, if the node has a cheap way.

        `end` is in UNIX seconds.

        Returns
        -------
        dict or None
            As of `get_data`; the last sample of each field that has a value counts.
            None (the default): `get_data` is asked for times further and further back.
        """

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Add the node's own command-line flags; their values go to the class when it is called."""

    def prepare(self) -> None:
        """Check what the author set, before anything is started."""

    def samples_changed(self) -> None:
        """Announce that samples which were called final have changed.

        Consumers then forget what they kept of the node. Call it before you return the changed
        samples. In a method that may block, it waits until the hub has told consumers.
        """
        if self.service is not None:
            self.service.samples_changed()

    def open(self) -> str | None:
        """Open what the node keeps on disk, before it joins the router.

        Returns the generation of the samples if it is the same after a restart, else None.
        """
        return None

    def begin(self, service: Any) -> None:
        """Start background work. Called in the reactor, once the node holds its name.

        ``service.repeat(seconds, function)`` calls a function regularly until the node ends.
        """

    def end(self) -> None:
        """End background work."""

    def status(self) -> dict[str, Any]:
        """Return how many samples were taken since the start, when the last was, and what failed.

        The keys are ``samples``, ``last`` (UNIX seconds or None) and ``error`` (a text or None).
        """
        return {"samples": 0, "last": None, "error": None}

    def joined(self, session: Any) -> None:
        """Use the session, in the reactor. Called each time that the node has joined."""

    def answering(self) -> DataNodeServer:
        """Return the node whose methods answer the requests."""
        return self
