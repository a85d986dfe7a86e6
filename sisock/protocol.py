"""The protocol's names, times and rules, as PROTOCOL.md has them; nothing here needs a router."""

from __future__ import annotations

import math
import re
import time
from dataclasses import dataclass, field
from typing import Any

from sisock.errors import InvalidArgument, InvalidNodeName

REALM = "sisock"
"""The WAMP realm that everybody joins."""

PREFIX = "org.simonsobservatory."
"""What every URI of ours begins with."""

USER_SERVER = "server"
"""WAMP authid of hub and data nodes."""

USER_CONSUMER = "simonsobs"
"""WAMP authid of everybody else."""

FEATURES = ("binary", "progressive", "max_points", "live")
"""What a node can announce, PROTOCOL.md part 2."""

RESERVED_NAMES = frozenset({"get_data_node", "data_node_added", "data_node_subtracted"})
"""Names that stand beside the nodes' under ``consumer.`` and so are taken."""

DEFAULT_ALLOWANCE = 1_000_000
"""Bytes of a Part 1 reply: peers with autobahn's default limit drop their connection at 1 MiB."""

MESSAGE_ALLOWANCE = 15_000_000
"""Bytes of a binary reply sent as one message: the router closes a node's connection at 16 MiB."""

PIECE_BYTES = 1_000_000
"""Bytes of arrays in one piece of a progressive reply."""

WINDOW_DEFAULT = 1 << 20
WINDOW_MAX = 16 << 20

ERROR_PREFIX = PREFIX + "error."
ERROR_INVALID_ARGUMENT = ERROR_PREFIX + "invalid_argument"
ERROR_INVALID_NAME = ERROR_PREFIX + "invalid_name"
ERROR_NODE_FAILED = ERROR_PREFIX + "node_failed"
ERROR_NOT_AUTHORIZED = "wamp.error.not_authorized"
ERROR_NO_SUCH_PROCEDURE = "wamp.error.no_such_procedure"
ERROR_PROCEDURE_EXISTS = "wamp.error.procedure_already_exists"


def uri(tail: str) -> str:
    """Compose a full URI from what follows the prefix.

    Parameters
    ----------
    tail : str
        For example ``"data_node.add"``.
    """
    return PREFIX + tail


def node_uri(node: str, verb: str) -> str:
    """Compose the URI of one of a node's procedures or topics.

    Parameters
    ----------
    node : str
        The node's name.
    verb : {"get_fields", "get_data", "data"}
        ``data`` is the topic of live samples.
    """
    return uri(f"consumer.{node}.{verb}")


def sisock_to_unix_time(t: float, now: float | None = None) -> float:
    """Convert sisock time to UNIX time.

    Parameters
    ----------
    t : float
        Seconds. Positive: a UNIX time. Zero or negative: that many seconds before now.
    now : float, optional
        The present as a UNIX time; the clock's if not given.
    """
    if t > 0:
        return float(t)
    return (time.time() if now is None else now) + t


def is_text(text: str) -> bool:
    """Whether a string can travel.

    Half a surrogate pair, as of an odd file name, cannot; nor can a NUL at the beginning, which
    autobahn's JSON takes for the sign of bytes.
    """
    if text.startswith("\0"):
        return False
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def as_text(text: str) -> str:
    """A string that can travel, with a question mark for what cannot."""
    if is_text(text):
        return text
    whole = text.encode("utf-8", "replace").decode()
    return whole.replace("\0", "?", 1) if whole.startswith("\0") else whole


_FORBIDDEN_IN_NAME = re.compile(r"[.#\s]|::")


def check_node_name(name: Any) -> str:
    """Return `name` if it can be a node's.

    Raises
    ------
    InvalidNodeName
        If it is not one component of a WAMP URI, or is a reserved one.
    """
    if not isinstance(name, str) or not name:
        raise InvalidNodeName(f"a node name must be a string that is not empty, not {name!r}")
    if _FORBIDDEN_IN_NAME.search(name):
        raise InvalidNodeName(f"a node name has no '.', '#', '::' or white space, as {name!r} has")
    if not is_text(name):
        raise InvalidNodeName(f"the node name {name!r} cannot be written in UTF-8")
    if name in RESERVED_NAMES:
        raise InvalidNodeName(f"the name {name!r} is taken by the protocol itself")
    return name


@dataclass(frozen=True)
class Interval:
    """A half-open interval ``[start, end)`` in UNIX seconds."""

    start: float
    end: float


@dataclass(frozen=True)
class DataRequest:
    """The checked arguments of one ``get_data`` call.

    Attributes
    ----------
    fields : list of str
        Field names, each once, in the caller's order.
    sent_start, sent_end : float
        Sisock times as the caller sent them.
    interval : Interval
        The same as UNIX times.
    min_stride : float or None
        Seconds between samples, at least.
    binary : bool
        Numeric arrays as bytes.
    window : int
        Bytes that one progressive call sends at most.
    after : dict
        Timeline name to the UNIX time of the last sample that the caller has.
    """

    fields: list[str]
    sent_start: float
    sent_end: float
    interval: Interval
    min_stride: float | None = None
    binary: bool = False
    window: int = WINDOW_DEFAULT
    after: dict[str, float] = field(default_factory=dict)


def _check_number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidArgument(f"{name} must be a number, not {type(value).__name__}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise InvalidArgument(f"{name} must be a finite number of seconds")
    return number


def check_interval(start: Any, end: Any, now: float | None = None) -> Interval:
    """Check the two times of a request and make them UNIX times.

    Raises
    ------
    InvalidArgument
        If one is not a finite number, or start is after end (judged as UNIX times).
    """
    start, end = _check_number("start", start), _check_number("end", end)
    now = time.time() if now is None else now
    interval = Interval(sisock_to_unix_time(start, now), sisock_to_unix_time(end, now))
    if interval.start > interval.end:
        raise InvalidArgument(f"start ({start}) is after end ({end})")
    return interval


def _check_fields(value: Any) -> list[str]:
    if not isinstance(value, list | tuple):
        raise InvalidArgument(f"field must be a list of names, not {type(value).__name__}")
    for name in value:
        if not isinstance(name, str):
            raise InvalidArgument(f"field must hold names, not {type(name).__name__}")
    return list(dict.fromkeys(value))


def _check_window(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= WINDOW_MAX:
        raise InvalidArgument(f"window must be a whole number of bytes from 1 to {WINDOW_MAX}")
    return value


def _check_after(value: Any) -> dict[str, float]:
    if not isinstance(value, dict):
        raise InvalidArgument("after must be a dictionary of timeline to UNIX time")
    return {str(name): _check_number("after", t) for name, t in value.items()}


_DATA_ARGUMENTS = ("field", "start", "end", "min_stride", "encoding", "window", "after")
_FIELDS_ARGUMENTS = ("start", "end")


def _bind(names: tuple[str, ...], positional: int, args: tuple, kwargs: dict) -> dict[str, Any]:
    if len(args) > positional:
        raise InvalidArgument(f"too many arguments: {', '.join(names[:positional])} are all")
    bound = dict(zip(names, args, strict=False))
    for name, value in kwargs.items():
        if name not in names:
            raise InvalidArgument(f"{name} is not an argument that this node knows")
        if name in bound:
            raise InvalidArgument(f"{name} is given twice")
        bound[name] = value
    return bound


def _require(bound: dict[str, Any], *names: str) -> None:
    for name in names:
        if name not in bound:
            raise InvalidArgument(f"{name} is missing")


def parse_get_data(args: tuple, kwargs: dict, now: float | None = None) -> DataRequest:
    """Check the arguments of a ``get_data`` call, as they came from the wire.

    Raises
    ------
    InvalidArgument
        Naming the first argument that is wrong.
    """
    bound = _bind(_DATA_ARGUMENTS, 4, args, kwargs)
    _require(bound, "field", "start", "end")
    fields = _check_fields(bound["field"])
    interval = check_interval(bound["start"], bound["end"], now)
    min_stride = bound.get("min_stride")
    if min_stride is not None:
        min_stride = _check_number("min_stride", min_stride)
        if min_stride < 0:
            raise InvalidArgument("min_stride must not be negative")
    encoding = bound.get("encoding")
    if encoding not in (None, "binary"):
        raise InvalidArgument('encoding must be "binary" or None')
    window, after = bound.get("window"), bound.get("after")
    return DataRequest(
        fields=fields,
        sent_start=bound["start"],
        sent_end=bound["end"],
        interval=interval,
        min_stride=min_stride,
        binary=encoding == "binary",
        window=WINDOW_DEFAULT if window is None else _check_window(window),
        after={} if after is None else _check_after(after),
    )


def parse_get_fields(args: tuple, kwargs: dict) -> tuple[float, float]:
    """Check the arguments of a ``get_fields`` call and return them as they were sent.

    Raises
    ------
    InvalidArgument
        Naming the first argument that is wrong.
    """
    bound = _bind(_FIELDS_ARGUMENTS, 2, args, kwargs)
    _require(bound, "start", "end")
    check_interval(bound["start"], bound["end"])
    return bound["start"], bound["end"]
