import json
import math
from decimal import Decimal

import cbor2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sisock.client.joining import join
from sisock.errors import NodeContractError
from sisock.node.validation import check_reply
from sisock.wire.fields import Field
from sisock.wire.protocol import Interval


def raw(data, t, until=None):
    return {"data": data, "timeline": {"line": {"t": t, "finalized_until": until}}}


def fields_of(names, timeline="line"):
    return {n: Field(n, None, timeline, "number", None, None) for n in names}


def checked(data, t, until=None):
    return check_reply(raw(data, t, until), list(data), "node")


@pytest.mark.parametrize(
    "dtype", ["<f8", "<f4", "<i8", "<i4", "<i2", "|i1", "<u8", "<u4", "<u2", "|u1", "|b1"]
)
def test_every_dtype_travels_as_its_own_bytes(dtype):
    values = np.arange(100).astype(dtype)
    reply = checked({"x": values}, np.arange(100.0))
    wire = cbor2.loads(cbor2.dumps(reply.to_wire(binary=True)))
    assert wire["data"]["x"] == {"dtype": dtype, "values": values.tobytes()}
    assert isinstance(wire["timeline"]["line"]["t"]["values"], bytes)
    received = join([wire], fields_of(["x"]), "node")["x"]
    assert received.values.dtype.str == dtype
    np.testing.assert_array_equal(received.values, values)


@pytest.mark.parametrize("dtype", [">f8", "<f2", ">i4", "longdouble"])
def test_other_numbers_become_float64(dtype):
    reply = checked({"x": np.arange(5).astype(dtype)}, np.arange(5.0))
    assert reply.to_wire(binary=True)["data"]["x"]["dtype"] == "<f8"
    assert reply.to_wire()["data"]["x"] == [0.0, 1.0, 2.0, 3.0, 4.0]


@pytest.mark.parametrize(
    ("given_values", "listed"),
    [
        ([1.0, math.nan, math.inf, None], [1.0, None, None, None]),
        (np.array([1.5, np.nan, -np.inf]), [1.5, None, None]),
        ([1, None, 3], [1, None, 3]),
        ([True, None, False], [True, None, False]),
        (["a", None, "ü"], ["a", None, "ü"]),
        (np.array(["a", "b"]), ["a", "b"]),
        ([b"bytes"], ["bytes"]),
        (["\0abc", "a\0b", "\ud83d"], ["?abc", "a\0b", "?"]),
        ([2**70, None], [float(2**70), None]),
        ([Decimal("1.5"), 2, None], [1.5, 2.0, None]),
        ([np.float32(1.5), np.int64(2)], [1.5, 2.0]),
        ((1, 2), [1, 2]),
        (range(2), [0, 1]),
        ([2**70, 1], [float(2**70), 1.0]),
        (np.ma.masked_array([1.0, 2.0], [False, True]), [1.0, None]),
        (np.ma.masked_array([1, 2], [False, True]), [1, None]),
    ],
)
def test_missing_values_travel_as_none_and_the_rest_as_json_can(given_values, listed):
    wire = checked({"x": given_values}, list(range(len(given_values)))).to_wire()
    assert wire["data"]["x"] == listed
    assert json.loads(json.dumps(wire, allow_nan=False)) == wire


def test_infinities_are_nan_in_binary():
    reply = checked({"x": np.array([np.inf, 1, np.nan], "<f4")}, [0, 1, 2])
    sent = np.frombuffer(reply.to_wire(binary=True)["data"]["x"]["values"], "<f4")
    assert np.isnan(sent[[0, 2]]).all()
    assert sent[1] == 1


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (None, "must return a dict"),
        ({"data": {}}, "must return a dict"),
        (raw({"x": [1]}, [1, 2]), "1 values, but its timeline 'line' 2 times"),
        (raw({"x": [1, 2]}, [2, 1]), r"t\[1\] goes back"),
        (raw({"x": [1, 2]}, [1.0, None]), "finite"),
        (raw({"x": [1]}, ["monday"]), "UNIX seconds"),
        (raw({"x": [1, "a"]}, [1, 2]), "mixed"),
        (raw({"x": [1j]}, [1]), "complex"),
        (raw({"x": np.zeros((2, 2))}, [1, 2]), "one dimension"),
        (raw({"x": "text"}, [1]), "must be a list"),
        (raw({"x": [1]}, [1], "soon"), "finalized_until"),
        (raw({"x": [1]}, [1], math.nan), "finalized_until"),
    ],
)
def test_a_broken_rule_names_node_and_rule(answer, message):
    with pytest.raises(NodeContractError, match=message) as caught:
        check_reply(answer, ["x"], "node")
    assert "'node'" in str(caught.value)


def test_fields_of_several_timelines_need_to_be_told_apart():
    answer = {
        "data": {"x": [1, 2], "y": [3]},
        "timeline": {"a": {"t": [1, 2]}, "b": {"t": [1]}},
    }
    with pytest.raises(NodeContractError, match="no timeline"):
        check_reply(answer, ["x", "y"], "node")
    reply = check_reply(answer, ["x", "y"], "node", {"x": "a", "y": "b"})
    assert reply.follows == {"x": "a", "y": "b"}


def test_clip_is_half_open_and_leaves_out_timelines_without_data():
    reply = checked({"x": [1, 2, 3], "none": []}, [10, 20, 30])
    clipped = reply.clip(Interval(10, 30))
    assert clipped.to_wire()["data"] == {"x": [1, 2], "none": []}
    nothing = reply.clip(Interval(11, 19)).to_wire()
    assert nothing == {"data": {"x": [], "none": []}, "timeline": {}}


times = st.lists(st.sampled_from([0.0, 0.5, 1.0, 7.0]), min_size=0, max_size=80).map(np.cumsum)


@settings(max_examples=200)
@given(times, times, st.integers(40, 2000), st.integers(40, 900))
def test_windows_of_pieces_joined_are_the_reply(t_a, t_b, window, piece):
    answer = {
        "data": {
            "x": np.arange(len(t_a)) * 1.5,
            "i": np.arange(len(t_a), dtype="<i2"),
            "s": [None if i % 3 else "text" for i in range(len(t_b))],
        },
        "timeline": {"a": {"t": t_a, "finalized_until": 5.0}, "b": {"t": t_b}},
    }
    names = ["x", "i", "s"]
    follows = {"x": "a", "i": "a", "s": "b"}
    whole = check_reply(answer, names, "node", follows)
    rest, pieces = whole, []
    while True:
        head, following = rest.head(window)
        cut = list(head.pieces(piece))
        pieces += [p.to_wire(binary=True) for p in cut]
        if following is None:
            break
        before = {name: line.t[line.t < following] for name, line in rest.timelines.items()}
        for name, t in before.items():
            sent = head.timelines[name].t if name in head.timelines else []
            np.testing.assert_array_equal(sent, t)
        rest = rest.clip(Interval(following, math.inf))
    fields = {n: Field(n, None, follows[n], "number", None, None) for n in names}
    joined = join(pieces, fields, "node")
    for name, t, column in (
        ("x", t_a, answer["data"]["x"]),
        ("i", t_a, answer["data"]["i"]),
        ("s", t_b, answer["data"]["s"]),
    ):
        np.testing.assert_array_equal(joined[name].t, t)
        assert joined[name].values.tolist() == list(column)


def test_a_piece_stays_below_its_size():
    reply = checked({"x": np.zeros(1_000_000), "y": np.zeros(1_000_000, "|i1")}, np.arange(1e6))
    sizes = [len(cbor2.dumps(p.to_wire(binary=True))) for p in reply.pieces(1_000_000)]
    assert max(sizes) <= 1_000_000 + 300
    assert len(sizes) == 18


def test_pieces_of_strings_stay_below_their_size_however_they_differ_in_length():
    texts = ["x" * (50_000 if i < 20 else 1) for i in range(20_000)]
    reply = checked({"s": texts}, np.arange(20_000.0))
    pieces = [p.to_wire(binary=True) for p in reply.pieces(1_000_000)]
    assert max(len(cbor2.dumps(p)) for p in pieces) <= 1_000_000 + 300
    assert [v for p in pieces for v in p["data"]["s"]] == texts
    times = [t for p in pieces for t in np.frombuffer(p["timeline"]["line"]["t"]["values"])]
    assert times == list(range(20_000))


@pytest.mark.parametrize(
    "column",
    [
        np.zeros(100),
        np.full(100, 1 / 3),
        np.arange(100),
        np.arange(100) % 2 == 0,
        ["ü\n\x00" * 3] * 100,
        np.full(100, np.nan),
    ],
    ids=["short floats", "long floats", "integers", "booleans", "strings", "missing"],
)
@pytest.mark.parametrize("allowance", range(300, 12000, 137))
def test_a_reply_within_the_allowance_is_so_in_every_serializer(column, allowance):
    reply = checked({"x": column}, 1.5e9 + np.arange(100) / 3)
    wire = reply.to_wire()
    largest = max(
        len(json.dumps(wire, separators=(",", ":"), ensure_ascii=False).encode()),
        len(cbor2.dumps(wire)),
    )
    if reply.fits(allowance):
        assert largest <= allowance
    else:
        assert largest > allowance - 400
