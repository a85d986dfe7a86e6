"""`LiveNode`: a data node that reads an instrument at regular times and keeps what it read."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from twisted.internet import defer, task, threads

from sisock.data_node import DataNodeServer, NodeService
from sisock.errors import NodeContractError
from sisock.fields import describe
from sisock.logs import RepeatedWarning
from sisock.protocol import check_interval
from sisock.ring import RingBuffer
from sisock.serving import is_asynchronous, make_pool
from sisock.values import to_list

_TYPES: dict[str, tuple[type, ...]] = {
    "number": (int, float, np.integer, np.floating, np.bool_),
    "bool": (bool, np.bool_),
    "string": (str,),
}


class LiveNode(DataNodeServer):
    """A data node that reads its fields every `interval` seconds.

    Override `read`. Each sample is kept for `history` and published at once on the node's live
    topic. All fields share one timeline, named as the node.

    Attributes
    ----------
    interval : float
        Seconds between two readings.
    fields : dict
        Field name to ``{"description", "type", "units"}``, each of them optional.
    history : float
        Seconds for which samples are kept.
    history_samples : int or None
        Number of samples kept, instead of `history`.
    read_timeout : float or None
        Seconds after which a reading is too late to count; ten intervals, at least 10 s, if None.
    """

    interval: float = 1.0
    fields: Mapping[str, Mapping[str, Any]] = {}
    history: float = 3600.0
    history_samples: int | None = None
    read_timeout: float | None = None

    features = (*DataNodeServer.features, "live")

    _ring: RingBuffer

    def read(self) -> Mapping[str, Any]:
        """Read the instrument once.

        May block, as it runs in a thread of its own, or be a coroutine function. Whatever goes
        wrong costs this one sample and a warning.

        Returns
        -------
        dict
            Field name to value; a field that is left out is missing at this time.
        """
        raise NotImplementedError(f"{type(self).__name__} must have a method read()")

    def begin(self, service: NodeService) -> None:
        """Start to read."""
        self._reactor, self._publish = service.reactor, service.publish
        self._pool = make_pool(f"{self.name}-read", 1)
        self._pool.start()
        self._loop = task.LoopingCall(self._take_sample)
        self._loop.clock = service.reactor
        self._loop.start(self.interval)

    def prepare(self) -> None:
        """Check what the author set, and make the ring buffer.

        Raises
        ------
        NodeContractError
            Naming the attribute that is wrong.
        """
        if not self.fields:
            raise NodeContractError(self.name, None, "the attribute fields names no field")
        if not self.interval > 0:
            raise NodeContractError(self.name, None, "the attribute interval must be positive")
        for name, entry in self.fields.items():
            if entry.get("type", "number") not in _TYPES:
                raise NodeContractError(self.name, name, f"type must be one of {tuple(_TYPES)}")
        depth = self.history_samples or math.ceil(self.history / self.interval)
        kinds = {name: entry.get("type", "number") for name, entry in self.fields.items()}
        self._kinds = kinds
        self._ring = RingBuffer(depth, {name: kind == "number" for name, kind in kinds.items()})
        self._warn = RepeatedWarning(self.log)

    async def _take_sample(self) -> None:
        """Read once; never raises, as that would end the loop."""
        timeout = self.read_timeout or max(10 * self.interval, 10.0)
        began, clock = time.time(), time.monotonic()
        late = task.LoopingCall(
            self._warn, f"read has not returned for {timeout:g} s: its sample is lost"
        )
        late.clock = self._reactor
        late.start(timeout, now=False)
        try:
            values = await self._read(timeout)
            if time.monotonic() - clock <= timeout:
                self._keep(began, self._checked(values))
        except Exception as error:
            self._warn(f"read failed, a sample is lost: {type(error).__name__}: {error}")
        finally:
            late.stop()

    def _read(self, timeout: float) -> defer.Deferred:
        if is_asynchronous(self.read):
            return defer.maybeDeferred(self.read).addTimeout(timeout, self._reactor)
        # A thread cannot be ended: the next reading waits until this one has come back.
        return threads.deferToThreadPool(self._reactor, self._pool, self.read)

    def _checked(self, values: Any) -> dict[str, Any]:
        """The values that are of their field's type; a warning for each other one."""
        if not isinstance(values, Mapping):
            raise TypeError(f"it returned {type(values).__name__}, not a dict of field to value")
        checked = {}
        for name, value in values.items():
            kind = self._kinds.get(name)
            if kind is None:
                self._warn(f"read returned the field {name!r}, which is not in fields")
            elif value is not None and not isinstance(value, _TYPES[kind]):
                self._warn(
                    f"read returned {type(value).__name__} for {name!r}, which is a {kind}:"
                    " the value is lost"
                )
            elif value is not None:
                checked[name] = value.item() if isinstance(value, np.generic) else value
        return checked

    def _keep(self, t: float, values: dict[str, Any]) -> None:
        newest = self._ring.newest
        if newest is not None and t < newest:
            dropped = self._ring.drop_after(t)
            self._warn(f"the clock was set back: {dropped} samples of a later time are dropped")
            self.samples_changed()
        self._ring.append(t, values)
        self._publish(
            {
                "data": {name: to_list([values.get(name)]) for name in self.fields},
                "timeline": {self.name: {"t": [t], "finalized_until": t}},
            }
        )

    async def get_fields(self, start: float, end: float) -> Any:
        """List all fields, whether or not they have samples in the interval."""
        entries = {n: {**entry, "interval": self.interval} for n, entry in self.fields.items()}
        return describe({name: {**entry, "timeline": self.name} for name, entry in entries.items()})

    async def get_data(
        self, field: list[str], start: float, end: float, min_stride: float | None = None
    ) -> Any:
        """Return what is kept; samples before the newest one never change."""
        interval = check_interval(start, end)
        t, chosen = self._ring.between(interval.start, interval.end, field)
        line = {"t": t, "finalized_until": self._ring.newest}
        return {"data": chosen, "timeline": {self.name: line}}
