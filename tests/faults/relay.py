"""A connection that can be cut: forwards TCP connections to a port.

As a program: ``python tests/faults/relay.py ADDRESS PORT HOST``, from there to the port of a host.
"""

from __future__ import annotations

import signal
import socket
import sys
import threading
from contextlib import suppress

LINGER = b"\x01\x00\x00\x00\x00\x00\x00\x00"


class Relay:
    """Listens on `port` of this computer, for what is to be connected to the port `to`.

    Both are of loopback; otherwise `at` and `to_host` are the addresses.
    """

    def __init__(
        self, to: int, at: tuple[str, int] = ("127.0.0.1", 0), to_host: str = "127.0.0.1"
    ) -> None:
        self._to = to_host, to
        self._address, self.port = at
        self._flows = threading.Event()
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self.open()

    def open(self) -> None:
        """Listen, at the same port as before."""
        self._flows.set()
        self._listener = socket.create_server((self._address, self.port))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def hold(self) -> None:
        """Pass nothing on, until it is closed."""
        self._flows.clear()

    def cut(self) -> None:
        """Reset all connections; new ones are taken at once."""
        with self._lock:
            for each in self._open:
                each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER)
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Cut all, and listen no more."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._flows.set()
        self.cut()

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                near, _ = listener.accept()
                threading.Thread(target=self._serve, args=(near,), daemon=True).start()

    def _serve(self, near: socket.socket) -> None:
        with near, suppress(OSError), socket.create_connection(self._to) as far:
            with self._lock:
                self._open |= {near, far}
            back = threading.Thread(target=self._pump, args=(far, near), daemon=True)
            back.start()
            self._pump(near, far)
            back.join()
            with self._lock:
                self._open -= {near, far}

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                self._flows.wait()
                target.sendall(data)
        for each in (source, target):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


if __name__ == "__main__":
    address, port, host = sys.argv[1:]
    Relay(int(port), (address, int(port)), host)
    print("listening", flush=True)
    signal.pause()
