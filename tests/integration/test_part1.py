"""Part 1 of the protocol, the data node's rows, asked by a consumer that knows nothing else."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import pairwise

import pytest

from sisock.testing import wait_until
from tests.integration.peers import data, fields, results, serving
from tests.nodes import START

T0 = 1499990400.0
"""The first sample of the example weather."""

HOUR = 3600.0
HOURLY = ["apex_humidity", "apex_pressure", "apex_temperature"]
MINUTELY = ["apex_radiometer", "apex_windspeed"]
WEATHER, SENSORS, ODD, COROUTINE, BIG = (
    f"part1_{kind}" for kind in ("weather", "sensors", "odd", "coroutine", "big")
)
COMMANDS = {
    WEATHER: ["data_nodes/weather.py"],
    SENSORS: ["data_nodes/sensors.py"],
    ODD: ["tests/nodes.py", "odd"],
    COROUTINE: ["tests/nodes.py", "coroutine"],
    BIG: ["tests/nodes.py", "big"],
}
NOTHING = {"data": {}, "timeline": {}}

pytestmark = pytest.mark.usefixtures("served")


@pytest.fixture(scope="module")
def served(router, tmp_path_factory) -> Iterator[None]:
    """The nodes that all tests here ask, with a reading of the sensors."""
    with serving(router, tmp_path_factory.mktemp("part1"), COMMANDS) as client:
        wait_until(lambda: client.get(SENSORS, "load_1min")["load_1min"], 30, "a reading")
        yield


@pytest.fixture(params=["json", "cbor"])
def serializer(request):
    return request.param


def times(reply):
    (line,) = reply["timeline"].values()
    return line["t"]


def test_get_fields_describes_fields_and_timelines(router, serializer):
    (answer,) = results(router, fields(WEATHER, 1, 0), serializer=serializer)
    field, timeline = answer
    assert sorted(field) == sorted(HOURLY + MINUTELY)
    assert field["apex_temperature"] == {
        "description": "Air temperature at the APEX site",
        "timeline": "hourly",
        "type": "number",
        "units": "C",
    }
    assert {name: sorted(line["field"]) for name, line in timeline.items()} == {
        "hourly": HOURLY,
        "minutely": MINUTELY,
    }
    assert timeline["hourly"]["interval"] == pytest.approx(HOUR, rel=0.05)
    assert timeline["minutely"]["interval"] == pytest.approx(60, rel=0.05)


@pytest.mark.parametrize("node", COMMANDS)
def test_each_node_answers_get_fields_in_the_protocols_shape(router, node):
    ((field, timeline),) = results(router, fields(node, 1, 0))
    for about in field.values():
        # Limits are of Part 2, which a peer of Part 1 ignores.
        assert set(about) - {"limits"} == {"description", "timeline", "type", "units"}
        assert isinstance(about["description"], str | None)
        assert isinstance(about["units"], str | None)
        assert about["type"] in ("number", "string", "bool")
    listed = {name: about["timeline"] for name, about in field.items()}
    assert listed == {name: line for line, about in timeline.items() for name in about["field"]}
    for about in timeline.values():
        more = {"first", "last", "stale_after"}  # of Part 2, which a peer of Part 1 ignores
        assert {"interval", "field"} <= set(about) <= {"interval", "field", *more}
        assert about["interval"] is None or about["interval"] > 0


@pytest.mark.parametrize("node", [ODD, COROUTINE])
def test_get_fields_tells_strings_and_bools_from_numbers(router, node):
    ((field, _),) = results(router, fields(node, 1, 0))
    types = [field[name]["type"] for name in ("text", "flag", "count")]
    assert types == ["string", "bool", "number"]


def test_get_fields_lists_a_field_with_samples_in_the_interval(router):
    whole, gone = results(router, fields(WEATHER, T0, T0 + 1), fields(WEATHER, -1, 0))
    assert set(whole[0]) >= {*HOURLY, *MINUTELY}
    assert len(gone) == 2


def test_an_interval_holds_its_start_and_not_its_end(router, serializer):
    asked = data(WEATHER, ["apex_temperature"], T0, T0 + 2 * HOUR)
    (reply,) = results(router, asked, serializer=serializer)
    assert times(reply) == [T0, T0 + HOUR]
    assert reply["data"]["apex_temperature"] == [-3.4, pytest.approx(-3.4, abs=3)]


def test_adjacent_intervals_join_to_the_whole(router):
    cut = START + 0.0105
    low, high, whole = results(
        router,
        data(BIG, ["f8"], START, cut),
        data(BIG, ["f8"], cut, START + 0.02),
        data(BIG, ["f8"], START, START + 0.02),
    )
    assert len(times(whole)) == 20
    assert times(low) + times(high) == times(whole)
    assert low["data"]["f8"] + high["data"]["f8"] == whole["data"]["f8"]


@pytest.mark.parametrize("node, field", [(WEATHER, "apex_humidity"), (ODD, "count"), (BIG, "i4")])
def test_an_interval_without_samples_has_empty_arrays_and_no_timeline(router, node, field):
    empty = {"data": {field: []}, "timeline": {}}
    at_once = data(node, [field], START, START)
    assert results(router, data(node, [field], 1, 2), at_once) == [empty, empty]


def test_times_that_are_not_positive_count_back_from_now(router, serializer):
    ago = time.time() - T0 - HOUR / 2
    asked = [
        data(WEATHER, ["apex_temperature"], -ago, -ago + 3 * HOUR),
        data(WEATHER, ["apex_temperature"], T0 + HOUR, -ago + 3 * HOUR),
        data(WEATHER, ["apex_temperature"], -ago, T0 + 4 * HOUR),
    ]
    expected = [T0 + HOUR, T0 + 2 * HOUR, T0 + 3 * HOUR]
    for reply in results(router, *asked, serializer=serializer):
        assert times(reply) == expected


def test_the_last_hour_and_all_there_is_are_what_a_live_node_has_read(router, serializer):
    before = time.time() - HOUR
    hour, everything, none = results(
        router,
        data(SENSORS, ["load_1min", "memory_percent"], -3600, 0),
        data(SENSORS, ["load_1min", "memory_percent"], 1, 0),
        data(SENSORS, ["load_1min"], -HOUR - 1, -HOUR),
        serializer=serializer,
    )
    assert [t for t in times(hour) if not before < t <= time.time()] == []
    assert times(hour) == times(everything)[: len(times(hour))]
    assert {len(values) for values in hour["data"].values()} == {len(times(hour))}
    assert none == {"data": {"load_1min": []}, "timeline": {}}


def test_an_unknown_field_has_an_empty_array_and_is_no_error(router, serializer):
    alone, beside = results(
        router,
        data(ODD, ["nobody"], 1, 0),
        data(WEATHER, ["nobody", "apex_pressure"], T0, T0 + 1),
        serializer=serializer,
    )
    assert alone == {"data": {"nobody": []}, "timeline": {}}
    assert beside["data"]["nobody"] == []
    assert len(beside["data"]["apex_pressure"]) == 1


def test_asking_for_no_field_gives_nothing(router):
    assert results(router, *(data(node, [], 1, 0) for node in COMMANDS)) == [NOTHING] * 5


def test_a_timeline_is_in_the_reply_only_if_one_of_its_fields_has_data(router, serializer):
    both = ["apex_temperature", "apex_windspeed"]
    minute, all_of_them, empty = results(
        router,
        data(WEATHER, both, T0 + 60, T0 + 180),
        data(WEATHER, both, T0, T0 + 180),
        data(ODD, ["empty"], 1, 0),
        serializer=serializer,
    )
    assert list(minute["timeline"]) == ["minutely"]
    assert minute["data"]["apex_temperature"] == []
    assert len(minute["data"]["apex_windspeed"]) == len(times(minute)) > 0
    assert set(all_of_them["timeline"]) == {"hourly", "minutely"}
    assert empty == {"data": {"empty": []}, "timeline": {}}


@pytest.mark.parametrize("node", [ODD, COROUTINE])
def test_missing_values_nan_and_infinities_are_none(router, serializer, node):
    (reply,) = results(
        router, data(node, ["nan", "text", "flag", "count"], 1, 0), serializer=serializer
    )
    assert reply["data"] == {
        "nan": [1.0, None, None, None, 5.0],
        "text": ["a", None, "ü", "", "e"],
        "flag": [True, None, False, True, True],
        "count": [1, None, 3, 4, 5],
    }
    assert [type(value) for value in reply["data"]["flag"]].count(bool) == 4
    assert times(reply) == [START + i for i in range(5)]


def test_finalized_until_is_a_time_or_none_if_all_is_final(router, serializer):
    weather, odd, sensors = results(
        router,
        data(WEATHER, ["apex_windspeed"], T0, T0 + HOUR),
        data(ODD, ["count"], 1, 0),
        data(SENSORS, ["load_1min"], 1, 0),
        serializer=serializer,
    )
    assert weather["timeline"]["minutely"]["finalized_until"] is None
    assert odd["timeline"]["t"]["finalized_until"] == START + 3
    (line,) = sensors["timeline"].values()
    assert line["t"][-1] <= line["finalized_until"] <= time.time()


@pytest.mark.parametrize("stride", [0.001, 0.0025, 0.01, 1, 7])
def test_min_stride_thins_so_that_samples_are_that_far_apart(router, stride):
    (reply,) = results(router, data(BIG, ["f8", "b1"], START, START + 10, stride))
    t = times(reply)
    assert [late - soon for soon, late in pairwise(t) if late - soon < stride] == []
    assert t[0] == START
    assert 10 / (stride + 0.001) <= len(t) <= 10 / stride + 1
    assert len(reply["data"]["f8"]) == len(reply["data"]["b1"]) == len(t)


def test_min_stride_holds_for_each_timeline_and_every_kind_of_node(router, serializer):
    weather, odd, coroutine = results(
        router,
        data(WEATHER, [*HOURLY, *MINUTELY], T0, T0 + 12 * HOUR, 2 * HOUR),
        data(ODD, ["text"], 1, 0, min_stride=1.5),
        data(COROUTINE, ["flag"], 1, 0, 2),
        serializer=serializer,
    )
    assert weather["timeline"]["hourly"]["t"] == [T0 + i * HOUR for i in range(0, 12, 2)]
    spacing = weather["timeline"]["minutely"]["t"]
    assert min(b - a for a, b in pairwise(spacing)) >= 2 * HOUR
    assert odd["data"]["text"] == ["a", "ü", "e"]
    assert coroutine["data"]["flag"] == [True, False, True]


def test_without_a_stride_nothing_is_thinned(router):
    plain, none, zero, keyword = results(
        router,
        data(BIG, ["i4"], START, START + 1),
        data(BIG, ["i4"], START, START + 1, None),
        data(BIG, ["i4"], START, START + 1, 0),
        data(BIG, field=["i4"], start=START, end=START + 1, min_stride=None),
    )
    assert plain == none == zero == keyword
    assert plain["data"]["i4"] == list(range(-1000, 0))
