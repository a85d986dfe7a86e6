"""Pages of other sites read nothing, and a request that is cut off harms nobody."""

import resource
import select
import socket
import struct

import pytest

from sisock.bridge.metrics import MAX_CONNECTIONS, MAX_HELD
from sisock.connection.runtime import allow_open_files
from sisock.testing import free_port, wait_until

ROUTES = [("/", None), ("/search", b""), ("/query", b"{}"), ("/%71uery", b"{}"), ("/series", None)]
ALLOWED_HOSTS = [
    *("localhost", "LOCALHOST:1", "127.0.0.1:5000", "127.8.9.1", "[::1]:80", "localhost."),
    *("sisock-http:5000", "sisock-http", "bridge.localhost"),
]
REFUSED_HOSTS = [
    *("evil.example", "evil.example:5000", "localhost.evil.example", "evil-localhost"),
    *("127.0.0.1.evil.example", "sisock-http.evil.example", "192.0.2.1", "[2001:db8::1]"),
    *("localhost@evil.example", "localhost/evil.example", "localhost:x", "a b", "[", "ü"),
]
ALLOWED_ORIGINS = [
    *("http://localhost", "https://localhost:3000", "http://127.0.0.1:3000", "http://[::1]:3000"),
    *("http://grafana:3000", "http://grafana-latest"),
]
REFUSED_ORIGINS = [
    *("http://evil.example", "https://localhost.evil.example:3000", "null", "", "localhost"),
    *("file://", "file://localhost", "http://", "http://localhost/", "http://grafana@evil.example"),
    "http://localhost, http://evil.example",
]


@pytest.mark.parametrize("host", ALLOWED_HOSTS)
def test_the_bridge_answers_to_its_own_names(bridge, host):
    for path, body in ROUTES:
        answer = bridge.ask(path, body, headers={"Host": host})
        assert answer.status == 200
        assert "Access-Control-Allow-Origin" not in answer.headers


@pytest.mark.parametrize("host", REFUSED_HOSTS)
def test_the_bridge_answers_to_no_other_name(bridge, host):
    for path, body in [*ROUTES, ("/healthz", None), ("/readyz", None)]:
        answer = bridge.ask(path, body, headers={"Host": host.encode().decode("latin-1")})
        assert answer.status == 403
        assert "SISOCK_HTTP_HOSTS" in answer.json["message"]


@pytest.mark.parametrize("origin", ALLOWED_ORIGINS)
def test_pages_of_allowed_origins_may_read(bridge, origin):
    for path, body in ROUTES:
        answer = bridge.ask(path, body, headers={"Origin": origin})
        assert answer.status == 200
        assert answer.headers["Access-Control-Allow-Origin"] == origin
        assert answer.headers["Vary"] == "Origin"
        assert bridge.ask(path, method="OPTIONS", headers={"Origin": origin}).status == 204


@pytest.mark.parametrize("origin", REFUSED_ORIGINS)
def test_pages_of_other_origins_may_not(bridge, origin):
    for path, body in ROUTES:
        for method in (None, "OPTIONS"):
            answer = bridge.ask(path, body, method, {"Origin": origin})
            assert answer.status == 403
            assert "Access-Control-Allow-Origin" not in answer.headers
            assert "SISOCK_HTTP_ORIGINS" in answer.json["message"]


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_pages_of_other_origins_embed_no_answers(bridge, site):
    fetched = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "no-cors"}
    assert bridge.ask("/series", method="GET", headers=fetched).status == 403
    for mode in ("navigate", "cors"):
        told = {**fetched, "Sec-Fetch-Mode": mode}
        assert bridge.ask("/series", method="GET", headers=told).status == 200


def test_further_hosts_and_origins_are_a_setting_each(start_bridge):
    hosts = "bridge.example.org, 192.0.2.7:5000"
    opened = start_bridge(SISOCK_HTTP_HOSTS=hosts, SISOCK_HTTP_ORIGINS="https://g.example.org/ x.y")
    for host in ("bridge.example.org", "192.0.2.7", "localhost", "sisock-http"):
        assert opened.ask("/search", b"", headers={"Host": host}).status == 200
    for origin in ("https://g.example.org", "http://x.y:3000", "http://localhost"):
        assert opened.ask("/search", b"", headers={"Origin": origin}).status == 200
    for headers in ({"Host": "g.example.org"}, {"Origin": "https://bridge.example.org"}):
        assert opened.ask("/search", b"", headers=headers).status == 403


@pytest.mark.parametrize("variable", ["SISOCK_HTTP_HOSTS", "SISOCK_HTTP_ORIGINS"])
def test_a_name_that_is_none_is_a_clear_error(router, start, variable):
    given = {"PORT": str(free_port()), variable: "good a/b"}
    program = start(router, "grafana_http_json.py", user="simonsobs", **given)
    assert program.wait() == 1
    assert f"{variable} must be names" in program.output.splitlines()[-1]


BODY = b'{"targets": [{"target": "a::b"}]}'
REQUESTS = [
    b"POST /query HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY,
    b"POST /search HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\nGET /search HTTP/1.0\r\n\r\n",
    b"POST /query HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2000000\r\n\r\nx",
    b"POST /query HTTP/1.1\r\nContent-Length: x\r\n\r\n",
]


def test_requests_cut_off_anywhere_leave_no_traceback(bridge):
    for whole in REQUESTS:
        for length in range(1, len(whole) + 1):
            for is_reset in (False, True):
                with socket.create_connection(("127.0.0.1", bridge.port)) as link:
                    link.sendall(whole[:length])
                    if is_reset:
                        now = struct.pack("ii", 1, 0)
                        link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, now)
    marked = {"method": "GET", "headers": {"X-Mark": "1"}}
    wait_until(lambda: bridge.ask("/the-end", **marked).status == 404, 40, "the end")
    bridge.program.wait_for("/the-end")
    assert "Traceback" not in bridge.program.output
    assert "Unhandled" not in bridge.program.output


def opened(bridge, data, count):
    """Connections that have sent the beginning of a request."""
    links = []
    for _ in range(count):
        links.append(socket.create_connection(("127.0.0.1", bridge.port), timeout=20))
        links[-1].sendall(data)
    return links


@pytest.fixture
def many_files():
    """Let this process open as many files as the system allows."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    allow_open_files()
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_requests_that_never_end_make_room_for_others(bridge, many_files):
    links = opened(bridge, b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ", MAX_CONNECTIONS + 100)
    assert bridge.ask("/healthz").status == 200
    with pytest.raises(ConnectionResetError):  # the one that waited longest has to go
        links[0].recv(1)
    for link in links:
        link.close()


def test_unfinished_bodies_take_little_memory(bridge):
    head = b"POST /query HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n"
    links = opened(bridge, head + b"x" * 900_000, MAX_HELD // 900_000 + 10)
    refused, _, _ = select.select(links, [], [], 20)
    assert refused[0].recv(12) == b"HTTP/1.1 503"
    assert bridge.ask("/healthz").status == 200
    for link in links:
        link.close()
