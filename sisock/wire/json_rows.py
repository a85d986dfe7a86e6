"""Numbers of numpy arrays as rows of JSON, in runs: never an object a sample."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import orjson

from sisock.wire.arrays import to_list

ROWS = 1 << 13
"""Rows that orjson writes at once, as nothing else runs in this process meanwhile: a few ms."""

_COMMA, _CLOSE, _OPEN = b",]["


def dumps(answer: Any) -> bytes:
    """JSON with numpy arrays in it."""
    return orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)


def milliseconds(t: np.ndarray) -> np.ndarray:
    """UNIX times as Grafana's, shape (n,)."""
    return np.rint(t * 1e3)


def pairs(values: np.ndarray, t: np.ndarray) -> Iterator[bytes]:
    """Write ``[value,ms],[value,ms]``, in parts that follow each other.

    Parameters
    ----------
    values : ndarray, shape (n,)
        Numbers, of which those that are not finite become null, or objects.
    t : ndarray of float64, shape (n,)
        UNIX seconds, of which the milliseconds are between 0 and 1e15.
    """
    write = _object_pairs if values.dtype == object else _number_pairs
    return _in_runs(len(t), lambda run: write(values[run], milliseconds(t[run])))


def _number_pairs(values: np.ndarray, ms: np.ndarray) -> bytes:
    # One long array is written in 85 % of the time of as many short ones, and made rows of
    # afterwards: between a time and the next value there is ".0,", as long as "],[".
    numbers = np.empty(2 * len(ms))
    numbers[::2], numbers[1::2] = values, ms
    text = np.frombuffer(bytearray(dumps(numbers)), dtype=np.uint8)
    after_times = np.flatnonzero(text == _COMMA)[1::2]
    text[after_times - 2], text[after_times - 1], text[after_times] = _CLOSE, _COMMA, _OPEN
    return text.tobytes()[:-3] + b"]"


def _object_pairs(values: np.ndarray, ms: np.ndarray) -> bytes:
    return dumps(list(zip(to_list(values.tolist()), ms.tolist(), strict=True)))[1:-1]


def rows(cells: np.ndarray | list[list[Any]]) -> Iterator[bytes]:
    """Write ``[a,b],[a,b]``, in parts that follow each other, of an array or of lists."""
    return _in_runs(len(cells), lambda run: dumps(cells[run])[1:-1])


def _in_runs(count: int, write: Callable[[slice], bytes]) -> Iterator[bytes]:
    for first in range(0, count, ROWS):
        if first:
            yield b","
        yield write(slice(first, first + ROWS))
