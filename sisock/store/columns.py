"""Columns of samples in memory: one array a field, with missing values, and tables that grow.

Numbers have a type of their own, and NaN where one is missing, with which integers become floats;
booleans are ``|i1``, with -1 where one is missing; strings are objects, with None.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import orjson

from sisock.wire import arrays, grid

TIMES = np.dtype("<f8")
_BOOL = np.dtype("|i1")
_OBJECT_BYTES = 72
"""Memory that a string takes."""

_MAX_CAME = 256
"""Batches that are held as they came."""

Column = np.ndarray
Pair = tuple[np.ndarray, Column | None]
"""Times, and the values; None: all of them are missing."""

Rows = tuple[np.ndarray, dict[str, Column]]
"""Times, and a column for each field."""

Span = tuple[int, float, float]
"""A number of samples, the first and the last time."""


def encode(values: object) -> Column | None:
    """Return the column of what an author calls values, None if all are missing.

    ValueError says what is wrong with them.
    """
    given = arrays.normalise(values)
    if given.dtype == object:
        kinds = set(map(type, given)) - {type(None)}
        if not kinds:
            return None
        if kinds == {bool}:
            return np.array([-1 if v is None else v for v in given], dtype=_BOOL)
        return given.astype("<f8") if kinds == {int} else given
    if given.dtype.kind == "b":
        return given.view(_BOOL)
    return given.astype("<i2") if given.dtype == _BOOL else given


def decode(column: Column) -> np.ndarray:
    """Return the values of a column as they are served."""
    if column.dtype == _BOOL:
        if (column >= 0).all():
            return column.view("|b1")
        values = (column > 0).astype(object)
        values[column < 0] = None
        return values
    return column


def type_of(dtype: np.dtype) -> str:
    """Return the type of a field with such a column, as PROTOCOL.md calls it."""
    return "string" if dtype.kind == "O" else "bool" if dtype == _BOOL else "number"


def missing(dtype: np.dtype, count: int) -> Column:
    """Return a column of missing values among which some of this type may be put."""
    if dtype.kind == "O":
        return np.full(count, None, dtype=object)
    is_integer = dtype.kind in "iu" and dtype != _BOOL
    return np.full(count, -1 if dtype == _BOOL else np.nan, dtype=TIMES if is_integer else dtype)


def join(parts: Sequence[Pair]) -> Pair:
    """Put samples behind others."""
    parts = [part for part in parts if len(part[0])]
    if len(parts) < 2:
        return parts[0] if parts else (np.empty(0), None)
    t = np.concatenate([t for t, _ in parts])
    found = [column.dtype for _, column in parts if column is not None]
    if not found:
        return t, None
    whole = [missing(found[0], len(t)) if column is None else column for t, column in parts]
    return t, np.concatenate(whole)


def decimate(t: np.ndarray, column: Column | None, w: float) -> np.ndarray:
    """Choose the samples that the buckets of size `w` keep, as ascending indices."""
    if column is None:
        return grid.edges(t, w)[:-1]
    if column.dtype == _BOOL and (column < 0).any():
        column = np.where(column < 0, np.nan, column)
    return grid.decimate(t, column, w)


def pick(pair: Pair, which: slice | np.ndarray) -> Pair:
    """Return some of the samples."""
    t, column = pair
    return t[which], None if column is None else column[which]


def last_present(column: Column | None) -> int | None:
    """Return the index of the last value that is not missing."""
    if column is None:
        return None
    if column.dtype.kind == "O":
        column = np.array([np.nan if value is None else 0.0 for value in column])
    found = np.flatnonzero(column >= 0 if column.dtype == _BOOL else np.isfinite(column))
    return int(found[-1]) if len(found) else None


def to_bytes(column: Column) -> bytes:
    """Return what `from_bytes` makes the column of."""
    return orjson.dumps(column.tolist()) if column.dtype.kind == "O" else column.tobytes()


def from_bytes(data: memoryview, dtype: np.dtype) -> Column:
    """Return the column of bytes: a read-only view, if it is not of strings."""
    if dtype.kind != "O":
        return np.frombuffer(data, dtype)
    return np.array(orjson.loads(data), dtype=object)


def pairs(part: Any, field: str, start: float, end: float) -> Iterator[Pair]:
    """Yield a field's samples of an interval, of a table or a file."""
    return ((t, column) for t, (column,) in part.read([field], start, end))


class Table:
    """Samples in memory, for one thread that puts them there and any that read.

    `low` and `high` are the number of the journal that they are in, `size` is how many bytes they
    take.
    """

    def __init__(self, number: int) -> None:
        self.low = self.high = number
        self.count = self.size = 0
        self.first, self.last = math.inf, -math.inf
        self._lock = threading.Lock()
        self._came: list[Rows] = []

    @property
    def dtypes(self) -> dict[str, np.dtype]:
        """Type of each field's column."""
        return {name: column.dtype for name, column in self.rows()[1].items()}

    def put(self, t: np.ndarray, columns: dict[str, Column]) -> None:
        """Add samples; fields that are not in `columns` are missing."""
        for column in (t, *columns.values()):
            is_text = column.dtype.kind == "O"
            self.size += len(column) * _OBJECT_BYTES if is_text else column.nbytes
        with self._lock:
            self._came.append((t, columns))
            self.first, self.last = min(self.first, float(t[0])), float(t[-1])
            self.count += len(t)
        if len(self._came) > _MAX_CAME:
            self.rows()

    def rows(self, start: int = 0) -> Rows:
        """Return all samples from an index on."""
        with self._lock:
            if len(self._came) != 1:
                names = {name for _, columns in self._came for name in columns}
                t, _ = join([(t, None) for t, _ in self._came])
                whole = {}
                for name in names:
                    _, column = join([(t, columns.get(name)) for t, columns in self._came])
                    assert column is not None
                    whole[name] = column
                self._came = [(t, whole)]
            t, columns = self._came[0]
        return t[start:], {name: column[start:] for name, column in columns.items()}

    def span(self, start: float, end: float) -> Span | None:
        """Return how many samples there are in an interval, the first and the last time."""
        t = self.rows()[0]
        low, high = np.searchsorted(t, [start, end])
        return (high - low, float(t[low]), float(t[high - 1])) if low < high else None

    def read(
        self, fields: Iterable[str], start: float, end: float
    ) -> Iterator[tuple[np.ndarray, list[Column | None]]]:
        """Yield the samples of an interval: times, and a column for each field."""
        t, columns = self.rows()
        low, high = np.searchsorted(t, [start, end])
        if low < high:
            held = [columns.get(name) for name in fields]
            yield t[low:high], [c if c is None else c[low:high] for c in held]

    def gather(self, field: str, start: float, end: float, w: float) -> Iterator[Pair]:
        """Yield what gives the same buckets of size `w` as the samples, or all samples without."""
        for pair in pairs(self, field, start, end):
            yield pick(pair, decimate(*pair, w)) if w else pair
