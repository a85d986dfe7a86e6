"""Read times, durations and sizes as people write them; write UNIX times and counts for them."""

from __future__ import annotations

import datetime
import math
import re
from contextlib import suppress
from typing import Any, TypeAlias

from sisock.errors import InvalidArgument
from sisock.wire.protocol import EARLIEST, Interval, check_interval

Time: TypeAlias = float | str | datetime.datetime

_UNITS = {"ms": 1e-3, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_UNITS["y"] = 31557600.0  # a year of 365.25 days
_BYTES = {"B": 1.0, "kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12}
_AMOUNT = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-z]+)")

_YEAR_OR_SECONDS = re.compile(r"(19[789]|20\d)\d(\d{4})?")

_HOW = 'use an ISO time ("2017-07-15T00:00Z"), a time before now ("-1h"), "now", or UNIX seconds'


def parse_duration(text: str) -> float:
    """Return the seconds of ``"30s"``, ``"1.5h"`` or ``"10"``, or raise InvalidArgument."""
    match = _AMOUNT.fullmatch(text.strip())
    if match and match[2] in _UNITS:
        return float(match[1]) * _UNITS[match[2]]
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not math.isfinite(seconds) or seconds < 0:
        raise InvalidArgument(f'{text!r} is not a duration: write "30s", "5min", "1h" or "2d"')
    return seconds


def parse_size(text: str) -> float:
    """Return the bytes of ``"500MB"`` or ``"20 GB"``, or raise InvalidArgument."""
    match = _AMOUNT.fullmatch(text.strip())
    if not match or match[2] not in _BYTES:
        raise InvalidArgument(f'{text!r} is not a number of bytes: write "500MB" or "20GB"')
    return float(match[1]) * _BYTES[match[2]]


def to_sisock_time(value: Any) -> float:
    """Convert a time to sisock time in seconds, or raise InvalidArgument.

    `value` is a sisock time, an ISO time, a duration before now such as ``"-1h"``, ``"now"`` or a
    datetime. Times without a zone are UTC; dates before 1970 are invalid.
    """
    if isinstance(value, datetime.datetime):
        return _from_datetime(value)
    if isinstance(value, str):
        return _from_text(value.strip())
    if hasattr(value, "astype") and value.dtype.kind == "M":  # numpy.datetime64
        return _from_text(str(value.astype("M8[us]")))
    if isinstance(value, bool) or not hasattr(value, "__float__") or not math.isfinite(value):
        raise InvalidArgument(f"{value!r} is not a time: {_HOW}")
    return float(value)


def to_interval(start: Any, end: Any) -> Interval:
    """Convert two times, as `to_sisock_time` takes them, to UNIX times with the same present."""
    times = to_sisock_time(start), to_sisock_time(end)
    try:
        interval = check_interval(*times)
    except InvalidArgument:  # that of numbers can only mean their order: say it in the user's words
        raise InvalidArgument(f"start ({start}) is after end ({end})") from None
    return Interval(max(interval.start, EARLIEST), max(interval.end, EARLIEST))


def _from_text(text: str) -> float:
    if text == "now":
        return 0.0
    if text.startswith("-"):
        return -parse_duration(text[1:])
    if _YEAR_OR_SECONDS.fullmatch(text):
        date = f"{text[:4]}-{text[4:6] or '01'}-{text[6:] or '01'}"
        raise InvalidArgument(
            f'{text!r} may be a date or UNIX seconds: write "{date}" or "{text}.0"'
        )
    with suppress(ValueError):
        return to_sisock_time(float(text))
    try:
        return _from_datetime(datetime.datetime.fromisoformat(text))
    except ValueError:
        raise InvalidArgument(f"{text!r} is not a time: {_HOW}") from None


def _from_datetime(value: datetime.datetime) -> float:
    if value.tzinfo is None:
        value = value.replace(tzinfo=datetime.UTC)
    seconds = value.timestamp()
    if seconds <= 0:
        raise InvalidArgument(f"{value} is before 1970: sisock times begin there")
    return seconds


def format_time(t: float) -> str:
    """Return a UNIX time in ISO format, in UTC and with up to six decimals."""
    try:
        moment = datetime.datetime.fromtimestamp(t, datetime.UTC)
    except (OverflowError, ValueError, OSError):
        return repr(t)
    return moment.isoformat().replace("+00:00", "Z")


def counted(number: int, noun: str) -> str:
    """Return a number and its noun: "1 field", "2 fields"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
