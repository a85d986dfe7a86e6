"""Raw connections to a router: what a port scanner, an attacker or a broken program sends."""

from __future__ import annotations

import base64
import json
import os
import socket
import ssl
import struct
from typing import Any

import cbor2
import msgpack
from autobahn.wamp import auth

from sisock.connection.settings import read_secret
from sisock.testing import RouterProcess
from sisock.wire.protocol import REALM, USER_CONSUMER

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10

CODECS = {
    "json": (lambda message: json.dumps(message).encode(), json.loads, TEXT),
    "msgpack": (msgpack.packb, msgpack.unpackb, BINARY),
    "cbor": (cbor2.dumps, cbor2.loads, BINARY),
}


def connect(router: RouterProcess) -> socket.socket:
    """Open a TCP connection to the router."""
    return socket.create_connection(("127.0.0.1", router.port), timeout=30)


def connect_tls(router: RouterProcess) -> ssl.SSLSocket:
    """Open a TLS connection to the router."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context.wrap_socket(connect(router))


def upgrade_request(serializer: str) -> bytes:
    """Return the HTTP request that opens a WebSocket."""
    key = base64.b64encode(os.urandom(16)).decode()
    return (
        "GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n"
        f"Sec-WebSocket-Protocol: wamp.2.{serializer}\r\n\r\n"
    ).encode()


def connect_websocket(router: RouterProcess, serializer: str = "json") -> ssl.SSLSocket:
    """Open a WebSocket to the router, without a HELLO."""
    sock = connect_tls(router)
    sock.sendall(upgrade_request(serializer))
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        answer += sock.recv(1)
    assert b" 101 " in answer, answer
    return sock


def frame(payload: bytes, opcode: int = TEXT, final: bool = True) -> bytes:
    """Return a WebSocket frame of a client, masked with zeros."""
    size = len(payload)
    if size < 126:
        length = bytes([0x80 | size])
    elif size < 1 << 16:
        length = b"\xfe" + struct.pack("!H", size)
    else:
        length = b"\xff" + struct.pack("!Q", size)
    return bytes([opcode | (0x80 if final else 0)]) + length + bytes(4) + payload


def read_until_closed(sock: socket.socket) -> bytes:
    """Return everything until the other side closes; fails if it does not within 30 s."""
    received = b""
    try:
        while data := sock.recv(1 << 16):
            received += data
    except TimeoutError:
        raise AssertionError("the router did not close the connection") from None
    except OSError:
        pass
    return received


class Peer:
    """A WAMP session on a raw WebSocket, which may send what no library would."""

    def __init__(self, router: RouterProcess, serializer: str, user: str = USER_CONSUMER) -> None:
        self.socket = connect_websocket(router, serializer)
        self._encode, self._decode, self._opcode = CODECS[serializer]
        self._requests = 0
        roles = {role: {} for role in ("caller", "callee", "publisher", "subscriber")}
        roles["caller"] = {"features": {"progressive_call_results": True}}
        hello = {"roles": roles, "authmethods": ["wampcra"], "authid": user}
        self.send([1, REALM, hello])
        challenge = self.receive()[2]["challenge"]
        secret = read_secret(router.home.secret_file(user))
        self.send([5, auth.compute_wcs(secret, challenge).decode(), {}])
        assert self.receive()[0] == 2

    def send(self, *messages: list[Any]) -> None:
        """Send WAMP messages, all at once."""
        frames = [frame(self._encode(message), self._opcode) for message in messages]
        self.socket.sendall(b"".join(frames))

    def receive(self) -> Any:
        """Return the next WAMP message; pings are answered on the way."""
        while True:
            opcode, size = (byte & 0x7F for byte in self._read(2))
            if size > 125:
                size = int.from_bytes(self._read(2 if size == 126 else 8))
            payload = self._read(size)
            if opcode & 15 in (TEXT, BINARY):
                return self._decode(payload)
            assert opcode & 15 == PING, (opcode, payload)
            self.socket.sendall(frame(payload, PONG))

    def _read(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            more = self.socket.recv(size - len(data))
            assert more, "the router closed the connection"
            data += more
        return data

    def call(self, procedure: str, *args: Any, options: Any = None, **kwargs: Any) -> int:
        """Send a call, without waiting for its answer; returns the request's number."""
        self._requests += 1
        uri = f"org.simonsobservatory.{procedure}"
        self.send([48, self._requests, options or {}, uri, list(args), kwargs])
        return self._requests

    def request(self, message_type: int, *fields: Any) -> Any:
        """Send any message that has an answer, and return that."""
        self._requests += 1
        self.send([message_type, self._requests, {}, *fields])
        return self.receive()

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_: Any) -> None:
        self.socket.close()
