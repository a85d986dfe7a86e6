"""``bucket`` and ``max_points`` of Part 2 through a real router, and what Part 1 sees of it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sisock.wire.arrays import from_wire
from sisock.wire.protocol import ERROR_INVALID_ARGUMENT, NEVER_FINAL, USER_CONSUMER
from tests import grid_oracle as oracle
from tests.integration.peers import Member, ask, data, results, serving
from tests.nodes import ROWS, START, Big

BIG, MIXED, ODD = "points_big", "points_mixed", "points_odd"
COMMANDS = {
    BIG: ["tests/nodes.py", "big"],
    MIXED: ["tests/browser/nodes.py", "mixed"],
    ODD: ["tests/nodes.py", "odd"],
}
ALL = START, START + 10_000
FIELDS = ["number", "text", "flag", "empty", "nobody"]

pytestmark = pytest.mark.usefixtures("served")


@pytest.fixture(scope="module")
def served(router, tmp_path_factory):
    """The nodes that all tests here ask."""
    with serving(router, tmp_path_factory.mktemp("points"), COMMANDS):
        yield


@pytest.fixture(scope="module")
def consumer(router):
    with Member(router, USER_CONSUMER) as member:
        yield member


def get_data(consumer, node, *args, **kwargs):
    """Return all chunks of a reply, asked for as Part 2 has it."""
    chunks = []
    last = consumer.call(f"consumer.{node}.get_data", *args, on_progress=chunks.append, **kwargs)
    return [*chunks, last]


def samples_of(reply, name):
    """Return times and values of one field of a decimated reply."""
    assert reply["follows"][name] == name
    return reply["timeline"][name]["t"], reply["data"][name]


@pytest.mark.parametrize("serializer", ["json", "cbor"])
def test_a_number_of_points_that_is_none_is_refused_with_a_reason(router, serializer):
    wrong = [7, 0, -8, True, "x", 1e3, 8.5, [100]]
    asked = [data(node, ["number"], *ALL, max_points=each) for node in COMMANDS for each in wrong]
    answers = ask(router, asked, serializer)
    assert {answer["error"] for answer in answers} == {ERROR_INVALID_ARGUMENT}
    texts = [f"max_points must be a whole number, at least 8, not {each!r}" for each in wrong]
    assert [text for answer in answers for text in answer["args"]] == texts * len(COMMANDS)


@pytest.mark.parametrize(
    ("bucket", "named"),
    [
        (3.0, "a power of two"),
        (0, "a power of two"),
        (-1.0, "a power of two"),
        (True, "a power of two"),
        ("1", "a power of two"),
        (2.0**-21, "a power of two"),
        (2.0**41, "a power of two"),
        (0.5, "the interval has 20000"),
        (1.0, "10000 for each of 60 fields"),
    ],
)
def test_a_bucket_that_cannot_be_is_refused_with_a_reason(router, bucket, named):
    fields = [f"f{i}" for i in range(60 if bucket == 1.0 else 1)]
    asked = [data(node, fields, *ALL, bucket=bucket) for node in COMMANDS]
    for answer in ask(router, asked):
        assert answer["error"] == ERROR_INVALID_ARGUMENT
        assert "bucket" in answer["args"][0] and named in answer["args"][0]


def test_only_one_way_to_fewer_samples_may_be_given(router):
    asked = [data(MIXED, ["number"], *ALL, stride, max_points=100) for stride in (5, 0, 0.5)]
    by_name = data(MIXED, ["number"], *ALL, min_stride=5, bucket=64.0)
    both = data(MIXED, ["number"], *ALL, bucket=64.0, max_points=100)
    none = data(MIXED, ["number"], START, START + 5, None, max_points=None, bucket=None)
    *refused, allowed = ask(router, [*asked, by_name, both, none])
    for answer in refused:
        assert answer["error"] == ERROR_INVALID_ARGUMENT
        assert answer["args"] == ["only one of min_stride, bucket and max_points may be given"]
    assert set(allowed["result"]) == {"data", "timeline"}


@pytest.mark.parametrize("serializer", ["json", "cbor"])
def test_each_field_has_a_timeline_of_its_own(router, serializer):
    asked = data(MIXED, FIELDS, *ALL, max_points=100)
    (reply,) = results(router, asked, serializer=serializer)
    assert set(reply) == {"data", "timeline", "follows", "bucket", "final_to"}
    own = ["number", "text", "flag"]
    assert reply["follows"] == {name: name for name in own}
    assert set(reply["timeline"]) == set(own)
    assert set(reply["data"]) == set(reply["final_to"]) == set(FIELDS)
    assert reply["data"]["empty"] == reply["data"]["nobody"] == []
    for name in own:
        t, values = samples_of(reply, name)
        assert 50 < len(t) == len(values) <= 100
        assert t == sorted(set(t))
        assert (t[0], t[-1]) == (START, START + 9999)
        assert reply["bucket"][name] == 256.0
    untils = {name: line["finalized_until"] for name, line in reply["timeline"].items()}
    assert untils == {"number": START + 9000, "text": START + 9000, "flag": None}
    assert reply["final_to"] == {
        "number": START + 9000,
        "text": START + 9000,
        "flag": math.nextafter(START + 9999, math.inf),
        "empty": NEVER_FINAL,
        "nobody": NEVER_FINAL,
    }


@pytest.mark.parametrize("bucket", [1.0, 8.0, 1024.0, 2.0**40])
@pytest.mark.parametrize("binary", [True, False])
def test_each_bucket_keeps_what_the_protocol_says(consumer, bucket, binary):
    interval = START + 500, START + 9000
    names = ["number", "text", "flag"]
    encoding = "binary" if binary else None
    uri = f"consumer.{MIXED}.get_data"
    whole = consumer.call(uri, names, *interval)
    reply = consumer.call(uri, names, *interval, bucket=bucket, encoding=encoding)
    for name, line in zip(names, "aab", strict=True):
        t, values = whole["timeline"][line]["t"], whole["data"][name]
        kept = oracle.decimate(t, values, bucket)
        times, found = samples_of(reply, name)
        assert from_wire(times).tolist() == [t[i] for i in kept]
        found = [None if v != v else v for v in from_wire(found).tolist()]
        assert found == [values[i] for i in kept]
        assert reply["bucket"][name] == bucket


def test_few_points_are_those_of_the_grid_and_both_ends(router):
    (whole,) = results(router, data(MIXED, FIELDS, START, START + 3000))
    counts = (8, 9, 16, 100, 2999, 3000)
    asked = [data(MIXED, FIELDS, START, START + 3000, max_points=n) for n in counts]
    for points, reply in zip(counts, results(router, *asked), strict=True):
        for name, line in zip(FIELDS[:3], "aab", strict=True):
            t, values = whole["timeline"][line]["t"], whole["data"][name]
            kept, w = oracle.decimate_to(t, values, points)
            assert samples_of(reply, name) == ([t[i] for i in kept], [values[i] for i in kept])
            assert reply["bucket"][name] == w
            assert len(kept) <= points


def test_of_a_large_archive_each_bucket_keeps_its_extremes(client):
    points = 1000
    series = client.get(BIG, "f8", START, START + ROWS / 1000, max_points=points)["f8"]
    where = np.searchsorted(Big.t, series.t)
    np.testing.assert_array_equal(Big.t[where], series.t)
    np.testing.assert_array_equal(Big.columns["f8"][where], series.values)
    assert points * 0.45 < len(series) <= points
    assert {0, ROWS - 1} <= set(where.tolist())
    assert series.values.min() == Big.columns["f8"].min()
    assert series.values.max() == Big.columns["f8"].max()


def test_where_there_are_no_more_nothing_is_left_out(router):
    fields = ["nan", "text", "flag", "count"]
    few, plain = results(
        router,
        data(ODD, fields, START, START + 5, max_points=8),
        data(ODD, fields, START, START + 5),
    )
    assert few["data"] == plain["data"]
    assert few["timeline"] == dict.fromkeys(fields, plain["timeline"]["t"])
    assert few["bucket"] == dict.fromkeys(fields)


def test_an_interval_without_samples_has_no_timeline(router):
    (reply,) = results(router, data(MIXED, ["number"], 1, 2, max_points=8))
    assert reply.pop("final_to").keys() == {"number"}
    assert reply == {
        "data": {"number": []},
        "timeline": {},
        "follows": {},
        "bucket": {"number": None},
    }


def test_a_large_reply_is_one_window_in_chunks(consumer):
    fields, points = list(Big.columns), 200_000
    chunks = get_data(consumer, BIG, fields, 1, 0, encoding="binary", max_points=points)
    assert len(chunks) > 5
    sizes = []
    for chunk in chunks:
        assert "next" not in chunk
        arrays = [*chunk["data"].values(), *(line["t"] for line in chunk["timeline"].values())]
        sizes.append(sum(len(array["values"]) for array in arrays if array))
    assert max(sizes) <= 1_000_000
    assert sum(sizes) > 4 * 1_000_000
    for name in fields:
        line = name
        own = [chunk for chunk in chunks if line in chunk["timeline"]]
        assert all(chunk["follows"][name] == line for chunk in own)
        t = np.concatenate([from_wire(chunk["timeline"][line]["t"]) for chunk in own])
        values = np.concatenate([from_wire(chunk["data"][name]) for chunk in own])
        assert points / 2 <= len(t) == len(values) <= points
        assert (np.diff(t) > 0).all()
        assert (values == Big.columns[name][np.searchsorted(Big.t, t)]).all()


def test_chunks_of_lists_are_smaller(consumer):
    chunks = get_data(consumer, BIG, ["f8"], 1, 0, max_points=100_000)
    counts = [len(chunk["data"]["f8"]) for chunk in chunks]
    assert all(isinstance(chunk["data"]["f8"], list) for chunk in chunks)
    assert max(counts) * 16 <= 250_000
    assert 50_000 <= sum(counts) <= 100_000


def test_one_message_that_would_be_too_large_is_false(consumer, router):
    assert results(router, data(BIG, ["f8"], 1, 0, max_points=200_000)) == [False]
    (small,) = results(router, data(BIG, ["f8"], 1, 0, max_points=2000))
    assert 1000 <= len(small["data"]["f8"]) <= 2000


@pytest.mark.parametrize("serializer", ["json", "cbor"])
def test_a_consumer_of_part_1_sees_no_difference(router, serializer):
    part_1 = [
        data(MIXED, FIELDS, *ALL, 3600),
        data(MIXED, FIELDS, START + 5, START + 7),
        data(BIG, ["f8", "b1"], START, START + 0.5),
        data(ODD, ["nan", "text", "flag", "count"], 1, 0),
    ]
    part_2 = data(MIXED, FIELDS, *ALL, max_points=50)
    answers = results(router, *part_1, part_2, *part_1, serializer=serializer)
    before, after = answers[:4], answers[5:]
    assert before == after
    for reply in before:
        assert set(reply) == {"data", "timeline"}
        for line in reply["timeline"].values():
            assert set(line) == {"t", "finalized_until"}
    assert [set(reply["timeline"]) for reply in before] == [{"a", "b"}, {"a", "b"}, {"khz"}, {"t"}]
    assert before[1]["data"]["text"] == ["5", "6"]
    assert before[1]["timeline"]["b"]["t"] == [START + 5, START + 6]


def test_a_node_of_part_1_is_decimated_in_the_client(client, bare):
    names = ["ramp", "word", "flag", "holes", "wave"]
    whole = client.get(bare, names, START, START + 1000)
    few = client.get(bare, names, START, START + 1000, max_points=40)
    for name in names:
        assert 20 < len(few[name]) <= 40 < len(whole[name])
        where = np.searchsorted(whole[name].t, few[name].t)
        np.testing.assert_array_equal(whole[name].values[where], few[name].values)
        assert {0, len(whole[name]) - 1} <= set(where.tolist())
    assert few["wave"].values.max() == whole["wave"].values.max()
    assert few["wave"].values.min() == whole["wave"].values.min()
    # A bucket with some missing samples keeps none of those.
    assert not np.isnan(few["holes"].values).any()


def test_a_node_of_part_1_never_hears_of_max_points(router, client):
    calls = []

    def hear(*args, **kwargs):
        calls.append((args, kwargs))
        return {"data": {"x": [1.0, 2.0]}, "timeline": {"t": {"t": [START, START + 1]}}}

    field = {"x": {"description": None, "timeline": "t", "type": "number", "units": None}}
    name = "points_listener"
    with Member(router) as member:
        fields = field, {"t": {"interval": 1.0, "field": ["x"]}}
        member.do(
            "register", lambda *_: fields, f"org.simonsobservatory.consumer.{name}.get_fields"
        )
        member.do("register", hear, f"org.simonsobservatory.consumer.{name}.get_data")
        assert member.add(name) is True
        got = client.get(name, "x", START, START + 2, max_points=8)
        member.subtract(name)
    assert got["x"].values.tolist() == [1.0, 2.0]
    assert calls == [((["x"], START, START + 2), {})]


def test_decimated_samples_may_come_from_a_coroutine(client, odd):
    node = odd("coroutine")
    assert client.get(node, "count", START, START + 5, max_points=8)["count"].t.tolist() == [
        START,
        START + 4,
    ]
    assert len(client.get(node, "nan", START, START + 5, max_points=8)["nan"]) == 5
