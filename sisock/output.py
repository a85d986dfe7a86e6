"""How the command ``sisock`` prints samples: aligned table, CSV, JSON."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TextIO

import numpy as np

from sisock.events import LiveSample
from sisock.received import Data
from sisock.timelines import merge_timeline
from sisock.times import format_time
from sisock.values import to_list

_SAMPLED_ROWS = 1000
"""Rows that a column's width is measured on; a longer value further down shifts its row."""

_LIVE_WIDTH = 12
_TIME_WIDTH = len("2017-07-15T00:00:00.000000Z")


def write_table(out: TextIO, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Write rows of text in aligned columns."""
    sampled = [header, *rows[:_SAMPLED_ROWS]]
    widths = [max(len(row[i]) for row in sampled) for i in range(len(header))]
    for row in [header, *rows]:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        out.write("  ".join(cells).rstrip() + "\n")


def _text(value: Any) -> str:
    if value is None or value != value:
        return ""
    return f"{value:.10g}" if isinstance(value, float) else str(value)


def _rows(data: Data) -> Iterator[tuple[float, list[Any]]]:
    """Rows of all fields at the union of their times; None where one has no sample."""
    t, merged = merge_timeline(
        {name: (series.t, _mergeable(series.values)) for name, series in data.items()}
    )
    columns = [to_list(merged[name]) or [None] * len(t) for name in data]
    return zip(t.tolist(), map(list, zip(*columns, strict=True)), strict=True)


def _mergeable(column: np.ndarray) -> Any:
    return column.tolist() if column.dtype == object else column


def _headings(data: Data) -> list[str]:
    return [f"{name} [{s.units}]" if s.units else name for name, s in data.items()]


def write_samples(out: TextIO, data: Data) -> None:
    """Write an aligned table, a row a time."""
    rows = [[format_time(t), *map(_text, values)] for t, values in _rows(data)]
    write_table(out, ["time", *_headings(data)], rows)


def write_csv(out: TextIO, data: Data) -> None:
    """Write CSV, a row a time; an empty cell is a missing sample."""
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["time", *_headings(data)])
    for t, values in _rows(data):
        writer.writerow([format_time(t), *("" if v is None else v for v in values)])


def write_json(out: TextIO, data: Data) -> None:
    """Write JSON: field name to its times in UNIX seconds, values, units and timeline."""
    json.dump(
        {
            name: {
                "t": series.t.tolist(),
                "values": to_list(_mergeable(series.values)),
                "units": series.units,
                "timeline": series.timeline,
                "finalized_until": series.finalized_until,
            }
            for name, series in data.items()
        },
        out,
    )
    out.write("\n")


WRITERS: Mapping[str, Callable[[TextIO, Data], None]] = {
    "table": write_samples,
    "csv": write_csv,
    "json": write_json,
}


def live_header(names: Sequence[str]) -> str:
    """Heading of the rows of live samples."""
    return "  ".join(["time".ljust(_TIME_WIDTH), *(name.rjust(_LIVE_WIDTH) for name in names)])


def live_row(names: Sequence[str], sample: LiveSample) -> str:
    """One live sample in columns under `live_header`."""
    cells = (_text(sample.values.get(name)).rjust(max(_LIVE_WIDTH, len(name))) for name in names)
    return "  ".join([format_time(sample.t).ljust(_TIME_WIDTH), *cells])
