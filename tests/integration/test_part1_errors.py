"""Part 1 of the protocol: what a node answers to a wrong request, and when its own code fails."""

from __future__ import annotations

import math
import os

import pytest

from tests.conftest import wait_for_nodes
from tests.integration.peers import ask, data, fields, results, serving

SENSORS, WEATHER, ODD, COROUTINE = (
    f"errors_{kind}" for kind in ("sensors", "weather", "odd", "coroutine")
)
COMMANDS = {
    SENSORS: ["data_nodes/sensors.py"],
    WEATHER: ["data_nodes/weather.py"],
    ODD: ["tests/nodes.py", "odd"],
    COROUTINE: ["tests/nodes.py", "coroutine"],
}

pytestmark = pytest.mark.usefixtures("served")


@pytest.fixture(scope="module")
def served(router, tmp_path_factory):
    """The nodes that all tests here ask."""
    with serving(router, tmp_path_factory.mktemp("errors"), COMMANDS):
        yield


@pytest.fixture(params=["json", "cbor"])
def serializer(request):
    return request.param


@pytest.mark.parametrize("node", COMMANDS)
def test_a_wrong_argument_is_named_and_the_next_call_is_answered(router, serializer, node):
    wrong = {
        "field": ["count", {"count": 1}, None, 7, [1], [None], [["count"]]],
        "start": ["1", None, True, [1], math.nan, math.inf, -math.inf],
        "end": ["0", None, False, {}, math.nan, math.inf, -math.inf],
        "min_stride": [-1, -0.001, "1", True, [1], math.nan, math.inf],
    }
    right = {"field": ["count"], "start": 1, "end": 0}
    named = [
        (name, data(node, **{**right, name: value})) for name in wrong for value in wrong[name]
    ]
    for start, end in [(0, 1e9), (1e9, -1e9), (-10, -20), (20, 10), (0, -1)]:
        named += [("start", data(node, ["count"], start, end)), ("start", fields(node, start, end))]
    named += [
        *(("start", fields(node, value, 0)) for value in wrong["start"]),
        *(("end", fields(node, 1, value)) for value in wrong["end"]),
        ("colour", data(node, **right, colour=1)),
        ("colour", fields(node, 1, 0, colour=1)),
        ("multiple values for argument 'field'", data(node, ["count"], 1, 0, field=["count"])),
        ("multiple values for argument 'end'", fields(node, 1, 0, end=0)),
        ("min_stride", data(node, ["count"], 1, 0, None, 1)),
        ("end", data(node, ["count"], 1)),
        ("end", fields(node, 1)),
        ("start", fields(node)),
        ("field", data(node)),
    ]
    requests = [request for _, request in named] + [data(node, ["nobody"], 1, 0)]
    *answers, last = ask(router, requests, serializer)
    assert last == {"result": {"data": {"nobody": []}, "timeline": {}}}
    for (name, request), answer in zip(named, answers, strict=True):
        assert answer.get("error") == "org.simonsobservatory.error.invalid_argument", request
        assert name in answer["args"][0], request


@pytest.mark.parametrize("node", [ODD, COROUTINE])
def test_a_node_that_fails_says_what_but_not_where_and_goes_on(router, serializer, node):
    said = {"fails": "OSError", "unequal": "'unequal'", "backward": "back"}
    for_each = [[data(node, [name], 1, 0), data(node, ["count", name], 1, 0)] for name in said]
    after = data(node, ["count"], 1, 0)
    answers = ask(router, [request for pair in for_each for request in (*pair, after)], serializer)
    for i, what in enumerate(said.values()):
        alone, beside, then = answers[3 * i : 3 * i + 3]
        assert then["result"]["data"] == {"count": [1, None, 3, 4, 5]}
        for answer in (alone, beside):
            assert answer["error"] == "org.simonsobservatory.error.node_failed"
            (message,) = answer["args"]
            assert what in message
            assert [part for part in ("Traceback", "/", ".py", ", line ") if part in message] == []


def test_a_file_whose_name_is_no_text_does_not_cost_the_other_fields(
    router, start, client, tmp_path, serializer
):
    for name in (b"good.dat", b"caf\xe9.dat"):
        path = tmp_path / os.fsdecode(name)
        path.write_text("# one sample\n# once\n# V\n1500000000 1.5\n")
    node = f"errors_files_{serializer}"
    start(router, "data_nodes/weather.py", f"--directory={tmp_path}", f"--name={node}")
    wait_for_nodes(client, node)
    described, reply = results(
        router, fields(node, 1, 0), data(node, ["good"], 1, 0), serializer=serializer
    )
    assert described[0]["good"]["units"] == "V"
    assert reply["data"] == {"good": [1.5]}
