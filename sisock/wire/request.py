"""The arguments of a node's two procedures, checked as they come from the wire."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sisock.errors import InvalidArgument
from sisock.wire.protocol import (
    FEWEST_POINTS,
    WINDOW_DEFAULT,
    WINDOW_MAX,
    Interval,
    check_interval,
    check_number,
)


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
    max_points : int or None
        Samples per field, at most, chosen to keep the picture.
    """

    fields: list[str]
    sent_start: float
    sent_end: float
    interval: Interval
    min_stride: float | None = None
    binary: bool = False
    window: int = WINDOW_DEFAULT
    after: dict[str, float] = field(default_factory=dict)
    max_points: int | None = None


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
    return {str(name): check_number("after", t) for name, t in value.items()}


def check_max_points(value: Any, min_stride: Any = None) -> int | None:
    """Check ``max_points``, which goes without ``min_stride``.

    Raises
    ------
    InvalidArgument
        If it is not a whole number that is large enough, or both are given.
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < FEWEST_POINTS:
        raise InvalidArgument(
            f"max_points must be a whole number, at least {FEWEST_POINTS}, not {value!r}"
        )
    if min_stride is not None:
        raise InvalidArgument("min_stride and max_points cannot be asked for together")
    return value


_DATA_ARGUMENTS = (
    "field",
    "start",
    "end",
    "min_stride",
    "encoding",
    "window",
    "after",
    "max_points",
)
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
        min_stride = check_number("min_stride", min_stride)
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
        max_points=check_max_points(bound.get("max_points"), min_stride),
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
