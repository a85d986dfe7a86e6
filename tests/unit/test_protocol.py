import math

import pytest

from sisock.errors import InvalidArgument, InvalidNodeName
from sisock.wire.protocol import (
    WINDOW_MAX,
    check_node_name,
    node_uri,
    sisock_to_unix_time,
    uri,
)
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
        ((["x"], 1, 2), {"after": {"t": "x"}}, "after"),
    ],
)
def test_a_wrong_argument_is_named(args, kwargs, named):
    with pytest.raises(InvalidArgument, match=named):
        parse_get_data(args, kwargs)


def test_arguments_come_by_place_or_by_name():
    by_place = parse_get_data((["x", "x"], 1, 2, 3), {}, now=10.0)
    by_name = parse_get_data((["x"],), {"start": 1, "end": 2, "min_stride": 3}, now=10.0)
    assert by_place == by_name
    assert by_place.fields == ["x"]
    assert parse_get_fields((), {"start": -5, "end": 0}) == (-5, 0)


def test_order_of_start_and_end_is_judged_as_unix_times():
    request = parse_get_data((["x"], -10, 0), {}, now=100.0)
    assert (request.interval.start, request.interval.end) == (90.0, 100.0)
    assert parse_get_data((["x"], 1, 0), {}).interval.start == 1
