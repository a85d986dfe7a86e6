"""What the command ``sisock`` prints of samples: each format against the plain way to write it."""

import csv
import io
import json
import re

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sisock.cli.output import WRITERS, format_age, write_fields, write_latest
from sisock.client.data import Data, Series
from sisock.wire.fields import Field, describe, parse_fields
from sisock.wire.times import format_time

NOON = 1500120000.0
COLUMNS = {
    "f8": np.array([0.1, np.nan, -1e300]),
    "f4": np.array([0.1, np.nan, 3], dtype="<f4"),
    "i8": np.array([2**62, -1, 0]),
    "u1": np.array([0, 255, 1], dtype="|u1"),
    "flag": np.array([True, None, False], dtype=object),
    "text": np.array(['a "quoted", text', None, "µ\nm"], dtype=object),
    "whole": np.array([2**62 + 1, None, 3], dtype=object),
}


def series(name, t, values, units=None):
    field = Field(name, None, "line", "number", units, None)
    return Series(field, np.asarray(t, dtype="<f8"), values, NOON)


def written(form, data):
    out = io.StringIO()
    WRITERS[form](out, Data(data))
    return out.getvalue()


def rows_of_csv(data):
    return list(csv.reader(io.StringIO(written("csv", data), newline="")))


def plain(values):
    return [None if v is None or v != v else v for v in values.tolist()]


@pytest.mark.parametrize("name", COLUMNS)
def test_each_type_of_values_comes_back_from_json(name):
    t = [NOON, NOON + 0.25, NOON + 1e6]
    loaded = json.loads(written("json", {name: series(name, t, COLUMNS[name], "K")}))
    about = {"units": "K", "timeline": "line", "finalized_until": NOON}
    assert loaded == {name: {"t": t, "values": plain(COLUMNS[name]), **about}}


def test_csv_has_a_row_a_time_and_nothing_where_a_sample_is_missing():
    t = [NOON, NOON + 0.25, NOON + 1]
    header, *rows = rows_of_csv({n: series(n, t, v, "K") for n, v in COLUMNS.items()})
    assert header == ["time", *(f"{name} [K]" for name in COLUMNS)]
    assert [row[0] for row in rows] == [format_time(each) for each in t]
    for index, (name, column) in enumerate(COLUMNS.items(), 1):
        cells = [row[index] for row in rows]
        read = cells if name in ("flag", "text") else [cell and json.loads(cell) for cell in cells]
        assert read == ["" if v is None else str(v) if name == "flag" else v for v in plain(column)]


@pytest.mark.parametrize(
    ("value", "about", "shown"),
    [
        (1 / 3, {}, "0.3333333333"),
        (1 / 3, {"precision": 2}, "0.33"),
        (2.0, {"precision": 2, "labels": {"2": "closing"}}, "closing"),
        (5, {"labels": {"2": "closing"}}, "5"),
        (True, {"labels": {"1": "open"}}, "open"),
        (False, {"labels": {"false": "shut"}}, "shut"),
        ("off", {"labels": {"off": "switched off"}}, "switched off"),
    ],
)
def test_the_latest_value_is_shown_as_its_field_declares(value, about, shown):
    out, values = io.StringIO(), np.array([value], dtype=object)
    kind = {bool: "bool", str: "string"}.get(type(value), "number")
    field = Field("x", None, "line", kind, None, None, **about)
    write_latest(out, Data(x=Series(field, np.array([NOON]), values)))
    assert re.split("  +", out.getvalue().splitlines()[1])[1] == shown


def test_csv_has_no_formulas_that_a_spreadsheet_would_run():
    texts = ["=HYPERLINK(A1)", "@x", "-2+3", "\t=1", "-2.5e3", "+1", "-", "a=1"]
    values = np.array(texts, dtype=object)
    header, *rows = rows_of_csv({"=x": series("=x", NOON + np.arange(len(texts)), values)})
    assert header == ["time", "'=x"]
    assert [row[1] for row in rows] == [f"'{text}" for text in texts[:4]] + texts[4:]


def test_a_terminal_obeys_no_text_of_a_sample():
    values = np.array(["\x1b]52;c;eA==\x07", "two\nlines", "\x9b2J"], dtype=object)
    table = written("table", {"x\x1b": series("x\x1b", NOON + np.arange(3), values)})
    assert table.count("\n") == 4 and table.replace("\n", "").isprintable()


def test_rows_are_at_the_union_of_the_times():
    data = {
        "a": series("a", [NOON, NOON + 1], np.array([1.5, 2.5])),
        "b": series("b", [NOON + 1, NOON + 2], np.array([7, 8])),
        "c": series("c", [], np.empty(0)),
    }
    assert [row[1:] for row in rows_of_csv(data)[1:]] == [
        ["1.5", "", ""],
        ["2.5", "7", ""],
        ["", "8", ""],
    ]


def test_many_rows_are_all_written():
    t = NOON + np.arange(200_000)
    rows = rows_of_csv({"x": series("x", t, np.arange(200_000))})[1:]
    assert [int(value) for _, value in rows] == list(range(200_000))
    assert rows[-1][0] == format_time(float(t[-1]))


@given(st.lists(st.floats(0, 2.5e11), min_size=1, max_size=20))
@example([NOON + 0.0000005, NOON + 0.9999996, NOON + 0.9999999])
@example([253402300799.9999998, 253402300800.0, 1e15, 1e300])
def test_times_are_written_as_iso_has_them(times):
    times = sorted(times)
    rows = rows_of_csv({"x": series("x", times, np.zeros(len(times)))})[1:]
    assert [row[0] for row in rows] == [format_time(t) for t in times]


def test_times_before_1970_are_written_too():
    rows = rows_of_csv({"x": series("x", [-86400.0, -0.5], np.zeros(2))})[1:]
    assert [row[0] for row in rows] == ["1969-12-31T00:00:00Z", "1969-12-31T23:59:59.500000Z"]


def test_nothing_is_written_as_json_too():
    assert json.loads(written("json", {})) == {}


def test_fields_have_columns_for_what_is_said_of_any_of_them():
    entries = {
        "stage": {
            "units": "K",
            "timeline": "t",
            "limits": {"warning": [None, 4.5], "alarm": [3, 6]},
            "first": 1_500_000_000,
            "stale_after": 60,
        },
        "pump": {"type": "bool", "labels": {0: "off", 1: "on"}, "description": "its state"},
    }
    out = io.StringIO()
    write_fields(out, parse_fields(describe(entries), "node").values())
    head, stage, pump = (re.split("  +", line) for line in out.getvalue().splitlines())
    told = ["first", "stale after/s", "warning", "alarm", "labels", "description"]
    assert head == ["field", "type", "units", "timeline", "interval/s", *told]
    assert stage == ["stage", "number", "K", "t", "2017-07-14T02:40:00Z", "60", "to 4.5", "3 to 6"]
    assert pump == ["pump", "bool", "pump", "0: off, 1: on", "its state"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(2.5, "2.5 s"), (180, "3 min"), (86400, "1 day"), (3 * 86400, "3 days"), (3e8, "9.5 years")],
)
def test_an_age_is_in_the_largest_unit_that_fits(seconds, text):
    assert format_age(seconds) == text


def test_a_table_shows_all_digits_of_counts():
    values = np.array([347431672412.0, 0.1, 1e300, 100])
    lines = written("table", {"a": series("a", np.arange(4) + NOON, values)}).splitlines()
    assert [line.split()[1] for line in lines[1:]] == ["347431672412", "0.1", "1e+300", "100"]
