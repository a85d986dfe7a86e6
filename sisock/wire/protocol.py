"""Define the names, times and limits of the protocol, and check values against them."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sisock.errors import InvalidArgument, InvalidNodeName, NodeContractError

REALM = "sisock"
PREFIX = "org.simonsobservatory."
"""The WAMP realm that every program joins, and the prefix of every URI of sisock."""

USER_SERVER = "server"
USER_CONSUMER = "simonsobs"
"""WAMP users (authid): the hub and data nodes use the first, all other programs the second."""

RESERVED_NAMES = frozenset({"get_data_node", "data_node_added", "data_node_subtracted"})
"""Names that no node may have, as they are URIs of the hub's under ``consumer.``."""

DEFAULT_ALLOWANCE, MESSAGE_ALLOWANCE = 1_000_000, 15_000_000
"""Maximum bytes of a Part 1 reply and of a binary reply: autobahn's default limit is 1 MiB, and the
router closes a node's connection at 16 MiB."""

CHUNK_BYTES = 1_000_000
"""Bytes of arrays in one chunk of a progressive reply."""

WINDOW_DEFAULT = 1 << 20
WINDOW_MAX = 16 << 20
"""Bytes of arrays that a node sends for one call; the client calls again for more."""

MAX_NAME = 200
MAX_DESCRIPTION = 1000
"""Maximum number of characters of a node's name and description."""

MIN_POINTS = 8
"""Smallest value of ``max_points``."""

MIN_EXPONENT, MAX_EXPONENT = -20, 40
BUCKET_SIZES = frozenset(2.0**exponent for exponent in range(MIN_EXPONENT, MAX_EXPONENT + 1))
"""The possible sizes of a bucket in seconds: powers of two."""

MAX_BUCKETS = 16_384
MAX_CELLS = 524_288
"""Maximum number of buckets, and of buckets times fields, in one request."""

EARLIEST = 1e-3
"""UNIX time of the earliest start: zero and negative times count from the node's present."""

LATEST = 1e11
"""UNIX time after all samples; the present would not do, as a node's clock may be ahead."""

NEVER_FINAL = -1e300  # a ``final_to`` that makes no bucket final

ERROR_PREFIX = PREFIX + "error."
ERROR_INVALID_ARGUMENT = ERROR_PREFIX + "invalid_argument"
ERROR_INVALID_NAME = ERROR_PREFIX + "invalid_name"
ERROR_NODE_FAILED = ERROR_PREFIX + "node_failed"
ERROR_NOT_AUTHORIZED = "wamp.error.not_authorized"
ERROR_NO_SUCH_PROCEDURE = "wamp.error.no_such_procedure"
ERROR_PROCEDURE_EXISTS = "wamp.error.procedure_already_exists"
ERROR_RUNTIME = "wamp.error.runtime_error"
ERROR_PROCEDURE_DIFFERS = "wamp.error.procedure_exists_with_different_invocation_policy"

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_FORBIDDEN_IN_NAME = re.compile(r"[.#\s]|::")


def uri(tail: str) -> str:
    """Return the full URI for a name without prefix, such as ``"data_node.add"``."""
    return PREFIX + tail


def node_uri(node: str, verb: str) -> str:
    """Return the URI of a node's ``get_fields`` or ``get_data``, or of its topic ``data``."""
    return uri(f"consumer.{node}.{verb}")


def sisock_to_unix_time(t: float, now: float | None = None) -> float:
    """Convert sisock time (zero or negative: seconds before `now`) to UNIX time."""
    if t > 0:
        return float(t)
    return (time.time() if now is None else now) + t


def as_text(text: str) -> str:
    """Replace what cannot be sent in a string with question marks.

    This is half a surrogate pair, as in an odd file name, and a NUL at the beginning, which
    autobahn's JSON takes as the mark of bytes.
    """
    if not text.isascii():
        text = text.encode("utf-8", "replace").decode()
    return "?" + text[1:] if text.startswith("\0") else text


def as_line(text: str, limit: int | None = None) -> str:
    """Return a text from a peer as one line to show, with at most `limit` characters."""
    return _CONTROL.sub(" ", text[:limit])


def is_text(text: Any) -> bool:
    """Return whether a value is a string that can be sent unchanged."""
    return isinstance(text, str) and as_text(text) == text


def check_field_name(name: Any) -> None:
    """Raise ValueError if a value cannot be the name of a field."""
    if not is_text(name) or not name:
        rule = "it must be a string that is not empty and can be written in UTF-8"
        raise ValueError(f"{name!r} cannot be the name of a field: {rule}")


def check_node_name(name: Any) -> str:
    """Return `name` if it can be a node's, or raise InvalidNodeName."""
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


def widening(end: float) -> Iterator[Interval]:
    """Yield intervals backwards from `end`: the last minute, then each ten times as long."""
    span, upper = 60.0, end
    while upper > EARLIEST:
        lower = max(end - span, EARLIEST)
        yield Interval(lower, upper)
        span, upper = 10 * span, lower


def check_number(name: str, value: Any) -> float:
    """Return a number of seconds as a float; raises InvalidArgument, which names the argument."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidArgument(f"{name} must be a number, not {type(value).__name__}")
    if not -sys.float_info.max <= value <= sys.float_info.max:
        raise InvalidArgument(f"{name} must be a finite number of seconds")
    return float(value)


def check_interval(start: Any, end: Any) -> Interval:
    """Return the UNIX times of the two sisock times of a request, or raise InvalidArgument."""
    start, end = check_number("start", start), check_number("end", end)
    now = time.time()
    interval = Interval(sisock_to_unix_time(start, now), sisock_to_unix_time(end, now))
    if interval.start > interval.end:
        raise InvalidArgument(f"start ({start}) is after end ({end})")
    return interval


def check_whole(name: str, value: Any, least: int, most: int | None = None) -> int | None:
    """Return `value` if it is None or a whole number within limits, or raise InvalidArgument."""
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    if value is None or (is_whole and least <= value <= (most or value)):
        return value
    limit = f"at least {least}" + ("" if most is None else f" and at most {most}")
    raise InvalidArgument(f"{name} must be a whole number, {limit}, not {value!r}")


def check_strategy(
    min_stride: Any, bucket: Any, max_points: Any, interval: Interval, field_count: int
) -> tuple[float | None, float | None, int | None]:
    """Return the checked values, of which at most one may be given, or raise InvalidArgument."""
    if min_stride is not None and (min_stride := check_number("min_stride", min_stride)) < 0:
        raise InvalidArgument("min_stride must not be negative")
    max_points = check_whole("max_points", max_points, MIN_POINTS)
    if bucket is not None:
        bucket = _check_bucket(bucket, interval, field_count)
    if sum(each is not None for each in (min_stride, bucket, max_points)) > 1:
        raise InvalidArgument("only one of min_stride, bucket and max_points may be given")
    return min_stride, bucket, max_points


def _check_bucket(w: Any, interval: Interval, field_count: int) -> float:
    if not isinstance(w, int | float) or isinstance(w, bool) or w not in BUCKET_SIZES:
        raise InvalidArgument(
            f"bucket must be a power of two from 2**{MIN_EXPONENT} to 2**{MAX_EXPONENT}"
            f" seconds, not {w!r}"
        )
    count = -(-interval.end // w) - interval.start // w
    if not count <= MAX_BUCKETS:
        limit = f"the interval has {count:.0f}, more than {MAX_BUCKETS}"
        raise InvalidArgument(f"bucket is too small: {limit}")
    if count * field_count > MAX_CELLS:
        limit = f"{count:.0f} for each of {field_count} fields are more than {MAX_CELLS}"
        raise InvalidArgument(f"bucket is too small: {limit}")
    return float(w)


@dataclass(slots=True)
class contract:  # a class, as a generator is slower: an archive enters this a million times
    """Turn a ValueError into a NodeContractError, which names the node and the field."""

    node: str
    field: str | None = None

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: Any, error: BaseException | None, __: Any) -> None:
        if isinstance(error, ValueError):
            raise NodeContractError(self.node, self.field, str(error)) from None
