"""Define `DataNodeServer`, the class that authors of data nodes extend."""

from __future__ import annotations

import argparse
from abc import abstractmethod
from functools import cached_property
from typing import Any

import txaio

from sisock.wire import protocol


class DataNodeServer:
    """A program that serves the samples of one instrument or archive.

    Override `get_fields` and `get_data`; where they fit, `sisock.LiveNode` and `sisock.ArchiveNode`
    are easier. Plain methods may block: they run in threads, several at once. Coroutine functions
    and ``inlineCallbacks`` run in the reactor and must not block.

    Attributes
    ----------
    name : str
        The node's name: not empty, without ``.``, ``#``, ``::`` and white space.
    description : str
        One line for users; by default the first line of the class's docstring.
    trouble : str or None
        A message for users about what keeps the node from serving now. The hub's list shows it
        after the description within seconds, until it is None again.
    allowance : int
        Maximum bytes of a reply of the base protocol; False is sent instead of a larger one.
    log : logger
        A txaio logger: ``self.log.warn("{count} lines skipped", count=3)``.
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
        """Return the node's fields and timelines.

        Parameters
        ----------
        start, end : float
            Sisock times, as the caller sent them. List at least the fields with samples in
            between; others may be listed, too.

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
            Minimum spacing that the caller wants, in seconds. You may ignore it, as it is applied
            to what you return; use it if skipping samples saves work.

        Returns
        -------
        dict
            ``{"data": {field: values}, "timeline": {name: {"t", "finalized_until"}}}`` with lists
            or arrays; samples outside the interval are removed.
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
            As in `get_data`.
        bucket : float, optional
            Size of the buckets in seconds.
        max_points : int, optional
            Maximum samples of each field, instead of `bucket`. The protocol says which to keep.

        Returns
        -------
        dict or None
            Field name to `sisock.wire.reply.Decimated`.
            None (the default): `get_data` is called, and its samples are decimated.
        """

    def get_latest(self, field: list[str], end: float) -> Any:
        """Return the last sample of each field before `end`, if the node has a cheap way.

        `end` is in UNIX seconds.

        Returns
        -------
        dict or None
            As in `get_data`; only the last sample with a value of each field is used.
            None (the default): `get_data` is called for times further and further back.
        """

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Add the node's own command-line flags; their values become arguments of the class."""

    def prepare(self) -> None:
        """Check the attributes that the author has set, before anything starts."""

    def samples_changed(self) -> None:
        """Announce that final samples have changed.

        Consumers then drop what they have cached of the node. Call this before you return the
        changed samples. In a thread, it waits until the hub has told consumers.
        """
        if self.service is not None:
            self.service.samples_changed()

    def open(self) -> str | None:
        """Open the node's files, before it joins the router.

        Returns the generation of the samples if it stays the same over restarts, else None.
        """
        return None

    def begin(self, service: Any) -> None:
        """Start background work. Called in the reactor, once the node holds its name.

        ``service.repeat(seconds, function)`` calls a function regularly until the node ends.
        """

    def end(self) -> None:
        """End background work."""

    def status(self) -> dict[str, Any]:
        """Return figures for ``sisock status``.

        ``samples`` is the number of values taken since the start, ``last`` the time of the last one
        (UNIX seconds or None), and ``error`` the last error (a text or None).
        """
        return {"samples": 0, "last": None, "error": None}

    def joined(self, session: Any) -> None:
        """Use a new session. Called in the reactor each time that the node has joined."""

    def answering(self) -> DataNodeServer:
        """Return the node whose methods answer the requests."""
        return self
