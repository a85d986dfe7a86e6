"""What strangers send, or do not send, before they have logged in."""

import random
import re
import resource
import time
from collections import Counter
from contextlib import suppress

import psutil
import pytest

from benchmarks.counts import cpu_seconds
from sisock.client.client import Client
from sisock.errors import SettingsError
from sisock.testing import RouterProcess, wait_until
from tests.faults.doors import (
    BINARY,
    PING,
    TEXT,
    connect,
    connect_tls,
    connect_websocket,
    frame,
    read_until_closed,
    upgrade_request,
)
from tests.faults.helpers import unstarted_router

HELLO = b'[1,"sisock",{"roles":{"caller":{}},"authmethods":["wampcra"],"authid":"simonsobs"}]'
DEEP = b"[" * 40_000
NOISE = random.Random(0).randbytes(10_000)

JSON_TEXTS = {
    "deep": DEEP,
    "deep in a HELLO": b'[1,"sisock",{"roles":{"caller":{}},"authextra":{"x":' + DEEP,
    "deep with bytes": b'[1,"\\u0000",' + DEEP,
    "deep objects": b'{"a":' * 10_000,
    "many small": b"[" + b"1," * 30_000 + b"1]",
    "long number": b"[" + b"9" * 60_000 + b"]",
    "not UTF-8": b'["\xff\xfe"]',
    "a surrogate for a realm": b'[1,"\\ud800",{"roles":{"caller":{}}}]',
    "a surrogate for a user": HELLO.replace(b"simonsobs", b"\\ud800"),
    "lines for a user": HELLO.replace(b"simonsobs", b"\\n\\u001b[2J" * 1000),
    "lines for a realm": HELLO.replace(b"sisock", b"\\n" * 1000),
    "another realm": HELLO.replace(b"sisock", b"elsewhere"),
    "no user": HELLO.replace(b"simonsobs", b"nobody"),
    "odd roles": b'[1,"sisock",{"roles":[1,2]}]',
    "odd extra": b'[1,"sisock",{"roles":{"caller":{}},"authextra":7,"authmethods":["ticket"]}]',
    "wrong signature": HELLO + b"|" + b'[5,"wrong",{}]',
    "very long": b'["' + b"x" * 1_000_000,
    "long signature": HELLO + b"|" + b'[5,"' + b"x" * 60_000 + b'",{}]',
    "signature of lines": HELLO + b"|" + b'[5,"' + b"\\n" * 1000 + b'",{}]',
    "signature first": b'[5,"wrong",{}]',
    "two HELLOs": HELLO + b"|" + HELLO,
    "a call": b'[48,1,{},"org.simonsobservatory.consumer.get_data_node"]',
    "an abort": b'[3,{},"wamp.error.canceled"]',
    **{text: text.encode() for text in ("", "null", "[]", "{}", "[[]]", "[1]", '["x"]', "[1e999]")},
}
BINARIES = {
    "deep": b"\x81" * 40_000,
    "deep msgpack": b"\x91" * 40_000,
    "endless array": b"\x9b\x00\xff\xff\xff\xff\xff\xff\xff",
    "huge array": b"\x9a\x7f\xff\xff\xff",
    "huge msgpack": b"\xdd\x7f\xff\xff\xff",
    "huge map": b"\xba\x7f\xff\xff\xff",
    "endless bytes": b"\x5b\x00\xff\xff\xff\xff\xff\xff\xff",
    "itself": b"\xd8\x1c\x81\xd8\x1d\x00",
    "itself in a HELLO": b"\x83\x01\x66sisock\xd8\x1c\xa1\x65roles\xd8\x1d\x00",
    "large exponent": b"\x81\xc5\x82\x1b\x7f\xff\xff\xff\xff\xff\xff\xff\x03",
    "long decimal": b"\x81\xc4\x82\x01\xc2\x59\xf0\x00" + b"\xff" * 0xF000,
    "random": NOISE,
}
FRAMES = {
    "not masked": b"\x81\x01x",
    "reserved": frame(b"x", 7),
    "reserved bits": b"\xf1" + frame(b"x")[1:],
    "huge length": b"\x81\xff\x7f" + b"\xff" * 11,
    "large ping": frame(b"x" * 200, PING),
    "continuation first": frame(b"x", 0),
    "random": NOISE,
}
REQUESTS = {
    "NUL": b"GET /%00 HTTP/1.1\r\nHost: x\r\n\r\n",
    "no UTF-8": b"GET /%ff%fe HTTP/1.1\r\nHost: x\r\n\r\n",
    "long name": b"GET /" + b"a" * 5000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "outside": b"GET /../../../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n",
    "long line": b"GET /" + b"a" * 200_000,
    "no HTTP": b"\x00\xff" * 1000 + b"\r\n\r\n",
    "long header": b"GET / HTTP/1.1\r\nx: " + b"a" * 200_000,
    "many headers": b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 20_000 + b"\r\n",
    "odd length": b"GET / HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
    "odd range": b"GET / HTTP/1.1\r\nHost: x\r\nRange: bytes=9-1,a-b\r\n\r\n",
    "many ranges": b"GET /page.js HTTP/1.1\r\nHost: x\r\nRange: bytes="
    + b"0-0," * 3000
    + b"\r\n\r\n",
    "odd redirection": b"GET /ws?redirect=http%3A%2F%2F'x HTTP/1.1\r\nHost: x\r\n\r\n",
    "odd delay": b"GET /ws?redirect=http%3A%2F%2Fx&after=y HTTP/1.1\r\nHost: x\r\n\r\n",
    "odd chunks": b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
    "another method": b"\xc3\xbc / HTTP/1.1\r\nHost: x\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(100),
    "half an upgrade": b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\r\n",
    "unknown serializer": upgrade_request("nonsense"),
    "odd key": upgrade_request("json").replace(b"Key: ", b"Key: \xff"),
    "odd version": upgrade_request("json").replace(b"13", b"99999"),
}


def send_all(sock, data):
    with suppress(OSError):  # the router may hang up before it has all
        sock.sendall(data)


def send_messages(router, payload, serializer, opcode):
    sock = connect_websocket(router, serializer)
    for part in payload.split(b"|") if opcode == TEXT else [payload]:
        send_all(sock, frame(part, opcode))
    return sock


def send_frames(router, data):
    sock = connect_websocket(router)
    send_all(sock, data)
    return sock


def send_request(router, data):
    sock = connect_tls(router)
    send_all(sock, data)
    return sock


def send_plain(router, data):
    sock = connect(router)
    send_all(sock, data)
    return sock


GARBAGE = {
    **{f"JSON: {k}": (send_messages, v, "json", TEXT) for k, v in JSON_TEXTS.items()},
    **{f"CBOR: {k}": (send_messages, v, "cbor", BINARY) for k, v in BINARIES.items()},
    **{f"MessagePack: {k}": (send_messages, v, "msgpack", BINARY) for k, v in BINARIES.items()},
    "bytes as JSON": (send_messages, b"[1]", "json", BINARY),
    "text as CBOR": (send_messages, b"[1]", "cbor", TEXT),
    **{f"frame: {k}": (send_frames, v) for k, v in FRAMES.items()},
    **{f"HTTP: {k}": (send_request, v) for k, v in REQUESTS.items()},
    "no TLS": (send_plain, NOISE[:1000]),
    "HTTP without TLS": (send_plain, REQUESTS["NUL"]),
}


@pytest.fixture(scope="module")
def router():
    """A router whose log and connections are those of this file's tests alone."""
    with RouterProcess() as process:
        yield process


@pytest.fixture
def limits():
    """Let this process open as many files as the system allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def work_of(router):
    """CPU seconds that the router's processes have used, its controller aside."""
    return sum(cpu_seconds(each.pid) for each in psutil.Process(router.pid).children())


def worker_of(router):
    """The router's process, of which Crossbar has one beside its controller."""
    (worker,) = psutil.Process(router.pid).children()
    return worker


def log_of_garbage(router):
    """Send all garbage while a client is answered.

    Returns the lines of the router's log, and how often a port was that of a connection.
    """
    ports = Counter()
    with Client(router.settings()) as client:
        client.nodes()
        start = len(router.log)
        for name, (send, *what) in GARBAGE.items():
            before = work_of(router)
            with send(router, *what) as sock:
                ports[str(sock.getsockname()[1])] += 1
                client.nodes()
                assert work_of(router) - before < 1, name
        # A sign that the log has come as far as here.
        with send_messages(router, b"[]", "json", TEXT) as sock:
            port = sock.getsockname()[1]
        ports[str(port)] += 1
        wait_until(lambda: f":{port}: " in router.log, 30, "the last line of the log")
        lines = router.log[start:].splitlines()
    assert len(lines) <= 1 + len(GARBAGE), "\n".join(lines)
    assert max(map(len, lines)) < 400
    return lines, ports


def test_garbage_before_login_stops_nothing_and_fills_no_log(router):
    lines, ports = log_of_garbage(router)
    told = [re.search(r"127.0.0.1:(\d+): |(signature is invalid)", x) for x in lines]
    assert all(told), "\n".join(lines)
    # A line for each connection; two of them may have had the same port, one after the other.
    lines_of = Counter(found[1] for found in told)
    assert lines_of.pop(None) == 1
    assert lines_of <= ports


def test_brackets_stop_no_router_without_a_hub():
    with RouterProcess(hub=False) as router:
        for name in ("deep", "deep in a HELLO"):
            before = work_of(router)
            with send_messages(router, JSON_TEXTS[name], "json", TEXT) as sock:
                read_until_closed(sock)
                connect_websocket(router).close()
                assert work_of(router) - before < 1, name


def test_a_path_that_cannot_be_is_refused(router):
    for name in ("NUL", "no UTF-8", "long name", "outside"):
        with send_request(router, REQUESTS[name]) as sock:
            status = sock.recv(12).decode()
            assert status.startswith("HTTP/1.1 4"), (name, status)


def test_the_router_forwards_no_browser_elsewhere(router):
    for query in (b"", b"&after=0"):
        path = b"/ws?redirect=https%3A%2F%2Felsewhere.example%2F" + query
        with send_request(router, b"GET " + path + b" HTTP/1.1\r\nHost: x\r\n\r\n") as sock:
            answer = read_until_closed(sock)
        assert answer.startswith(b"HTTP/1.1 426 ") and b"elsewhere" not in answer


def test_a_message_before_login_holds_at_most_a_mebibyte(router):
    part = frame(b"x" * 60_000, TEXT, final=False), frame(b"x" * 60_000, 0, final=False)
    with connect_websocket(router) as sock:
        sent = 0
        try:
            while sent < 50 << 20:
                sock.sendall(part[sent > 0])
                sent += len(part[0])
        except OSError:
            pass
        # What the kernels' buffers took before the router closed the connection counts too.
        assert sent < 10 << 20
        read_until_closed(sock)


def test_5000_connections_that_never_log_in(router, limits):
    worker = worker_of(router)
    files, logged = worker.num_fds(), router.log.count("\n")
    began = time.monotonic()
    strangers = []
    for send, count in (
        (lambda: connect(router), 3500),
        (lambda: send_plain(router, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"), 1100),
        (lambda: send_request(router, b"GET / HTTP/1.1\r\nHost"), 200),
        (lambda: connect_websocket(router), 200),
    ):
        strangers += [send() for _ in range(count)]
    # The router takes connections in as fast as it can; the first may end before the last come.
    wait_until(
        lambda: worker.num_fds() >= files + 5000 or time.monotonic() - began >= 20,
        30,
        "5,000 connections",
    )
    with Client(router.settings()) as client:
        client.nodes()
        wait_until(lambda: worker.num_fds() < files + 50, 60, "the end of the strangers")
        assert time.monotonic() - began >= 20
        # The one that logged in stays.
        client.nodes()
    for sock in strangers:
        sock.close()
    assert router.log.count("\n") - logged <= 5000


def test_a_client_with_the_secret_joins_when_the_limit_is_reached(monkeypatch):
    monkeypatch.setenv("CROSSBAR_MAX_CONNECTIONS", "50")
    with RouterProcess() as router:
        worker = worker_of(router)
        files = worker.num_fds()
        strangers = [connect(router) for _ in range(200)]
        with Client(router.settings()) as client:
            client.nodes()
            assert worker.num_fds() <= files + 52
            # Those that waited longest have made room.
            read_until_closed(strangers[0])
            client.nodes()
        for sock in strangers:
            sock.close()


def test_a_wrong_limit_of_connections_is_named(monkeypatch):
    monkeypatch.setenv("CROSSBAR_MAX_CONNECTIONS", "many")
    with unstarted_router() as router, pytest.raises(SettingsError, match="MAX_CONNECTIONS"):
        router.start()


def test_headers_that_never_end_are_closed_but_no_slow_download(router):
    with (
        connect_tls(router) as slow,
        connect_tls(router) as honest,
        connect_websocket(router) as silent,
    ):
        began = time.monotonic()
        slow.sendall(b"GET / HTTP/1.1\r\n")
        # Its reply is larger than what the kernels' buffers take.
        honest.sendall(b"GET /page.js.map HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")

        def is_closed():
            try:
                slow.sendall(b"x: y\r\n")
            except OSError:
                return True

        wait_until(is_closed, 40, "the end of the slow headers", every=0.5)
        assert time.monotonic() - began > 19
        read_until_closed(silent)
        head, _, body = read_until_closed(honest).partition(b"\r\n\r\n")
    assert len(body) == int(re.search(rb"Content-Length: (\d+)", head)[1])
