"""Frames of a client's WebSocket, as any other implementation reads them."""

from __future__ import annotations

import socket

import pytest
from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from sisock.connection.transport import make_factory

SIZES = [0, 1, 125, 126, 127, 65_535, 65_536, 1_000_000]


class Server(WebSocketServerProtocol):
    """A server of autobahn's own that keeps the payloads."""

    def onConnect(self, request):
        """Accept the first protocol that the client offers."""
        self.payloads = []
        return request.protocols[0]

    def onMessage(self, payload, isBinary):
        """Keep a payload."""
        self.payloads.append(payload)


class Session:
    """A session that only opens."""

    def onOpen(self, transport):
        """Accept the connection."""

    def onClose(self, was_clean):
        """Accept the end of it."""


class Wire(StringTransport):
    """What one side has written."""

    def __init__(self):
        super().__init__()
        self.socket = socket.socket()

    def setTcpNoDelay(self, enabled):
        """Do as asked."""

    def deliver(self, other):
        """Pass everything on to the other side."""
        data = self.value()
        self.clear()
        other.dataReceived(data)
        return data


@pytest.fixture
def ends():
    client = make_factory("ws://localhost/ws", Session(), lambda reason: None)
    server = WebSocketServerFactory("ws://localhost")
    server.protocol = Server
    both = [factory.buildProtocol(None) for factory in (client, server)]
    wires = [Wire(), Wire()]
    for end, wire in zip(both, wires, strict=True):
        end.makeConnection(wire)
    wires[0].deliver(both[1])
    wires[1].deliver(both[0])
    yield *both, wires[0]
    for end, wire in zip(both, wires, strict=True):
        end.connectionLost(Failure(ConnectionDone()))
        wire.socket.close()


@pytest.mark.parametrize("size", SIZES)
def test_any_server_can_read_what_a_client_sends(ends, size):
    client, server, wire = ends
    payload = (b"0123456789" * (size // 10 + 1))[:size]
    client.sendMessage(payload, isBinary=True)
    sent = wire.deliver(server)
    assert server.payloads == [payload]
    assert sent.endswith(payload)  # not changed by a mask, which costs both sides time
