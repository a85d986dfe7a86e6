"""What a notebook shows of fetched samples."""

from dataclasses import replace

import matplotlib
import numpy as np
import pytest
from IPython.core.formatters import DisplayFormatter

from sisock.client.data import Data, Fields, Series
from sisock.client.site import NodeList
from sisock.wire.fields import Field, KnownNode

matplotlib.use("agg")
T = 1_767_225_600.0


def series(name, values, units=None, kind="number", t=None, bucket=None):
    field = Field(name, f"the {name}", "line", kind, units, 1.0)
    t = T + np.arange(len(values)) if t is None else T + np.asarray(t, float)
    dtype = float if kind == "number" else object
    return Series(field, t, np.array(values, dtype), bucket=bucket)


@pytest.fixture
def drawn():
    """Draw data, and return the axes."""
    yield lambda **fields: Data(fields).plot()
    matplotlib.pyplot.close("all")


def test_fields_of_a_unit_share_a_panel(drawn):
    a, b, c = series("a", [1, 2], "K"), series("b", [3, 4], "K"), series("c", [5, 6], "Pa")
    axes = drawn(a=a, b=b, c=c)
    assert [(each.get_ylabel(), len(each.lines)) for each in axes] == [("K", 2), ("Pa", 1)]
    assert axes[0].lines[0].get_xdata()[1] == np.datetime64("2026-01-01T00:00:01")


def test_a_curve_is_interrupted_where_samples_are_missing(drawn):
    (axes,) = drawn(a=series("a", [1, 2, 3, 4, 5], t=[0, 1, 2, 60, 61]))
    values = axes.lines[0].get_ydata()
    assert np.isnan(values[3]) and values[[0, 1, 2, 4, 5]].tolist() == [1, 2, 3, 4, 5]


def test_decimated_samples_are_one_curve(drawn):
    (axes,) = drawn(a=series("a", [1, 2, 3, 4], t=[0, 0.1, 60, 60.1], bucket=32.0))
    assert not np.isnan(axes.lines[0].get_ydata()).any()


def test_a_gap_of_five_hours_is_seen_in_a_decimated_week(drawn):
    minutes = np.arange(7 * 1440)
    minutes = minutes[(minutes < 3000) | (minutes > 3300)]
    week = Data(a=series("a", np.sin(minutes / 9), t=60 * minutes))
    week["a"] = replace(week["a"], field=replace(week["a"].field, interval=60.0))
    (axes,) = drawn(**week.decimate(max_points=200))
    assert np.isnan(axes.lines[0].get_ydata()).sum() == 1


def test_a_single_sample_is_a_point(drawn):
    (axes,) = drawn(a=series("a", [1]))
    assert axes.lines[0].get_marker() == "."


def test_united_data_are_drawn_together(drawn):
    first, second = Data(a=series("a", [1, 2], "K")), Data(b=series("b", [3, 4], "K"))
    (axes,) = (first | second).plot()
    assert len(axes.lines) == 2


def test_a_table_without_samples_says_where_there_are_some():
    none = series("a", [])
    data = Data(a=replace(none, field=replace(none.field, first=T, last=T + 60)))
    shown = DisplayFormatter().format(data)[0]["text/html"]
    assert "none here" in shown and "2026-01-01T00:00:00Z" in shown and "00:01:00Z" in shown


def test_the_table_shows_all_digits_of_counts_and_few_of_others():
    values = {"bytes": [347431672412.0], "ratio": [1 / 3], "huge": [1e300]}
    shown = Data({name: series(name, each) for name, each in values.items()})
    shown["whole"] = replace(series("whole", [0]), values=np.array([2**60]))
    html = DisplayFormatter().format(shown)[0]["text/html"]
    assert "<td>1,152,921,504,606,846,976</td>" in html
    assert "<td>347,431,672,412</td>" in html and "<td>0.333333</td>" in html


def test_samples_at_one_time_are_a_table_without_a_plot():
    one, two = (DisplayFormatter().format(series("a", each))[0] for each in ([1.5], [1.5, 2.5]))
    assert "<td>1.5</td></tr></table>" in one["text/html"] and "<img" not in one["text/html"]
    assert "<img" in two["text/html"]
    assert two["text/plain"] == "<Series: a (2), with t and values>"


def test_nodes_and_fields_are_tables():
    nodes = NodeList([KnownNode("a", "All <b>"), KnownNode("b")])
    assert "<td>a</td><td>All &lt;b&gt;</td>" in DisplayFormatter().format(nodes)[0]["text/html"]
    fields = Fields(x=Field("x", "an x", "line", "number", "K", None))
    fields["x"] = replace(fields["x"], interval=2.5, first=T, last=T + 5)
    html = DisplayFormatter().format(fields)[0]["text/html"]
    assert "<td>number</td><td>K</td><td>line</td><td>2.5</td><td>2026-01-01T00:00:00Z</td>" in html
    assert "<td>2026-01-01T00:00:05Z</td><td>an x</td>" in html


def test_the_latest_samples_are_a_table_of_times_and_values():
    door = series("door", [True], kind="bool")
    door = replace(door, field=replace(door.field, labels={"1": "open"}))
    html = DisplayFormatter().format(Data(door=door))[0]["text/html"]
    assert "<th>time</th><th>value</th>" in html and "samples" not in html
    assert "<td>2026-01-01T00:00:00Z</td><td>open</td>" in html


def test_states_and_texts_are_steps_and_missing_ones_left_out(drawn):
    door = series("door", [True, None, False], kind="bool")
    mode = series("mode", ["a", None, "b"], kind="string")
    axes = drawn(door=door, mode=mode)
    assert [line.get_drawstyle() for each in axes for line in each.lines] == ["steps-post"] * 2
    assert np.isnan(axes[0].lines[0].get_ydata()[1])
    assert len(axes[1].lines[0].get_xdata()) == 2


def test_of_many_samples_the_extremes_are_drawn(drawn):
    values = np.zeros(1_000_000)
    values[123_456] = 7
    (axes,) = drawn(a=series("a", values))
    assert len(axes.lines[0].get_ydata()) <= 20_000
    assert axes.lines[0].get_ydata().max() == 7


def test_nothing_at_all_can_be_shown(drawn):
    assert len(drawn()) == 1
    assert len(drawn(a=series("a", []))) == 1


def test_units_and_times_are_kept_for_pandas_and_xarray():
    a, b = series("a", [1, 2], "K"), series("b", [3, 4, 5], "Pa")
    data = Data({"a": a, "b": b, "c": series("c", [6, 7], "K")})
    assert data.to_pandas().attrs["units"] == {"a": "K", "b": "Pa", "c": "K"}
    assert data.to_pandas().to_csv().startswith("time,a,b,c")
    made = data.to_xarray()
    assert [made[name].dims for name in "abc"] == [("time",), ("time_2",), ("time",)]
    assert made["b"].attrs == {"units": "Pa", "description": "the b"}
    assert made["time"].values[1] == np.datetime64("2026-01-01T00:00:01")
