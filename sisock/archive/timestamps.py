"""Convert the times in columns of tables to UNIX seconds; needs pyarrow."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

with suppress(ImportError):  # the extra ``tables``
    import pyarrow as pa
    import pyarrow.compute as pc

SCALES = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
DAYS = {"mjd": 40587.0, "jd": 2440587.5}
"""Styles of numbers: units of UNIX time, and counts of days with the number of 1970-01-01."""

FORMATS = (
    *("%d.%m.%Y %H:%M:%S", "%d.%m.%Y %H:%M", "%Y/%m/%d %H:%M:%S", "%Y/%m/%d %H:%M"),
    *("%Y-%m-%d %H:%M:%S %z", "%Y%m%dT%H%M%S", "%Y%m%d %H%M%S"),
)
"""Unambiguous formats of texts that are tried in addition to ISO 8601."""

_LIMITS = ((1e17, 1e-9), (1e14, 1e-6), (1e11, 1e-3))
"""Numbers above each limit have this unit: as seconds they would be thousands of years away."""

_NUMBER = re.compile(r"\s*[-+]?((\d+\.?\d*|\.\d+)([eE][-+]?\d+)?|inf(inity)?)\s*", re.IGNORECASE)
_ENDS_WITH_ZONE = re.compile(r":\d\d.*(Z|[+-]\d\d:?\d\d)$")


def seconds(times: Any, style: str | None, zone: str = "UTC") -> np.ndarray:
    """Convert a pyarrow array to UNIX seconds, NaN where there is no time.

    `style` is a key of `SCALES` or `DAYS`, "iso", or a format of strptime; None for numbers whose
    unit is guessed from their size, and for arrays of times. Texts without a zone are in `zone`.
    """
    kind = times.type
    if pa.types.is_date(kind):
        times = times.cast(pa.timestamp("s"))
    if pa.types.is_timestamp(times.type):
        return _from_ticks(times, zone)
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        return _scaled(numbers(times), style)
    times = pc.utf8_trim_whitespace(times)
    if style is None or style in SCALES or style in DAYS:
        return _scaled(numbers(times), style)
    if style == "iso":
        return by_halves(times, lambda part: _from_ticks(_from_iso(part), zone))
    return by_halves(times, lambda part: _from_format(part, style, zone))


def guess_style(texts: Sequence[str]) -> str | None:
    """Return the style of most of the texts; None for numbers, and if no style fits."""
    if 2 * count_numbers(texts) > len(texts):
        return None
    for style in ("iso", *FORMATS):
        with suppress(pa.ArrowInvalid):
            t = seconds(pa.array(texts, pa.string()), style)
            if 2 * np.isfinite(t).sum() > len(texts):
                return style
    return None


def count_numbers(texts: Sequence[str]) -> int:
    """Count the texts that are numbers."""
    return sum(bool(_NUMBER.fullmatch(text or "")) for text in texts)


def numbers(array: Any) -> np.ndarray:
    """Convert a pyarrow array to floats, NaN where there is no number."""
    if pa.types.is_string(array.type) or pa.types.is_large_string(array.type):
        array = pc.utf8_trim_whitespace(array)
    return by_halves(
        array, lambda part: part.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    )


def by_halves(array: Any, convert: Callable[[Any], np.ndarray]) -> np.ndarray:
    """Convert an array to floats; halve it at errors, so that only invalid items become NaN."""
    try:
        return convert(array)
    except pa.ArrowInvalid:
        if len(array) < 2:
            return np.full(len(array), np.nan)
    middle = len(array) // 2
    return np.concatenate([by_halves(part, convert) for part in (array[:middle], array[middle:])])


def _scaled(values: np.ndarray, style: str | None) -> np.ndarray:
    """Convert numbers to UNIX seconds."""
    if style in DAYS:
        return (values - DAYS[style]) * 86400.0
    if style is not None:
        return values * SCALES[style]
    size = np.abs(values)
    scale = np.select([size > limit for limit, _ in _LIMITS], [unit for _, unit in _LIMITS], 1.0)
    return values * scale


def _from_ticks(times: Any, zone: str) -> np.ndarray:
    if times.type.tz is None and zone != "UTC":
        times = pc.assume_timezone(times, zone, ambiguous="earliest", nonexistent="earliest")
    per_second = round(1 / SCALES[times.type.unit])
    is_missing = times.is_null().to_numpy(zero_copy_only=False)
    whole, rest = np.divmod(times.cast(pa.int64()).fill_null(0).to_numpy(), per_second)
    return np.where(is_missing, np.nan, whole + rest / per_second)


def _from_iso(texts: Any) -> Any:
    has_zone = any(_ENDS_WITH_ZONE.search(text) for text in texts[:1].to_pylist() if text)
    texts = pc.replace_substring(texts, ",", ".")
    return texts.cast(pa.timestamp("ns", "UTC" if has_zone else None))


def _from_format(texts: Any, style: str, zone: str) -> np.ndarray:
    fraction = np.zeros(len(texts))
    for sign in (".", ","):
        if style.endswith(f"{sign}%f"):
            # pyarrow does not support fractions of seconds.
            style = style.removesuffix(f"{sign}%f")
            pattern = rf"^(?P<whole>.*)\{sign}(?P<part>\d+)$"
            groups = pc.extract_regex(texts, pattern)
            digits = pc.binary_join_element_wise("0.", pc.struct_field(groups, "part"), "")
            fraction = numbers(digits)
            texts = pc.struct_field(groups, "whole")
    times = pc.strptime(texts, format=style, unit="s", error_is_null=True)
    return _from_ticks(times, "UTC" if "%z" in style else zone) + fraction
