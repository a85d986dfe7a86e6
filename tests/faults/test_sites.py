"""Sites on the far side of a bad line: 200 ms, 5 % loss, 1 Mbit/s; and a line that is cut."""

import os
import statistics
import threading
import time
import warnings
from contextlib import contextmanager, suppress

import pytest

from sisock import Client
from sisock.errors import SisockError, SiteWarning
from sisock.router.credentials import make_certificates
from sisock.testing import wait_until
from tests import sites
from tests.bridge.conftest import DAY, RunningBridge
from tests.faults.helpers import unstarted_router
from tests.faults.line import Line

CUT_SECONDS = float(os.environ.get("SISOCK_TEST_CUT", "0"))
"""For how long the line is cut, at least; in any case until the bridge has noticed."""

NEAR = "near/apex_archive::apex_temperature"
FAR = "far/apex_archive::apex_temperature"


@pytest.fixture(scope="module")
def line():
    made = Line(delay=0.2, loss=0.05, bytes_per_second=125_000)
    try:
        made.lay()
        yield made
    finally:
        made.remove()


@pytest.fixture(scope="module")
def far(line):
    """The router behind the line."""
    with unstarted_router() as made:
        make_certificates(made.home, names=[line.there])
        yield made.start()


@pytest.fixture
def variables(line, far, router, start, tmp_path):
    """Where the file of the sites is, near and far, each with its weather and its counter."""
    relay = ("tests/faults/relay.py", line.there, far.port, line.near)
    start(far, *line.inside(*map(str, relay))).wait_for("listening")
    for at in (router, far):
        start(at, "data_nodes/weather.py", SISOCK_CACHE=str(tmp_path / str(at.port)))
        start(at, "tests/nodes.py", "numbered")
    behind = sites.entry("far", far, host=line.there)
    return sites.write(tmp_path, sites.entry("near", router), behind)


@pytest.fixture
def client(variables, monkeypatch):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    wanted = {f"{site}/{node}" for site in ("near", "far") for node in ("apex_archive", "numbered")}
    with Client() as made:
        with warnings.catch_warnings(action="ignore", category=SiteWarning):
            wait_until(lambda: wanted <= {node.name for node in made.nodes()}, 60, "all nodes")
        yield made


@contextmanager
def beside(work):
    """Do something in a thread; yields what it has returned, so far nothing."""
    results = []

    def do():
        with suppress(SisockError, OSError):
            results.append(work())

    thread = threading.Thread(target=do)
    thread.start()
    yield results
    thread.join(60)


def test_all_samples_come_over_a_bad_line_and_hold_nobody_up(client):
    whole = {"start": 1500076800, "end": 1500163200}
    near = client.get("near/apex_archive", "apex_temperature", **whole)["apex_temperature"]

    def ask_far():
        for _ in range(10):
            client.fields("far/apex_archive")
        return client.get("far/apex_archive", "apex_temperature", **whole)["apex_temperature"]

    with beside(ask_far) as found:
        again = client.get("near/apex_archive", "apex_temperature", **whole)["apex_temperature"]
        assert found == [], "the line delays nothing"
    assert len(again) == len(near) == 24
    assert found[0].values.tolist() == near.values.tolist()
    with client.watch("far/numbered") as far, client.watch("near/numbered") as close:
        for stream in (close, far):
            numbers = [stream.next(30).values["n"] for _ in range(100)]
            assert numbers == list(range(int(numbers[0]), int(numbers[0]) + 100))


@pytest.mark.timeout(200 + 2 * CUT_SECONDS)
def test_a_site_that_is_cut_off_leaves_the_panels_of_others_alone(client, line, router, tmp_path):
    variables = {"SISOCK_SITES": os.environ["SISOCK_SITES"], "SISOCK_CACHE_MB": "0.001"}
    bridge = RunningBridge(router, tmp_path, **variables)
    (tmp_path / "lone").mkdir()
    lone = RunningBridge(router, tmp_path / "lone", SISOCK_SITES="", SISOCK_CACHE_MB="0.001")
    during, usual = [], []

    def compare():
        during.append(seconds(bridge, NEAR))
        usual.append(seconds(lone, NEAR.removeprefix("near/")))

    try:
        bridge.wait_until_healthy()
        lone.wait_until_healthy()
        wait_until(lambda: points(bridge, FAR) == [24], 60, "samples of the far site")
        line.set_line("down")
        cut_at = time.monotonic()
        with beside(lambda: bridge.ask("/query", panel(FAR))) as answered:
            while not answered and len(during) < 10:
                compare()
            assert len(during) > 2, "the line was not cut"
        assert "far/apex_archive" in notice(answered[0]) or answered[0].status == 503
        wait_until(lambda: bridge.ask("/query", panel(FAR)).status == 503, 40, "a lost site")
        assert points(bridge, NEAR, FAR) == [24, 0]
        assert "the site 'far' cannot be reached" in notice(bridge.ask("/query", panel(NEAR, FAR)))
        while time.monotonic() < cut_at + CUT_SECONDS:
            compare()
        line.set_line("up")
        wait_until(lambda: points(bridge, NEAR, FAR) == [24, 24], 60, "the far site again")
    finally:
        bridge.program.end()
        lone.program.end()
    factor = statistics.median(during) / statistics.median(usual)
    print(f"\n{len(during)} panels while a site was cut off: {factor:.2f} of the time without it")
    assert factor < 3


def panel(*targets):
    return {"range": DAY, "targets": [{"target": target} for target in targets]}


def points(bridge, *targets):
    answer = bridge.ask("/query", panel(*targets))
    return [len(each["datapoints"]) for each in answer.json] if answer.status == 200 else None


def notice(answer):
    return answer.headers.get("X-Sisock-Notice", "")


def seconds(bridge, target):
    """How long a panel takes; its samples come from the node each time."""
    began = time.monotonic()
    assert points(bridge, target) == [24]
    return time.monotonic() - began
