"""What the bridge says to requests that it cannot answer, and to those that mean nothing."""

import json

import pytest

from sisock.bridge.targets import check_wildcards
from sisock.errors import InvalidArgument
from tests.bridge.conftest import DAY, JULY_15

LONG = "?" * 1000 + "::x"
EQUAL = {"key": "node", "value": "x" * 900}


def test_wildcards_that_would_keep_others_waiting_are_refused():
    check_wildcards(200, 10_000)
    with pytest.raises(InvalidArgument, match="use fewer, or name the fields"):
        check_wildcards(1400, 10_000)


@pytest.mark.parametrize(
    ("path", "body", "status", "message"),
    [
        ("/query", b"{", 400, "not JSON"),
        ("/query", b"[]", 400, "JSON object"),
        ("/query", {"targets": {}}, 400, "targets must be a list"),
        ("/query", {"targets": [1]}, 400, "must be an object"),
        ("/query", {"targets": [{"target": 5}]}, 400, "node::field"),
        ("/query", {"range": {"from": "noon"}}, 400, "range.from"),
        ("/query", {"range": {"from": "2018-01-01", "to": "2017-01-01"}}, 400, "before range.to"),
        ("/query", {"range": {"from": 5000, "to": 5000}}, 400, "before range.to"),
        ("/series?from=-7200000&to=-3600000", None, 400, "after 1970"),
        ("/query", {"intervalMs": -5}, 400, "intervalMs"),
        ("/query", {"interval": "soon"}, 400, "interval"),
        ("/query", {"maxDataPoints": "many"}, 400, "maxDataPoints"),
        ("/query", {"adhocFilters": [{"key": "node"}]}, 400, "key and a value"),
        ("/query", {"filters": [{"key": "node", "value": "", "operator": "~"}]}, 400, "operator"),
        ("/search", {"target": 5}, 400, "must be a text"),
        ("/query", {"targets": [{"target": "(a|b)" * 9 + "::x"}] * 4}, 400, "at most 2000"),
        ("/query", {"targets": [{"target": "(a|b)" * 9 + LONG}]}, 400, "characters when all"),
        ("/search", {"target": "(a|b)" * 9 + LONG}, 400, "characters when all"),
        ("/query", {"adhocFilters": [EQUAL] * 1000}, 400, "characters when all"),
        (
            "/query",
            {"filters": [{"key": "node", "operator": "=~", "value": "(a|b)" * 9}] * 4},
            400,
            "at most 2000",
        ),
        ("/annotations", {"annotation": {"query": "what?"}}, 400, "annotation query"),
        ("/series?from=noon", None, 400, "from must be an ISO time"),
        ("/series?maxDataPoint=9", None, 400, "did you mean 'maxDataPoints'"),
        ("/series?format=csv", None, 400, "there are target, from, to"),
        ("/series?maxDataPoints=x", None, 400, "maxDataPoints"),
        ("/nothing", None, 404, "Not Found"),
        ("/query", None, 405, "Method Not Allowed"),
        ("/query", b" " * (5 << 18) + b"{}", 413, "over 1048576 bytes"),
    ],
)
def test_an_error_is_json_with_a_message(bridge, path, body, status, message):
    answer = bridge.ask(path, body, headers={"Origin": "http://localhost:3000"})
    assert answer.status == status
    assert message in answer.json["message"]
    assert not (path.startswith("/series") and "range." in answer.json["message"])
    assert isinstance(answer.json["error"], str)
    assert answer.headers["Access-Control-Allow-Origin"] == "http://localhost:3000"
    assert status != 405 or "POST" in answer.headers["Allow"]


@pytest.mark.parametrize("tiny", ["1e-320", "5e-324", "1e-9", "0"])
def test_an_interval_too_short_to_count_is_none_at_all(bridge, tiny):
    targets = '[{"target": "apex_archive::apex_temperature"}]'
    body = f'{{"range": {json.dumps(DAY)}, "targets": {targets}, "intervalMs": {tiny}}}'
    assert len(bridge.ask("/query", body.encode()).json[0]["datapoints"]) == 24
    span = f"from={JULY_15 * 1000}&to={(JULY_15 + 86400) * 1000}&maxDataPoints=100"
    target = "target=apex_archive::apex_temperature"
    answer = bridge.ask(f"/series?{target}&{span}&intervalMs={tiny}")
    assert (answer.status, len(answer.json)) == (200, 24)


def test_more_samples_than_one_answer_may_have_are_refused(start_bridge, bridge):
    small = start_bridge(SISOCK_MAX_SAMPLES="30")
    target = {"target": "apex_archive::apex_temperature"}
    assert len(small.query(target)[0]["datapoints"]) == 24
    for targets in ([target, target], [{"target": "apex_archive::apex_radiometer"}]):
        answer = small.ask("/query", {"range": DAY, "targets": targets})
        assert answer.status == 400
        assert "ask for less" in answer.json["message"]
