"""The bridge of several sites: a slow or dead one costs its own panels, and nothing else."""

import os
import signal
import time

import pytest

from sisock.testing import wait_until
from tests import sites
from tests.bridge.conftest import DAY, RunningBridge, iso_range
from tests.conftest import TOP, Program

GOOD = "north/apex_archive::apex_temperature"
FAR = "south/weather::apex_temperature"
NOTICE = "X-Sisock-Notice"


@pytest.fixture(scope="module")
def bridge(router, second_router, tmp_path_factory):
    """A bridge of two sites with a weather node each, and three sites that cannot be reached."""
    folder = tmp_path_factory.mktemp("sites")
    two = sites.entry("north", router), sites.entry("south", second_router)
    variables = sites.write(folder, *two, *sites.unreachable(folder, router, second_router))
    started = []
    for at, name in ((router, "apex_archive"), (second_router, "weather")):
        command = [str(TOP / "data_nodes/weather.py"), "--name", name]
        environ = {**at.environ("server"), "SISOCK_CACHE": str(folder / name)}
        started.append(Program(command, environ, folder / f"{name}.log"))
    made = RunningBridge(router, folder, SISOCK_NODE_TIMEOUT="4", **variables)
    started.append(made.program)
    made.wait_until_healthy()
    wait_until(lambda: all(len(each["datapoints"]) for each in made.query(GOOD, FAR)), 60, "nodes")
    made.far_node = started[1]
    yield made
    for program in started:
        program.end()


def ask(bridge, *targets):
    return bridge.ask("/query", {"range": DAY, "targets": [{"target": each} for each in targets]})


def test_fields_of_all_sites_are_on_one_panel(bridge):
    near, far = bridge.query(GOOD, FAR)
    assert (near["target"], far["target"]) == (GOOD, FAR)
    assert near["datapoints"] == far["datapoints"] != []
    found = bridge.ask("/search", {"target": "apex_temperature"})
    assert {GOOD, FAR} <= set(found.json)
    for name in sites.UNREACHABLE:
        assert f"the site '{name}' cannot be reached" in found.headers[NOTICE]


def test_a_wildcard_finds_nodes_of_all_sites_that_are_there(bridge):
    answer = ask(bridge, "*/weather::apex_temp*")
    assert FAR in [each["target"] for each in answer.json]
    assert "'dead'" in answer.headers[NOTICE]
    answer = ask(bridge, "south/*::apex_temperature")
    assert [each["target"] for each in answer.json] == [FAR]
    assert NOTICE not in answer.headers


def test_a_site_that_is_away_costs_its_own_series_a_notice(bridge):
    answer = ask(bridge, GOOD, "dead/weather::apex_temperature", "refused/weather::x")
    good, *gone = [len(each["datapoints"]) for each in answer.json]
    assert (good, gone) == (24, [0, 0])
    assert "'dead' cannot be reached" in answer.headers[NOTICE]
    assert "refuses the user" in answer.headers[NOTICE]


def test_a_panel_of_a_site_that_is_away_says_why(bridge):
    for target in ("dead/weather::x", "dead/*::x"):
        answer = ask(bridge, target)
        assert answer.status == 503
        assert "the site 'dead' cannot be reached: " in answer.json["message"]


def test_a_name_of_no_site_is_a_panel_without_samples(bridge):
    answer = ask(bridge, GOOD, "nowhere/weather::x", "apex_archive::apex_temperature")
    assert [len(each["datapoints"]) for each in answer.json] == [24, 0, 0]


def test_annotations_name_the_site(bridge, second_router, start):
    start(second_router, "tests/nodes.py", "spoken", "--name", "appears")

    def titles():
        query = {"range": iso_range(time.time() - 600, time.time() + 60)}
        found = bridge.ask("/annotations", {**query, "annotation": {"query": "nodes"}})
        return [event["title"] for event in found.json]

    wait_until(lambda: "south/appears appeared" in titles(), 30, "the event of a node")


def test_tiles_are_of_a_site(bridge):
    listed = bridge.ask("/nodes?node=south%2Fweather").json
    assert [each["name"] for each in listed] == ["south/weather"]
    generation = listed[0]["generation"]
    address = f"/tiles/south%2Fweather/{generation}/apex_temperature/12/5720"
    assert bridge.ask(address).status == 200
    assert bridge.ask(address.replace("south", "north")).status == 404


def test_figures_are_by_site(bridge):
    text = bridge.ask("/prometheus").body.decode()
    for line in (
        'sisock_router_up{site="north"} 1.0',
        'sisock_router_up{site="dead"} 0.0',
        'sisock_nodes{site="dead"} 0.0',
    ):
        assert line in text
    assert bridge.ask("/readyz").status == 200


def test_a_stopped_site_costs_the_others_nothing_and_comes_back(bridge, second_router):
    os.killpg(second_router.pid, signal.SIGSTOP)
    try:
        answer = ask(bridge, GOOD, FAR.replace("temperature", "pressure"))
        assert [len(each["datapoints"]) for each in answer.json] == [24, 0]
        assert "south" in answer.headers[NOTICE]
        answers = [ask(bridge, GOOD) for _ in range(3)]
        assert [len(each.json[0]["datapoints"]) for each in answers] == [24] * 3
        assert NOTICE not in answers[0].headers
        gone = wait_until(lambda: _if_failed(ask(bridge, FAR)), 40, "notice that the site is gone")
        assert "the site 'south' cannot be reached" in gone.json["message"]
        # Its node would otherwise be asked once more by a session that the router drops just then.
        bridge.far_node.wait_for("; trying again")
    finally:
        os.killpg(second_router.pid, signal.SIGCONT)
    wait_until(lambda: _points(ask(bridge, FAR)) == 24, 60, "the site and its node again")


def _points(answer):
    return len(answer.json[0]["datapoints"]) if answer.status == 200 else None


def _if_failed(answer):
    return answer if answer.status == 503 else None
