"""Represent samples as columns: one array per field, with missing values, and tables that grow.

Numbers keep their type, with NaN where one is missing (integers then become floats); booleans are
``|i1``, with -1 where one is missing; strings are objects, with None where one is missing.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable, Iterator
from typing import TypeAlias

import numpy as np

from sisock.wire import arrays, grid
from sisock.wire.arrays import Span, span_of

TIMES = np.dtype("<f8")
_BOOL = np.dtype("|i1")
_OBJECT_BYTES = 72  # approximate memory of a string
_MAX_BATCHES = 256  # additions that a table collects before it joins them

Column: TypeAlias = np.ndarray
Rows: TypeAlias = tuple[np.ndarray, dict[str, Column]]
"""Times, shape (n,), and columns by field. A field without a column has no values there."""


def encode(values: object) -> Column | None:
    """Return an author's values as a column; None if all are missing.

    Raises ValueError, with the reason, if they cannot be stored.
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
    """Return the type of a field with such a column, as the protocol calls it."""
    return "string" if dtype.kind == "O" else "bool" if dtype == _BOOL else "number"


def missing(dtype: np.dtype, count: int) -> Column:
    """Return a column of missing values that can be joined with a column of this type."""
    if dtype.kind == "O":
        return np.full(count, None, dtype=object)
    is_integer = dtype.kind in "iu" and dtype != _BOOL
    return np.full(count, -1 if dtype == _BOOL else np.nan, dtype=TIMES if is_integer else dtype)


def as_number(column: Column) -> Column:
    """Return booleans with missing values as numbers with NaN, any other column unchanged."""
    if column.dtype == _BOOL and (column < 0).any():
        return np.where(column < 0, np.nan, column)
    return column


def join(parts: Iterable[Rows]) -> Rows:
    """Join samples in order. Where a part lacks a field, its values are missing."""
    parts = [part for part in parts if len(part[0])]
    if len(parts) < 2:
        return parts[0] if parts else (np.empty(0), {})
    dtypes = {name: column.dtype for _, own in parts for name, column in own.items()}
    return np.concatenate([t for t, _ in parts]), {
        name: np.concatenate(
            [own[name] if name in own else missing(dtype, len(t)) for t, own in parts]
        )
        for name, dtype in dtypes.items()
    }


def take(rows: Rows, which: slice | np.ndarray) -> Rows:
    """Return the chosen samples."""
    return rows[0][which], {name: column[which] for name, column in rows[1].items()}


def decimate(t: np.ndarray, column: Column | None, w: float | None) -> np.ndarray:
    """Return the indices of the samples that buckets of size `w` keep (all if `w` is None)."""
    starts = grid.edges(t, w)
    return starts[:-1] if column is None else grid.keep(as_number(column), starts)


def _memory_size(column: Column) -> int:
    if column.dtype.kind != "O":
        return column.nbytes
    return sum(_OBJECT_BYTES + len(text or "") for text in column)


class Table:
    """Hold samples in memory. One thread may add samples, any may read.

    `first_journal` and `last_journal` are both the number of its journal; `size` is in bytes.
    """

    def __init__(self, number: int) -> None:
        self.first_journal = self.last_journal = number
        self.count = self.size = 0
        self.first, self.last = math.inf, -math.inf
        self._lock = threading.Lock()
        self._batches: list[Rows] = []

    @property
    def dtypes(self) -> dict[str, np.dtype]:
        """Type of each field's column."""
        return {name: column.dtype for name, column in self.rows()[1].items()}

    def put(self, t: np.ndarray, columns: dict[str, Column]) -> None:
        """Add samples; the values of fields without a column are missing."""
        self.size += t.nbytes + sum(map(_memory_size, columns.values()))
        with self._lock:
            self._batches.append((t, columns))
            self.first, self.last = min(self.first, float(t[0])), float(t[-1])
            self.count += len(t)
        if len(self._batches) > _MAX_BATCHES:
            self.rows()

    def rows(self) -> Rows:
        """Return all samples."""
        with self._lock:
            if len(self._batches) != 1:
                self._batches = [join(self._batches)]
            return self._batches[0]

    def span(self, start: float, end: float) -> Span | None:
        """Return count, first and last time of an interval's samples, None without samples."""
        t, _ = join(self.read([], start, end))
        return span_of(t)

    def read(self, fields: Iterable[str], start: float, end: float) -> Iterator[Rows]:
        """Yield the samples of an interval."""
        t, columns = self.rows()
        part = slice(*np.searchsorted(t, [start, end]).tolist())
        if part.start < part.stop:
            yield take((t, {name: columns[name] for name in fields if name in columns}), part)

    def gather(self, field: str, start: float, end: float, w: float) -> Iterator[Rows]:
        """Yield samples that decimate to the interval's buckets of size `w`: here, all samples."""
        return self.read([field], start, end)
