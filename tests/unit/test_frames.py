"""Messages are read alike by `read_messages` and by autobahn alone, however their bytes come."""

from __future__ import annotations

import struct

import pytest
from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from twisted.internet.testing import StringTransport

from sisock.connection.incoming import read_messages

REQUEST = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
NO_MASK = bytes(4)


class Plain(WebSocketServerProtocol):
    """Autobahn's own receiver; it notes messages."""

    def onOpen(self) -> None:
        """Begin to note."""
        self.heard: list[tuple[bytes, bool]] = []

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        """Note a message; leave at the one that says so."""
        self.heard.append((payload, isBinary))
        if payload == b"leave":
            self.sendClose()


class Fast(Plain):
    """The receiver with `read_messages`, as in the router."""

    def consumeData(self) -> None:
        """Read the usual frames fast."""
        read_messages(self)
        super().consumeData()


def frame(payload: bytes, first: int = 0x82, mask: bytes | None = NO_MASK) -> bytes:
    """Return a client's frame."""
    size, bit = len(payload), 0 if mask is None else 0x80
    if size < 126:
        head = bytes([first, bit | size])
    elif size < 1 << 16:
        head = struct.pack("!BBH", first, bit | 126, size)
    else:
        head = struct.pack("!BBQ", first, bit | 127, size)
    covered = bytes(b ^ (mask or NO_MASK)[i % 4] for i, b in enumerate(payload))
    return head + (mask or b"") + covered


def heard(kind: type[Plain], parts: list[bytes], most: int = 0) -> tuple[list, bytes]:
    """Return the messages that a receiver heard, and what it sent after the handshake."""
    factory = WebSocketServerFactory()
    factory.protocol = kind
    no_timers = {
        "openHandshakeTimeout": 0,
        "closeHandshakeTimeout": 0,
    }  # they would outlive the test
    factory.setProtocolOptions(maxMessagePayloadSize=most, failByDrop=False, **no_timers)
    protocol, transport = factory.buildProtocol(None), StringTransport()
    protocol.makeConnection(transport)
    protocol.dataReceived(REQUEST)
    transport.clear()
    for part in parts:
        protocol.dataReceived(part)
    return protocol.heard, transport.value()


STREAM = [
    frame(b"short"),
    frame(b""),
    frame(b"m" * 300),
    frame(b"covered", mask=b"abcd"),
    frame(b"after"),
    frame("text, ä".encode(), first=0x81),
    frame(b"first of ", first=0x02),
    frame(b"a ping between", first=0x89),
    frame(b"two", first=0x80),
    frame(b"m" * 125) + frame(b"m" * 126) + frame(b"m" * 65_535),
    frame(b"l" * 70_000),
    frame(b"last"),
]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 130, 4096, 1 << 20])
def test_each_message_is_heard_once_and_in_order(size):
    stream = b"".join(STREAM[: 9 if size < 4 else None])
    parts = [stream[i : i + size] for i in range(0, len(stream), size)]
    assert heard(Fast, parts) == heard(Plain, parts)
    assert heard(Fast, parts)[0][-1] in [(b"last", True), (b"first of two", True)]


@pytest.mark.parametrize(
    "wrong",
    [
        frame(b"without a mask", mask=None),
        frame(b"a reserved bit", first=0xC2),
        struct.pack("!BBH", 0x82, 0x80 | 126, 5) + NO_MASK + b"short",
        frame(b"too much" * 100),
        frame(b"leave"),
    ],
)
def test_a_connection_ends_alike(wrong):
    parts = [frame(b"before") + wrong + frame(b"after")]
    messages, sent = heard(Fast, parts, most=500)
    assert (messages, sent) == heard(Plain, parts, most=500)
    assert messages[0] == (b"before", True)
    assert b"\x88" in sent  # the frame that closes
