"""Write numpy arrays as rows of JSON, without a Python object for each sample."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import orjson

from sisock.wire.arrays import to_list

ROWS = 1 << 14
"""Rows per call of orjson, which blocks all threads of the process: a few ms per call."""

_COMMA, _CLOSE, _OPEN = b",]["

_NUMBER = np.dtype("V25")
"""A number with a comma before it: ``,-2.2250738585072014e-308`` is one of the longest."""


def dumps(answer: Any) -> bytes:
    """Return an object, which may contain numpy arrays, as JSON."""
    return orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)


def milliseconds(t: np.ndarray) -> np.ndarray:
    """Convert UNIX times in seconds to Grafana's whole milliseconds, shape (n,)."""
    return np.rint(t * 1e3)


def pairs(values: np.ndarray, t: np.ndarray) -> Iterator[bytes]:
    """Yield consecutive parts of ``[value,ms],[value,ms]``.

    Numbers that are not finite become null, booleans become 1, 0 and null. The milliseconds must
    be between 0 and 1e15.
    """
    for first in range(0, len(t), ROWS):
        if first:
            yield b","
        run = slice(first, first + ROWS)
        yield text_of_pairs(values[run], t[run])[0]


def text_of_pairs(values: np.ndarray, t: np.ndarray) -> tuple[bytes, np.ndarray]:
    """Return the text of `pairs` in one part, and the offset of each row and of a next one."""
    values, ms = truth_as_numbers(values), milliseconds(t)
    if values.dtype == object:
        rows = [dumps(row) for row in zip(to_list(values), ms.tolist(), strict=True)]
        starts = np.cumsum([0, *(len(row) + 1 for row in rows)])
        return b",".join(rows), starts
    # Write one long array, in 85 % of the time of many short ones, and then turn it into rows:
    # between a time and the next value there is ".0,", which is as long as "],[".
    numbers = np.empty(2 * len(ms))
    numbers[::2], numbers[1::2] = values, ms
    text = np.frombuffer(bytearray(dumps(numbers)), dtype=np.uint8)
    starts = (text == _COMMA).nonzero()[0][1::2]
    text[starts - 2], text[starts - 1], text[starts] = _CLOSE, _COMMA, _OPEN
    text[-3] = _CLOSE
    return text[:-2].tobytes(), np.concatenate([[0], starts, [len(text) - 1]])


def row_tails(t: np.ndarray) -> np.ndarray:
    """Return what follows each value in its row, ``,ms],[``, as bytes of one length, shape (n,).

    All fields of a timeline share it. The milliseconds must be between 0 and 1e15.
    """
    ms = milliseconds(t).astype("<i8")
    digits = [len(str(ms[i])) for i in (0, -1) if len(ms)]
    width = max(digits, default=1)
    if len(set(digits)) == 1:
        text = b"," + dumps(ms)[1:-1]
    else:
        text = b"".join([b",%*d" % (width, each) for each in ms.tolist()])
    tails = np.empty(len(ms), dtype=[("ms", f"V{1 + width}"), ("end", "S3")])
    tails["ms"] = np.frombuffer(text, dtype=f"V{1 + width}")
    tails["end"] = b"],["
    return tails.view(f"V{tails.itemsize}")


def text_of_rows(values: np.ndarray, tails: np.ndarray) -> memoryview:
    """Return the text of `pairs` in one part, given what follows each value (`row_tails`).

    If `tails` is used for several fields, this takes half of the time of `text_of_pairs`.
    """
    values = truth_as_numbers(values)
    if values.dtype == object:
        rows = map(bytes.__add__, map(dumps, to_list(values)), tails.tolist())
        return memoryview(b"[" + b"".join(rows))[:-2]
    # Write a list of numbers, and copy each with the comma before it and with what follows. This is
    # then written over by the next ones, as numpy assigns in order, and by the tails.
    numbers = bytearray(dumps(np.ascontiguousarray(values, "<f8")))
    numbers[0] = numbers[-1] = _COMMA
    commas = (np.frombuffer(numbers, dtype=np.uint8) == _COMMA).nonzero()[0]
    more = tails.itemsize - 1
    starts = commas + np.arange(0, len(commas) * more, more)
    numbers += bytes(_NUMBER.itemsize)
    text = bytearray(int(starts[-1]) + _NUMBER.itemsize)
    _parts(text, _NUMBER)[starts[:-1]] = _parts(numbers, _NUMBER)[commas[:-1]]
    _parts(text, tails.dtype)[starts[1:] - more] = tails
    text[:1] = b"["
    return memoryview(text)[: starts[-1] - 1]


def _parts(text: bytearray, kind: np.dtype) -> np.ndarray:
    """Return the parts of a text from each offset; they overlap."""
    return np.ndarray(len(text) - kind.itemsize + 1, kind, text, strides=1)


def truth_as_numbers(values: np.ndarray) -> np.ndarray:
    """Return booleans as 1, 0 and NaN (missing), which panels can draw; other values unchanged."""
    if values.dtype != object:
        return values.astype("<f8") if values.dtype == bool else values
    if not set(map(type, values)) <= {bool, type(None)}:
        return values
    return np.array([np.nan if value is None else value for value in values], dtype="<f8")
