"""Define fetched samples, one series per field, and assemble them from the chunks of a reply."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sisock.client import display
from sisock.wire import grid
from sisock.wire.arrays import check_length, last_present
from sisock.wire.fields import Field
from sisock.wire.protocol import Interval, contract
from sisock.wire.reply import Reply

_NUMBERS = {int, float, type(None)}

_MAX_AHEAD = 32  # maximum factor by which memory is reserved for later chunks


@dataclass(frozen=True, repr=False)
class Series:
    """The samples of one field.

    Attributes
    ----------
    t : ndarray of float64, shape (n,)
        UNIX seconds, ascending.
    values : ndarray, shape (n,)
        Missing values are NaN in arrays of numbers, and None in object arrays (other types).
    finalized_until : float or None
        Time before which the samples never change; None if all samples are final.
    bucket : float or None
        Size in seconds of the buckets that keep only their extremes; None: all samples are kept.
    final_to : float or None
        Time before which no sample of this generation is added or changed; None if unknown.
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

    def __repr__(self) -> str:
        units = f" [{self.units}]" if self.units else ""
        return f"<Series: {self.field.name}{units} ({len(self)}), with t and values>"

    def _repr_html_(self) -> str:
        """Show plot and table in a notebook."""
        return display.to_html({self.field.name: self})

    @property
    def units(self) -> str | None:
        """Units of the values."""
        return self.field.units

    @property
    def timeline(self) -> str:
        """Name of the timeline; its series share times, unless decimated or from a Part 1 node."""
        return self.field.timeline


@dataclass(frozen=True)
class Progress:
    """Progress of a long reply: samples and fraction of its interval so far; 1.0 at the end."""

    samples: int
    fraction: float

    @property
    def expected(self) -> float | None:
        """Estimated number of samples of the whole reply; None before any of it is received."""
        return self.samples / self.fraction if self.fraction else None


class Fields(dict[str, Field]):
    """Field name to `Field`."""

    def _repr_html_(self) -> str:
        """Show a table in a notebook."""
        return display.fields_to_html(self.values())


class Data(dict[str, Series]):
    """Field name to `Series`, in the order of the request."""

    def __repr__(self) -> str:
        return f"<Data: {', '.join(f'{name} ({len(s)})' for name, s in self.items())}>"

    def _repr_html_(self) -> str:
        """Show plot and table in a notebook."""
        return display.to_html(self)

    def __or__(self, other: Mapping[str, Series]) -> Data:  # type: ignore[override]
        """Combine series, such as those of two nodes, to plot or convert them together."""
        return Data({**self, **other})

    def plot(self) -> Any:
        """Draw all series with matplotlib, and return an array of axes, one for each unit.

        Times are UTC. A curve is interrupted at gaps of more than five usual spacings; if it is
        decimated, only at those of more than two buckets. Raises SisockError if matplotlib is
        missing.
        """
        return display.plot(self)

    def decimate(self, bucket: float | None = None, max_points: int | None = None) -> Data:
        """Keep the extremes of each bucket, or at most `max_points` samples of each series."""
        kept = {}
        for name, series in self.items():
            which, size = grid.decimate_by(series.t, series.values, bucket, max_points)
            t, values = series.t[which], series.values[which]
            kept[name] = replace(series, t=t, values=values, bucket=size)
        return Data(kept)

    def last(self) -> Data:
        """Keep only the last sample with a value of each series."""
        kept = {}
        for name, series in self.items():
            which = last_present(series.values)
            kept[name] = replace(series, t=series.t[which], values=series.values[which])
        return Data(kept)

    def to_pandas(self) -> Any:
        """Return a pandas DataFrame: a column for each field, the index ``time`` in UTC.

        Different timelines are merged, with NaN for missing samples. ``attrs["units"]`` has the
        units by field.
        """
        import pandas as pd

        columns = {
            name: pd.Series(s.values, index=pd.to_datetime(s.t, unit="s", utc=True), name=name)
            for name, s in self.items()
        }
        lines = [series.t for series in self.values()]
        if all(np.array_equal(t, lines[0]) for t in lines):
            return self._named(pd.DataFrame(columns))
        # pandas cannot join columns with repeated times: keep the last sample of each time.
        unique = [column[~column.index.duplicated(keep="last")] for column in columns.values()]
        return self._named(pd.concat(unique, axis=1, sort=False).sort_index())

    def _named(self, frame: Any) -> Any:
        frame.index.name = "time"
        frame.attrs["units"] = {name: series.units for name, series in self.items()}
        return frame

    def to_xarray(self) -> Any:
        """Return an xarray Dataset: a variable for each field, with its units and description.

        The coordinate is ``time``; series with different times use ``time_2`` and so on. Raises
        SisockError if xarray is missing.
        """
        return display.to_xarray(self)


class Assembly:
    """Join the decoded chunks of a reply as they come, each array in one block of memory."""

    def __init__(self, fields: Mapping[str, Field], node: str) -> None:
        self._fields = fields
        self._node = node
        self._columns = {name: _Column() for name in fields}
        self._times: defaultdict[str, _Column] = defaultdict(_Column)
        self._untils: dict[str, float] = {}
        self._follows = {name: field.timeline for name, field in fields.items()}
        self._bucket: dict[str, float | None] = {}
        self._final_to: dict[str, float] = {}
        self._placed: set[str] = set()

    def add(self, reply: Reply, share: float = 1.0) -> None:
        """Add the next chunk; `share` estimates the fraction of the reply received after it."""
        self._follows |= reply.follows
        self._bucket |= reply.bucket or {}
        self._final_to |= reply.final_to
        self._placed |= set(reply.placed)
        for name, line in reply.timelines.items():
            self._times[name].append(line.t, share)
            if line.finalized_until is not None:
                self._untils[name] = min(self._untils.get(name, math.inf), line.finalized_until)
        for name, column in self._columns.items():
            own, values = reply.timelines.get(self._follows[name]), reply.data.get(name)
            if values is not None and len(values):
                with contract(self._node, name):
                    reply.line(self._follows[name])
                column.append(values, share)
            elif own and len(own.t):
                column.skip(len(own.t))  # the field's last sample came in an earlier chunk

    def data(self, interval: Interval) -> Data:
        """Return the samples of an interval.

        Raises NodeContractError if the lengths of values and times differ.
        """
        times = {name: column.joined() for name, column in self._times.items()}
        data = Data()
        for name, field in self._fields.items():
            followed, values = self._follows[name], self._columns[name].joined(field.type)
            t = times[followed] if len(values) else np.empty(0)
            with contract(self._node, name):
                check_length(t, values)
            until = self._untils.get(followed) if len(t) else None
            about = until, self._bucket.get(name), self._final_to.get(name), name in self._placed
            inside = slice(*np.searchsorted(t, [interval.start, interval.end]))
            data[name] = Series(field, t[inside], values[inside], *about)
        return data


class _Column:
    """A growing array: runs of values of one type, and counts of missing values."""

    def __init__(self) -> None:
        self._runs: list[np.ndarray | int] = []
        self._memory = np.empty(0)  # begins with the last run

    def append(self, array: np.ndarray, share: float) -> None:
        last = self._runs[-1] if self._runs else 0
        if isinstance(last, int) or last.dtype != array.dtype or array.dtype == object:
            self._runs.append(array)
            self._memory = array
            return
        count = len(last) + len(array)
        if count > len(self._memory):
            ahead = 1.05 / max(share, 1 / _MAX_AHEAD)
            self._memory = np.empty(int(count * ahead), dtype=array.dtype)
            self._memory[: len(last)] = last
        self._memory[len(last) : count] = array
        self._runs[-1] = self._memory[:count]

    def skip(self, count: int) -> None:
        self._runs.append(count)

    def joined(self, kind: str = "") -> np.ndarray:
        """Return all values, with NaN or None for missing ones."""
        kinds = {run.dtype.kind for run in self._runs if isinstance(run, np.ndarray)}
        if not kinds:
            return np.empty(0)
        missing: Any = (None, object) if kinds & set("bO") else (np.nan, "<f8")
        parts = [np.full(run, *missing) if isinstance(run, int) else run for run in self._runs]
        array = parts[0] if len(parts) == 1 else np.concatenate(parts)
        # A chunk with missing values only came as a list of None, without a type.
        if kind == "number" and array.dtype == object and set(map(type, array)) <= _NUMBERS:
            return array.astype("<f8")
        return array
