"""Whatever is sent to whatever route: no 500, no hang, and the bridge still serves.

``make test-odd`` sends 5,000 bodies to each route, the ordinary run fewer.
"""

import http.client
import json
import os
import socket
import time
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from sisock.testing import wait_until
from tests.bridge.conftest import DAY, JULY_15, iso_range

BODIES = int(os.environ.get("SISOCK_TEST_ODD_BODIES", "100"))
ROUTES = [
    "/search",
    "/query",
    "/annotations",
    "/tag-keys",
    "/tag-values",
    "/metrics",
    "/metric-payload-options",
    "/variable",
]
ARGUMENTS = ["target", "from", "to", "interval", "intervalMs", "maxDataPoints"]
ALLOWED = {200, 400, 404, 405, 413, 502, 503}

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(
        [
            "apex_archive::apex_temperature", "*::*", "(a|b)::[", "sensors::cpu_*", "gaps *::*",
            "gaps ", "nodes", "now-6h", "2017-07-15T00:00:00.000Z", "0000-00-00", "1e400", "\u0000",
            "((((a|b)|c)|d)::{x,y}", "::", "a" * 5000, "(a|b)" * 12 + "::x", "1y", "0s",
            1e300, 10**30,
        ]
    ),
)  # fmt: skip
anything = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)
targets = st.one_of(
    anything,
    st.lists(
        st.one_of(
            anything,
            st.fixed_dictionaries(
                {"target": st.one_of(scalars, anything)},
                optional={
                    "refId": anything,
                    "type": st.sampled_from(["table", "timeserie", None, 5]),
                    "hide": scalars,
                    "payload": anything,
                },
            ),
        ),
        max_size=4,
    ),
)
ranges = st.one_of(
    anything,
    st.just(DAY),
    st.just(iso_range(JULY_15, JULY_15)),
    st.fixed_dictionaries({}, optional={"from": scalars, "to": scalars, "raw": anything}),
)
requests = st.fixed_dictionaries(
    {},
    optional={
        "target": anything,
        "targets": targets,
        "range": ranges,
        "interval": scalars,
        "intervalMs": scalars,
        "maxDataPoints": scalars,
        "adhocFilters": st.one_of(anything, st.lists(anything)),
        "filters": anything,
        "annotation": st.one_of(anything, st.fixed_dictionaries({"query": scalars})),
        "payload": anything,
        "key": anything,
    },
)
bodies = st.one_of(
    st.binary(max_size=200),
    anything.map(json.dumps).map(str.encode),
    requests.map(json.dumps).map(str.encode),
    requests.map(json.dumps).map(str.encode),
)


@pytest.fixture
def connection(bridge):
    link = http.client.HTTPConnection("127.0.0.1", bridge.port, timeout=20)
    yield link
    link.close()


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("route", ROUTES)
def test_no_body_makes_the_bridge_fail_or_hang(bridge, connection, route):
    @settings(
        max_examples=BODIES,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(bodies)
    def send(body):
        connection.request("POST", route, body)
        response = connection.getresponse()
        text = response.read()
        assert response.status in ALLOWED, text
        answer = json.loads(text)
        if response.status != 200:
            assert answer["message"]

    send()
    assert bridge.is_healthy()


@pytest.mark.timeout(1800)
def test_no_url_makes_the_bridge_fail_or_hang(bridge, connection):
    @settings(max_examples=BODIES, database=None)
    @given(
        st.lists(
            st.tuples(
                st.sampled_from(
                    ["target", "from", "to", "interval", "intervalMs", "maxDataPoints"]
                ),
                scalars.map(str),
            ),
            max_size=6,
        )
    )
    def send(arguments):
        words = "&".join(f"{key}={quote(text, safe='')}" for key, text in arguments)
        # The server hangs up on longer lines.
        assume(len(words) < 16_000)
        connection.request("GET", f"/series?{words}")
        response = connection.getresponse()
        text = response.read()
        assert response.status in ALLOWED, text
        json.loads(text)

    send()
    assert bridge.is_healthy()


def send_raw(bridge, data):
    """What comes back for bytes as they are, until the bridge closes the connection."""
    with socket.create_connection(("127.0.0.1", bridge.port), timeout=20) as link:
        link.sendall(data)
        return b"".join(iter(lambda: link.recv(65536), b""))


QUERY = json.dumps({"range": DAY, "targets": [{"target": "apex_archive::apex_temperature"}]})


def test_a_body_in_chunks_is_read(bridge):
    body = QUERY.encode()
    answer = send_raw(
        bridge,
        b"POST /query HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(body), body),
    )
    assert answer.startswith(b"HTTP/1.1 200")
    assert b'"apex_archive::apex_temperature"' in answer


@pytest.mark.parametrize("kind", ["multipart/form-data", "multipart/form-data; boundary=x"])
def test_a_body_that_says_it_is_a_form_is_read_all_the_same(bridge, kind):
    answer = bridge.ask("/query", QUERY.encode(), headers={"Content-Type": kind})
    assert answer.status == 200
    assert len(answer.json[0]["datapoints"]) == 24
    broken = bridge.ask("/query", b"--x\r\nno form", headers={"Content-Type": kind})
    assert broken.status == 400
    assert "not JSON" in broken.json["message"]


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'{"targets":['])
@pytest.mark.parametrize("route", ROUTES)
def test_deep_nesting_is_refused(bridge, route, opening):
    answer = bridge.ask(route, opening * 50_000)
    assert answer.status == (200 if route.startswith("/metric") else 400)
    assert answer.status == 200 or answer.json["message"]


@pytest.mark.parametrize("text", ["a\r\nX: y::x", "\x00::\x07", "ü\x7f::\u2028", "a\rb::c*"])
def test_control_characters_of_a_target_break_no_header(bridge, text):
    answer = bridge.ask("/query", {"range": DAY, "targets": [{"target": text}]})
    assert answer.status == 200


def test_a_body_without_end_is_refused(bridge):
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    head = b"POST /query HTTP/1.1\r\nHost: localhost\r\nOrigin: http://grafana\r\n"
    head += b"Transfer-Encoding: chunked\r\n\r\n"
    logged = bridge.program.output.count('"status":413')
    # With one byte over the limit nothing is left unread, so that no reset overtakes the answer.
    answer = send_raw(bridge, head + chunk * 16 + b"1\r\nx")
    assert answer.startswith(b"HTTP/1.1 413")
    assert b"Access-Control-Allow-Origin: http://grafana\r\n" in answer
    # Other tests, too, send what is too large: the line of the last one may have come just now.
    wait_until(
        lambda: bridge.program.output.count('"status":413') > logged, 20, "a line in the log"
    )
    with socket.create_connection(("127.0.0.1", bridge.port), timeout=20) as link:
        link.sendall(head)
        deadline = time.monotonic() + 20
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            while time.monotonic() < deadline:
                link.sendall(chunk)
    assert bridge.is_healthy()
