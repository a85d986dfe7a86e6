"""Write numpy arrays as rows of JSON, without a Python object for each sample."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import orjson

from sisock.wire.arrays import to_list

ROWS = 1 << 14
"""Rows per call of orjson, which blocks all threads of the process: a few ms per call."""

_COMMA, _OPEN = b",["
BETWEEN = b", "
"""What stands between two rows."""


def dumps(answer: Any) -> bytes:
    """Return an object, which may contain numpy arrays, as JSON."""
    return orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)


def milliseconds(t: np.ndarray) -> np.ndarray:
    """Convert UNIX times in seconds to Grafana's whole milliseconds, shape (n,)."""
    return np.rint(t * 1e3)


def pairs(values: np.ndarray, t: np.ndarray) -> Iterator[bytes]:
    """Yield consecutive parts of ``[value,ms], [value,ms]``.

    Numbers that are not finite become null, booleans become 1, 0 and null. The milliseconds must
    be between 0 and 1e15.
    """
    for first in range(0, len(t), ROWS):
        if first:
            yield BETWEEN
        run = slice(first, first + ROWS)
        yield text_of_pairs(values[run], row_tails(t[run]))[0]


def row_tails(t: np.ndarray) -> np.ndarray:
    """Return what follows each value in its row, ``,ms], [``, as bytes of one length, shape (n,).

    All fields of a timeline share it. The milliseconds must be between 0 and 1e15.
    """
    if not len(t):
        return np.empty(0, "V")
    ms = milliseconds(t).astype("<i8")
    digits = {len(str(ms.item(0))), len(str(ms.item(-1)))}
    # Odd, so that the whole has an even length, as the spaces have that it is written over.
    width = max(digits) | 1
    if digits == {width}:
        text = b"," + dumps(ms)[1:-1]
    else:
        text = b"".join([b",%*d" % (width, each) for each in ms.tolist()])
    kind, whole = _tail_types(width)
    tails = np.empty(len(ms), kind)
    tails["ms"] = np.frombuffer(text, kind["ms"])
    tails["end"] = b"]" + BETWEEN + b"["
    return tails.view(whole)


@cache
def _tail_types(width: int) -> tuple[np.dtype, np.dtype]:
    kind = np.dtype([("ms", f"V{1 + width}"), ("end", f"S{len(BETWEEN) + 2}")])
    return kind, np.dtype(f"V{kind.itemsize}")


def text_of_pairs(values: np.ndarray, tails: np.ndarray) -> tuple[bytes, np.ndarray]:
    """Return the text of `pairs` in one part, and the offset of each row and of a next one.

    `tails` is what follows each value: `row_tails` of the times. There must be one at least.
    """
    values = truth_as_numbers(values)
    if values.dtype == object:
        cells = zip(map(dumps, to_list(values)), tails.tolist(), strict=True)
        parts = [value + tail for value, tail in cells]
        starts = np.cumsum([0, *map(len, parts)])
        return (b"[" + b"".join(parts))[: starts[-1] - len(BETWEEN)], starts
    # Numbers as orjson indents them in nested lists have a comma, a newline and two spaces for each
    # list between them: as many lists as leave room for a tail, which is copied over these.
    nested: Any = np.ascontiguousarray(values, "<f8")
    for _ in range(tails.itemsize // 2 - 2):
        nested = [nested]
    text = bytearray(orjson.dumps(nested, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_INDENT_2))
    length = tails.itemsize
    indent = b"\n" + b" " * (length - 2)
    first = text.index(indent) + length - 2
    text[first] = _OPEN
    text[text.rindex(indent[:-2] + b"]")] = _COMMA
    ends = (np.frombuffer(text, np.uint8) == _COMMA).nonzero()[0]
    every_part = np.ndarray(len(text) - length + 1, tails.dtype, text, strides=1)
    every_part[ends] = tails
    starts = np.zeros(len(ends) + 1, ends.dtype)
    np.add(ends, length - 1 - first, out=starts[1:])
    return bytes(memoryview(text)[first : ends[-1] + length - 1 - len(BETWEEN)]), starts


def truth_as_numbers(values: np.ndarray) -> np.ndarray:
    """Return booleans as 1, 0 and NaN (missing), which panels can draw; other values unchanged."""
    if values.dtype != object:
        return values.astype("<f8") if values.dtype == bool else values
    if not set(map(type, values)) <= {bool, type(None)}:
        return values
    return np.array([np.nan if value is None else value for value in values], dtype="<f8")
