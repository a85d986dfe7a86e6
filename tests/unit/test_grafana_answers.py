"""Samples as Grafana's JSON, units as its ids, and who is let in."""

import base64
import json

import numpy as np
import pytest

from sisock.bridge_app import NOTICE, json_response
from sisock.fields import Field
from sisock.grafana_answers import (
    PART_BYTES,
    ROWS,
    body_of,
    dumps,
    long_rows,
    series_answer,
    table_answer,
)
from sisock.grafana_units import grafana_unit
from sisock.received import Series
from sisock.web import WebSettings, is_let_in

T = np.array([1.0, 2.0])


def series(values, name="x", t=T, kind="number"):
    return Series(Field(name, None, "t", kind, None, None), t, values)


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        (np.array([True, False]), [1, 0]),
        (np.array([True, None], object), [1, None]),
        (np.array([None, False], object), [None, 0]),
    ],
)
def test_booleans_are_numbers_in_panels_and_themselves_in_tables(values, shown):
    flag = series(values, kind="bool")
    points = json.loads(dumps(series_answer("n", flag, None)))["datapoints"]
    rows = json.loads(b"".join(long_rows([("n", flag)])))
    for given in ([value for value, _ in points], [row["value"] for row in rows]):
        assert given == shown
        assert not any(isinstance(value, bool) for value in given)
    table = json.loads(dumps(table_answer([("n", flag)], None)))
    assert [row[1] for row in table["rows"]] == values.tolist()
    assert all(isinstance(row[1], bool | None) for row in table["rows"])


@pytest.mark.parametrize("name", ["a],[b", '","', "},{", "a,1.0078125e-290,b", "ü\\", '],["'])
def test_any_name_is_right_in_long_rows(name):
    both = [("n", series(np.array([1.5, 2.5]), name)), ("n", series(np.array([3.0, 4.0])))]
    rows = json.loads(b"".join(long_rows(both)))
    assert rows == [
        {"time": 1000, "series": f"n::{name}", "value": 1.5},
        {"time": 1000, "series": "n::x", "value": 3.0},
        {"time": 2000, "series": f"n::{name}", "value": 2.5},
        {"time": 2000, "series": "n::x", "value": 4.0},
    ]


@pytest.mark.parametrize("count", [0, 1, ROWS, ROWS + 1, 2 * ROWS + 5])
def test_answers_in_parts_are_what_they_are_in_one(count):
    one = series(np.arange(count) / 3, t=np.arange(count) * 60.0)
    answers = [series_answer("n", one, "A"), table_answer([("n", one)], "B")]
    parts = body_of(answers)
    assert max(map(len, parts)) < PART_BYTES + 60 * ROWS
    assert json.loads(b"".join(parts)) == json.loads(dumps(answers))
    assert json.loads(b"".join(body_of([]))) == []
    rows = json.loads(b"".join(long_rows([("n", one)])))
    given = json.loads(dumps(answers[0]))["datapoints"]
    assert [[row["value"], row["time"]] for row in rows] == given


def test_values_of_a_table_are_at_their_times():
    long = series(np.array([1.0, 2.0]), "long")
    late = series(np.array([9.0]), "late", np.array([2.0]))
    none = series(np.empty(0), "none", np.empty(0))
    table = json.loads(dumps(table_answer([("n", late), ("n", long), ("n", none)], None)))
    assert table["rows"] == [[1000, None, 1, None], [2000, 9, 2, None]]


@pytest.mark.parametrize(
    ("units", "unit"),
    [
        ("s", "s"), ("S", "suffix: S"), ("ms", "ms"), ("mS", "suffix: mS"), ("MB", "decmbytes"),
        ("mb", "suffix: mb"), ("mbar", "pressurembar"), ("H", "henry"), ("h", "h"),
        ("F", "farad"), ("m", "lengthm"), ("M", "suffix: M"), ("MV", "suffix: MV"),
        ("mV", "mvolt"), ("MW", "megwatt"), ("mW", "mwatt"), ("k", "suffix: k"), ("K", "kelvin"),
        ("C", "celsius"), ("Celsius", "celsius"), ("VOLTS", "volt"), (" degC ", "celsius"),
        ("", "none"), ("hPa", "pressurehpa"), ("%", "percent"), ("furlong", "suffix: furlong"),
    ],
)  # fmt: skip
def test_symbols_of_units_are_read_as_they_are_written(units, unit):
    assert grafana_unit(units) == unit


def test_who_signs_in_is_let_in_however_it_is_written():
    settings = WebSettings("", 1, "tökén", "user:wörd")
    basic = base64.b64encode("user:wörd".encode()).decode()
    token = "tökén".encode().decode("latin-1")
    for right in (f"Bearer {token}", f"bearer {token}", f"BASIC {basic}", f"Basic  {basic}"):
        assert is_let_in(settings, right)
    wrong = (
        None,
        "",
        "Bearer",
        "Bearer x",
        token,
        f"Basic {token}",
        "Bearer \u2028",
        "Bearer \xff",
    )
    for each in wrong:
        assert not is_let_in(settings, each)
    assert is_let_in(WebSettings("", 1, None, None), None)


def test_a_notice_is_one_line_of_ascii():
    response = json_response(b"[]", ["a\r\nSet-Cookie: b\x00\x7f", "ü\u2028"])
    assert response.headers[NOTICE] == "a Set-Cookie: b ;  "
