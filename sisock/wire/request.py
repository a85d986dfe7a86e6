"""Check the arguments of a node's two procedures as they come from the wire."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sisock.errors import InvalidArgument
from sisock.wire import grid
from sisock.wire.protocol import (
    MAX_BUCKETS,
    MAX_CELLS,
    MIN_POINTS,
    WINDOW_DEFAULT,
    WINDOW_MAX,
    Interval,
    check_interval,
    check_number,
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
    if min_stride is not None and (min_stride := check_number("min_stride", min_stride)) < 0:
        raise InvalidArgument("min_stride must not be negative")
    if encoding not in (None, "binary"):
        raise InvalidArgument('encoding must be "binary" or None')
    if not isinstance(after, dict | None):
        raise InvalidArgument("after must be a dictionary of timeline to UNIX time")
    after = {str(name): check_number("after", t) for name, t in (after or {}).items()}
    window = _check_whole("window", window, 1, WINDOW_MAX) or WINDOW_DEFAULT
    max_points = check_max_points(max_points)
    bucket = None if bucket is None else check_bucket(bucket, interval, len(fields))
    check_exclusive(min_stride, bucket, max_points)
    is_binary = encoding == "binary"
    return DataRequest(
        fields, start, end, interval, min_stride, is_binary, window, after, max_points, bucket
    )


def check_exclusive(min_stride: Any, bucket: Any, max_points: Any) -> None:
    """Raise InvalidArgument if more than one way to get fewer samples is given."""
    if sum(way is not None for way in (min_stride, bucket, max_points)) > 1:
        raise InvalidArgument("only one of min_stride, bucket and max_points may be given")


def check_max_points(value: Any) -> int | None:
    """Return ``max_points`` if it is a whole number that is large enough, or None."""
    return _check_whole("max_points", value, MIN_POINTS)


def check_bucket(value: Any, interval: Interval, field_count: int) -> float:
    """Return ``bucket`` if it is a size of the grid, and not too small for the interval."""
    if not grid.is_bucket_size(value):
        raise InvalidArgument(
            f"bucket must be a power of two from 2**{grid.MIN_EXPONENT} to 2**{grid.MAX_EXPONENT}"
            f" seconds, not {value!r}"
        )
    count = float(-grid.bucket_of(-interval.end, value) - grid.bucket_of(interval.start, value))
    if not count <= MAX_BUCKETS:
        limit = f"the interval has {count:.0f}, more than {MAX_BUCKETS}"
        raise InvalidArgument(f"bucket is too small: {limit}")
    if count * field_count > MAX_CELLS:
        limit = f"{count:.0f} for each of {field_count} fields are more than {MAX_CELLS}"
        raise InvalidArgument(f"bucket is too small: {limit}")
    return float(value)


def _check_whole(name: str, value: Any, least: int, most: int | None = None) -> int | None:
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    if value is None or (is_whole and least <= value <= (most or value)):
        return value
    limit = f"at least {least}" + ("" if most is None else f" and at most {most}")
    raise InvalidArgument(f"{name} must be a whole number, {limit}, not {value!r}")
