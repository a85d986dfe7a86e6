"""Hold fetched samples, a series for each field, and how far a long reply has come."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sisock.wire import grid
from sisock.wire.arrays import has_value
from sisock.wire.chunks import Assembly
from sisock.wire.fields import Field
from sisock.wire.protocol import Interval


@dataclass(frozen=True)
class Series:
    """The samples of one field.

    Attributes
    ----------
    t : ndarray of float64, shape (n,)
        UNIX seconds, ascending.
    values : ndarray, shape (n,)
        NaN for a missing number; for other types an object array with None.
    finalized_until : float or None
        Time before which the samples never change; None if all of them are final.
    bucket : float or None
        Seconds; size of the buckets of which only the extremes are kept. None: all samples.
    final_to : float or None
        Time before which the node has everything and nothing changes in its generation; None if
        it does not say so.
    is_placed : bool
        Whether the times say only in which bucket a value is.
    """

    field: Field
    t: np.ndarray
    values: np.ndarray
    finalized_until: float | None = None
    bucket: float | None = None
    final_to: float | None = None
    is_placed: bool = False

    def __len__(self) -> int:
        return len(self.t)

    @property
    def units(self) -> str | None:
        """Units of the values."""
        return self.field.units

    @property
    def timeline(self) -> str:
        """Name of the timeline; its series share their times, unless decimated or of Part 1."""
        return self.field.timeline


@dataclass(frozen=True)
class Progress:
    """How far a long reply has come: samples of all fields, and seconds since the first sample."""

    samples: int
    done: float
    total: float

    @property
    def fraction(self) -> float:
        """Part that has been received; 1 when all has come."""
        return self.done / self.total


class Data(dict[str, Series]):
    """Field name to `Series`, in the order in which the fields were asked for."""

    @classmethod
    def assembled(cls, got: Assembly, fields: Mapping[str, Field], interval: Interval) -> Data:
        """Return what has come of some fields within an interval; NodeContractError if it errs."""
        series = {}
        for name, (t, values, until) in got.series().items():
            inside = slice(*np.searchsorted(t, [interval.start, interval.end]))
            about = until, got.bucket.get(name), got.final_to.get(name), name in got.placed
            series[name] = Series(fields[name], t[inside], values[inside], *about)
        return cls(series)

    def __repr__(self) -> str:
        return f"<Data: {', '.join(f'{name} ({len(s)})' for name, s in self.items())}>"

    def decimate(self, bucket: float | None = None, max_points: int | None = None) -> Data:
        """Keep the extremes of each bucket, or else at most so many samples of each series."""
        kept = {}
        for name, series in self.items():
            if max_points is not None:
                which, size = grid.decimate_to(series.t, series.values, max_points)
            else:
                assert bucket is not None
                which, size = grid.decimate(series.t, series.values, bucket), bucket
            t, values = series.t[which], series.values[which]
            kept[name] = replace(series, t=t, values=values, bucket=size)
        return Data(kept)

    def last(self) -> Data:
        """Keep the last sample of each series that has a value."""
        kept = {}
        for name, series in self.items():
            which = np.flatnonzero(has_value(series.values))[-1:]
            kept[name] = replace(series, t=series.t[which], values=series.values[which])
        return Data(kept)

    def to_pandas(self) -> Any:
        """Return a pandas DataFrame: a column for each field, the times (UTC) as index.

        Fields of different timelines are joined at their union; what is missing is NaN.
        """
        import pandas as pd

        columns = {
            name: pd.Series(s.values, index=pd.to_datetime(s.t, unit="s", utc=True), name=name)
            for name, s in self.items()
        }
        lines = [series.t for series in self.values()]
        if all(np.array_equal(t, lines[0]) for t in lines):
            return pd.DataFrame(columns)
        # Equal times within a timeline cannot be joined; the last of them stands for all.
        unique = [column[~column.index.duplicated(keep="last")] for column in columns.values()]
        return pd.concat(unique, axis=1, sort=False).sort_index()
