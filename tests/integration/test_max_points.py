"""``max_points`` of Part 2 of PROTOCOL.md through a real router, and what Part 1 sees of it."""

from __future__ import annotations

import numpy as np
import pytest

from sisock.wire.arrays import from_wire
from sisock.wire.protocol import ERROR_INVALID_ARGUMENT, USER_CONSUMER
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
    """All pieces of a reply, asked for as Part 2 has it."""
    pieces = []
    last = consumer.call(f"consumer.{node}.get_data", *args, on_progress=pieces.append, **kwargs)
    return [*pieces, last]


@pytest.mark.parametrize("serializer", ["json", "cbor"])
def test_a_number_of_points_that_is_none_is_refused_with_a_reason(router, serializer):
    wrong = [7, 0, -8, True, "x", 1e3, 8.5, [100]]
    asked = [data(node, ["number"], *ALL, max_points=each) for node in COMMANDS for each in wrong]
    answers = ask(router, asked, serializer)
    assert {answer["error"] for answer in answers} == {ERROR_INVALID_ARGUMENT}
    texts = [f"max_points must be a whole number, at least 8, not {each!r}" for each in wrong]
    assert [text for answer in answers for text in answer["args"]] == texts * len(COMMANDS)


def test_max_points_and_min_stride_together_are_refused(router):
    asked = [data(MIXED, ["number"], *ALL, stride, max_points=100) for stride in (5, 0, 0.5)]
    by_name = data(MIXED, ["number"], *ALL, min_stride=5, max_points=100)
    neither = data(MIXED, ["number"], START, START + 5, None, max_points=None)
    *refused, allowed = ask(router, [*asked, by_name, neither])
    for answer in refused:
        assert answer["error"] == ERROR_INVALID_ARGUMENT
        assert answer["args"] == ["min_stride and max_points cannot be asked for together"]
    assert "follows" not in allowed["result"]


@pytest.mark.parametrize("serializer", ["json", "cbor"])
def test_each_field_has_a_timeline_of_its_own_in_a_reply_of_lists(router, serializer):
    asked = data(MIXED, FIELDS, *ALL, max_points=100)
    (reply,) = results(router, asked, serializer=serializer)
    assert set(reply) == {"data", "timeline", "follows"}
    assert reply["follows"] == {"number": "a/number", "text": "a/text", "flag": "b/flag"}
    assert set(reply["timeline"]) == set(reply["follows"].values())
    assert set(reply["data"]) == set(FIELDS)
    assert reply["data"]["empty"] == reply["data"]["nobody"] == []
    for name, line in reply["follows"].items():
        t = reply["timeline"][line]["t"]
        assert 50 < len(t) == len(reply["data"][name]) <= 100
        assert t == sorted(set(t))
        assert (t[0], t[-1]) == (START, START + 9999)
    untils = {name: line["finalized_until"] for name, line in reply["timeline"].items()}
    assert untils == {"a/number": START + 9000, "a/text": START + 9000, "b/flag": None}


def test_extremes_ends_and_the_gap_are_kept_at_their_own_times(router):
    asked = (8, 9, 16, 100, 5000)
    replies = results(router, *(data(MIXED, ["number"], *ALL, max_points=n) for n in asked))
    for points, reply in zip(asked, replies, strict=True):
        seconds = [round(t - START) for t in reply["timeline"]["a/number"]["t"]]
        kept = dict(zip(seconds, reply["data"]["number"], strict=True))
        assert len(kept) <= points
        assert {0, 9999} <= set(kept)
        assert (kept.pop(1234), kept.pop(8765)) == (50, -50)
        (missing,) = [second for second, value in kept.items() if value is None]
        assert 4000 <= missing < 4500
        del kept[missing]
        for second, value in kept.items():
            assert value == pytest.approx(np.sin(second / 100), abs=1e-12)


def test_each_run_keeps_its_smallest_and_largest(client):
    points = 1000
    series = client.get(BIG, "f8", START, START + ROWS / 1000, max_points=points)["f8"]
    where = np.searchsorted(Big.t, series.t)
    np.testing.assert_array_equal(Big.t[where], series.t)
    np.testing.assert_array_equal(Big.columns["f8"][where], series.values)
    # Of each of so few runs nothing may stand out that is not kept, whatever the node's buckets.
    size = ROWS // (points // 16)
    for low in range(0, ROWS - 2 * size, size):
        kept = series.values[(where >= low) & (where < low + 2 * size)]
        run = Big.columns["f8"][low + size // 2 : low + 3 * size // 2]
        assert kept.min() <= run.min()
        assert kept.max() >= run.max()


def test_strings_and_bools_are_thinned_evenly(router):
    (reply,) = results(router, data(MIXED, ["text", "flag"], *ALL, max_points=11))
    seconds = [round(t - START) for t in reply["timeline"]["a/text"]["t"]]
    assert reply["data"]["text"] == [str(second) for second in seconds]
    assert reply["data"]["flag"] == [
        round(t - START) % 2 == 0 for t in reply["timeline"]["b/flag"]["t"]
    ]
    assert len(seconds) == 11
    assert set(np.diff(seconds)) <= {999, 1000}


def test_where_there_are_no_more_nothing_is_left_out(router):
    fields = ["nan", "text", "flag", "count"]
    thinned, plain = results(
        router,
        data(ODD, fields, START, START + 5, max_points=8),
        data(ODD, fields, START, START + 5),
    )
    assert thinned["data"] == plain["data"]
    assert thinned["timeline"] == {f"t/{name}": plain["timeline"]["t"] for name in fields}


def test_an_interval_without_samples_has_no_timeline(router):
    (reply,) = results(router, data(MIXED, ["number"], 1, 2, max_points=8))
    assert reply == {"data": {"number": []}, "timeline": {}, "follows": {}}


def test_a_large_reply_is_one_window_in_pieces(consumer):
    fields, points = list(Big.columns), 200_000
    pieces = get_data(consumer, BIG, fields, 1, 0, encoding="binary", max_points=points)
    assert len(pieces) > 5
    sizes = []
    for piece in pieces:
        assert "next" not in piece
        arrays = [*piece["data"].values(), *(line["t"] for line in piece["timeline"].values())]
        sizes.append(sum(len(array["values"]) for array in arrays if array))
    assert max(sizes) <= 1_000_000
    assert sum(sizes) > 4 * 1_000_000
    for name in fields:
        line = f"khz/{name}"
        own = [piece for piece in pieces if line in piece["timeline"]]
        assert all(piece["follows"][name] == line for piece in own)
        t = np.concatenate([from_wire(piece["timeline"][line]["t"]) for piece in own])
        values = np.concatenate([from_wire(piece["data"][name]) for piece in own])
        assert points / 2 <= len(t) == len(values) <= points
        assert (np.diff(t) > 0).all()
        assert (values == Big.columns[name][np.searchsorted(Big.t, t)]).all()


def test_pieces_of_lists_are_smaller(consumer):
    pieces = get_data(consumer, BIG, ["f8"], 1, 0, max_points=100_000)
    counts = [len(piece["data"]["f8"]) for piece in pieces]
    assert all(isinstance(piece["data"]["f8"], list) for piece in pieces)
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


def test_a_node_of_part_1_is_thinned_in_the_client(client, bare):
    names = ["ramp", "word", "flag", "holes", "wave"]
    whole = client.get(bare, names, START, START + 1000)
    thinned = client.get(bare, names, START, START + 1000, max_points=40)
    for name in names:
        assert 20 < len(thinned[name]) <= 40 < len(whole[name])
        where = np.searchsorted(whole[name].t, thinned[name].t)
        np.testing.assert_array_equal(whole[name].values[where], thinned[name].values)
        assert {0, len(whole[name]) - 1} <= set(where.tolist())
    assert thinned["wave"].values.max() == whole["wave"].values.max()
    assert thinned["wave"].values.min() == whole["wave"].values.min()
    assert np.isnan(thinned["holes"].values).any()


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


def test_an_overview_may_come_from_a_coroutine(client, odd):
    node = odd("coroutine")
    assert client.get(node, "count", START, START + 5, max_points=8)["count"].t.tolist() == [
        START,
        START + 4,
    ]
    assert len(client.get(node, "nan", START, START + 5, max_points=8)["nan"]) == 5


def test_the_log_says_when_the_overviews_are_ready(router, start):
    node = start(router, "tests/nodes.py", "big", "--name", "points_ready")
    # Of f8, f4 and i4; that of b1 is of no numbers.
    node.wait_for("overviews are ready, of 3 fields", 60)
