"""Part 1 of the protocol: a large reply arrives or is False, and never costs a connection."""

from __future__ import annotations

import json

import cbor2
import numpy as np
import pytest

from tests.integration.peers import ask, data, results, serving
from tests.nodes import START, Big

ALLOWANCE = 1_000_000
BIG, SHORT = "size_big", "size_short"
SHORT_FIELDS = ["a", "b", "c", "d"]
"""Fields of numbers that take three characters in JSON and nine bytes in CBOR."""


@pytest.fixture(scope="module", autouse=True)
def served(router, tmp_path_factory):
    """A node of two million samples, and one of short numbers, four fields on one timeline."""
    folder = tmp_path_factory.mktemp("size")
    lines = "".join(f"{START + i:.0f} {i % 10 / 10}\n" for i in range(40_000))
    for name in SHORT_FIELDS:
        (folder / f"{name}.dat").write_text(f"# short\n# all\n# V\n{lines}")
    commands = {
        BIG: ["tests/nodes.py", "big"],
        SHORT: ["data_nodes/weather.py", f"--directory={folder}"],
    }
    with serving(router, folder, commands):
        yield


def samples_that_fit(t, columns):
    """How many samples take no more than the allowance, in JSON and in CBOR."""

    def fits(count):
        reply = {
            "data": {name: column[:count].tolist() for name, column in columns.items()},
            "timeline": {"timeline": {"t": t[:count].tolist(), "finalized_until": None}},
        }
        as_json = json.dumps(reply, separators=(",", ":")).encode()
        return max(len(as_json), len(cbor2.dumps(reply))) <= ALLOWANCE

    low, high = 0, ALLOWANCE // 10
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def check_around_the_limit(router, serializer, node, t, columns):
    """Ask for a little less than fits, just as much, and more, in one session."""
    fitting = samples_that_fit(t, columns)
    counts = [int(fitting * share) for share in (0.99, 1, 1.02, 1.5)] + [3]
    requests = [data(node, list(columns), float(t[0]), float(t[count])) for count in counts]
    answers = ask(router, requests, serializer)
    lengths = [
        answer["result"] and {len(values) for values in answer["result"]["data"].values()}
        for answer in answers
    ]
    less, just, more, much_more, small = lengths
    assert less == {counts[0]}
    # The node estimates, and may think that the reply is a little larger than it is.
    assert just in (False, {counts[1]})
    assert [more, much_more] == [False, False]
    assert small == {3}


@pytest.mark.parametrize("serializer", ["json", "cbor"])
@pytest.mark.parametrize("names", [["f8"], ["f4"], ["i4"], ["b1"], [*Big.columns]], ids=",".join)
def test_a_reply_near_the_allowance_is_whole_or_false(router, serializer, names):
    columns = {name: Big.columns[name] for name in names}
    check_around_the_limit(router, serializer, BIG, Big.t, columns)


@pytest.mark.parametrize("serializer", ["json", "cbor"])
def test_numbers_that_are_short_in_json_alone_do_not_pass_the_limit(router, serializer):
    t = START + np.arange(40_000.0)
    columns = {name: np.arange(40_000) % 10 / 10 for name in SHORT_FIELDS}
    check_around_the_limit(router, serializer, SHORT, t, columns)


@pytest.mark.parametrize("serializer", ["json", "cbor"])
def test_a_reply_far_over_the_allowance_is_false_and_the_node_stays(router, serializer):
    everything = data(BIG, ["f8"], 1, 0)
    little = data(BIG, ["f8"], START, START + 0.0025)
    first, reply, again = results(router, everything, little, everything, serializer=serializer)
    assert first is again is False
    assert reply["timeline"]["khz"]["t"] == [START, START + 0.001, START + 0.002]


def test_a_stride_brings_a_reply_under_the_allowance(router):
    (reply,) = results(router, data(BIG, ["f8"], 1, 0, 1.0))
    assert len(reply["data"]["f8"]) == 2000
