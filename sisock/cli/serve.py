"""Run the data nodes of a TOML file, each in its own process, and report their states.

Each section of the file is a node with the section's name. The key ``program`` is one of sisock's
own nodes or the path of a ``.py`` file; all other keys are flags of the program. The nodes run in
the folder of the file, from which relative paths start.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import Any

from twisted.internet import defer, protocol, reactor, task, threads
from twisted.internet.error import ProcessExitedAlready
from twisted.python.failure import Failure

from sisock.cli.output import write_node_states
from sisock.cli.programs import find_node, given_flags
from sisock.connection.health import OK, VARIABLE, ask_figures, is_served, serve_health
from sisock.connection.reconnect import fail
from sisock.connection.settings import Home, Settings, read_toml
from sisock.errors import SettingsError, SisockError
from sisock.router.launch import prepare_socket
from sisock.wire.protocol import check_node_name

MIN_DELAY, MAX_DELAY = 1.0, 60.0
"""Seconds before a node is started again; doubled each time that it ends soon."""

STEADY = 60.0  # seconds of running after which the delay is `MIN_DELAY` again
STARTUP = 20.0  # seconds in which a new node need not answer

POLL, POLLS = 2.0, 30
"""Seconds between two health checks of a node; number of checks to count samples per second."""

MAX_LINE = 1 << 16  # maximum bytes kept of an unfinished line

_ENDING_WITH_US = (
    "import ctypes, os, sys; os.setsid(); getattr(ctypes.CDLL(None), 'prctl', max)(1, 15);"
    "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
)
"""Python code that becomes a program to which Linux sends SIGTERM when its parent is killed.

Ctrl-C in a terminal reaches only the parent, which sends one SIGTERM.
"""


def run(args: argparse.Namespace, settings: Settings) -> None:
    """Run the nodes of a file until a signal comes; with ``--check``, only test them."""
    if args.check:
        check(args.file)
        return
    flags, socket = given_flags(args), status_socket(settings.home, args.file)
    commands = {name: [*words, *flags] for name, words in load_nodes(args.file).items()}
    if is_served(str(socket)):
        raise SettingsError(f"they run already: see `sisock status {args.file}`")
    prepare_socket(socket)
    task.react(_supervise, (commands, args.file.absolute().parent, str(socket)))


def load_nodes(path: Path) -> dict[str, list[str]]:
    """Read each node's name and command; raises SettingsError, which names the line or the key."""
    if not (sections := read_toml(path)):
        raise SettingsError(f"{path} names no node: write a section for each, such as [weather]")
    commands = {}
    for name, section in sections.items():
        try:
            check_node_name(name)
            commands[name] = _command(name, section, path.absolute().parent)
        except (SisockError, OSError) as error:
            raise SettingsError(f"{path}: [{name}]: {error}") from None
    return commands


def _command(name: str, section: Any, folder: Path) -> list[str]:
    if not isinstance(section, dict) or not isinstance(section.get("program"), str):
        raise SettingsError('it must be a section with a key program, as program = "weather"')
    program = section.pop("program")
    command = [sys.executable, str(find_node(program, folder)), f"--name={name}"]
    for key, value in section.items():
        if key in ("name", "check", "help") or not re.fullmatch(r"[A-Za-z][\w-]*", key):
            raise SettingsError(f"{key!r} cannot be a flag of a node here")
        for each in value if isinstance(value, list) else [value]:
            if not isinstance(each, str | int | float):
                raise SettingsError(f"{key} must be text, a number, true, false, or a list of them")
            if each is not False:
                command.append(f"--{key}" if each is True else f"--{key}={each}")
    return command


def check(path: Path) -> None:
    """Test all nodes of a file without a router; raises SisockError, which names the bad ones."""
    folder, bad = path.absolute().parent, []
    for name, command in load_nodes(path).items():
        print(f"[{name}]", flush=True)
        if subprocess.run([*command, "--check"], cwd=folder).returncode:
            bad.append(name)
    if bad:
        raise SisockError(f"{path}: something is wrong with {', '.join(bad)}: see above")


def status_socket(home: Home, path: Path) -> Path:
    """Return the socket on which the supervisor of a file reports the states of its nodes."""
    digest = hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:12]
    return home.router_socket.absolute().with_name(f"serve-{digest}.sock")


def show_status(args: argparse.Namespace, settings: Settings) -> None:
    """Print the states of the nodes of a file; raises SisockError, which names the bad ones."""
    health, nodes = ask_figures(str(status_socket(settings.home, args.file)))
    if not nodes:
        raise SettingsError(f"`sisock serve {args.file}` is not running: {health}")
    write_node_states(sys.stdout, nodes)
    if bad := [name for name, status in nodes.items() if not status["is_well"]]:
        raise SisockError(f"problems with: {', '.join(bad)}")


class _Node(protocol.ProcessProtocol):
    """A node's process; it is started again whenever it ends."""

    def __init__(self, name: str, command: list[str], folder: Path, socket: str) -> None:
        self._name, self._command, self._folder, self._socket = name, command, folder, socket
        self._delay = MIN_DELAY
        self._ended: str | None = None
        self._is_ending = False
        self.gone: defer.Deferred = defer.Deferred()
        self._polling = task.LoopingCall(self._poll)
        self._start()

    def _start(self) -> None:
        self._restart: Any = None
        self._began = reactor.seconds()
        self._answer, self._figures = self._ended or "has just been started", dict[str, Any]()
        self._counts: deque[tuple[float, int]] = deque(maxlen=POLLS)
        self._rest, self._last_line = {1: b"", 2: b""}, ""
        environ = {**os.environ, VARIABLE: self._socket, "PYTHONUNBUFFERED": "1"}
        words = [sys.executable, "-ISc", _ENDING_WITH_US, *self._command[1:]]
        try:
            reactor.spawnProcess(self, sys.executable, words, environ, str(self._folder))
        except OSError as error:  # no memory, or too many processes or files
            self._start_again(f"cannot be started: {error}")
            return
        self._polling.start(POLL, now=False)

    async def _poll(self) -> None:
        began = self._began
        answer, figures = await threads.deferToThread(ask_figures, self._socket)
        is_starting = not figures and reactor.seconds() - began < STARTUP
        if began == self._began and not is_starting:  # it is still the same process
            self._answer, self._figures = answer, figures
            if figures.get("samples"):  # an archive takes none
                self._counts.append((reactor.seconds(), figures["samples"]))

    def stop(self, with_signal: str) -> None:
        """End the process, and do not start it again; `gone` fires when it has ended."""
        self._is_ending = True
        if self._restart is not None:
            self._restart.cancel()
            self._restart = None
            self.gone.callback(None)
        with suppress(ProcessExitedAlready):
            if self.transport is not None:
                self.transport.signalProcess(with_signal)

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        """Log the output of the process in whole lines."""
        *lines, rest = (self._rest[childFD] + data).split(b"\n")
        self._rest[childFD] = rest[:MAX_LINE]
        for line in lines:
            self._last_line = line.decode(errors="replace")
            self._log(self._last_line)

    def _log(self, line: str) -> None:
        with suppress(OSError):  # nobody reads stderr any more
            print(f"{self._name} | {line}", file=sys.stderr, flush=True)

    def processExited(self, reason: Failure) -> None:
        """Wait a second for the last output; children may keep the pipes open for ever."""
        reactor.callLater(1, self.transport.loseConnection)

    def processEnded(self, reason: Failure) -> None:
        """Start the process again after a delay, unless `stop` was called."""
        self._polling.stop()
        for number, rest in self._rest.items():
            self.childDataReceived(number, b"\n" if rest else b"")
        if self._is_ending:
            self.gone.callback(None)
            return
        by, status = reason.value.signal, reason.value.exitCode
        self._start_again(f"ended by signal {by}" if by else f"status {status}: {self._last_line}")

    def _start_again(self, ended: str) -> None:
        self._ended = ended
        if reactor.seconds() - self._began > STEADY:
            self._delay = MIN_DELAY
        self._log(f"{self._ended}; it is started again in {self._delay:g} s")
        self._restart = reactor.callLater(self._delay, self._start)
        self._delay = min(2 * self._delay, MAX_DELAY)

    def status(self) -> dict[str, Any]:
        """Return the state of the node, with the keys that `sisock status` shows."""
        is_well, rate, state = self._answer == OK, None, "running"
        error = self._figures.get("error") or self._ended if is_well else self._answer
        if self._restart is not None:
            how = "failed" if self._delay == MAX_DELAY else "restarting"
            state = f"{how}, again in {self._restart.getTime() - reactor.seconds():.0f} s"
            is_well, error = False, self._ended
        if len(self._counts) > 1:
            (first_t, first), (last_t, last) = self._counts[0], self._counts[-1]
            rate = (last - first) / (last_t - first_t)
        pid = None if self.transport is None else self.transport.pid
        return {
            "state": state,
            "is_well": is_well,
            "pid": pid,
            "memory": _memory(pid),
            "samples_per_second": rate,
            "last": self._figures.get("last"),
            "error": error,
        }


def _memory(pid: int | None) -> int | None:
    """Return the resident memory of a process in bytes; None if unknown."""
    with suppress(OSError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()
    return None


async def _supervise(
    reactor: Any, commands: dict[str, list[str]], folder: Path, status_at: str
) -> None:
    """Run nodes until a signal comes; a second signal kills them."""
    nodes: dict[str, _Node] = {}
    kinds = iter(("TERM",))

    def stop() -> None:
        kind = next(kinds, "KILL")
        for node in nodes.values():
            node.stop(kind)

    def status() -> dict[str, Any]:
        return {name: node.status() for name, node in nodes.items()}

    def health() -> str:
        every = status().items()
        bad = [f"{name}: {state['error']}" for name, state in every if not state["is_well"]]
        return "; ".join(bad) or OK

    await task.deferLater(reactor, 0)  # until the reactor has installed its signal handlers
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: reactor.callFromThread(stop))
    try:
        await serve_health(health, reactor, status, status_at)
        await serve_health(health, reactor)
    except SisockError as error:
        fail(error)
    with tempfile.TemporaryDirectory(prefix="sisock-") as sockets:
        for name, command in commands.items():
            nodes[name] = _Node(name, command, folder, os.path.join(sockets, str(len(nodes))))
        await defer.DeferredList([node.gone for node in nodes.values()])
