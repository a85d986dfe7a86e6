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

with suppress(ImportError):  # only the node of such variables needs it
    import caproto
    from caproto.threading.client import Context

SEVERITIES = {"0": "none", "1": "minor", "2": "major", "3": "invalid"}

_UNDEFINED = 631_152_000.0 + 86_400
"""UNIX time before which the time of a record means that it has none: EPICS begins with 1990."""

_TOLD = 5
_STEP = 1e-6
_INVALID = 3
_BY_LIMITS = range(3, 9)
"""Statuses HIHI to COS: what is invalid by these is so by its value, which is good."""


class Variables:
    """Follow variables by name until `close`; lost ones are found again.

    `describe(name, entry)` is told what a variable says of itself; `take(name, value, severity, t)`
    each value, which is None when it is invalid or the connection is lost. Both come from threads.
    `last` are the times of the samples that are there already.
    """

    def __init__(
        self,
        names: list[str],
        last: Mapping[str, float],
        describe: Callable[[str, dict[str, Any]], None],
        take: Callable[[str, Any, int | None, float], None],
    ) -> None:
        self._tell, self._take, self._last = describe, take, dict(last)
        self._connected: set[str] = set()
        self._described: set[str] = set()
        self._wrong = dict.fromkeys(names, "not connected")
        self._context = Context()
        heard = {"connection_state_callback": self._on_connection}
        for pv in self._context.get_pvs(*names, **heard):
            self._subscribe(pv, "control", "DBE_PROPERTY", self._on_about)

    def close(self) -> None:
        """Leave the IOCs."""
        self._context.disconnect()

    @property
    def trouble(self) -> str | None:
        """Which variables are in trouble, and in which."""
        names: dict[str, list[str]] = {}
        for name, why in [*self._wrong.items()]:
            names.setdefault(why, []).append(name)
        return "; ".join(f"{why}: {_listed(them)}" for why, them in names.items()) or None

    def _on_connection(self, pv: Any, state: str) -> None:
        if state == "connected":
            self._wrong[pv.name] = "left out as an array" if _is_array(pv) else "without a value"
            return
        self._wrong[pv.name] = "not connected"
        self._connected.discard(pv.name)
        if pv.name in self._last:
            self._hand_on(pv.name, None, None, self._now(pv.name))

    def _on_about(self, subscription: Any, response: Any) -> None:
        pv = subscription.pv
        if _is_array(pv):
            return
        # Without it, a text would be listed as a number until its first value comes.
        is_text = pv.channel.native_data_type == caproto.ChannelType.STRING
        kind = "string" if is_text else "number"
        self._tell(pv.name, {"type": kind, **entry_of(response.metadata)})
        if pv.name not in self._described:
            self._described.add(pv.name)
            self._subscribe(pv, "time", "DBE_VALUE DBE_ALARM", self._on_value)

    def _subscribe(self, pv: Any, kind: str, events: str, callback: Callable[..., None]) -> None:
        mask = reduce(or_, (caproto.SubscriptionType[name] for name in events.split()))
        # One element is enough, and keeps arrays away.
        pv.subscribe(data_type=kind, data_count=1, mask=mask).add_callback(callback)

    def _on_value(self, subscription: Any, response: Any) -> None:
        pv, about, t = subscription.pv, response.metadata, response.metadata.timestamp
        if _is_array(pv):
            return
        is_first = pv.name not in self._connected
        self._connected.add(pv.name)
        # At first comes what the variable was already, perhaps before the connection was lost.
        if t < _UNDEFINED or (is_first and t <= self._last.get(pv.name, -math.inf)):
            t = self._now(pv.name)
        if about.severity == _INVALID and about.status not in _BY_LIMITS:
            self._wrong[pv.name] = "invalid"
            self._hand_on(pv.name, None, about.severity, t)
        else:
            self._wrong.pop(pv.name, None)
            self._hand_on(pv.name, value_of(response.data), about.severity, t)

    def _now(self, name: str) -> float:
        return max(time.time(), self._last.get(name, 0.0) + _STEP)

    def _hand_on(self, name: str, value: Any, severity: Any, t: float) -> None:
        self._last[name] = max(t, self._last.get(name, t))
        self._take(name, value, None if severity is None else int(severity), t)


def read_names(path: Path | None) -> list[str]:
    """Return the names in a file, one a line; behind ``#`` are remarks."""
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


def entry_of(about: Any) -> dict[str, Any]:
    """Return what a variable says of itself, as the entry of a field."""
    entry: dict[str, Any] = {}
    if units := _text(getattr(about, "units", b"")):
        entry["units"] = units
    if (precision := getattr(about, "precision", 0)) > 0:
        entry["precision"] = precision
    if states := getattr(about, "enum_strings", ()):
        entry["labels"] = {str(number): _text(state) for number, state in enumerate(states)}
    limits = {kind: _limits(about, kind) for kind in ("warning", "alarm")}
    if limits := {kind: ends for kind, ends in limits.items() if ends != [None, None]}:
        entry["limits"] = limits
    return entry


def _limits(about: Any, kind: str) -> list[float | None]:
    low, high = (float(getattr(about, f"{end}_{kind}_limit", 0)) for end in ("lower", "upper"))
    if low == high:  # both are 0 where nobody has set them
        return [None, None]
    return [end if math.isfinite(end) else None for end in (low, high)]


def _text(given: Any) -> str:
    text = given.decode("latin-1") if isinstance(given, bytes) else str(given)
    return text.partition("\0")[0].strip()


def _is_array(pv: Any) -> bool:
    return pv.channel.native_data_count > 1


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _TOLD} more" if len(names) > _TOLD else ""
    return ", ".join(names[:_TOLD]) + more
