"""Chunks of a reply become one array for each field, whatever they are like."""

import math

import numpy as np
import pytest

from sisock.client.data import Assembly
from sisock.errors import NodeContractError
from sisock.wire.fields import Field
from sisock.wire.protocol import Interval
from sisock.wire.reply import decode

MAX_AHEAD = 32


def series(assembly):
    return assembly.data(Interval(-math.inf, math.inf))


def assemble(wires, fields, node="node"):
    assembly = Assembly(fields, node)
    for wire in wires:
        assembly.add(decode(wire, node))
    return series(assembly)


FIELDS = {name: Field(name, None, "t", "number", None, None) for name in ("x", "y")}


def chunk(t, **data):
    def encoded(array):
        array = np.asarray(array)
        if array.dtype == object:
            return array.tolist()
        return {"dtype": array.dtype.str, "values": array.tobytes()}

    lines = {"t": {"t": encoded(np.asarray(t, float)), "finalized_until": None}}
    return decode({"data": {n: encoded(v) for n, v in data.items()}, "timeline": lines}, "node")


@pytest.mark.parametrize("share", [0.0, 1e-9, 0.3, 1.0])
@pytest.mark.parametrize("dtype", ["<f8", "<f4", "<i8"])
def test_chunks_of_one_type_are_one_array_of_it(dtype, share):
    sizes = [3, 1, 0, 1000, 2, 70_000, 1]
    t = np.arange(sum(sizes), dtype=float)
    values = (t % 100).astype(dtype)
    assembly, low = Assembly(FIELDS, "node"), 0
    for size in sizes:
        cut = slice(low, low + size)
        assembly.add(chunk(t[cut], x=values[cut], y=values[cut]), share)
        low += size
    x = series(assembly)["x"]
    assert x.values.dtype == np.dtype(dtype)
    assert x.t.tobytes() == t.tobytes() and x.values.tobytes() == values.tobytes()
    # Room beyond what has come is made, but bounded.
    assert len(x.t.base) <= 2 * MAX_AHEAD * len(t)


def test_one_chunk_is_not_copied():
    only = chunk([1, 2], x=[1.0, 2.0])
    assembly = Assembly(FIELDS, "node")
    assembly.add(only)
    assert np.shares_memory(series(assembly)["x"].values, only.data["x"])


def test_chunks_of_several_types_are_assembled_to_what_holds_all():
    assembly = Assembly(FIELDS, "node")
    assembly.add(chunk([1, 2], x=np.array([1, 2]), y=[0.5, 1.5]))
    assembly.add(chunk([3], x=[2.5]))
    assembly.add(chunk([4, 5], x=np.array([None, 4], object), y=[2.5, 3.5]))
    assembled = series(assembly)
    assert np.array_equal(assembled["x"].values, [1, 2, 2.5, np.nan, 4], equal_nan=True)
    assert np.array_equal(assembled["y"].values, [0.5, 1.5, np.nan, 2.5, 3.5], equal_nan=True)
    assert assembled["x"].t.tolist() == [1, 2, 3, 4, 5]


def field(name, kind="number"):
    return Field(name, None, "line", kind, None, None)


def wire(t, until=None, **data):
    return {"data": data, "timeline": {"line": {"t": t, "finalized_until": until}} if t else {}}


def test_a_field_that_ends_early_is_missing_from_there_on():
    wires = [
        wire([1, 2], a=[1.0, 2.0], b=[5, 6], s=["x", "y"], f=[True, False]),
        wire([3], a=[3.0], b=[], s=[], f=[]),
    ]
    fields = {
        n: field(n, k) for n, k in zip("absf", ["number"] * 2 + ["string", "bool"], strict=True)
    }
    data = assemble(wires, fields)
    np.testing.assert_array_equal(data["b"].values, [5, 6, math.nan])
    assert data["s"].values.tolist() == ["x", "y", None]
    assert data["f"].values.tolist() == [True, False, None]
    assert data["a"].t.tolist() == data["b"].t.tolist() == [1, 2, 3]


def test_a_field_without_any_sample_stays_empty():
    data = assemble([wire([1], a=[1.0], b=[])], {"a": field("a"), "b": field("b")})
    assert (len(data["a"].t), len(data["b"].t)) == (1, 0)


def test_missing_numbers_alone_are_nan():
    values = assemble([wire([1, 2], a=[None, None])], {"a": field("a")})["a"].values
    assert values.dtype == float
    assert np.isnan(values).all()


@pytest.mark.parametrize(
    "answer",
    [
        wire([2, 1], a=[1, 2]),
        wire([1, math.nan], a=[1, 2]),
        wire(["x"], a=[1]),
        wire([1], until="soon", a=[1]),
        wire([1, 2], a=[1]),
        {"data": []},
        None,
        {"data": {"a": 5}, "timeline": {}},
    ],
)
def test_a_foreign_reply_that_breaks_a_rule_names_its_node(answer):
    with pytest.raises(NodeContractError, match="'node'"):
        assemble([answer], {"a": field("a")})


def test_finalized_until_of_the_whole_is_the_earliest():
    wires = [wire([1], until=9.0, a=[1]), wire([2], until=5.0, a=[2]), wire([3], a=[3])]
    assert assemble(wires, {"a": field("a")})["a"].finalized_until == 5.0
