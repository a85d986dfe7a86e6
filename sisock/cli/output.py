"""Print tables, samples (as table, CSV or JSON), and the progress of fetching samples."""

from __future__ import annotations

import csv
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TextIO

import numpy as np
from tqdm import tqdm

from sisock.client.data import Data, Progress
from sisock.client.display import MAX_COUNT, as_declared
from sisock.client.merge import Gap, LiveSample
from sisock.wire.arrays import merge_timeline, to_list
from sisock.wire.fields import Field
from sisock.wire.json_rows import dumps
from sisock.wire.protocol import as_line
from sisock.wire.times import counted, format_time

_SAMPLED_ROWS = 1000
"""Number of rows that determine a column's width; a longer value further down shifts its row."""

_EARLIEST, _LATEST = -62135596800, 253402300799
"""UNIX times of the years 1 to 9999, which an ISO date can have."""

_RUN = 1 << 16  # rows of CSV to make at once

_SOMETIMES = ("first", "last", "stale after/s", "warning", "alarm", "precision", "labels")
"""Columns of `sisock fields` that are shown only if a field has a value for them."""

_FORMULA = re.compile(r"[=@\t\r]|[+-](?!\d*\.?\d*(e[+-]?\d+)?$)", re.IGNORECASE)
"""How texts begin that a spreadsheet would take for a formula; signed numbers are none."""

_LIVE_WIDTH = 12
_TIME_WIDTH = len("2017-07-15T00:00:00.000000Z")


def write_table(out: TextIO, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Write rows of text in aligned columns."""
    sampled = [header, *rows[:_SAMPLED_ROWS]]
    widths = [max(len(row[i]) for row in sampled) for i in range(len(header))]
    for row in [header, *rows]:
        cells = (as_line(cell).ljust(width) for cell, width in zip(row, widths, strict=True))
        out.write("  ".join(cells).rstrip() + "\n")


def write_node_states(out: TextIO, nodes: Mapping[str, Mapping[str, Any]]) -> None:
    """Write a table with the states of the nodes of ``sisock serve``."""
    forms: dict[str, Callable[[Any], str]] = {
        "state": str,
        "pid": str,
        "memory": lambda value: f"{value / 1e6:.0f} MB",
        "samples_per_second": "{:.2f}".format,
        "last": lambda value: f"{time.time() - value:.1f} s ago",
        "error": str,
    }
    rows = [
        (name, *("" if node[key] is None else form(node[key]) for key, form in forms.items()))
        for name, node in nodes.items()
    ]
    header = ("state", "pid", "memory", "samples/s", "last sample", "last error")
    write_table(out, ("node", *header), rows)


def format_age(seconds: float) -> str:
    """Return a time span in the largest unit that fits: "2.5 s", "3 min", "8 years"."""
    for limit, size, unit in ((60, 1, "s"), (3600, 60, "min"), (86400, 3600, "h")):
        if seconds < limit:
            return f"{seconds / size:.{int(size == 1)}f} {unit}"
    days = seconds / 86400
    return counted(round(days), "day") if days < 365 else f"{days / 365.25:.1f} years"


def write_fields(out: TextIO, fields: Iterable[Field]) -> None:
    """Write a table of fields, without optional columns that are empty."""
    header = ("field", "type", "units", "timeline", "interval/s", *_SOMETIMES, "description")
    columns = zip(header, *map(_about, fields), strict=True)
    shown = [column for column in columns if any(column[1:]) or column[0] not in _SOMETIMES]
    head, *rows = zip(*shown, strict=True)
    write_table(out, head, rows)


def _about(field: Field) -> tuple[str, ...]:
    """Return a field's row in the table of fields."""
    limits = field.limits or {}
    return (
        field.name,
        field.type,
        field.units or "",
        field.timeline,
        "" if field.interval is None else f"{field.interval:.6g}",
        *("" if t is None else format_time(t) for t in (field.first, field.last)),
        "" if field.stale_after is None else f"{field.stale_after:.6g}",
        *(_range(limits.get(name)) for name in ("warning", "alarm")),
        "" if field.precision is None else str(field.precision),
        ", ".join(f"{value}: {text}" for value, text in (field.labels or {}).items()),
        field.description or "",
    )


def _range(ends: Sequence[float | None] | None) -> str:
    if ends is None:
        return ""
    low, high = ("" if end is None else f"{end:.6g}" for end in ends)
    return f"{low} to {high}".strip()


def _text(value: Any) -> str:
    if value is None or value != value:
        return ""
    if not isinstance(value, float):
        return as_line(str(value))
    is_count = value.is_integer() and abs(value) < MAX_COUNT
    return f"{value:.0f}" if is_count else f"{value:.10g}"


def _columns(data: Data) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return the merged times of all fields, and values at them; None or NaN without a sample."""
    t, merged = merge_timeline({name: (series.t, series.values) for name, series in data.items()})
    missing = np.full(len(t), None)
    return t, [values if len(values) else missing for values in merged.values()]


def _heading(name: str, units: str | None) -> str:
    return f"{name} [{units}]" if units else name


def _headings(data: Data) -> list[str]:
    return [_heading(name, series.units) for name, series in data.items()]


def write_samples(out: TextIO, data: Data) -> None:
    """Write an aligned table with a row for each time."""
    t, columns = _columns(data)
    cells = (map(_text, to_list(column)) for column in columns)
    rows = list(zip(_times(t), *cells, strict=True))
    write_table(out, ["time", *_headings(data)], rows)


def write_csv(out: TextIO, data: Data) -> None:
    """Write CSV with a row for each time; an empty cell is a missing sample.

    An apostrophe before a text that begins like a formula keeps spreadsheets from running it.
    """
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["time", *map(_no_formula, _headings(data))])
    t, columns = _columns(data)
    for first in range(0, len(t), _RUN):
        run = slice(first, first + _RUN)
        writer.writerows(zip(_times(t[run]), *(_cells(c[run]) for c in columns), strict=True))


def _times(t: np.ndarray) -> list[str]:
    """Format many times as `format_time` does, but faster."""
    if len(t) and not (t[0] >= _EARLIEST and t[-1] < _LATEST):
        return [format_time(each) for each in t.tolist()]
    whole = np.floor(t)
    microseconds = np.rint((t - whole) * 1e6).astype("<m8[us]")
    moments = whole.astype("<M8[s]") + microseconds
    return [f"{text.removesuffix('.000000')}Z" for text in np.datetime_as_string(moments).tolist()]


def _cells(column: np.ndarray) -> list[Any]:
    if column.dtype.kind not in "fiu":
        return ["" if value is None else _no_formula(value) for value in to_list(column)]
    return dumps(_as_written(column)).decode()[1:-1].replace("null", "").split(",")


def _no_formula(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and _FORMULA.match(value) else value


def _as_written(numbers: np.ndarray) -> np.ndarray:
    """Convert float32 to double, so that readers that use doubles get the same number."""
    return np.ascontiguousarray(numbers, dtype="<f8" if numbers.dtype.kind == "f" else None)


def write_json(out: TextIO, data: Data) -> None:
    """Write JSON: field name to its times in UNIX seconds, values, units and timeline."""
    out.write("{")
    for index, (name, series) in enumerate(data.items()):
        values = series.values
        about = {
            "t": series.t,
            "values": _as_written(values) if values.dtype.kind in "fiu" else to_list(values),
            "units": series.units,
            "timeline": series.timeline,
            "finalized_until": series.finalized_until,
        }
        # One by one, as the text of all series would not fit into memory.
        out.write(f"{', ' if index else ''}{dumps(name).decode()}: {dumps(about).decode()}")
    out.write("}\n")


WRITERS: Mapping[str, Callable[[TextIO, Data], None]] = {
    "table": write_samples,
    "csv": write_csv,
    "json": write_json,
}

ENDINGS: Mapping[str, str] = {"": "table", ".txt": "table", ".csv": "csv", ".json": "json"}
"""Format by the ending of a file's name."""


def write_latest(out: TextIO, data: Data) -> None:
    """Write a table with the last value of each field, its units and its time."""
    rows = []
    for name, series in data.items():
        times, values = map(format_time, series.t), to_list(series.values)
        shown = (as_declared(series.field, value) or _text(value) for value in values)
        rows.append((name, next(shown, ""), series.units or "", next(times, "")))
    write_table(out, ("field", "value", "units", "time"), rows)


def write_live(out: TextIO, fields: Iterable[Field], samples: Iterable[LiveSample | Gap]) -> None:
    """Write a header, and below it each live sample as soon as it comes."""
    headings = {f.name: _heading(f.name, f.units).rjust(_LIVE_WIDTH) for f in fields}
    print("  ".join(["time".ljust(_TIME_WIDTH), *headings.values()]), file=out, flush=True)
    for sample in samples:
        print(_live_row(headings, sample), file=out, flush=True)


def _live_row(headings: Mapping[str, str], sample: LiveSample | Gap) -> str:
    """Return one live sample in columns below the headings, or a line about a gap."""
    if isinstance(sample, Gap):
        start, end = format_time(sample.start), format_time(sample.end)
        return f"{start.ljust(_TIME_WIDTH)}  samples between this time and {end} are lost"
    cells = (_text(sample.values.get(name)).rjust(len(text)) for name, text in headings.items())
    return "  ".join([format_time(sample.t).ljust(_TIME_WIDTH), *cells])


@contextmanager
def progress_line(out: TextIO) -> Iterator[Callable[[Progress], None]]:
    """Show the progress of fetching, on a terminal only and only if it takes over a second.

    The line is removed at the end.
    """
    # A terminal of unknown size reports 0 columns, and tqdm would print nothing.
    width = (os.get_terminal_size(out.fileno()).columns or 80) - 1 if out.isatty() else None
    style = {"unit": " samples", "unit_scale": True, "ncols": width, "nrows": 20}
    with tqdm(file=out, disable=width is None, delay=1, leave=False, miniters=0, **style) as line:

        def show(progress: Progress) -> None:
            line.total = progress.expected
            line.update(progress.samples - line.n)

        yield show
