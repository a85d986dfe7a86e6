"""The protocol's names, times and rules, as PROTOCOL.md has them; nothing here needs a router."""

from __future__ import annotations

import math
import re
import time
from dataclasses import dataclass
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

MAX_NAME = 200
MAX_DESCRIPTION = 1000
"""Characters that the hub keeps of a node."""

FEWEST_POINTS = 8
"""The least that ``max_points`` may be."""

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
    if len(name) > MAX_NAME:
        raise InvalidNodeName(f"a node name has at most {MAX_NAME} characters, not {len(name)}")
    if name in RESERVED_NAMES:
        raise InvalidNodeName(f"the name {name!r} is taken by the protocol itself")
    return name


@dataclass(frozen=True)
class Interval:
    """A half-open interval ``[start, end)`` in UNIX seconds."""

    start: float
    end: float


def check_number(name: str, value: Any) -> float:
    """Check a number of seconds; InvalidArgument names the argument that is none."""
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
    start, end = check_number("start", start), check_number("end", end)
    now = time.time() if now is None else now
    interval = Interval(sisock_to_unix_time(start, now), sisock_to_unix_time(end, now))
    if interval.start > interval.end:
        raise InvalidArgument(f"start ({start}) is after end ({end})")
    return interval
