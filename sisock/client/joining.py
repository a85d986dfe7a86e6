"""Pieces of a reply joined while they come, each array into one block of memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from sisock.client.data import Data, Line, Piece, Series, decode
from sisock.errors import NodeContractError
from sisock.wire.fields import Field

MOST_AHEAD = 32
"""Room is made for at most so many times of what has come; what stays empty is never touched."""


class _Block:
    """Arrays of one type, one behind the other."""

    def __init__(self, first: np.ndarray) -> None:
        self._memory = first
        self._count = len(first)

    @property
    def dtype(self) -> np.dtype:
        return self._memory.dtype

    def append(self, array: np.ndarray, share: float) -> None:
        """Append, with room for the rest if this is not all: `share` of it has come, about."""
        count = self._count + len(array)
        if count > len(self._memory):
            ahead = 1.05 / max(share, 1 / MOST_AHEAD)
            larger = np.empty(int(count * ahead), dtype=self.dtype)
            larger[: self._count] = self._memory[: self._count]
            self._memory = larger
        self._memory[self._count : count] = array
        self._count = count

    def array(self) -> np.ndarray:
        return self._memory[: self._count]


class _Column:
    """What has come of one array."""

    def __init__(self) -> None:
        self._runs: list[np.ndarray | _Block | int] = []

    def append(self, array: np.ndarray, share: float) -> None:
        last = self._runs[-1] if self._runs else 0
        if isinstance(last, int) or last.dtype != array.dtype or array.dtype == object:
            self._runs.append(array)
            return
        if isinstance(last, np.ndarray):
            last = self._runs[-1] = _Block(last)
        last.append(array, share)

    def skip(self, count: int) -> None:
        """Note that there is nothing at so many times."""
        if count:
            self._runs.append(count)

    def arrays(self) -> list[np.ndarray]:
        """What has come, with missing values of its type where nothing has."""
        come = [run.array() if isinstance(run, _Block) else run for run in self._runs]
        kinds = {run.dtype.kind for run in come if isinstance(run, np.ndarray)}
        missing: Any = (None, object) if kinds & set("bO") else (np.nan, "<f8")
        if not kinds:
            return []
        return [
            np.full(run, missing[0], missing[1]) if isinstance(run, int) else run for run in come
        ]


class Joiner:
    """Takes the pieces of a reply, in their order.

    Parameters
    ----------
    fields : mapping
        Those that were asked for.
    node : str
        For messages.
    """

    def __init__(self, fields: Mapping[str, Field], node: str) -> None:
        self._fields = fields
        self._node = node
        self._follows = {name: field.timeline for name, field in fields.items()}
        self._columns = {name: _Column() for name in fields}
        self._times: dict[str, _Column] = {}
        self._untils: dict[str, float] = {}

    def add(self, piece: Piece, share: float = 1.0) -> None:
        """Take the next piece.

        Parameters
        ----------
        piece : Piece
        share : float
            Part of the whole reply that has come with it, about.
        """
        self._follows |= piece.follows
        for name, line in piece.lines.items():
            self._times.setdefault(name, _Column()).append(line.t, share)
            if line.finalized_until is not None:
                until = self._untils.get(name, line.finalized_until)
                self._untils[name] = min(until, line.finalized_until)
        for name, column in self._columns.items():
            own, values = piece.lines.get(self._follows[name]), piece.data.get(name)
            if values is None or not len(values):
                # A field that ends before the others of its timeline is empty behind its end.
                column.skip(len(own.t) if own else 0)
            elif own is None:
                raise NodeContractError(
                    self._node, name, "it has data, but no timeline of the reply is its own"
                )
            else:
                column.append(values, share)

    def data(self) -> Data:
        """Give what has come.

        Raises
        ------
        NodeContractError
            If the lengths of values and times differ.
        """
        lines = {
            name: Line(_joined(column.arrays()), self._untils.get(name))
            for name, column in self._times.items()
        }
        series = {}
        for name, field in self._fields.items():
            arrays = self._columns[name].arrays()
            if not arrays:
                series[name] = Series(field, np.empty(0), np.empty(0))
                continue
            line, values = lines[self._follows[name]], _typed(_joined(arrays), field.type)
            if len(values) != len(line.t):
                raise NodeContractError(
                    self._node, name, f"it has {len(values)} values for {len(line.t)} times"
                )
            series[name] = Series(field, line.t, values, line.finalized_until)
        return Data(series)


def join(pieces: Iterable[Any], fields: Mapping[str, Field], node: str) -> Data:
    """Join the pieces of a reply, as they came from the wire.

    Raises
    ------
    NodeContractError
        If one does not have a reply's shape, or the lengths of values and times differ.
    """
    joiner = Joiner(fields, node)
    for piece in pieces:
        joiner.add(decode(piece, node))
    return joiner.data()


def _joined(arrays: list[np.ndarray]) -> np.ndarray:
    if any(array.dtype == object for array in arrays):
        arrays = [array.astype(object) for array in arrays]
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)


def _typed(values: np.ndarray, kind: str) -> np.ndarray:
    """Numbers as numbers: a piece of missing values alone is a list of None, of no type."""
    if values.dtype != object or kind != "number":
        return values
    if set(map(type, values)) <= {int, float, type(None)}:
        return values.astype("<f8")
    return values
