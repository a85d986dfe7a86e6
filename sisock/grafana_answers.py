"""Samples made Grafana's answers: one array a series, never an object a sample.

Each answer is bytes of JSON. Numbers go from numpy arrays straight to orjson, which writes a row
``[value, ms]`` of a two-dimensional array by itself and null for NaN.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import orjson

from sisock.grafana_units import grafana_unit
from sisock.received import Series
from sisock.timelines import merge_timeline
from sisock.values import to_list

_MARK = 1.0078125e-290
"""A number that stands in for a text while orjson writes an array: no sample has this value."""


ROWS = 1 << 13
"""Rows that orjson writes at once, as it lets no other thread run meanwhile: a few ms."""


PART_BYTES = 1 << 18
"""Bytes of each part of an answer, at least."""


def dumps(answer: Any) -> bytes:
    """JSON with numpy arrays in it."""
    return orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)


def body_of(answers: Sequence[dict[str, Any]]) -> list[bytes]:
    """JSON of a list of answers, in parts that do not keep other threads waiting."""
    parts = []
    for answer in answers:
        parts += [b",", *_parts_of(answer)]
    return _gathered([b"[", *parts[1:], b"]"])


def _gathered(parts: list[bytes]) -> list[bytes]:
    """Join small parts, as each one that is sent wakes the reactor."""
    gathered: list[bytes] = []
    few: list[bytes] = []
    size = 0
    for part in parts:
        few.append(part)
        size += len(part)
        if size >= PART_BYTES:
            gathered.append(b"".join(few))
            few, size = [], 0
    return [*gathered, b"".join(few)]


def _parts_of(answer: dict[str, Any]) -> Iterator[bytes]:
    """One answer, of which the one long array is cut into runs of rows."""
    name = next((name for name in ("datapoints", "rows") if name in answer), None)
    rows = answer.get(name) if name else None
    if not isinstance(rows, np.ndarray) or len(rows) <= ROWS:
        yield dumps(answer)
        return
    head = dumps({key: value for key, value in answer.items() if key != name})
    yield b'%s,"%s":[' % (head[:-1], str(name).encode())
    for first in range(0, len(rows), ROWS):
        yield (b"," if first else b"") + dumps(rows[first : first + ROWS])[1:-1]
    yield b"]}"


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
    ms, values = milliseconds(series.t), _with_truth_as_numbers(series.values)
    if not is_numeric(values):
        # Text has no array that orjson could take.
        return list(map(list, zip(to_list(values.tolist()), ms.tolist(), strict=True)))
    return _pairs(values, ms)


def _with_truth_as_numbers(values: np.ndarray) -> np.ndarray:
    """Booleans as 1, 0 and NaN, which panels draw, whether one is missing or not."""
    if is_numeric(values):
        return values.astype("<f8") if values.dtype == bool else values
    if not set(map(type, values)) <= {bool, type(None)}:
        return values
    return np.array([np.nan if value is None else value for value in values], dtype="<f8")


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
        t, aligned = _aligned([series for _, series in members])
        name = "Time" if len(lines) == 1 else f"Time ({timeline})"
        columns.append({"text": name, "type": "time"})
        cells.append(milliseconds(t))
        for (node, series), values in zip(members, aligned, strict=True):
            columns.append(_column(node, series))
            cells.append(values)
    answer = {"type": "table", "columns": columns, "rows": _rows(cells)}
    return answer if ref_id is None else {**answer, "refId": ref_id}


def _aligned(members: list[Series]) -> tuple[np.ndarray, list[np.ndarray | list[Any]]]:
    """Times of fields of one timeline, and their values at these; nothing for an empty field.

    A field may have come from memory up to another time than its siblings.
    """
    given: dict[str, tuple[np.ndarray, Any]] = {
        str(i): (each.t, each.values if is_numeric(each.values) else each.values.tolist())
        for i, each in enumerate(members)
    }
    t, merged = merge_timeline(given)
    return t, [merged[name] if len(merged[name]) else np.empty(0) for name in given]


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


def long_rows(found: Iterable[tuple[str, Series]]) -> list[bytes]:
    """Rows ``{"time": ms, "value": x, "series": "node::field"}`` of all series, in time order.

    Infinity makes series of them only if the times ascend.
    """
    series = [
        (f"{node}::{each.field.name}", each.t, _with_truth_as_numbers(each.values))
        for node, each in found
        if len(each)
    ]
    if not series:
        return [b"[]"]
    marks = [dumps(_MARK * (1 + index / 4096)) for index in range(len(series))]
    names = b"".join(dumps(name) for name, _, _ in series)
    if not all(is_numeric(values) for _, _, values in series) or any(m in names for m in marks):
        return [dumps(_long_objects(series))]
    t = np.concatenate([milliseconds(times) for _, times, _ in series])
    values = np.concatenate([each.astype("<f8") for _, _, each in series])
    owner = np.repeat(np.arange(len(series)), [len(times) for _, times, _ in series])
    if len(series) > 1:
        order = np.argsort(t, kind="stable")
        t, values, owner = t[order], values[order], owner[order]
    rows = np.empty((len(t), 3))
    rows[:, 0], rows[:, 1], rows[:, 2] = t, _MARK * (1 + owner / 4096), values
    parts = [b'[{"time":']
    for first in range(0, len(rows), ROWS):
        # Cut into rows before there are names in it, which may hold any character.
        text = dumps(rows[first : first + ROWS])[2:-2].replace(b"],[", b'},{"time":')
        for (name, _, _), mark in zip(series, marks, strict=True):
            text = text.replace(b"," + mark + b",", b',"series":' + dumps(name) + b',"value":')
        parts += [text, b'},{"time":']
    return _gathered([*parts[:-1], b"}]"])


def _long_objects(series: list[tuple[str, np.ndarray, np.ndarray]]) -> list[dict[str, Any]]:
    rows = [
        {"time": ms, "series": name, "value": value}
        for name, t, values in series
        for ms, value in zip(milliseconds(t).tolist(), _python_list(values), strict=True)
    ]
    return sorted(rows, key=lambda row: row["time"])


def _python_list(values: np.ndarray) -> list[Any]:
    return to_list(values.tolist())


def annotation_table(
    events: Sequence[Mapping[str, Any]], ref_id: str | None = None
) -> dict[str, Any]:
    """Annotations as a table, the form that simPod's plugin takes from ``/query``."""
    names = ("time", "timeEnd", "title", "text", "tags")
    answer: dict[str, Any] = {
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
    return answer if ref_id is None else {**answer, "refId": ref_id}
