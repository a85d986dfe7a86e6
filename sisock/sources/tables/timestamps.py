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
DAYS = {"mjd": 40587.0, "jd": 2440587.5, "excel": 25569.0}
"""Styles of numbers: units of UNIX time, and counts of days with the number of 1970-01-01."""

_CLOCKS = (" %H:%M:%S", " %H:%M:%S.%f", " %H:%M:%S,%f", " %H:%M", "")
_DATES = ("%d.%m.%y", "%d.%m.%Y", "%Y/%m/%d", "%d-%b-%Y", "%d %b %Y", "%Y-%j", "%Y %j", "%Y %m %d")
FORMATS = (
    *(date + clock for date in _DATES for clock in _CLOCKS),
    *("%Y-%m-%d %H:%M:%S %z", "%Y%m%dT%H%M%S", "%Y%m%d %H%M%S", "%Y%m%d %H:%M:%S", "%Y %j.%f"),
    *("%Y:%j:%H:%M:%S", "%Y:%j:%H:%M:%S.%f", "%Y %m %d %H %M", "%Y %m %d %H %M %S"),
    "%Y %m %d %H %M %S.%f",
)
"""Formats of texts that are tried after ISO 8601; day and month cannot be exchanged in any."""

MIN_GUESSED = 1e8
"""Smallest number (1973 in seconds) that is taken for UNIX time without being told."""

YEAR_1900 = -2_208_988_800.0

_DIGITS = {8: "%Y%m%d", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}
"""Formats of whole numbers, by their length; as UNIX times they would be far from now."""

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
        lengths = {len(text) for text in texts if text and re.fullmatch(r"(19|20)\d+", text)}
        return _DIGITS.get(lengths.pop()) if len(lengths) == 1 else None
    array = pa.array(texts, pa.string())
    for style in ("iso", *FORMATS):
        # A year of two digits is read as one before 1900.
        if 2 * (seconds(array, style) > YEAR_1900).sum() > len(texts):
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
    first = next(filter(None, texts[:1].to_pylist()), "")
    texts = pc.replace_substring(texts, ",", ".")
    if first.endswith((" UTC", " GMT")):
        first, texts = f"{first[:-4]}Z", pc.replace_substring_regex(texts, " (UTC|GMT)$", "Z")
    has_zone = _ENDS_WITH_ZONE.search(first) is not None
    return texts.cast(pa.timestamp("ns", "UTC" if has_zone else None))


def _from_format(texts: Any, style: str, zone: str) -> np.ndarray:
    fraction = np.zeros(len(texts))
    for sign in (".", ","):
        if style.endswith(f"{sign}%f"):
            # pyarrow does not support fractions of seconds or days.
            style = style.removesuffix(f"{sign}%f")
            unit = 86400.0 if style.endswith("%j") else 1.0
            pattern = rf"^(?P<whole>.*)\{sign}(?P<part>\d+)$"
            groups = pc.extract_regex(texts, pattern)
            digits = pc.binary_join_element_wise("0.", pc.struct_field(groups, "part"), "")
            fraction = numbers(digits) * unit
            texts = pc.struct_field(groups, "whole")
    times = pc.strptime(texts, format=style, unit="s", error_is_null=True)
    return _from_ticks(times, "UTC" if "%z" in style else zone) + fraction
