"""Check the arguments of a node's two procedures as they come from the wire."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sisock.errors import InvalidArgument
from sisock.wire.protocol import (
    WINDOW_DEFAULT,
    WINDOW_MAX,
    Interval,
    check_interval,
    check_number,
    check_ways,
    check_whole,
)


@dataclass(frozen=True)
class DataRequest:
    """The checked arguments of one ``get_data`` call: each field once, the times also as sent.

    At most one of `min_stride`, `bucket` and `max_points` is given. `binary` is the encoding,
    `window` is in bytes, and `after` has the last time received of each timeline.
    """

    fields: list[str]
    sent_start: float
    sent_end: float
    interval: Interval
    min_stride: float | None
    binary: bool
    window: int
    after: dict[str, float]
    max_points: int | None
    bucket: float | None

    @property
    def is_decimated(self) -> bool:
        """Whether buckets are asked for."""
        return self.bucket is not None or self.max_points is not None


def parse_get_data(args: tuple, kwargs: dict, now: float | None = None) -> DataRequest:
    """Check the arguments of a ``get_data`` call; InvalidArgument names the first wrong one."""
    return _apply(_get_data, now, *args, **kwargs)


def parse_get_fields(args: tuple, kwargs: dict) -> tuple[float, float]:
    """Check the arguments of a ``get_fields`` call and return them as they were sent."""
    return _apply(_get_fields, *args, **kwargs)


_signature = functools.cache(inspect.signature)  # takes longer than all checks of a request


def _apply(procedure: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    signature = _signature(procedure)
    names = list(signature.parameters)
    for name in names[: len(args)]:
        if name in kwargs:
            raise InvalidArgument(f"{name} is given twice")
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        known = ", ".join(name for name in names if name != "now")
        raise InvalidArgument(f"{error}; the arguments are {known}") from None
    return procedure(*args, **kwargs)


def _get_fields(start: Any, end: Any) -> tuple[float, float]:
    check_interval(start, end)
    return start, end


def _get_data(
    now: float | None,
    /,
    field: Any,
    start: Any,
    end: Any,
    min_stride: Any = None,
    *,
    encoding: Any = None,
    window: Any = None,
    after: Any = None,
    max_points: Any = None,
    bucket: Any = None,
) -> DataRequest:
    if not isinstance(field, list | tuple) or not all(isinstance(name, str) for name in field):
        raise InvalidArgument("field must be a list of names")
    fields = list(dict.fromkeys(field))
    interval = check_interval(start, end, now)
    if encoding not in (None, "binary"):
        raise InvalidArgument('encoding must be "binary" or None')
    if not isinstance(after, dict | None):
        raise InvalidArgument("after must be a dictionary of timeline to UNIX time")
    after = {str(name): check_number("after", t) for name, t in (after or {}).items()}
    window = check_whole("window", window, 1, WINDOW_MAX) or WINDOW_DEFAULT
    min_stride, bucket, max_points = check_ways(
        min_stride, bucket, max_points, interval, len(fields)
    )
    is_binary = encoding == "binary"
    return DataRequest(
        fields, start, end, interval, min_stride, is_binary, window, after, max_points, bucket
    )
