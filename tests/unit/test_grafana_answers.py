"""Samples as Grafana's JSON, units as its ids, and who is let in."""

import base64
import json

import numpy as np
import pytest

from sisock.bridge.answers import (
    NOTICE,
    PART_BYTES,
    ROWS,
    body_of,
    grafana_unit,
    long_rows,
    notice_headers,
    series_answer,
    table_answer,
)
from sisock.bridge.server import Access
from sisock.bridge.tiles import Samples, View
from sisock.wire.fields import Field

T = np.array([1.0, 2.0])


def written(answer):
    (back,) = json.loads(b"".join(body_of([answer])))
    return back


def series(values, name="x", t=T, kind="number"):
    return View.whole(Field(name, None, "t", kind, None, None), Samples(t, values))


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
    points = written(series_answer("n::x", flag, None))["datapoints"]
    rows = json.loads(b"".join(long_rows([("n", flag)])))
    for given in ([value for value, _ in points], [row["value"] for row in rows]):
        assert given == shown
        assert not any(isinstance(value, bool) for value in given)
    table = written(table_answer([("n", flag)], None))
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
    points = [[i / 3, i * 60_000] for i in range(count)]
    parts = list(body_of([series_answer("n::x", one, "A"), table_answer([("n", one)], "B")]))
    assert max(map(len, parts)) < PART_BYTES + 60 * ROWS
    panel, table = json.loads(b"".join(parts))
    assert panel == {"target": "n::x", "title": "x", "refId": "A", "datapoints": points}
    assert [row[::-1] for row in table.pop("rows")] == points
    assert table["refId"] == "B"
    rows = json.loads(b"".join(long_rows([("n", one)])))
    assert [[row["value"], row["time"]] for row in rows] == points


def test_no_answers_are_an_empty_list():
    assert b"".join(body_of([])) == b"[]"


FLOATS = [np.nan, np.inf, 0, -0.0, 3, -1.5, 1e300, 1e16, 123456789012.5, -1 / 3]
FLOATS += [-2.2250738585072014e-308, -1.7976931348623157e308, 5e-324]


@pytest.mark.parametrize("start", [0.001, 0.99, 999_999.95, 1e9, 1e11])
@pytest.mark.parametrize(
    "numbers",
    [
        np.array(FLOATS),
        np.array(FLOATS[:6], "<f4"),
        np.array([0, -1, 10**9, -(2**63)]),
        np.array([0, 7, 255], "|u1"),
    ],
    ids=lambda numbers: numbers.dtype.str,
)
def test_numbers_of_any_length_keep_their_rows(numbers, start):
    values = np.random.default_rng(1).choice(numbers, 400)
    t = start + np.arange(400) / 1000
    shown = [value if np.isfinite(value) else None for value in values.tolist()]
    rows = [list(row) for row in zip(shown, np.rint(t * 1000), strict=True)]
    assert written(series_answer("n::x", series(values, t=t), None))["datapoints"] == rows


def test_values_of_a_table_are_at_their_times():
    long = series(np.array([1.0, 2.0]), "long")
    late = series(np.array([9.0]), "late", np.array([2.0]))
    none = series(np.empty(0), "none", np.empty(0))
    table = written(table_answer([("n", late), ("n", long), ("n", none)], None))
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
        ("V s", "suffix: V s"), ("m s", "suffix: m s"), ("Cs", "suffix: Cs"), ("bs", "suffix: bs"),
        ("degrees Celsius", "celsius"), ("m s-1", "velocityms"), ("pct", "percent"),
    ],
)  # fmt: skip
def test_symbols_of_units_are_read_as_they_are_written(units, unit):
    assert grafana_unit(units) == unit


def test_who_signs_in_is_let_in_however_it_is_written():
    access = Access(token="tökén", basic="user:wörd")
    basic = base64.b64encode("user:wörd".encode()).decode()
    token = "tökén".encode().decode("latin-1")
    for right in (f"Bearer {token}", f"bearer {token}", f"BASIC {basic}", f"Basic  {basic}"):
        assert access.is_authorized(right)
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
        assert not access.is_authorized(each)
    assert Access().is_authorized(None)


def test_a_notice_is_one_line_of_ascii():
    headers = notice_headers(["a\r\nSet-Cookie: b\x00\x7f", "ü\u2028"])
    assert headers == {NOTICE: "a Set-Cookie: b ;  "}
    assert notice_headers([]) == {}
