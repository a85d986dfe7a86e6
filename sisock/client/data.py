"""A reply on the consumer's side: its pieces, decoded, and what they make, a series a field."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sisock.errors import NodeContractError
from sisock.wire import arrays as values
from sisock.wire.fields import Field, listed_fields
from sisock.wire.thinning import overview_indices


@dataclass(frozen=True)
class Series:
    """The samples of one field.

    Attributes
    ----------
    field : Field
        Name, description, units, timeline.
    t : ndarray of float64, shape (n,)
        UNIX seconds, ascending.
    values : ndarray, shape (n,)
        NaN for a missing number; for other types an object array with None.
    finalized_until : float or None
        Time before which the samples never change; None if all of them are final.
    """

    field: Field
    t: np.ndarray
    values: np.ndarray
    finalized_until: float | None = None

    def __len__(self) -> int:
        return len(self.t)

    @property
    def units(self) -> str | None:
        """Units of the values."""
        return self.field.units

    @property
    def timeline(self) -> str:
        """Name of the timeline; series of one have the same times, but if few points were asked.

        Nodes without Part 2 of the protocol may give each field times of its own.
        """
        return self.field.timeline


class Data(Mapping[str, Series]):
    """Field name to `Series`, in the order in which the fields were asked for."""

    def __init__(self, series: Mapping[str, Series]) -> None:
        self._series = dict(series)

    def __getitem__(self, field: str) -> Series:
        return self._series[field]

    def __iter__(self) -> Iterator[str]:
        return iter(self._series)

    def __len__(self) -> int:
        return len(self._series)

    def __repr__(self) -> str:
        return f"<Data: {', '.join(f'{name} ({len(s)})' for name, s in self._series.items())}>"

    def clip(self, start: float, end: float) -> Data:
        """Keep the samples of an interval, half-open, in UNIX seconds."""
        kept = {}
        for name, series in self._series.items():
            low, high = np.searchsorted(series.t, [start, end])
            if high - low < len(series):
                series = replace(series, t=series.t[low:high], values=series.values[low:high])
            kept[name] = series
        return Data(kept)

    def overview(self, max_points: int) -> Data:
        """Keep at most so many samples of each series, as a node does for ``max_points``."""
        kept = {}
        for name, series in self._series.items():
            which = overview_indices(series.values, max_points)
            kept[name] = replace(series, t=series.t[which], values=series.values[which])
        return Data(kept)

    def to_pandas(self) -> Any:
        """Make a pandas DataFrame: a column a field, the times (UTC) as index.

        Fields of different timelines are joined at their union; what is missing is NaN.
        """
        import pandas as pd

        columns = {
            name: pd.Series(s.values, index=pd.to_datetime(s.t, unit="s", utc=True), name=name)
            for name, s in self._series.items()
        }
        lines = [series.t for series in self._series.values()]
        if lines and all(t is lines[0] or np.array_equal(t, lines[0]) for t in lines):
            return pd.DataFrame(columns)
        # Equal times within a timeline cannot be joined; the last of them stands for all.
        unique = [column[~column.index.duplicated(keep="last")] for column in columns.values()]
        return pd.concat(unique, axis=1, sort=False).sort_index() if unique else pd.DataFrame()


@dataclass(frozen=True)
class Line:
    """A timeline as received: times, shape (n,), and ``finalized_until``."""

    t: np.ndarray
    finalized_until: float | None


@dataclass(frozen=True)
class Piece:
    """One piece of a reply, decoded.

    Attributes
    ----------
    data : dict
        Field name to its values, shape (n,).
    lines : dict
        Timeline name to `Line`.
    follows : dict
        Field name to timeline name, where the reply says so itself.
    """

    data: dict[str, np.ndarray]
    lines: dict[str, Line]
    follows: dict[str, str]


def decode(piece: Any, node: str) -> Piece:
    """Decode one piece of a reply.

    Raises
    ------
    NodeContractError
        If it does not have a reply's shape.
    """
    try:
        data = {name: values.from_wire(encoded) for name, encoded in piece["data"].items()}
        lines = {
            name: Line(_times(line["t"]), _until(line.get("finalized_until")))
            for name, line in piece["timeline"].items()
        }
        listed = {
            field: name
            for name, line in piece["timeline"].items()
            for field in listed_fields(line) or ()
        }
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise NodeContractError(node, None, f"its reply cannot be read: {error}") from None
    follows = piece.get("follows")
    if follows is None:
        follows = listed
    if not isinstance(follows, Mapping):
        raise NodeContractError(node, None, "follows must be a dict of field to timeline")
    return Piece(data, lines, {name: str(line) for name, line in follows.items()})


def _times(encoded: Any) -> np.ndarray:
    t = values.from_wire(encoded)
    if len(t) and t.dtype.kind not in "fiu":
        raise ValueError("times must be numbers")
    t = t.astype("<f8", copy=False)
    if not np.isfinite(t).all() or (t[1:] < t[:-1]).any():
        raise ValueError("times must be finite and ascend")
    return t


def _until(until: Any) -> float | None:
    if until is None:
        return None
    if isinstance(until, bool) or not isinstance(until, int | float) or not math.isfinite(until):
        raise ValueError("finalized_until must be a UNIX time or None")
    return float(until)
