"""Samples made Grafana's answers: one array a series, never an object a sample.

Each answer is bytes of JSON. Numbers go from numpy arrays straight to orjson, which writes a row
``[value, ms]`` of a two-dimensional array by itself and null for NaN.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import orjson

from sisock.grafana_units import grafana_unit
from sisock.received import Series
from sisock.values import to_list

_MARK = 1.0078125e-290
"""A number that stands in for a text while orjson writes an array: no sample has this value."""


def dumps(answer: Any) -> bytes:
    """JSON with numpy arrays in it."""
    return orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)


def milliseconds(t: np.ndarray) -> np.ndarray:
    """UNIX times as Grafana's, shape (n,)."""
    return np.rint(t * 1e3)


def is_numeric(values: np.ndarray) -> bool:
    """Whether values are numbers or booleans, all of them."""
    return values.dtype != object


def series_answer(node: str, series: Series, ref_id: str | None) -> dict[str, Any]:
    """One series as every plugin draws it."""
    answer: dict[str, Any] = {
        "target": f"{node}::{series.field.name}",
        "datapoints": _datapoints(series),
    }
    return {**answer, **_about(series, ref_id)}


def empty_answer(target: str, ref_id: str | None) -> dict[str, Any]:
    """The series of a target that does not exist, or whose node does not answer."""
    answer: dict[str, Any] = {"target": target, "datapoints": []}
    return answer if ref_id is None else {**answer, "refId": ref_id}


def _about(series: Series, ref_id: str | None) -> dict[str, Any]:
    about: dict[str, Any] = {"title": series.field.description or series.field.name}
    unit = grafana_unit(series.units)
    if unit is not None:
        about["unit"] = unit
    if ref_id is not None:
        about["refId"] = ref_id
    return about


def _datapoints(series: Series) -> np.ndarray | list[list[Any]]:
    ms = milliseconds(series.t)
    if not is_numeric(series.values):
        # Text has no array that orjson could take.
        return list(map(list, zip(to_list(series.values.tolist()), ms.tolist(), strict=True)))
    return _pairs(series.values, ms)


def _pairs(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    rows = np.empty((len(first), 2))
    rows[:, 0], rows[:, 1] = first, second
    return rows


def table_answer(found: Sequence[tuple[str, Series]], ref_id: str | None) -> dict[str, Any]:
    """One table: for each timeline its times and its fields, side by side."""
    lines: dict[tuple[str, str], list[tuple[str, Series]]] = {}
    for node, series in found:
        lines.setdefault((node, series.timeline), []).append((node, series))
    columns: list[dict[str, str]] = []
    cells: list[np.ndarray | list[Any]] = []
    for (_, timeline), members in lines.items():
        # A field without samples is a column of nothing beside the others.
        t = max((series.t for _, series in members), key=len)
        name = "Time" if len(lines) == 1 else f"Time ({timeline})"
        columns.append({"text": name, "type": "time"})
        cells.append(milliseconds(t))
        for node, series in members:
            columns.append(_column(node, series))
            cells.append(series.values if is_numeric(series.values) else series.values.tolist())
    answer = {"type": "table", "columns": columns, "rows": _rows(cells)}
    return answer if ref_id is None else {**answer, "refId": ref_id}


def _column(node: str, series: Series) -> dict[str, str]:
    kind = {"number": "number", "bool": "boolean"}.get(series.field.type, "string")
    column = {"text": f"{node}::{series.field.name}", "type": kind}
    unit = grafana_unit(series.units)
    return column if unit is None else {**column, "unit": unit}


def _rows(cells: list[np.ndarray | list[Any]]) -> np.ndarray | list[list[Any]]:
    length = max(map(len, cells), default=0)
    if all(isinstance(column, np.ndarray) and column.dtype != bool for column in cells):
        rows = np.full((length, len(cells)), np.nan)
        for i, column in enumerate(cells):
            rows[: len(column), i] = column
        return rows
    padded = [to_list(column) + [None] * (length - len(column)) for column in cells]
    return list(map(list, zip(*padded, strict=True)))


def long_rows(found: Iterable[tuple[str, Series]]) -> bytes:
    """Rows ``{"time": ms, "value": x, "series": "node::field"}`` of all series, in time order.

    Infinity makes series of them only if the times ascend.
    """
    series = [(f"{node}::{each.field.name}", each) for node, each in found if len(each)]
    if not series:
        return b"[]"
    if not all(is_numeric(each.values) for _, each in series):
        return dumps(_long_objects(series))
    names = [name for name, _ in series]
    t = np.concatenate([milliseconds(each.t) for _, each in series])
    values = np.concatenate([each.values.astype("<f8") for _, each in series])
    owner = np.repeat(np.arange(len(series)), [len(each) for _, each in series])
    if len(series) > 1:
        order = np.argsort(t, kind="stable")
        t, values, owner = t[order], values[order], owner[order]
    rows = np.empty((len(t), 3))
    rows[:, 0], rows[:, 1], rows[:, 2] = t, _MARK * (1 + owner / 4096), values
    text = dumps(rows)
    for index, name in enumerate(names):
        mark = dumps(_MARK * (1 + index / 4096))
        text = text.replace(b"," + mark + b",", b',"series":' + dumps(name) + b',"value":')
    return b'[{"time":' + text[2:-2].replace(b"],[", b'},{"time":') + b"}]"


def _long_objects(series: list[tuple[str, Series]]) -> list[dict[str, Any]]:
    rows = [
        {"time": ms, "series": name, "value": value}
        for name, each in series
        for ms, value in zip(
            milliseconds(each.t).tolist(), to_list(each.values.tolist()), strict=True
        )
    ]
    return sorted(rows, key=lambda row: row["time"])


def annotation_table(events: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Annotations as a table, the form that simPod's plugin takes from ``/query``."""
    names = ("time", "timeEnd", "title", "text", "tags")
    return {
        "type": "table",
        "columns": [
            {"text": name, "type": "time" if name.startswith("time") else "string"}
            for name in names
        ],
        "rows": [
            [",".join(event["tags"]) if name == "tags" else event.get(name) for name in names]
            for event in events
        ],
    }
