"""Two bridges behind HAProxy: one is stopped or killed under load, and no panel fails."""

import http.client
import itertools
import json
import signal
import threading

import pytest

from sisock.testing import free_port, wait_until
from tests.bridge.balancer import CONFIGURATION, Balancer
from tests.bridge.conftest import JULY_15, RunningBridge, iso_range
from tests.conftest import TOP

CLIENTS = 5
FIELDS = "temperature", "pressure", "humidity", "windspeed"


@pytest.fixture
def pair(router, bridge, tmp_path):
    """Start bridges, each of which ends with the test; the demo's nodes are there."""
    made = []

    def begin(**variables):
        folder = tmp_path / str(len(made))
        folder.mkdir()
        made.append(RunningBridge(router, folder, **variables))
        return made[-1]

    yield begin
    for each in made:
        each.program.end()


@pytest.fixture
def balancer(tmp_path):
    """Start HAProxy before two bridges."""
    made = []

    def begin(one, two):
        made.append(Balancer((one.port, two.port), tmp_path / "haproxy.log"))
        return made[-1].__enter__()

    yield begin
    for each in made:
        each.__exit__(None, None, None)


def bodies():
    """Requests of panels, of which many differ."""
    for days, field in itertools.product(range(1, 8), FIELDS):
        yield json.dumps(
            {
                "range": iso_range(JULY_15, JULY_15 + days * 43200),
                "intervalMs": 1000,
                "maxDataPoints": 500,
                "targets": [{"target": f"apex_archive::apex_{field}", "refId": "A"}],
            }
        )


def answer_to(port, body, link=None):
    """Ask for a panel on a connection, or on a new one; returns status and body."""
    link = link or http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    link.request("POST", "/query", body, {"Content-Type": "application/json"})
    response = link.getresponse()
    return response.status, response.read()


class Load:
    """Clients that ask for panels without pause, and compare each answer to the right one."""

    def __init__(self, port, right):
        self.wrong, self.count = [], 0
        self._port, self._right = port, right
        self._is_over = threading.Event()
        # Every other client makes a new connection for each request.
        self._threads = [
            threading.Thread(target=self._ask, args=(bool(n % 2),)) for n in range(CLIENTS)
        ]
        for thread in self._threads:
            thread.start()

    def _ask(self, is_kept):
        link = None
        for body, right in itertools.cycle(self._right.items()):
            if self._is_over.is_set():
                return
            if is_kept and link is None:
                link = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
            try:
                found = answer_to(self._port, body, link)
            except (OSError, http.client.HTTPException) as error:
                found, link = repr(error), None
            self.count += 1
            if found != (200, right):
                self.wrong.append(found)

    def wait_for_more(self, count=100):
        """Wait until some more requests were answered."""
        wanted = self.count + count
        wait_until(lambda: self.count >= wanted, 60, "answers under load")

    def end(self):
        self._is_over.set()
        for thread in self._threads:
            thread.join(40)


@pytest.fixture
def right(bridge):
    """The right answer to each of `bodies`."""
    found = {body: answer_to(bridge.port, body) for body in bodies()}
    assert {status for status, _ in found.values()} == {200}
    return {body: answer for body, (_, answer) in found.items()}


def answered(bridge):
    """Number of panels that a bridge itself has answered."""
    text = bridge.ask("/prometheus").body.decode()
    lines = [line for line in text.splitlines() if 'requests_total{path="/query"' in line]
    return sum(float(line.split()[-1]) for line in lines)


def test_no_panel_fails_while_bridges_are_stopped_and_killed(pair, balancer, right):
    one, two = pair(), pair()
    one.wait_until_healthy()
    two.wait_until_healthy()
    load = Load(balancer(one, two).port, right)
    try:
        load.wait_for_more()
        wait_until(lambda: answered(one) and answered(two), 40, "both to answer")
        one.program.signal(signal.SIGTERM)
        load.wait_for_more()
        assert one.program.wait() == 0
        assert "not finished" not in one.program.output
        load.wait_for_more()
        back = pair(PORT=str(one.port))
        back.wait_until_healthy()
        wait_until(lambda: answered(back), 40, "the one that is back to answer")
        two.program.signal(signal.SIGKILL)
        load.wait_for_more(200)
    finally:
        load.end()
    assert load.wrong == []


def test_if_no_bridge_is_ready_the_answer_says_why(pair, balancer):
    nowhere = {"CROSSBAR_TLS_PORT": str(free_port()), "SISOCK_ROUTER": ""}
    one, two = pair(**nowhere), pair(**nowhere)
    port = balancer(one, two).port

    def explanation():
        try:
            status, body = answer_to(port, next(bodies()))
        except OSError:
            return False
        return status == 503 and body.startswith(b"{") and "router" in json.loads(body)["message"]

    def is_healthy():
        try:
            return one.ask("/healthz").status == 200
        except OSError:
            return False

    wait_until(explanation, 30, "the bridges' own explanation")
    wait_until(is_healthy, 30, "the health of a bridge without a router")


def test_the_documentation_shows_the_configuration():
    assert CONFIGURATION.read_text() in (TOP / "docs/explanation/scale.md").read_text()
