import math

import pytest

from sisock.errors import InvalidArgument, InvalidNodeName, NodeContractError
from sisock.wire.fields import check_entries, check_fields, describe, parse_fields
from sisock.wire.protocol import WINDOW_MAX, check_node_name, node_uri, sisock_to_unix_time, uri
from sisock.wire.request import parse_get_data, parse_get_fields


def test_uris_are_those_of_the_protocol():
    assert uri("data_node.add") == "org.simonsobservatory.data_node.add"
    assert node_uri("n", "get_data") == "org.simonsobservatory.consumer.n.get_data"


def test_positive_times_are_unix_times_and_others_are_before_now():
    assert sisock_to_unix_time(5, now=100) == 5
    assert sisock_to_unix_time(0, now=100) == 100
    assert sisock_to_unix_time(-30, now=100) == 70


@pytest.mark.parametrize("name", ["a", "apex_archive", "Ü-9", "a:b", "get_fields"])
def test_a_name_of_one_component_is_taken(name):
    assert check_node_name(name) == name


@pytest.mark.parametrize(
    "name",
    ["", "a.b", "a#", "a b", "a\tb", "a\n", "a::b", "get_data_node", "data_node_added", None, 5],
)
def test_any_other_name_is_refused(name):
    with pytest.raises(InvalidNodeName):
        check_node_name(name)


@pytest.mark.parametrize(
    ("args", "kwargs", "named"),
    [
        ((), {}, "field"),
        ((["x"],), {}, "start"),
        ((["x"], 1), {}, "end"),
        (("x", 1, 2), {}, "field"),
        (([1], 1, 2), {}, "field"),
        ((["x"], "1", 2), {}, "start"),
        ((["x"], True, 2), {}, "start"),
        ((["x"], 1, None), {}, "end"),
        ((["x"], math.nan, 2), {}, "start"),
        ((["x"], 1, math.inf), {}, "end"),
        ((["x"], 10**400, 2), {}, "start"),
        ((["x"], 3, 2), {}, "start"),
        ((["x"], 0, 1e9), {}, "start"),
        ((["x"], 1, 2, -1), {}, "min_stride"),
        ((["x"], 1, 2, "1"), {}, "min_stride"),
        ((["x"], 1, 2, math.nan), {}, "min_stride"),
        ((["x"], 1, 2, None, 5), {}, "too many"),
        ((["x"], 1, 2), {"start": 1}, "start"),
        ((["x"], 1, 2), {"maximum": 1}, "maximum"),
        ((["x"], 1, 2), {"encoding": "text"}, "encoding"),
        ((["x"], 1, 2), {"window": 0}, "window"),
        ((["x"], 1, 2), {"window": WINDOW_MAX + 1}, "window"),
        ((["x"], 1, 2), {"window": 1.5}, "window"),
        ((["x"], 1, 2), {"after": []}, "after"),
        ((["x"], 1, 2), {"max_points": 7}, "max_points"),
        ((["x"], 1, 2), {"max_points": 8.0}, "max_points"),
        ((["x"], 1, 2), {"bucket": 3.0}, "bucket must be a power of two"),
        ((["x"], 1, 2), {"bucket": "1"}, "bucket must be a power of two"),
        ((["x"], 1, 16_386), {"bucket": 1}, "16385, more than 16384"),
        (([f"f{i}" for i in range(65)], 1, 8193), {"bucket": 1.0}, "more than 524288"),
        ((["x"], 1, 2, 0), {"bucket": 1.0}, "only one of"),
        ((["x"], 1, 2), {"bucket": 1.0, "max_points": 8}, "only one of"),
        ((["x"], 1, 2), {"after": {"t": "x"}}, "after"),
        ((["x"], 1, 2), {"latest": 1}, "latest"),
        ((["x"], "x", 2), {"latest": True}, "start"),
    ],
)
def test_a_wrong_argument_is_named(args, kwargs, named):
    with pytest.raises(InvalidArgument, match=named):
        parse_get_data(args, kwargs)


def test_arguments_come_by_place_or_by_name():
    by_place = parse_get_data((["x", "x"], 1, 2, 3), {})
    by_name = parse_get_data((["x"],), {"start": 1, "end": 2, "min_stride": 3})
    assert by_place == by_name
    assert by_place.field == ["x"]
    assert parse_get_fields((), {"start": -5, "end": 0}) == (-5, 0)


def test_order_of_start_and_end_is_judged_as_unix_times():
    interval = parse_get_data((["x"], -10, 0), {}).interval
    assert interval.end - interval.start == pytest.approx(10)
    assert parse_get_data((["x"], 1, 0), {}).interval.start == 1


def test_the_start_of_a_request_for_the_latest_samples_is_ignored():
    request = parse_get_data((["x"], 3, 2), {"latest": True})
    assert (request.latest, request.interval.end) == (True, 2)
    assert parse_get_data((["x"], 0, -1e12), {"latest": True}).interval.end < 0


def test_as_many_buckets_as_allowed_are_a_request():
    names = [f"f{i}" for i in range(32)]
    request = parse_get_data((names, 1, 16_385), {"bucket": 1})
    assert (request.bucket, request.is_decimated) == (1.0, True)
    assert parse_get_data((["x"], 1.5, 16_384.5), {"bucket": 1.0}).bucket == 1.0


def test_optional_metadata_arrive_with_the_field():
    entries = {
        "a": {"timeline": "t", "limits": {"alarm": [None, 5]}, "first": 10, "last": 20},
        "b": {"timeline": "t", "precision": 2, "first": 5, "last": 15, "stale_after": 60},
        "c": {"labels": {0: "off"}, "type": "bool", "first": None},
    }
    check_entries(entries, "node")
    fields = parse_fields(describe(entries), "node")
    assert (fields["a"].limits, fields["b"].precision) == ({"alarm": [None, 5]}, 2)
    assert fields["c"].labels == {"0": "off"}
    assert {(f.first, f.last, f.stale_after) for f in (fields["a"], fields["b"])} == {(5, 20, 60)}
    assert (fields["c"].first, fields["c"].interval) == (None, None)
    sent, lines = check_fields(describe(entries), "node")
    assert set(sent["c"]) == {"description", "timeline", "type", "units", "labels"}
    assert set(lines["c"]) == {"interval", "field"}


def test_an_empty_field_name_is_refused_at_both_ends():
    answer = [
        {"": {"timeline": "t", "type": "number"}},
        {"t": {"interval": None, "field": [""]}},
    ]
    for read in (check_fields, parse_fields):
        with pytest.raises(NodeContractError, match="'' cannot be the name of a field: it must"):
            read(answer, "node")


@pytest.mark.parametrize(
    ("entry", "named"),
    [
        ({"limits": [1, 2]}, "limits"),
        ({"limits": {"warnings": [1, 2]}}, "limits must be"),
        ({"limits": {"alarm": 5}}, "limits must be"),
        ({"limits": {"alarm": [1, "high"]}}, "alarm of limits must be a number"),
        ({"first": "x"}, "first"),
        ({"precision": 1.5}, "precision"),
        ({"precision": -1}, "precision"),
        ({"labels": {"0": 5}}, "labels"),
        ({"labels": {1.5: "high"}}, "labels"),
    ],
)
def test_metadata_of_another_form_are_refused(entry, named):
    with pytest.raises(NodeContractError, match=named):
        check_fields(describe({"a": entry}), "node")
