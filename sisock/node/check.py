"""Check a data node without a router: ask it for its fields and samples."""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Awaitable
from contextlib import suppress
from typing import Any

import numpy as np
from twisted.internet import defer, threads

from sisock.connection.runtime import reactor_thread
from sisock.errors import NodeContractError
from sisock.node.api import DataNodeServer
from sisock.node.live import LiveNode
from sisock.node.service import NodeService
from sisock.wire.arrays import has_value
from sisock.wire.times import counted, format_time

TIMEOUT = 30.0  # seconds to wait for an answer, as consumers do
FAR = 1e20  # a time after all samples, even if their times are in nanoseconds

_YEAR = 31556952.0
_LATEST = 230 * _YEAR  # later times cannot be in seconds
_EARLIEST = 5 * _YEAR  # if all samples are earlier, their times are doubtful

_UNITS = {"milliseconds": 1e3, "microseconds": 1e6, "nanoseconds": 1e9}


def check_node(node: DataNodeServer, start: float = 1, end: float = 0) -> list[str]:
    """Ask a node for its fields and samples without a router, and check them.

    The node must not run yet, and cannot be used afterwards. `start` and `end` are sisock times; by
    default they include all samples. Returns lines to print: the samples, times and extremes of
    each field, and what is doubtful. Raises NodeContractError if the node breaks a rule.
    """
    lines, faults = examine(node, start, end)
    if faults:
        raise faults[0]
    return lines


def examine(
    node: DataNodeServer, start: float = 1, end: float = 0
) -> tuple[list[str], list[NodeContractError]]:
    """Do as `check_node`, but return the lines of the good fields, and all faults."""
    service = NodeService(node, reactor_thread())
    check = _Check(service, start, end)
    try:
        threads.blockingCallFromThread(
            service.reactor, lambda: defer.ensureDeferred(check.check_all())
        )
    finally:
        threads.blockingCallFromThread(service.reactor, service.stop)
    return check.lines, check.faults


class _Check:
    """Check one node, and collect lines and faults."""

    def __init__(self, service: NodeService, start: float, end: float) -> None:
        self.lines = [f"doubtful: {text}" for text in service.misspelt]
        self.faults: list[NodeContractError] = []
        self._service = service
        self._node = service.node
        self._interval = start, end
        verbs = ("subscribe", "read", "get_data")
        self._verb = next(verb for verb in verbs if hasattr(self._node, verb))

    async def check_all(self) -> None:
        try:
            if isinstance(self._node, LiveNode):
                sample = self._node.take_sample(self._service.reactor)
                wrong = await self._within(self._node.read_limit, self._verb, None, sample)
                self.faults += [self._fault(None, rule) for rule in wrong]
            answer = self._service.requests.answer_fields(self._interval, {})
            fields, _ = await self._within(TIMEOUT, "get_fields", None, answer)
        except NodeContractError as fault:
            self.faults.append(fault)
            return
        self.lines.append(f"node {self._node.name}: {counted(len(fields), 'field')}")
        for name, about in fields.items():
            try:
                await self._check_field(name, about)
            except NodeContractError as fault:
                self.faults.append(fault)
        if self._node.trouble and not fields:
            self.faults.append(self._fault(None, self._node.trouble))
        elif self._node.trouble:
            self.lines.append(f"doubtful: {self._node.trouble}")

    async def _check_field(self, name: str, about: dict[str, Any]) -> None:
        label = f"{name} [{about['units']}]" if about["units"] else name
        found = late = await self._ask(name, *self._interval)
        if found is not None and not len(found[0]):
            with suppress(NodeContractError):  # the node's code may reject such a late time
                # Look for times in milliseconds, which are after the end.
                late = await self._ask(name, 1, FAR)
        if late is not None and len(late[0]) and late[0][-1] > _LATEST:
            raise self._fault(name, _unit_of(float(late[0][-1])))
        if found is None or not len(found[0]):
            what = "doubtful: it has no samples" if found else "too many samples for one reply"
            self.lines.append(f"{label}: {what}")
            return
        t, values = found
        is_text = {isinstance(value, str) for value in values[:1000].tolist() if value is not None}
        if is_text - {about["type"] == "string"}:
            has = "strings" if True in is_text else "no strings"
            raise self._fault(name, f"its type is {about['type']!r}, but its values are {has}")
        where = f"on timeline {about['timeline']}"
        times = format_time(t[0]) + (f" to {format_time(t[-1])}" if len(t) > 1 else "")
        samples = counted(len(t), "sample")
        self.lines.append(f"{label}: {samples} {where}, {times}, {_extremes(values)}")
        if t[-1] > time.time() + 1:
            self.lines.append(
                f"{label}: doubtful: its last sample is in the future: is the clock right?"
            )
        elif t[-1] < _EARLIEST:
            self.lines.append(f"{label}: doubtful: {_unit_of(float(t[-1]))}")

    async def _ask(self, name: str, start: float, end: float) -> tuple[Any, Any] | None:
        """Return times and values of a field; None if there are too many for one reply."""
        answer = self._service.requests.look_up([name], start, end)
        reply = await self._within(TIMEOUT, self._verb, name, answer)
        if reply is False:
            return None
        line = reply.timelines.get(reply.follows.get(name))
        return reply.data[name] if line is None else line.t, reply.data[name]

    async def _within(
        self, seconds: float, verb: str, field: str | None, answer: Awaitable[Any]
    ) -> Any:
        """Await an answer of the node; raise NodeContractError if it fails or takes too long."""
        try:
            waited = defer.ensureDeferred(answer)
            return await waited.addTimeout(seconds, self._service.reactor)
        except NodeContractError:
            raise
        except defer.TimeoutError:
            rule = f"{verb} has not returned for {seconds:g} s"
        except Exception as error:
            where = _place_of(error, _file_of(self._node))
            rule = f"{verb} raised {type(error).__name__}: {error}{where}"
        raise self._fault(field, rule)

    def _fault(self, field: str | None, rule: str) -> NodeContractError:
        return NodeContractError(self._node.name, field, rule)


def _place_of(error: Exception, own: str | None) -> str:
    """Return the last line of the author's code that an error came through; empty if none did."""
    every = traceback.extract_tb(error.__traceback__)
    frames = [frame for frame in every if own in (None, frame.filename)]
    return f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""


def _file_of(node: DataNodeServer) -> str | None:
    """Return the file of the node's class; None in a notebook."""
    return getattr(sys.modules.get(type(node).__module__), "__file__", None)


def _extremes(values: np.ndarray) -> str:
    present = values[has_value(values)]
    if not len(present):
        return "missing" if len(values) == 1 else "all of them missing"
    low, high = present.min(), present.max()
    return str(low) if low == high else f"{low} to {high}"


def _unit_of(last: float) -> str:
    """Return a sentence that names the odd year of a time, and guesses the unit of the time."""
    likely = [unit for unit, factor in _UNITS.items() if 0 < last / factor < _LATEST < last]
    guess = f"{likely[0]}?" if likely else "are they UNIX seconds?"
    return f"its times lie in the year {1970 + last // _YEAR:.0f}: {guess}"
