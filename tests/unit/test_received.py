import math

import numpy as np
import pytest

from sisock.client.joining import join
from sisock.errors import NodeContractError
from sisock.wire.fields import Field


def field(name, kind="number"):
    return Field(name, None, "line", kind, None, None)


def piece(t, until=None, **data):
    return {"data": data, "timeline": {"line": {"t": t, "finalized_until": until}} if t else {}}


def test_a_field_that_ends_before_the_others_of_its_timeline_is_missing_from_there_on():
    pieces = [
        piece([1, 2], a=[1.0, 2.0], b=[5, 6], s=["x", "y"], f=[True, False]),
        piece([3], a=[3.0], b=[], s=[], f=[]),
    ]
    fields = {
        n: field(n, k) for n, k in zip("absf", ["number"] * 2 + ["string", "bool"], strict=True)
    }
    data = join(pieces, fields, "node")
    np.testing.assert_array_equal(data["b"].values, [5, 6, math.nan])
    assert data["s"].values.tolist() == ["x", "y", None]
    assert data["f"].values.tolist() == [True, False, None]
    assert data["a"].t.tolist() == data["b"].t.tolist() == [1, 2, 3]


def test_a_field_without_any_sample_stays_empty():
    data = join([piece([1], a=[1.0], b=[])], {"a": field("a"), "b": field("b")}, "node")
    assert (len(data["a"]), len(data["b"])) == (1, 0)


def test_missing_numbers_alone_are_nan():
    values = join([piece([1, 2], a=[None, None])], {"a": field("a")}, "node")["a"].values
    assert values.dtype == float
    assert np.isnan(values).all()


@pytest.mark.parametrize(
    "answer",
    [
        piece([2, 1], a=[1, 2]),
        piece([1, math.nan], a=[1, 2]),
        piece(["x"], a=[1]),
        piece([1], until="soon", a=[1]),
        piece([1, 2], a=[1]),
        {"data": []},
        None,
        {"data": {"a": 5}, "timeline": {}},
    ],
)
def test_a_foreign_reply_that_breaks_a_rule_names_its_node(answer):
    with pytest.raises(NodeContractError, match="'node'"):
        join([answer], {"a": field("a")}, "node")


def test_finalized_until_of_the_whole_is_the_earliest():
    pieces = [piece([1], until=9.0, a=[1]), piece([2], until=5.0, a=[2]), piece([3], a=[3])]
    assert join(pieces, {"a": field("a")}, "node")["a"].finalized_until == 5.0
