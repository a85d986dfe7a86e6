"""Samples made Grafana's answers: one array a series, never an object a sample."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from sisock.bridge.datapoints import datapoints, is_numeric, with_truth_as_numbers
from sisock.bridge.units import grafana_unit
from sisock.client.data import Series
from sisock.wire import json_rows
from sisock.wire.align import merge_timeline
from sisock.wire.arrays import to_list
from sisock.wire.json_rows import ROWS, dumps, milliseconds

_MARK = 1.0078125e-290
"""A number that stands in for a text while orjson writes an array: no sample has this value."""

PART_BYTES = 1 << 18
"""Bytes of each part of an answer, at least."""


def body_of(answers: Iterable[Mapping[str, Any]]) -> Iterator[bytes]:
    """JSON of a list of answers, in parts that are made as they are asked for.

    Parameters
    ----------
    answers : iterable of mapping
        A long array is an iterator of its JSON's parts, without the outer brackets.
    """
    return _gathered(_parts_of_all(answers))


def _gathered(parts: Iterable[bytes]) -> Iterator[bytes]:
    """Join small parts, as each one that is sent wakes the reactor."""
    few: list[bytes] = []
    size = 0
    for part in parts:
        few.append(part)
        size += len(part)
        if size >= PART_BYTES:
            yield b"".join(few)
            few, size = [], 0
    yield b"".join(few)


def _parts_of_all(answers: Iterable[Mapping[str, Any]]) -> Iterator[bytes]:
    between = b"["
    for answer in answers:
        yield between
        yield from _parts_of(answer)
        between = b","
    yield b"[]" if between == b"[" else b"]"


def _parts_of(answer: Mapping[str, Any]) -> Iterator[bytes]:
    long = {name: value for name, value in answer.items() if isinstance(value, Iterator)}
    text = dumps({name: value for name, value in answer.items() if name not in long})
    yield text[:-1]
    for name, parts in long.items():
        yield b',"%s":[' % name.encode()
        yield from parts
        yield b"]"
    yield b"}"


def series_answer(node: str, series: Series, ref_id: str | None) -> dict[str, Any]:
    """One series as every plugin draws it."""
    answer: dict[str, Any] = {
        "target": f"{node}::{series.field.name}",
        "datapoints": datapoints(series),
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
    answer = {"type": "table", "columns": columns, "rows": json_rows.rows(_rows(cells))}
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


def long_rows(found: Iterable[tuple[str, Series]]) -> Iterator[bytes]:
    """Rows ``{"time": ms, "value": x, "series": "node::field"}`` of all series, in time order.

    Infinity makes series of them only if the times ascend. They come as parts of JSON.
    """
    series = [
        (f"{node}::{each.field.name}", each.t, with_truth_as_numbers(each.values))
        for node, each in found
        if len(each)
    ]
    marks = [dumps(_MARK * (1 + index / 4096)) for index in range(len(series))]
    names = b"".join(dumps(name) for name, _, _ in series)
    if not all(is_numeric(values) for _, _, values in series) or any(m in names for m in marks):
        yield dumps(_long_objects(series))
    elif series:
        yield from _gathered(_long_numbers(series, marks))
    else:
        yield b"[]"


def _long_numbers(
    series: list[tuple[str, np.ndarray, np.ndarray]], marks: list[bytes]
) -> Iterator[bytes]:
    t = np.concatenate([milliseconds(times) for _, times, _ in series])
    values = np.concatenate([each.astype("<f8") for _, _, each in series])
    owner = np.repeat(np.arange(len(series)), [len(times) for _, times, _ in series])
    if len(series) > 1:
        order = np.argsort(t, kind="stable")
        t, values, owner = t[order], values[order], owner[order]
    between = b"["
    for first in range(0, len(t), ROWS):
        run = slice(first, first + ROWS)
        rows = np.column_stack([t[run], _MARK * (1 + owner[run] / 4096), values[run]])
        # Cut into rows before there are names in it, which may hold any character.
        text = dumps(rows)[2:-2].replace(b"],[", b'},{"time":')
        for (name, _, _), mark in zip(series, marks, strict=True):
            text = text.replace(b"," + mark + b",", b',"series":' + dumps(name) + b',"value":')
        yield between + b'{"time":' + text + b"}"
        between = b","
    yield b"]"


def _long_objects(series: list[tuple[str, np.ndarray, np.ndarray]]) -> list[dict[str, Any]]:
    rows = [
        {"time": ms, "series": name, "value": value}
        for name, t, values in series
        for ms, value in zip(milliseconds(t).tolist(), to_list(values.tolist()), strict=True)
    ]
    return sorted(rows, key=lambda row: row["time"])


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
