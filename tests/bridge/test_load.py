"""However many ask for much at once and read nothing, the bridge keeps its memory."""

import contextlib
import json
import socket
from pathlib import Path

import pytest

from sisock import Client
from sisock.testing import wait_until
from tests.bridge.conftest import iso_range
from tests.conftest import wait_for_nodes
from tests.nodes import START

CLIENTS = 40
SECONDS = 400
MOST_MEMORY = 300e6
WAYS = ["query", "table", "series"]


@pytest.fixture(scope="module")
def big(router, tmp_path_factory):
    from tests.conftest import TOP, Program

    log = tmp_path_factory.mktemp("big") / "log"
    command = [str(TOP / "tests/nodes.py"), "big", "--name", "big_load"]
    node = Program(command, router.environ("server"), log)
    with Client(router.settings()) as client:
        wait_for_nodes(client, "big_load")
    yield node
    node.end()


def memory(bridge, line):
    """Bytes of the process: VmRSS, what it has, or VmHWM, what it had at most."""
    status = Path(f"/proc/{bridge.program.process.pid}/status").read_text()
    return int(status.partition(f"{line}:")[2].split()[0]) * 1024


def request_of(way):
    targets = ["big_load::f8", "big_load::f4"]
    if way == "series":
        span = f"from={START * 1000}&to={(START + SECONDS) * 1000}"
        path = f"/series?{span}&{'&'.join(f'target={target}' for target in targets)}"
        return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    kind = "table" if way == "table" else "timeserie"
    body = {"range": iso_range(START, START + SECONDS)}
    body["targets"] = [{"target": target, "type": kind} for target in targets]
    text = json.dumps(body)
    head = f"POST /%71uery HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(text)}\r\n\r\n"
    return (head + text).encode()


def heads(links):
    """What has come to each client, which stays unread."""
    come = []
    for link in links:
        with contextlib.suppress(BlockingIOError):
            come.append(link.recv(1000, socket.MSG_PEEK | socket.MSG_DONTWAIT))
    return come


@pytest.mark.parametrize("way", WAYS)
def test_clients_that_read_nothing_cost_bounded_memory(start_bridge, big, way):
    # Forty at once keep a node busy: that it is late is another matter.
    bridge = start_bridge(SISOCK_NODE_TIMEOUT="60")
    small = {"range": iso_range(START, START + SECONDS), "maxDataPoints": 100}
    small["targets"] = [{"target": "big_load::f8"}]
    assert bridge.ask("/query", small).status == 200
    before = memory(bridge, "VmRSS")
    with contextlib.ExitStack() as stack:
        links = []
        for _ in range(CLIENTS):
            links.append(socket.create_connection(("127.0.0.1", bridge.port)))
            stack.callback(links[-1].close)
            links[-1].sendall(request_of(way))
        wait_until(lambda: len(heads(links)) == CLIENTS, 60, "an answer to each")
        assert memory(bridge, "VmHWM") - before < MOST_MEMORY
        answers = heads(links)
        shed = [answer for answer in answers if answer.startswith(b"HTTP/1.1 503")]
        # While they compete, all of them may be refused.
        assert {answer[:12] for answer in answers} <= {b"HTTP/1.1 200", b"HTTP/1.1 503"}
        assert len(shed) >= CLIENTS / 4
        assert all(b"\r\nRetry-After: 5\r\n" in answer for answer in shed)
    wait_until(
        lambda: read_all(bridge, request_of(way)).startswith(b"HTTP/1.1 200"),
        40,
        "an answer once the others have gone",
    )
    assert "Traceback" not in bridge.program.output


def read_all(bridge, request):
    with socket.create_connection(("127.0.0.1", bridge.port), timeout=30) as link:
        link.sendall(request.replace(b"Host:", b"Connection: close\r\nHost:"))
        parts = []
        while part := link.recv(1 << 20):
            parts.append(part)
        return b"".join(parts)
