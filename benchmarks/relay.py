"""Bytes from one process through a second to a third, over Unix sockets: the least that it takes.

It is the way of samples from a node through the router to a consumer, with nothing on it but
Python's blocking sockets.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from sisock.testing import wait_until

CHUNK = 1 << 18
"""Bytes of one read."""

_processes = multiprocessing.get_context("spawn")


def produce(path: str, size: int) -> None:
    """Send so many bytes for each byte received, until there comes none."""
    payload = os.urandom(size)
    with _accept(path) as link:
        while link.recv(1):
            link.sendall(payload)


def pass_on(path: str, source: str, size: int) -> None:
    """Pass requests on to the producer, and its bytes back."""
    buffer = memoryview(bytearray(CHUNK))
    with _accept(path) as link, _connect(source) as producer:
        while request := link.recv(1):
            producer.sendall(request)
            left = size
            while left:
                count = producer.recv_into(buffer)
                link.sendall(buffer[:count])
                left -= count


@contextlib.contextmanager
def _accept(path: str) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as listener:
        # It gets its name only once it listens, so that whoever sees the name can connect.
        listener.bind(path + ".new")
        listener.listen()
        os.rename(path + ".new", path)
        with listener.accept()[0] as link:
            yield link


def _connect(path: str) -> socket.socket:
    wait_until(lambda: os.path.exists(path), 30, f"the socket {path}")
    link = socket.socket(socket.AF_UNIX)
    link.connect(path)
    return link


class Relay:
    """Producer and relay as processes; this one is the consumer.

    Parameters
    ----------
    folder : Path
        For the sockets.
    size : int
        Bytes that each fetch brings.
    """

    def __init__(self, folder: Path, size: int) -> None:
        near, far = str(folder / "relay.sock"), str(folder / "producer.sock")
        self._received = memoryview(bytearray(size))
        self._started = [
            _processes.Process(target=produce, args=(far, size), daemon=True),
            _processes.Process(target=pass_on, args=(near, far, size), daemon=True),
        ]
        for process in self._started:
            process.start()
        self._link = _connect(near)

    def fetch(self) -> None:
        """Take all bytes once."""
        self._link.sendall(b"?")
        rest = self._received
        while rest:
            rest = rest[self._link.recv_into(rest[:CHUNK]) :]

    def close(self) -> None:
        """End both processes."""
        self._link.close()
        for process in self._started:
            process.join()
