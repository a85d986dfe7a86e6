"""A bridge that is told to stop: what is under way is finished, what is new is refused."""

import http.client
import json
import signal
import socket
import threading

import pytest

from sisock import Client
from sisock.testing import wait_until
from tests.bridge.conftest import RunningBridge, iso_range
from tests.conftest import wait_for_nodes
from tests.nodes import START

RANGE = iso_range(START, START + 5)
LAST_CHUNK = b"\r\n]\r\n0\r\n\r\n"


@pytest.fixture
def waiting(router, start, tmp_path):
    """A node that answers once `go_on` is there."""
    given = {"TEST_GO_ON": str(tmp_path / "go_on")}
    node = start(router, "tests/bridge/nodes.py", "waiting", "--name", "drained", **given)
    with Client(router.settings()) as client:
        wait_for_nodes(client, "drained")
    return node


@pytest.fixture
def stopping(router, tmp_path):
    """A bridge to be stopped, which has a minute for that."""
    given = {"SISOCK_DRAIN_SECONDS": "60", "SISOCK_NODE_TIMEOUT": "60"}
    bridge = RunningBridge(router, tmp_path, **given)
    bridge.wait_until_healthy()
    yield bridge
    bridge.program.end()


def slow_client(bridge, body, *headers):
    """Ask, and read nothing of the answer but that it has begun."""
    link = socket.socket()
    link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    link.settimeout(20)
    link.connect(("127.0.0.1", bridge.port))
    text = json.dumps(body).encode()
    lines = ["POST /query HTTP/1.1", "Host: localhost", f"Content-Length: {len(text)}", *headers]
    link.sendall("\r\n".join([*lines, "", ""]).encode() + text)
    assert link.recv(12, socket.MSG_PEEK | socket.MSG_WAITALL) == b"HTTP/1.1 200"
    return link


def read_all(link):
    with link:
        return b"".join(iter(lambda: link.recv(1 << 20), b""))


@pytest.fixture
def large(router, start):
    """A field of a sample a second, so many that a slow client does not take them at once."""
    start(router, "tests/nodes.py", "fresh", "--name", "fresh_drained")
    with Client(router.settings()) as client:
        wait_for_nodes(client, "fresh_drained")
    return "fresh_drained::x"


def test_what_is_under_way_is_finished_and_what_is_new_refused(stopping, waiting, large, tmp_path):
    span = iso_range(START, START + 400_000)
    long = slow_client(stopping, {"range": span, "targets": [{"target": large}]})
    answers = []
    body = {"range": RANGE, "targets": [{"target": "drained::x"}]}
    asking = threading.Thread(target=lambda: answers.append(stopping.ask("/query", body)))
    asking.start()
    waiting.wait_for("asked")
    kept = http.client.HTTPConnection("127.0.0.1", stopping.port, timeout=20)
    kept.request("GET", "/")
    assert kept.getresponse().read()

    stopping.program.signal(signal.SIGTERM)
    wait_until(lambda: stopping.ask("/readyz").status == 503, 40, "the bridge not ready")
    assert "stopping" in stopping.ask("/readyz").json["message"]
    assert stopping.ask("/healthz").status == 200
    kept.request("GET", "/")
    refused = kept.getresponse()
    assert (refused.status, refused.getheader("Connection")) == (503, "close")
    assert int(refused.getheader("Retry-After")) > 0
    assert stopping.ask("/search", b"").status == 503

    assert read_all(long).endswith(LAST_CHUNK)
    assert stopping.program.process.poll() is None
    (tmp_path / "go_on").touch()
    assert stopping.program.wait() == 0
    asking.join(10)
    assert answers[0].status == 200
    assert len(answers[0].json[0]["datapoints"]) == 1
    assert "not finished" not in stopping.program.output


def test_a_second_signal_ends_the_bridge_at_once(stopping, waiting):
    with socket.create_connection(("127.0.0.1", stopping.port)) as link:
        text = json.dumps({"range": RANGE, "targets": [{"target": "drained::x"}]}).encode()
        link.sendall(b"POST /query HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(text) + text)
        waiting.wait_for("asked")
        for number in (signal.SIGTERM, signal.SIGINT):
            assert stopping.program.process.poll() is None
            stopping.program.signal(number)
            wait_until(lambda: is_stopping(stopping), 40, "the bridge stopping")
        assert stopping.program.wait() == 0
    assert "Traceback" not in stopping.program.output


def is_stopping(bridge):
    try:
        return bridge.ask("/readyz").status == 503
    except OSError:
        return True


def test_a_slow_client_ends_with_its_last_request(bridge, large):
    body = {"range": iso_range(START, START + 8000), "targets": [{"target": large}]}
    answer = read_all(slow_client(bridge, body | {"maxDataPoints": 8000}, "Connection: close"))
    head, _, body = answer.partition(b"\r\n\r\n")
    length = next(line for line in head.splitlines() if line.startswith(b"Content-Length"))
    assert len(body) == int(length.split()[1]) > 1 << 16
