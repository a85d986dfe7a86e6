"""A reply in many pieces becomes one array a field, whatever the pieces are like."""

import numpy as np
import pytest

from sisock.client.data import decode
from sisock.client.joining import MOST_AHEAD, Joiner
from sisock.wire.fields import Field

FIELDS = {name: Field(name, None, "t", "number", None, None) for name in ("x", "y")}


def piece(t, **data):
    def encoded(array):
        array = np.asarray(array)
        if array.dtype == object:
            return array.tolist()
        return {"dtype": array.dtype.str, "values": array.tobytes()}

    lines = {"t": {"t": encoded(np.asarray(t, float)), "finalized_until": None}}
    return decode({"data": {n: encoded(v) for n, v in data.items()}, "timeline": lines}, "node")


@pytest.mark.parametrize("share", [0.0, 1e-9, 0.3, 1.0])
@pytest.mark.parametrize("dtype", ["<f8", "<f4", "<i8"])
def test_pieces_of_one_type_are_one_array_of_it(dtype, share):
    sizes = [3, 1, 0, 1000, 2, 70_000, 1]
    t = np.arange(sum(sizes), dtype=float)
    values = (t % 100).astype(dtype)
    joiner, low = Joiner(FIELDS, "node"), 0
    for size in sizes:
        cut = slice(low, low + size)
        joiner.add(piece(t[cut], x=values[cut], y=values[cut]), share)
        low += size
    x = joiner.data()["x"]
    assert x.values.dtype == np.dtype(dtype)
    assert x.t.tobytes() == t.tobytes() and x.values.tobytes() == values.tobytes()
    # Room beyond what has come is made, but bounded.
    assert len(x.t.base) <= 2 * MOST_AHEAD * len(t)


def test_one_piece_is_not_copied():
    only = piece([1, 2], x=[1.0, 2.0])
    joiner = Joiner(FIELDS, "node")
    joiner.add(only)
    assert np.shares_memory(joiner.data()["x"].values, only.data["x"])


def test_pieces_of_several_types_are_joined_to_what_holds_all():
    joiner = Joiner(FIELDS, "node")
    joiner.add(piece([1, 2], x=np.array([1, 2]), y=[0.5, 1.5]))
    joiner.add(piece([3], x=[2.5]))
    joiner.add(piece([4, 5], x=np.array([None, 4], object), y=[2.5, 3.5]))
    joined = joiner.data()
    assert np.array_equal(joined["x"].values, [1, 2, 2.5, np.nan, 4], equal_nan=True)
    assert np.array_equal(joined["y"].values, [0.5, 1.5, np.nan, 2.5, 3.5], equal_nan=True)
    assert joined["x"].t.tolist() == [1, 2, 3, 4, 5]
