"""Start Python programs by forking a process that has imported what they need.

To import autobahn and numpy takes most of a second, which a thousand starts pay a thousand times.
A fork has them already; all else is as if Python had been started: the program runs as `__main__`
of a process of its own, with its own environment, arguments, folder and standard streams.
"""

from __future__ import annotations

import array
import atexit
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import types
from contextlib import suppress
from functools import cache
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

TOP = Path(__file__).parent.parent

OURS = (
    *("sisock.archive.files", "sisock.bridge.server", "sisock.cli.doctor", "sisock.cli.output"),
    *("sisock.client.client", "sisock.node.check", "sisock.node.run", "sisock.router.registry"),
)
PEERS = ("autobahn.twisted.wamp", "autobahn.twisted.websocket", "autobahn.wamp.serializer", "numpy")
"""What is imported for programs of this project, and for those that know nothing of it."""

_NUMBER = struct.Struct("i")


class Forked:
    """A program that was started: what of `subprocess.Popen` the tests need."""

    def __init__(
        self,
        command: list[str],
        environ: dict[str, str],
        stdin: Any = subprocess.DEVNULL,
        stdout: Any = subprocess.DEVNULL,
        stderr: Any = subprocess.DEVNULL,
        modules: tuple[str, ...] = OURS,
    ) -> None:
        self.returncode: int | None = None
        self._lock = threading.Lock()
        self._status, status = os.pipe()
        with open(os.devnull, "r+b") as null:
            streams = [null if each == subprocess.DEVNULL else each for each in (stdin, stdout)]
            streams.append(streams[1] if stderr == subprocess.STDOUT else stderr)
            streams[2] = null if streams[2] == subprocess.DEVNULL else streams[2]
            request = json.dumps([command, environ, str(TOP)]).encode()
            files = [*(each.fileno() for each in streams), status]
            socket.send_fds(_server(modules), [request], files)
        os.close(status)
        (self.pid,) = _NUMBER.unpack(os.read(self._status, _NUMBER.size))

    def poll(self) -> int | None:
        """Return the exit status, negative for a signal's; None as long as it runs."""
        return self._look(0)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end; returns the exit status."""
        if (status := self._look(timeout)) is None:
            raise subprocess.TimeoutExpired("a program", timeout or 0)
        return status

    def _look(self, seconds: float | None) -> int | None:
        with self._lock:
            if self.returncode is None and select.select([self._status], [], [], seconds)[0]:
                (status,) = _NUMBER.unpack(os.read(self._status, _NUMBER.size))
                os.close(self._status)
                self.returncode = os.waitstatus_to_exitcode(status)
            return self.returncode

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            with suppress(ProcessLookupError):  # it ends just now
                os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill it."""
        self.send_signal(signal.SIGKILL)


def run(
    command: list[str],
    environ: dict[str, str],
    text: str = "",
    seconds: float = 110,
    modules: tuple[str, ...] = OURS,
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, with `text` as its standard input."""
    with TemporaryFile("w+") as stdin, TemporaryFile("w+") as out, TemporaryFile("w+") as err:
        stdin.write(text)
        stdin.seek(0)
        program = Forked(command, environ, stdin, out, err, modules)
        try:
            status = program.wait(seconds)
        finally:
            program.kill()
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(command, status, out.read(), err.read())


@cache
def _server(modules: tuple[str, ...]) -> socket.socket:
    """Start a process that has imported these modules, and return the socket to it."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    number = theirs.fileno()
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.forkserver", str(number), *modules],
        cwd=TOP,
        pass_fds=[number],
        start_new_session=True,  # so that Ctrl-C in a terminal ends the tests, and they the rest
        stdin=subprocess.DEVNULL,
    )
    theirs.close()
    atexit.register(lambda: (ours.close(), process.wait()))
    return ours


def _serve(requests: socket.socket) -> tuple[list[Any], array.array]:
    """Fork at each request and tell how each child ends; returns in the child, what to do."""
    statuses: dict[int, int] = {}
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    while True:
        ready, _, _ = select.select([requests, woken], [], [])
        if requests in ready:
            request, files, _, _ = socket.recv_fds(requests, 1 << 20, 4)
            if not request:  # the tests have ended, perhaps before they could end these
                for pid in statuses:
                    os.kill(pid, signal.SIGKILL)
                raise SystemExit
            pid = os.fork()
            if pid == 0:
                # Only now, as Python forgets signals that come while it forks.
                signal.set_wakeup_fd(-1)
                os.write(files[3], _NUMBER.pack(os.getpid()))
                for each in (requests.detach(), woken, wake, *statuses.values()):
                    os.close(each)
                return json.loads(request), files
            statuses[pid] = files[3]
            for each in files[:3]:
                os.close(each)
        else:
            os.read(woken, 4096)
        for pid in list(statuses):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                os.write(statuses[pid], _NUMBER.pack(status))
                os.close(statuses.pop(pid))


def _become(request: list[Any], files: Any) -> None:
    """Take over what a process of its own would have."""
    command, environ, folder = request
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for number, each in enumerate(files):
        if number < 3:
            os.dup2(each, number)
        os.close(each)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)
    os.environ.clear()
    os.environ.update(environ)
    os.chdir(folder)
    sys.path[1:1] = filter(None, environ.get("PYTHONPATH", "").split(os.pathsep))
    _run(*command)


def _run(first: str, *words: str) -> None:
    """Run a file, ``-c`` code or ``-m`` module as Python does with these arguments."""
    main = sys.modules["__main__"] = types.ModuleType("__main__")
    if first == "-m":
        import runpy

        sys.argv[:] = words
        runpy.run_module(words[0], run_name="__main__", alter_sys=True)
        return
    if first == "-c":
        sys.argv[:], text, name = ["-c", *words[1:]], words[0], "<string>"
    else:
        sys.argv[:], text, name = [first, *words], Path(first).read_text(), first
        sys.path[0] = str(Path(first).resolve().parent)
        main.__file__ = first
    exec(compile(text, name, "exec"), main.__dict__)


if __name__ == "__main__":
    for module in sys.argv[2:]:
        __import__(module)
    assert "twisted.internet.reactor" not in sys.modules, "forks would share a reactor"
    _become(*_serve(socket.socket(fileno=int(sys.argv[1]))))
