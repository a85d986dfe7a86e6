import json
import math
from decimal import Decimal

import cbor2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sisock.client.data import Assembly
from sisock.errors import NodeContractError
from sisock.node.validation import check_decimated, check_reply
from sisock.wire.fields import Field
from sisock.wire.protocol import NEVER_FINAL, Interval
from sisock.wire.reply import Decimated, chunks, decode, first_window

ALWAYS = Interval(-math.inf, math.inf)


def raw(data, t, until=None):
    return {"data": data, "timeline": {"line": {"t": t, "finalized_until": until}}}


def fields_of(names, timeline="line"):
    return {n: Field(n, None, timeline, "number", None, None) for n in names}


def checked(data, t, until=None):
    return check_reply(raw(data, t, until), list(data), "node")


def assemble(wires, fields):
    assembly = Assembly(fields, "node")
    for wire in wires:
        assembly.add(decode(wire, "node"))
    return assembly.data(ALWAYS)


@pytest.mark.parametrize(
    "dtype", ["<f8", "<f4", "<i8", "<i4", "<i2", "|i1", "<u8", "<u4", "<u2", "|u1", "|b1"]
)
def test_every_dtype_travels_as_its_own_bytes(dtype):
    values = np.arange(100).astype(dtype)
    reply = checked({"x": values}, np.arange(100.0))
    wire = cbor2.loads(cbor2.dumps(reply.to_wire(binary=True)))
    assert wire["data"]["x"] == {"dtype": dtype, "values": values.tobytes()}
    assert isinstance(wire["timeline"]["line"]["t"]["values"], bytes)
    received = assemble([wire], fields_of(["x"]))["x"].values
    assert received.dtype.str == dtype
    np.testing.assert_array_equal(received, values)


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
def test_missing_values_travel_as_none(given_values, listed):
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
        (raw({"x": [1]}, [1, 2]), "1 value for 2 times"),
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


def test_clip_is_half_open_and_drops_timelines_without_data():
    reply = checked({"x": [1, 2, 3], "none": []}, [10, 20, 30])
    clipped = reply.clip(Interval(10, 30))
    assert clipped.to_wire()["data"] == {"x": [1, 2], "none": []}
    nothing = reply.clip(Interval(11, 19)).to_wire()
    assert nothing == {"data": {"x": [], "none": []}, "timeline": {}}


def test_what_a_node_decimated_itself_is_checked_too():
    own = Decimated([1, 2], [5, 3], 2.0, 9.5, is_placed=True)
    reply = check_decimated({"x": own}, ["x", "unknown"], "node")
    assert reply.to_wire() == {
        "data": {"x": [5, 3], "unknown": []},
        "timeline": {"x": {"t": [1, 2], "finalized_until": 9.5}},
        "follows": {"x": "x"},
        "bucket": {"x": 2.0, "unknown": None},
        "final_to": {"x": 9.5, "unknown": NEVER_FINAL},
        "placed": ["x"],
    }


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ([], "a dict of Decimated"),
        ({"x": ([1], [1])}, "a dict of Decimated"),
        ({"x": Decimated([1, 2], [1], None, 3.0)}, "1 value for 2 times"),
        ({"x": Decimated([2, 1], [1, 2], None, 3.0)}, "goes back"),
        ({"x": Decimated([1], [1j], None, 3.0)}, "complex"),
        ({"x": Decimated([1], [1], None, None)}, "final_to"),
        ({"x": Decimated([1], [1], None, math.inf)}, "final_to"),
    ],
)
def test_a_rule_that_decimated_samples_break_is_named(answer, message):
    with pytest.raises(NodeContractError, match=message):
        check_decimated(answer, ["x"], "node")


times = st.lists(st.sampled_from([0.0, 0.5, 1.0, 7.0]), min_size=0, max_size=80).map(np.cumsum)


@settings(max_examples=200)
@given(times, times, st.integers(40, 2000), st.integers(40, 900))
def test_windows_of_chunks_assembled_are_the_reply(t_a, t_b, window, size):
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
    rest, wires = check_reply(answer, names, "node", follows), []
    while True:
        head, following = first_window(rest, window)
        wires += [chunk.to_wire(binary=True) for chunk in chunks(head, size)]
        if following is None:
            break
        before = {name: line.t[line.t < following] for name, line in rest.timelines.items()}
        for name, t in before.items():
            sent = head.timelines[name].t if name in head.timelines else []
            np.testing.assert_array_equal(sent, t)
        rest = rest.clip(Interval(following, math.inf))
    fields = {n: Field(n, None, follows[n], "number", None, None) for n in names}
    assembled = assemble(wires, fields)
    for name, t in (("x", t_a), ("i", t_a), ("s", t_b)):
        np.testing.assert_array_equal(assembled[name].t, t)
        assert assembled[name].values.tolist() == list(answer["data"][name])


def test_a_chunk_stays_below_its_size():
    reply = checked({"x": np.zeros(1_000_000), "y": np.zeros(1_000_000, "|i1")}, np.arange(1e6))
    sizes = [len(cbor2.dumps(c.to_wire(binary=True))) for c in chunks(reply, 1_000_000)]
    assert max(sizes) <= 1_000_000 + 300
    assert len(sizes) == 18


def test_chunks_of_unequal_strings_stay_below_their_size():
    texts = ["x" * (50_000 if i < 20 else 1) for i in range(20_000)]
    reply = checked({"s": texts}, np.arange(20_000.0))
    wires = [chunk.to_wire(binary=True) for chunk in chunks(reply, 1_000_000)]
    assert max(len(cbor2.dumps(wire)) for wire in wires) <= 1_000_000 + 300
    assert [v for wire in wires for v in wire["data"]["s"]] == texts
    times = [t for wire in wires for t in np.frombuffer(wire["timeline"]["line"]["t"]["values"])]
    assert times == list(range(20_000))


def test_a_decimated_reply_has_a_timeline_for_each_field():
    x, y = [5.0, 1.0, 9.0, 4.0], [True, None, None, None]
    reply = checked({"x": x, "y": y, "none": []}, [0, 1, 2, 3], until=2.5)
    wire = reply.decimate(bucket=2.0).to_wire()
    assert wire == {
        "data": {"x": [5.0, 1.0, 9.0, 4.0], "y": [True, None], "none": []},
        "timeline": {
            "x": {"t": [0, 1, 2, 3], "finalized_until": 2.5},
            "y": {"t": [0, 2], "finalized_until": 2.5},
        },
        "follows": {"x": "x", "y": "y"},
        "bucket": {"x": 2.0, "y": 2.0, "none": 2.0},
        "final_to": {"x": 2.5, "y": 2.5, "none": NEVER_FINAL},
    }


def test_few_points_of_many_samples_keep_both_ends():
    reply = checked({"x": np.arange(1000) % 7}, 0.5 + np.arange(1000.0))
    few = reply.decimate(max_points=20)
    assert few.bucket == {"x": 128.0}
    assert len(few.data["x"]) <= 20
    assert few.timelines["x"].t[[0, -1]].tolist() == [0.5, 999.5]
    assert few.final_to == {"x": math.nextafter(999.5, math.inf)}
    assert reply.decimate(max_points=1000).bucket == {"x": None}


def test_a_decimated_reply_arrives_as_it_was_sent():
    reply = checked({"x": np.arange(100.0), "y": ["a", "b"] * 50}, np.arange(100.0), until=50.0)
    sent = reply.decimate(bucket=4.0)
    sent.placed = ["x"]
    assembly = Assembly(fields_of(["x", "y"]), "node")
    for chunk in chunks(sent, 200):
        assembly.add(decode(cbor2.loads(cbor2.dumps(chunk.to_wire(binary=True))), "node"))
    data = assembly.data(ALWAYS)
    assert {(each.bucket, each.final_to) for each in data.values()} == {(4.0, 50.0)}
    assert [data["x"].is_placed, data["y"].is_placed] == [True, False]
    x = data["x"]
    assert x.t.tolist() == x.values.tolist() == [i for i in range(100) if i % 4 in (0, 3)]
    assert x.finalized_until == 50.0


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
def test_what_fits_the_allowance_fits_in_every_serializer(column, allowance):
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
