"""Read an instrument at regular times, and keep and publish what was read: `LiveNode`."""

from __future__ import annotations

import math
import time
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
from twisted.internet import defer, task, threads

from sisock.connection.runtime import RepeatedWarning, is_asynchronous, make_pool, stop_pool
from sisock.errors import NodeContractError
from sisock.node.api import DataNodeServer
from sisock.node.ring_buffer import RingBuffer
from sisock.wire.arrays import normalise, to_list
from sisock.wire.fields import check_entries, check_fields, describe
from sisock.wire.protocol import NEVER_FINAL, check_interval
from sisock.wire.reply import Reply, Timeline

_TYPES: dict[str, tuple[type, ...]] = {
    "number": (int, float, np.integer, np.floating, np.bool_),
    "bool": (bool, np.bool_),
    "string": (str,),
}


class LiveNode(DataNodeServer):
    """A data node that reads its fields every `interval` seconds: override `read`.

    Reading begins when the node holds its name for the first time, and goes on without a router.
    Each sample is kept for `history` and published at once. All fields share one timeline, named as
    the node.

    Attributes
    ----------
    interval, history : float
        Seconds between two readings, and for which samples are kept.
    fields : dict
        Field name to ``{"description", "type", "units"}``, each of them optional.
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

    @abstractmethod
    def read(self) -> Mapping[str, Any]:
        """Read the instrument once: field name to value; one that is left out is missing.

        May block, as it runs in a thread of its own, or be a coroutine function. Whatever goes
        wrong costs this one sample and a warning.
        """

    @property
    def read_limit(self) -> float:
        """Seconds that one reading may take."""
        return self.read_timeout or max(10 * self.interval, 10.0)

    def begin(self, service: Any) -> None:
        """Start to read."""
        self._loop.clock = service.reactor
        self._loop.start(self.interval)

    def end(self) -> None:
        """Read no more."""
        if self._loop.running:
            self._loop.stop()
        stop_pool(self._pool)

    def prepare(self) -> None:
        """Make the ring buffer; NodeContractError names an attribute that is wrong."""
        check_entries(self.fields, self.name)
        if not self.fields:
            raise NodeContractError(self.name, None, "the attribute fields names no field")
        for attribute in ("interval", "history"):
            value = getattr(self, attribute)
            if not isinstance(value, int | float) or not 0 < value < math.inf:
                rule = f"the attribute {attribute} must be a positive number of seconds"
                raise NodeContractError(self.name, None, rule)
        shared = {"interval": self.interval, "timeline": self.name}
        fields = describe({name: {**entry, **shared} for name, entry in self.fields.items()})
        self._described = check_fields(fields, self.name)
        depth = self.history_samples or math.ceil(self.history / self.interval)
        self._kinds = {name: entry["type"] for name, entry in self._described[0].items()}
        numeric = {name: kind == "number" for name, kind in self._kinds.items()}
        self._ring = RingBuffer(depth, numeric)
        self._warn = RepeatedWarning(self.log)
        self._pool = make_pool(f"{self.name}-read", 1)
        self._loop = task.LoopingCall(self._read_and_warn)

    async def _read_and_warn(self) -> None:
        """Take a sample; never raises, as that would end the loop."""
        limit = self.read_limit
        late = task.LoopingCall(
            self._warn, f"read has not returned for {limit:g} s: its sample is lost"
        )
        late.clock = self._loop.clock
        late.start(limit, now=False)
        try:
            for fault in await self.take_sample(self._loop.clock):
                self._warn(f"{fault}: the value is lost")
        except Exception as error:
            self._warn(f"read failed, a sample is lost: {type(error).__name__}: {error}")
        finally:
            late.stop()

    async def take_sample(self, reactor: Any) -> list[str]:
        """Read once, keep and publish the sample, and return what is wrong with its values.

        Raises what `read` raised, or TypeError if it did not return a dict.
        """
        began, clock = time.time(), time.monotonic()
        if is_asynchronous(self.read):
            values = await defer.maybeDeferred(self.read).addTimeout(self.read_limit, reactor)
        else:
            # A thread cannot be ended: the next reading waits until this one has come back.
            values = await threads.deferToThreadPool(reactor, self._pool, self.read)
        if time.monotonic() - clock > self.read_limit:
            return []
        checked, faults = self._judge(values)
        self._keep(began, checked)
        return faults

    def _judge(self, values: Any) -> tuple[dict[str, Any], list[str]]:
        """Return the values that are of their field's type, and a sentence for each other one."""
        if not isinstance(values, Mapping):
            raise TypeError(f"it returned {type(values).__name__}, not a dict of field to value")
        good, faults = {}, []
        for name, value in values.items():
            kind, given = self._kinds.get(name), type(value).__name__
            if kind is None:
                faults.append(f"read returned the field {name!r}, which is not in fields")
            elif value is not None and not isinstance(value, _TYPES[kind]):
                faults.append(f"read returned {given} for {name!r}, which is a {kind}")
            elif value is not None:
                good[name] = value.item() if isinstance(value, np.generic) else value
        return good, faults

    def _keep(self, t: float, values: dict[str, Any]) -> None:
        newest = self._ring.newest
        if newest is not None and t < newest:
            dropped = self._ring.drop_after(t)
            self._warn(f"the clock was set back: {dropped} samples of a later time are dropped")
            self.samples_changed()
        self._ring.append(t, values)
        if self.service is not None:
            line = {"t": [t], "finalized_until": t}
            data = {name: to_list([values.get(name)]) for name in self.fields}
            self.service.publish({"data": data, "timeline": {self.name: line}})

    async def get_fields(self, start: float, end: float) -> Any:
        """List all fields, whether or not they have samples in the interval."""
        return self._described

    def get_data(
        self, field: list[str], start: float, end: float, min_stride: float | None = None
    ) -> Any:
        """Return what is kept; samples up to the newest one never change."""
        return self._snapshot(field, start, end)[0]

    def get_decimated(
        self,
        field: list[str],
        start: float,
        end: float,
        bucket: float | None = None,
        max_points: int | None = None,
    ) -> Any:
        """Decimate what is kept; nothing is ever added before the newest sample of all."""
        reply, newest = self._snapshot(field, start, end)
        final_to = NEVER_FINAL if newest is None else math.nextafter(newest, math.inf)
        kept = reply.decimate(bucket, max_points)
        kept.final_to = dict.fromkeys(field, final_to)
        return kept

    def _snapshot(self, field: list[str], start: float, end: float) -> tuple[Reply, float | None]:
        interval = check_interval(start, end)
        t, chosen, newest = self._ring.snapshot(interval.start, interval.end, field)
        reply = Reply({name: normalise(chosen.get(name, [])) for name in field})
        if chosen and len(t):
            reply.timelines[self.name] = Timeline(t, newest)
            reply.follows = dict.fromkeys(chosen, self.name)
        return reply, newest
