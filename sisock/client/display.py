"""Show fetched samples as curves, HTML table or Dataset, and the progress of fetching them."""

from __future__ import annotations

import base64
import html
import io
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np

from sisock.connection.settings import require
from sisock.wire import grid
from sisock.wire.fields import Field
from sisock.wire.times import format_time

GAP = 5.0  # a curve is interrupted where the spacing is over this many usual spacings
DELAY = 1.0  # seconds before a progress bar is shown
MAX_COUNT = 1e15  # value below which whole numbers are shown with all their digits

MAX_DRAWN = 20_000
"""Maximum number of samples drawn of a series; longer ones are decimated to their extremes."""


def plot(data: Mapping[str, Any]) -> Any:
    """Draw all series with matplotlib: a panel for each unit, and curves interrupted at gaps."""
    require("matplotlib", "notebooks")
    from matplotlib import dates, pyplot

    panels: dict[tuple[str, str | None], list[str]] = {}
    for name, series in data.items():
        panels.setdefault((series.field.type, series.units), []).append(name)
    size = (9, 1 + 2 * max(len(panels), 1))
    _, rows = pyplot.subplots(max(len(panels), 1), sharex=True, squeeze=False, figsize=size)
    for axes, ((kind, units), names) in zip(rows[:, 0], panels.items(), strict=False):
        for name in names:
            t, values = _curve(data[name])
            style = "default" if kind == "number" else "steps-post"
            marker = "." if len(t) == 1 else None
            axes.plot(t, values, label=name, linewidth=1, drawstyle=style, marker=marker)
        axes.set_ylabel(units or "")
        axes.legend(loc="best")
    locator = dates.AutoDateLocator()
    rows[-1, 0].xaxis.set_major_locator(locator)
    rows[-1, 0].xaxis.set_major_formatter(dates.ConciseDateFormatter(locator))
    rows[-1, 0].set_xlabel("time (UTC)")
    return rows[:, 0]


def _curve(series: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return times and values to draw, with a missing value in each gap."""
    t, values = series.t, series.values
    if series.field.type == "string":
        there = np.array([value is not None for value in values], bool)
        return _as_datetime(t[there]), values[there]
    bucket = series.bucket
    values = np.array([np.nan if value is None else value for value in values], float)
    if len(t) > MAX_DRAWN:
        kept, bucket = grid.decimate_by(t, values, None, MAX_DRAWN)
        t, values = t[kept], values[kept]
    spacing = np.diff(t)
    if len(spacing) > 1:
        (gaps,) = np.nonzero(spacing > _longest(spacing, bucket, series.field.interval))
        t, values = np.insert(t, gaps + 1, t[gaps]), np.insert(values, gaps + 1, np.nan)
    return _as_datetime(t), values


def _longest(spacing: np.ndarray, bucket: float | None, interval: float | None) -> float:
    """Return the longest spacing in seconds that is no gap.

    Samples of neighbouring buckets are up to two buckets apart.
    """
    median = float(np.median(spacing))
    if bucket is None:
        return GAP * median
    return max(2 * bucket, 2 * median, GAP * (interval or median))


def _as_datetime(t: np.ndarray) -> np.ndarray:
    return (t * 1e6).round().astype("datetime64[us]")


def to_html(data: Mapping[str, Any]) -> str:
    """Return HTML: a plot of the series if matplotlib is installed, and a table of them."""
    # A plot of single points, as of the latest samples, would tell no more than the table.
    is_curve = any(len(series) > 1 for series in data.values())
    about = ("samples", "from", "to", "last") if is_curve else ("time", "value")
    rows = []
    for name, series in data.items():
        cells = [name, series.units or "", *([f"{len(series):,}"] if is_curve else [])]
        if len(series):
            ends = series.t[[0, -1]] if is_curve else series.t
            last = series.values[-1]
            cells += [*map(format_time, ends), as_declared(series.field, last) or _short(last)]
        else:
            cells.append(_elsewhere(series.field))
        rows.append(cells)
    picture = _picture(data) if is_curve and find_spec("matplotlib") else ""
    return picture + table(("field", "units", *about), rows)


def fields_to_html(fields: Iterable[Field]) -> str:
    """Return an HTML table of fields, with the range of their samples."""
    heads = ("field", "type", "units", "timeline", "interval/s", "first", "last", "description")
    rows = []
    for field in fields:
        interval = "" if field.interval is None else f"{field.interval:.6g}"
        ends = ("" if t is None else format_time(t) for t in (field.first, field.last))
        about = field.units or "", field.timeline, interval, *ends, field.description or ""
        rows.append((field.name, field.type, *about))
    return table(heads, rows)


def as_declared(field: Field, value: Any) -> str:
    """Return a value with the label or the precision of its field; empty if there is neither."""
    if isinstance(value, str) or value is None or value != value:
        return (field.labels or {}).get(value, "")
    is_whole = float(value).is_integer()
    keys = [str(value).lower(), *([str(int(value))] if is_whole else [])]
    labels = [label for key in keys if (label := (field.labels or {}).get(key))]
    if labels or field.type != "number" or field.precision is None:
        return next(iter(labels), "")
    return f"{value:.{field.precision}f}"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return an HTML table of texts; the last cell of a short row fills it."""
    lines = ["".join(f"<th>{head}</th>" for head in heads)]
    for *cells, last in rows:
        first = "".join(f"<td>{html.escape(cell)}</td>" for cell in cells)
        span = len(heads) - len(cells)
        wide = f' colspan="{span}"' if span > 1 else ""
        lines.append(f"{first}<td{wide}>{html.escape(last)}</td>")
    return "<table>" + "".join(f"<tr>{line}</tr>" for line in lines) + "</table>"


def _short(value: Any) -> str:
    if isinstance(value, int | np.integer) and not isinstance(value, bool):
        return f"{value:,}"
    if not isinstance(value, float):
        return str(value)
    if value.is_integer() and abs(value) < MAX_COUNT:
        return f"{value:,.0f}"
    return np.format_float_positional(value, precision=6, fractional=False, trim="-")


def _elsewhere(field: Field) -> str:
    """Return that there are no samples, and where the field has some if the node tells it."""
    if field.last is None:
        return "none here"
    start = "" if field.first is None else f"from {format_time(field.first)} "
    return f"none here; the node has samples {start}to {format_time(field.last)}"


def _picture(data: Mapping[str, Any]) -> str:
    from matplotlib import pyplot

    figure, written = plot(data)[0].figure, io.BytesIO()
    figure.savefig(written, format="png", bbox_inches="tight")
    pyplot.close(figure)
    encoded = base64.b64encode(written.getvalue()).decode()
    return f'<img alt="{html.escape(", ".join(data))}" src="data:image/png;base64,{encoded}">'


def to_xarray(data: Mapping[str, Any]) -> Any:
    """Return an xarray Dataset; series with the same times share a coordinate."""
    require("xarray", "notebooks")
    import xarray

    lines: list[np.ndarray] = []
    variables, coordinates = {}, {}
    for name, series in data.items():
        known = [i for i, t in enumerate(lines) if np.array_equal(t, series.t)]
        number = known[0] if known else len(lines)
        if not known:
            lines.append(series.t)
        axis = "time" if number == 0 else f"time_{number + 1}"
        coordinates[axis] = _as_datetime(series.t).astype("datetime64[ns]")
        about = {"units": series.units, "description": series.field.description}
        kept = {key: text for key, text in about.items() if text}
        variables[name] = (axis, series.values, kept)
    return xarray.Dataset(variables, coordinates)


def notebook_bar() -> Callable[[Any], None] | None:
    """Return a function that shows a `Progress` below a notebook's cell; None elsewhere."""
    python = sys.modules.get("IPython")
    shell = python.get_ipython() if python else None
    return _Bar() if hasattr(shell, "kernel") else None


class _Bar:
    """A progress bar that appears after `DELAY` seconds and disappears at the end."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._shown: Any = None

    def __call__(self, progress: Any) -> None:
        from IPython.display import display
        from tqdm import tqdm

        passed = time.monotonic() - self._began
        text = ""
        if progress.fraction < 1:
            style = {"unit": " samples", "unit_scale": True, "ncols": 80}
            text = tqdm.format_meter(progress.samples, progress.expected, passed, **style)
        if self._shown is not None:
            self._shown.update({"text/plain": text}, raw=True)
        elif text and passed > DELAY:
            self._shown = display({"text/plain": text}, raw=True, display_id=True)
