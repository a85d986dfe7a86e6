"""The last sample of each field is what a look at all samples says, of every kind of node."""

import math

import numpy as np
import pytest

from sisock.wire.protocol import USER_CONSUMER, uri
from tests.integration.peers import Member, start_bare
from tests.nodes import START, Big

T0 = 1_500_000_000.0


def found(data):
    """Time and value of each field that has a sample."""
    return {name: (s.t[0], s.values[0]) for name, s in data.items() if len(s)}


def expected(client, node, fields, end):
    """The same by looking at all samples."""
    last = {}
    for name, series in client.get(node, fields, 1, end).items():
        values = series.values.tolist()
        present = [
            (t, v)
            for t, v in zip(series.t.tolist(), values, strict=True)
            if v is not None and v == v
        ]
        if present:
            last[name] = present[-1]
    return last


@pytest.mark.parametrize("end", [0, START + 5, START + 3, START + 1, START])
@pytest.mark.parametrize("kind", ["odd", "coroutine"])
def test_of_a_node_that_knows_nothing_of_it(client, odd, kind, end):
    node = odd(kind)
    names = ["nan", "text", "flag", "count", "empty"]
    assert found(client.latest(node, names, end)) == expected(client, node, names, end)


def test_of_an_archive(client, odd):
    node = odd("big")
    last = found(client.latest(node))
    assert set(last) == set(Big.columns)
    for name, values in Big.columns.items():
        assert last[name] == (Big.t[-1], values[-1])
    before = found(client.latest(node, ["f8", "b1"], Big.t[1000]))
    assert before == {name: (Big.t[999], Big.columns[name][999]) for name in ("f8", "b1")}
    assert found(client.latest(node, "f8", Big.t[0])) == {}


def test_of_a_live_node(client, odd):
    node = odd("ticker", "latest_ticker")
    with client.watch(node, "state") as stream:
        seen = stream.next(40)
    last = client.latest(node)
    assert last["state"].t[0] >= seen.t
    assert last["state"].values[0] in ("ok", "odd")
    assert set(last) == {"count", "state", "even"}


@pytest.mark.parametrize("end", [0, T0 + 500, T0 + 4, T0 + 1, T0])
def test_of_a_node_of_part_1_the_client_looks_ever_further_back(client, bare, end):
    names = ["ramp", "word", "flag", "holes", "wave"]
    assert found(client.latest(bare, None, end)) == expected(client, bare, names, end)


def test_of_a_node_of_part_1_whose_samples_are_too_many(client, router, start):
    flags = "--name=latest_small", "--allowance=1000"
    start_bare(start, router, "bare_node", *flags).wait_for("added True")
    last = found(client.latest("latest_small", ["ramp", "wave"]))
    assert last == {"ramp": (T0 + 999, 499.5), "wave": (T0 + 990, math.sin(9.9))}


def test_the_reply_has_the_shape_of_any_other(router, odd):
    node = odd()
    with Member(router, USER_CONSUMER) as member:
        data = uri(f"consumer.{node}.get_data")
        reply = member.do("request", data, ["nan", "text", "empty"], 1, 0, latest=True)
        assert reply["data"] == {"nan": [5.0], "text": ["e"], "empty": []}
        assert reply["timeline"] == {"t": {"t": [START + 4], "finalized_until": None}}
        reply = member.do("request", data, ["nan", "flag"], START + 9, START + 3, latest=True)
        assert reply["data"] == {"nan": [1.0, None], "flag": [None, False]}
        for latest, others in ((1, {}), (True, {"bucket": 1.0}), (True, {"max_points": 9})):
            error = member.refusal("request", data, ["nan"], 1, 0, latest=latest, **others)
            assert error == uri("error.invalid_argument")


def test_a_field_that_fails_is_an_error(client, odd):
    with pytest.raises(Exception, match="OSError"):
        client.latest(odd(), ["fails"])
    assert np.isnan(client.get(odd(), "nan", START, START + 2)["nan"].values[1])
