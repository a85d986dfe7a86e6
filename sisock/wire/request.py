"""Check the arguments of a node's procedures ``get_data`` and ``get_fields``."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from typing import Any

from sisock.errors import InvalidArgument
from sisock.wire.protocol import (
    WINDOW_DEFAULT,
    WINDOW_MAX,
    check_interval,
    check_number,
    check_strategy,
    check_whole,
)


@dataclass
class DataRequest:
    """The checked arguments of one ``get_data`` call; InvalidArgument names the first wrong one.

    `field` has each name once; `interval` has `start` and `end` in UNIX time. At most one of
    `min_stride`, `bucket`, `max_points` and `latest` is given; with `latest`, `start` is ignored.
    `window` is in bytes; `after` has the last received time of each timeline.
    """

    field: list[str]
    start: float
    end: float
    min_stride: float | None = None
    _: KW_ONLY
    encoding: str | None = None
    window: int = WINDOW_DEFAULT
    after: dict[str, float] | None = None
    max_points: int | None = None
    bucket: float | None = None
    latest: bool = False

    def __post_init__(self) -> None:
        names = self.field
        if not isinstance(names, list | tuple) or not all(isinstance(each, str) for each in names):
            raise InvalidArgument("field must be a list of names")
        self.field = list(dict.fromkeys(names))
        if not isinstance(self.latest, bool):
            raise InvalidArgument("latest must be True or False")
        start = check_number("start", self.start)
        self.interval = check_interval(self.end if self.latest else start, self.end)
        if self.encoding not in (None, "binary"):
            raise InvalidArgument('encoding must be "binary" or None')
        if not isinstance(self.after, dict | None):
            raise InvalidArgument("after must be a dictionary of timeline to UNIX time")
        after = (self.after or {}).items()
        self.after = {str(name): check_number("after", t) for name, t in after}
        self.window = check_whole("window", self.window, 1, WINDOW_MAX) or WINDOW_DEFAULT
        self.min_stride, self.bucket, self.max_points = check_strategy(
            self.min_stride, self.bucket, self.max_points, self.interval, len(self.field)
        )
        if self.latest and (self.is_decimated or self.min_stride is not None):
            raise InvalidArgument("latest takes no min_stride, bucket or max_points")

    @property
    def is_binary(self) -> bool:
        """Whether the client wants arrays as bytes."""
        return self.encoding == "binary"

    @property
    def is_decimated(self) -> bool:
        """Whether the client wants samples decimated by buckets."""
        return self.bucket is not None or self.max_points is not None


def parse_get_data(args: tuple, kwargs: dict) -> DataRequest:
    """Check the arguments of a ``get_data`` call; InvalidArgument names the first wrong one."""
    return _apply(DataRequest, args, kwargs)


def parse_get_fields(args: tuple, kwargs: dict) -> tuple[float, float]:
    """Check the arguments of a ``get_fields`` call and return them as they were sent."""
    return _apply(_get_fields, args, kwargs)


def _get_fields(start: Any, end: Any) -> tuple[float, float]:
    check_interval(start, end)
    return start, end


_signature = functools.cache(inspect.signature)  # uncached, slower than all checks together


def _apply(procedure: Callable[..., Any], args: tuple, kwargs: dict) -> Any:
    signature = _signature(procedure)
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        names = ", ".join(signature.parameters)
        raise InvalidArgument(f"{error}; the arguments are {names}") from None
    return procedure(*args, **kwargs)
