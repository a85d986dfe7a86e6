"""Follow EPICS process variables over Channel Access; needs caproto."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Any

from sisock.errors import SisockError

with suppress(ImportError):  # only the EPICS node needs it
    import caproto
    from caproto.threading.client import Context

SEVERITIES = {"0": "none", "1": "minor", "2": "major", "3": "invalid"}

_UNDEFINED = 631_152_000.0 + 86_400
"""UNIX time; an earlier one means that a record has no time: the epoch of EPICS is 1990."""

_MAX_LISTED = 5
_STEP = 1e-6
_INVALID = 3
_BY_LIMITS = range(3, 9)
"""Statuses HIHI to COS: the value is valid, but beyond limits whose severity is "invalid"."""


class Variables:
    """Follow process variables by name until `close`, and reconnect to lost ones.

    `on_metadata(name, entry)` is called with the metadata of a variable, and
    `on_value(name, value, severity, t)` with each value, or None when it is invalid or the
    connection is lost; both in threads. `last` has the times of the latest stored samples.
    """

    def __init__(
        self,
        names: list[str],
        last: Mapping[str, float],
        on_metadata: Callable[[str, dict[str, Any]], None],
        on_value: Callable[[str, Any, int | None, float], None],
    ) -> None:
        self._on_metadata, self._on_value, self._last = on_metadata, on_value, dict(last)
        self._connected: set[str] = set()
        self._described: set[str] = set()
        self._problems = dict.fromkeys(names, "not connected")
        self._context = Context()
        callback = {"connection_state_callback": self._connection_changed}
        for pv in self._context.get_pvs(*names, **callback):
            self._subscribe(pv, "control", "DBE_PROPERTY", self._metadata_received)

    def close(self) -> None:
        """Disconnect from the IOCs."""
        self._context.disconnect()

    @property
    def trouble(self) -> str | None:
        """The problems, each with the names of its variables; None if there are none."""
        names: dict[str, list[str]] = {}
        for name, problem in [*self._problems.items()]:
            names.setdefault(problem, []).append(name)
        return "; ".join(f"{why}: {_abbreviate(some)}" for why, some in names.items()) or None

    def _connection_changed(self, pv: Any, state: str) -> None:
        if state == "connected":
            problem = "left out as an array" if _is_array(pv) else "without a value"
            self._problems[pv.name] = problem
            return
        self._problems[pv.name] = "not connected"
        self._connected.discard(pv.name)
        if pv.name in self._last:
            self._pass_on(pv.name, None, None, self._now(pv.name))

    def _metadata_received(self, subscription: Any, response: Any) -> None:
        pv = subscription.pv
        if _is_array(pv):
            return
        # Without it, a text would be listed as a number until its first value comes.
        is_text = pv.channel.native_data_type == caproto.ChannelType.STRING
        kind = "string" if is_text else "number"
        self._on_metadata(pv.name, {"type": kind, **entry_of(response.metadata)})
        if pv.name not in self._described:
            self._described.add(pv.name)
            self._subscribe(pv, "time", "DBE_VALUE DBE_ALARM", self._value_received)

    def _subscribe(self, pv: Any, kind: str, events: str, callback: Callable[..., None]) -> None:
        mask = reduce(or_, (caproto.SubscriptionType[name] for name in events.split()))
        # Arrays are left out: transfer only one of their elements.
        pv.subscribe(data_type=kind, data_count=1, mask=mask).add_callback(callback)

    def _value_received(self, subscription: Any, response: Any) -> None:
        pv, metadata, t = subscription.pv, response.metadata, response.metadata.timestamp
        if _is_array(pv):
            return
        is_first = pv.name not in self._connected
        self._connected.add(pv.name)
        # The first value after connecting is the current one; it may be old, and stored already.
        if t < _UNDEFINED or (is_first and t <= self._last.get(pv.name, -math.inf)):
            t = self._now(pv.name)
        if metadata.severity == _INVALID and metadata.status not in _BY_LIMITS:
            self._problems[pv.name] = "invalid"
            self._pass_on(pv.name, None, metadata.severity, t)
        else:
            self._problems.pop(pv.name, None)
            self._pass_on(pv.name, value_of(response.data), metadata.severity, t)

    def _now(self, name: str) -> float:
        return max(time.time(), self._last.get(name, 0.0) + _STEP)

    def _pass_on(self, name: str, value: Any, severity: Any, t: float) -> None:
        self._last[name] = max(t, self._last.get(name, t))
        self._on_value(name, value, None if severity is None else int(severity), t)


def read_names(path: Path | None) -> list[str]:
    """Return the names in a file, one per line; ``#`` begins a comment."""
    try:
        lines = [] if path is None else path.read_text().splitlines()
    except (OSError, ValueError) as error:
        raise SisockError(f"--list: {path}: {error}") from None
    return [name for line in lines if (name := line.partition("#")[0].strip())]


def value_of(data: Any) -> Any:
    """Return a value as a number or a text."""
    value = data[0] if len(data) else None
    if isinstance(value, bytes):
        return value.partition(b"\0")[0].decode("latin-1")
    return None if value is None else getattr(value, "item", lambda: value)()


def entry_of(metadata: Any) -> dict[str, Any]:
    """Return the metadata of a variable as the entry of a field."""
    entry: dict[str, Any] = {}
    if units := _text(getattr(metadata, "units", b"")):
        entry["units"] = units
    if (precision := getattr(metadata, "precision", 0)) > 0:
        entry["precision"] = precision
    if states := getattr(metadata, "enum_strings", ()):
        entry["labels"] = {str(number): _text(state) for number, state in enumerate(states)}
    limits = {kind: _limits(metadata, kind) for kind in ("warning", "alarm")}
    if limits := {kind: ends for kind, ends in limits.items() if ends != [None, None]}:
        entry["limits"] = limits
    return entry


def _limits(metadata: Any, kind: str) -> list[float | None]:
    low, high = (float(getattr(metadata, f"{end}_{kind}_limit", 0)) for end in ("lower", "upper"))
    if low == high:  # both are 0 if they are not set
        return [None, None]
    return [end if math.isfinite(end) else None for end in (low, high)]


def _text(value: Any) -> str:
    text = value.decode("latin-1") if isinstance(value, bytes) else str(value)
    return text.partition("\0")[0].strip()


def _is_array(pv: Any) -> bool:
    return pv.channel.native_data_count > 1


def _abbreviate(names: list[str]) -> str:
    more = f" and {len(names) - _MAX_LISTED} more" if len(names) > _MAX_LISTED else ""
    return ", ".join(names[:_MAX_LISTED]) + more
