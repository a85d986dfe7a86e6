"""Whatever is sent to whatever route: no 500, no hang, and the bridge still serves.

``make test-odd`` sends 5,000 bodies to each route, the ordinary run fewer.
"""

import http.client
import json
import os
import socket
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.bridge.conftest import DAY

BODIES = int(os.environ.get("SISOCK_TEST_ODD_BODIES", "200"))
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


@pytest.fixture(scope="module")
def connection(bridge):
    link = http.client.HTTPConnection("127.0.0.1", bridge.port, timeout=20)
    yield link
    link.close()


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("route", ROUTES)
def test_no_body_makes_the_bridge_fail_or_hang(bridge, connection, route):
    @settings(
        max_examples=BODIES,
        deadline=None,
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
    @settings(max_examples=BODIES, deadline=None, database=None)
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
        connection.request("GET", f"/series?{words}")
        response = connection.getresponse()
        text = response.read()
        assert response.status in ALLOWED, text
        json.loads(text)

    send()
    assert bridge.is_healthy()


def test_a_body_without_end_is_refused(bridge):
    with socket.create_connection(("127.0.0.1", bridge.port), timeout=20) as link:
        link.sendall(b"POST /query HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
        answer = b""
        for _ in range(64):
            try:
                link.sendall(chunk)
            except OSError:
                break
        try:
            answer = link.recv(1000)
        except ConnectionResetError:
            answer = b"HTTP/1.1 413"
    assert answer.startswith(b"HTTP/1.1 413")
    assert bridge.is_healthy()
