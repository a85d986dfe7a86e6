"""What a connection makes of the bytes that come: requests, one after the other, or a refusal."""

import json

import pytest

from sisock.bridge.answers import Answer
from sisock.bridge.http import HEAD_LIMIT, LINGER, REQUEST_LIMIT
from tests.unit.test_handlers import REQUEST, Visit


async def echo(request):
    return Answer([request.body or b"none"])


def posted(body, *headers):
    lines = [b"POST /query HTTP/1.1", b"Host: localhost", *headers]
    return b"\r\n".join([*lines, b"Content-Length: %d" % len(body), b"", body])


def bodies(visit):
    """The bodies of all answers, which are short."""
    return [part.partition(b"\r\n\r\n")[2] for part in visit.written.split(b"HTTP/1.1 ")[1:]]


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_requests_are_answered_in_order_however_they_are_cut(size):
    data = posted(b"one") + posted(b"two") + posted(b"three")
    visit = Visit(echo, *(data[i : i + size] for i in range(0, len(data), size)))
    visit.clock.advance(0.0)
    visit.clock.advance(0.0)
    assert bodies(visit) == [b"one", b"two", b"three"]
    assert not visit.is_closed


def test_a_body_in_chunks_is_one_and_its_trailers_are_no_headers():
    head = b"POST /query HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    visit = Visit(echo, head, b"2\r\nab\r\n1\r\nc\r\n0\r\nOrigin: http://evil.example\r\n\r\n")
    assert bodies(visit) == [b"abc"]
    assert visit.head[0] == b"http/1.1 200 ok"


@pytest.mark.parametrize(
    ("more", "is_closed"), [(b"Connection: close", True), (b"Connection: keep-alive", False)]
)
def test_a_client_says_whether_it_was_the_last_request(more, is_closed):
    visit = Visit(echo, posted(b"x", more))
    assert bodies(visit) == [b"x"]
    assert visit.is_closed is is_closed
    assert (b"connection: close" in visit.head) is is_closed


def test_a_connection_is_not_upgraded_but_answered():
    upgrade = b"POST /query HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
    visit = Visit(echo, upgrade, REQUEST)
    assert bodies(visit) == [b"none"]
    assert visit.is_closed


def test_an_answer_to_http_1_0_ends_with_its_connection():
    async def long(request):
        return Answer(iter([b"[1,", b"2]"]))

    visit = Visit(long, REQUEST.replace(b"HTTP/1.1", b"HTTP/1.0"))
    assert visit.body == b"[1,2]"
    assert visit.is_closed


def test_who_waits_for_leave_to_send_a_body_gets_it():
    head, _, body = posted(b"x", b"Expect: 100-continue").partition(b"\r\n\r\n")
    visit = Visit(echo, head + b"\r\n\r\n")
    assert visit.written == b"HTTP/1.1 100 Continue\r\n\r\n"
    visit = Visit(echo, head + b"\r\n\r\n", body)
    assert bodies(visit)[1:] == [b"x"]


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"\x16\x03\x01\r\n", 400),
        (b"PULL / HTTP/1.1\r\n\r\n", 400),
        (b"POST /query HTTP/1.1\r\nContent-Length: x\r\n\r\n", 400),
        (b"POST /query HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400),
        (posted(b"0\r\n\r\n", b"Transfer-Encoding: chunked"), 400),
        (posted(b"a" * (REQUEST_LIMIT + 1))[:-1], 413),
        (posted(b"x", b"Connection: upgrade", b"Upgrade: h2c"), 501),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * HEAD_LIMIT, 431),
        (b"GET /" + b"a" * HEAD_LIMIT, 431),
    ],
)
def test_what_is_not_read_is_refused_once_and_the_connection_closed(data, status):
    visit = Visit(echo, data, REQUEST)
    (body,) = bodies(visit)
    assert visit.head[0].startswith(b"http/1.1 %d " % status)
    assert json.loads(body)["message"]
    assert not visit.is_closed
    visit.clock.advance(LINGER)
    assert visit.is_closed


def test_trailers_without_end_are_refused():
    head = b"POST /query HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\nX: "
    visit = Visit(echo, head, *[b"a" * (1 << 20)] * 5)
    assert visit.head[0] == b"http/1.1 413 request entity too large"
