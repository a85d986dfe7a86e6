"""Our client with nodes that behave as those of the original system did."""

import json
import time

import pytest

from sisock.errors import NodeContractError
from tests.integration.originals import END, START, start_original, truth

CUT = START + 600, START + 1800
KINDS = ["weather", "g3_reader", "apex_weather", "radiometer"]


def got(data):
    return {
        name: list(zip(s.t.tolist(), s.values.tolist(), strict=True)) for name, s in data.items()
    }


@pytest.mark.parametrize("kind", KINDS)
def test_every_sample_of_an_original_node_is_right(client, router, start, kind):
    start_original(start, router, kind, "original")
    fields = list(client.fields("original"))
    assert got(client.get("original", fields, START, END)) == truth(kind)
    # Two files that lack one minute each have as many samples as each other.
    assert got(client.get("original", fields, *CUT)) == truth(kind, *CUT)
    columns = client.get("original", fields, START, END).to_pandas()
    for name, samples in truth(kind).items():
        assert columns[name].dropna().tolist() == [value for _, value in samples]


def test_data_without_a_timeline_is_an_error(client, router, start):
    start_original(start, router, "unmatched", "original")
    with pytest.raises(NodeContractError, match="'a': it has data, but no timeline"):
        client.get("original", ["a", "c"], START, END)


def test_all_calls_of_one_get_are_for_one_interval(client, router, start):
    node = start_original(start, router, "weather", "original")
    before = time.time()
    client.get("original", ["a", "b", "c"], "-10min", "now")
    after = time.time()
    lines = [line for line in node.output.splitlines() if line.startswith("asked ")]
    calls = [json.loads(line.removeprefix("asked ")) for line in lines]
    assert sorted(names for names, *_ in calls) == [["a"], ["b"], ["c"]]
    ((first, last),) = {(start, end) for _, start, end in calls}
    assert before <= last <= after
    assert last - first == pytest.approx(600)
