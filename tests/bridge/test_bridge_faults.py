"""The bridge when others fail, and who may ask it."""

import base64
import contextlib
import json
import signal
import threading

import pytest

from sisock import Client
from sisock.testing import RouterProcess, free_port, wait_until
from tests.bridge.conftest import DAY, RunningBridge, iso_range
from tests.conftest import TOP, Program, wait_for_absence, wait_for_nodes
from tests.nodes import START

RANGE = iso_range(START, START + 5)


@pytest.fixture
def odd(router, start):
    program = start(router, "tests/nodes.py", "odd", "--name", "odd_bridged")
    with Client(router.settings()) as client:
        wait_for_nodes(client, "odd_bridged")
        yield program
        program.end()
        wait_for_absence(client, "odd_bridged")


@pytest.fixture
def waiting(router, start, tmp_path):
    """A node that answers once there is a file, and that file."""
    go_on = tmp_path / "go_on"
    command = "tests/bridge/nodes.py", "waiting", "--name", "slow_one"
    node = start(router, *command, TEST_GO_ON=str(go_on))
    node.wait_for("is in the hub's list", 60)
    return node, go_on


def test_a_failing_field_costs_the_others_nothing_and_is_noticed(bridge, odd):
    targets = [{"target": t} for t in ("odd_bridged::fails", "apex_archive::apex_temperature")]
    answer = bridge.ask("/query", {"range": DAY, "targets": targets})
    failed, good = answer.json
    assert failed["datapoints"] == []
    assert len(good["datapoints"]) == 24
    assert "odd_bridged" in answer.headers["X-Sisock-Notice"]
    assert "/secret/path" not in str(answer.headers)


def test_every_type_of_value_has_its_place(bridge, odd):
    nan, text, flag, count = bridge.query(
        *(f"odd_bridged::{name}" for name in ("nan", "text", "flag", "count")), range=RANGE
    )
    values = [[v for v, _ in series["datapoints"]] for series in (nan, text, flag, count)]
    assert values == [
        [1.0, None, None, None, 5.0],
        ["a", None, "ü", "", "e"],
        [True, None, False, True, True],
        [1, None, 3, 4, 5],
    ]
    (table,) = bridge.query({"target": "odd_bridged::(nan|text)", "type": "table"}, range=RANGE)
    assert table["rows"][2] == [(START + 2) * 1000, None, "ü"]
    rows = bridge.ask(
        f"/series?target=odd_bridged::text&from={START * 1000}&to={(START + 5) * 1000}"
    ).json
    assert [row["value"] for row in rows] == ["a", None, "ü", "", "e"]


def test_a_slow_node_delays_nobody_longer_than_the_limit(start_bridge, bridge, waiting):
    _, go_on = waiting
    hasty = start_bridge(SISOCK_NODE_TIMEOUT="4")
    targets = [{"target": t} for t in ("slow_one::x", "apex_archive::apex_temperature")]
    answer = hasty.ask("/query", {"range": DAY, "targets": targets})
    slow, good = answer.json
    assert (slow["datapoints"], len(good["datapoints"])) == ([], 24)
    assert "did not answer in 4 s" in answer.headers["X-Sisock-Notice"]
    # Its late answer disturbs nobody.
    begun = hasty.program.output.count("joined the router")
    go_on.touch()
    assert len(bridge.query("slow_one::x", range=RANGE)[0]["datapoints"]) == 1
    assert len(hasty.query("slow_one::x", range=RANGE)[0]["datapoints"]) == 1
    assert hasty.program.output.count("joined the router") == begun


def test_a_stopped_node_costs_the_others_nothing(start_bridge, bridge, odd):
    hasty = start_bridge(SISOCK_NODE_TIMEOUT="5")
    assert len(hasty.query("odd_bridged::nan", range=RANGE)[0]["datapoints"]) == 5
    odd.signal(signal.SIGSTOP)
    try:
        targets = ["odd_bridged::count", "apex_archive::apex_temperature"]
        stopped, good = hasty.query(*targets, range=DAY)
    finally:
        odd.signal(signal.SIGCONT)
    assert (stopped["datapoints"], len(good["datapoints"])) == ([], 24)


def test_many_at_once_are_answered_beside_a_slow_one(bridge, waiting):
    node, go_on = waiting
    results = []

    def ask(target, given):
        results.append((target, len(bridge.query(target, range=given)[0]["datapoints"])))

    slow = threading.Thread(target=ask, args=("slow_one::x", RANGE))
    slow.start()
    node.wait_for("asked")
    others = [
        threading.Thread(target=ask, args=("apex_archive::apex_temperature", DAY))
        for _ in range(10)
    ]
    for thread in others:
        thread.start()
    for thread in others:
        thread.join(30)
    assert results == [("apex_archive::apex_temperature", 24)] * 10
    go_on.touch()
    slow.join(30)
    assert results[-1] == ("slow_one::x", 1)


def test_the_router_killed_and_back_is_503_and_then_right_data(own_router, tmp_path):
    weather = Program(
        [str(TOP / "data_nodes/weather.py")], own_router.environ("server"), tmp_path / "w"
    )
    bridge = RunningBridge(own_router, tmp_path)
    try:
        bridge.wait_until_healthy()
        wait_until(
            lambda: bridge.query("apex_archive::apex_temperature")[0]["datapoints"], 30, "samples"
        )
        before = bridge.query("apex_archive::apex_temperature")
        own_router.stop(signal.SIGKILL)
        wait_until(lambda: bridge.ask("/readyz").status == 503, 40, "notice of the loss")
        body = {"range": DAY, "targets": [{"target": "apex_archive::apex_temperature"}]}
        for path, sent in (("/query", body), ("/search", b""), ("/series?target=a::b", None)):
            answer = bridge.ask(path, sent)
            assert answer.status == 503
            assert "router" in answer.json["message"]
        assert bridge.ask("/healthz").status == bridge.ask("/").status == 200
        own_router.start()
        wait_until(
            lambda: (
                bridge.ask("/query", body).status == 200
                and bridge.query("apex_archive::apex_temperature") == before
            ),
            60,
            "the same data again",
        )
        assert bridge.program.process.poll() is None
    finally:
        bridge.program.end()
        weather.end()


def test_a_router_lost_during_a_request_is_503(own_router, start, tmp_path):
    node = start(own_router, "tests/bridge/nodes.py", "waiting")
    bridge = RunningBridge(own_router, tmp_path)
    try:
        bridge.wait_until_healthy()
        node.wait_for("is in the hub's list")
        answers = []
        body = {"range": RANGE, "targets": [{"target": "waiting::x"}]}
        thread = threading.Thread(target=lambda: answers.append(bridge.ask("/query", body)))
        thread.start()
        node.wait_for("asked")
        own_router.stop(signal.SIGKILL)
        thread.join(20)
        assert answers[0].status == 503
        assert "router" in answers[0].json["message"]
    finally:
        bridge.program.end()


def test_a_router_without_a_hub_is_not_healthy(tmp_path):
    with RouterProcess(hub=False) as router:
        bridge = RunningBridge(router, tmp_path)
        try:
            bridge.program.wait_for("joined the router")
            answer = bridge.ask("/readyz")
            assert answer.status == 503
            assert "no hub" in answer.json["message"]
        finally:
            bridge.program.end()


def test_a_call_that_is_given_up_is_cancelled(router, tmp_path, start):
    command = "tests/bridge/nodes.py", "waiting", "--name", "cancelled", "--log-level", "debug"
    node = start(router, *command)
    node.wait_for("is in the hub's list", 60)
    hasty = RunningBridge(router, tmp_path, SISOCK_NODE_TIMEOUT="2.5")
    try:
        hasty.wait_until_healthy()
        hasty.query("cancelled::x", range=RANGE)
        node.wait_for("the caller gave up")
    finally:
        hasty.program.end()


def basic(text):
    return {"Authorization": "Basic " + base64.b64encode(text.encode()).decode()}


def test_only_who_signs_in_is_answered(start_bridge, bridge, tmp_path):
    secret = tmp_path / "token"
    secret.write_text("a-token\n")
    closed = start_bridge(SISOCK_HTTP_TOKEN_FILE=str(secret), SISOCK_HTTP_BASIC="grafana:word")
    for headers in ({"Authorization": "Bearer a-token"}, basic("grafana:word")):
        assert closed.ask("/search", b"", headers=headers).status == 200
    wrong = ({}, {"Authorization": "Bearer b"}, basic("grafana:"), {"Authorization": "a-token"})
    for headers in wrong:
        for path, body in (("/", None), ("/search", b""), ("/prometheus", None)):
            answer = closed.ask(path, body, headers=headers)
            assert answer.status == 401
            assert "sign in" in answer.json["message"]
    for path in ("/healthz", "/readyz"):
        assert closed.ask(path).status == 200
    assert closed.ask("/query", method="OPTIONS").status == 204
    assert "a-token" not in closed.program.output
    assert "word" not in closed.program.output


def test_the_access_log_is_a_line_of_json_a_request(start_bridge, bridge):
    logged = start_bridge()
    logged.ask("/series?target=secret::thing")
    logged.program.wait_for('"path":"/series"')
    lines = [line for line in logged.program.output.splitlines() if '"path":"/series"' in line]
    entry = json.loads(lines[0][lines[0].index("{") :])
    assert (entry["method"], entry["status"], entry["from"]) == ("GET", 200, "127.0.0.1")
    assert entry["bytes"] == 2
    assert entry["ms"] >= 0
    assert "secret::thing" not in lines[0]


def test_figures_for_prometheus(bridge):
    bridge.query("apex_archive::apex_temperature")
    text = bridge.ask("/prometheus").body.decode()
    for name in (
        'sisock_http_requests_total{path="/query",status="200"}',
        'sisock_http_request_seconds_count{path="/query"}',
        "sisock_samples_total",
        "sisock_cache_hits_total",
        "sisock_nodes",
        "sisock_router_up 1.0",
    ):
        assert name in text


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({"PORT": "x"}, "PORT must be a port"),
        ({"BIND": "192.0.2.1"}, "cannot listen on 192.0.2.1"),
        ({"SISOCK_HTTP_BASIC": "word"}, "user:password"),
        ({"SISOCK_NODE_TIMEOUT": "-1"}, "SISOCK_NODE_TIMEOUT must be a positive number"),
        ({"SISOCK_CACHE_MB": "lots"}, "SISOCK_CACHE_MB must be a positive number"),
        ({"SISOCK_DRAIN_SECONDS": "0"}, "SISOCK_DRAIN_SECONDS must be a positive number"),
        ({"WAMP_SECRET": "wrong"}, "refuses the user 'simonsobs'"),
    ],
)
def test_a_bridge_that_cannot_work_ends_with_one_sentence(router, start, variables, sentence):
    given = {"PORT": str(free_port()), **variables}
    program = start(router, "grafana_http_json.py", user="simonsobs", **given)
    assert program.wait() == 1
    assert sentence in program.output.splitlines()[-1]
    assert "Traceback" not in program.output


def test_a_stopping_bridge_waits_no_longer_than_the_limit(router, start, tmp_path):
    node = start(router, "tests/bridge/nodes.py", "waiting", "--name", "waited_for")
    with Client(router.settings()) as client:
        wait_for_nodes(client, "waited_for")
    bridge = RunningBridge(router, tmp_path, SISOCK_DRAIN_SECONDS="0.5")
    try:
        bridge.wait_until_healthy()
        # After the node's answer each of them goes on to ask for the annotations.
        targets = ["waited_for::x", "nodes", "waited_for::x", "nodes"]
        threads = [threading.Thread(target=_ask_quietly, args=(bridge, targets)) for _ in range(8)]
        for thread in threads:
            thread.start()
        wait_until(lambda: node.output.count("asked") == 8, 40, "requests under way")
        bridge.program.signal(signal.SIGTERM)
        assert bridge.program.wait() == 0
        assert "not finished in 0.5 s: 8 requests" in bridge.program.output
        assert "Traceback" not in bridge.program.output
        for thread in threads:
            thread.join(10)
    finally:
        bridge.program.end()


def _ask_quietly(bridge, targets):
    # The bridge ends meanwhile: whatever comes back is right.
    with contextlib.suppress(Exception):
        bridge.query(*targets, range=RANGE)
