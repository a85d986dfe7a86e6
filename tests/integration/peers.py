"""Peers for the tests: those of tests/peers in processes of their own, and sessions at hand."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from queue import Queue
from tempfile import TemporaryDirectory, TemporaryFile
from typing import Any

from autobahn.wamp.exception import ApplicationError
from twisted.internet import defer, threads

from sisock.client.client import Client
from sisock.connection.reconnect import RouterConnection
from sisock.connection.runtime import reactor_thread
from sisock.connection.settings import read_secret
from sisock.testing import Part1Consumer, RouterProcess, wait_until
from sisock.wire.protocol import USER_CONSUMER, USER_SERVER, uri
from tests import forkserver
from tests.conftest import TOP, Program, wait_for_absence, wait_for_nodes
from tests.forkserver import Forked

PEERS = TOP / "tests" / "peers"
LIMIT = 60


def call(suffix: str, *args: Any, **kwargs: Any) -> dict[str, Any]:
    """A request of the bare consumer."""
    return {"call": suffix, "args": args, "kwargs": kwargs}


def fields(node: str, *args: Any, **kwargs: Any) -> dict[str, Any]:
    """A request of the bare consumer for a node's fields."""
    return call(f"consumer.{node}.get_fields", *args, **kwargs)


def data(node: str, *args: Any, **kwargs: Any) -> dict[str, Any]:
    """A request of the bare consumer for a node's samples."""
    return call(f"consumer.{node}.get_data", *args, **kwargs)


@contextmanager
def serving(
    router: RouterProcess, folder: Path, commands: Mapping[str, list[str]]
) -> Iterator[Client]:
    """Run our nodes, name to command, for as long as the block lasts; gives a client."""
    programs = [
        Program([*command, "--name", name], router.environ(USER_SERVER), folder / name)
        for name, command in commands.items()
    ]
    try:
        with Client(router.settings()) as client:
            wait_for_nodes(client, *commands, seconds=LIMIT)
            yield client
            for program in programs:
                # Whatever they were asked, none has lost its connection.
                assert program.output.count("joined the router") == 1, program.output
                program.end()
            wait_for_absence(client, *commands)
    finally:
        for program in programs:
            program.end()


def bare_command(router: RouterProcess, peer: str, authid: str, *flags: str) -> list[str]:
    """The command line of a peer, without the interpreter."""
    where = ["--url", f"wss://localhost:{router.port}/ws", "--ca", str(router.home.ca_certificate)]
    return [str(PEERS / f"{peer}.py"), *where, "--authid", authid, *flags]


def secret_of(router: RouterProcess, user: str) -> str:
    """The secret of one of the router's users."""
    return read_secret(router.home.secret_file(user))


def start_bare(
    start: Callable[..., Program], router: RouterProcess, peer: str, *flags: str
) -> Program:
    """Start a bare hub or node, with the fixture `start`."""
    command = bare_command(router, peer, USER_SERVER, *flags)
    secret = secret_of(router, USER_SERVER)
    return start(router, *command, modules=forkserver.PEERS, WAMP_SECRET=secret)


def _consumer(
    router: RouterProcess, serializer: str, authid: str, secret: str | None
) -> tuple[list[str], dict[str, str]]:
    """Command line and environment of the bare consumer."""
    secret = secret_of(router, authid) if secret is None else secret
    command = bare_command(router, "bare_consumer", authid, "--serializer", serializer)
    return command, {**router.environ(authid), "WAMP_SECRET": secret}


def ask(
    router: RouterProcess,
    requests: list[dict[str, Any]],
    serializer: str = "json",
    authid: str = USER_CONSUMER,
    secret: str | None = None,
) -> list[dict[str, Any]]:
    """What the bare consumer gets for each of its requests, asked in one session."""
    command = _consumer(router, serializer, authid, secret)
    done = forkserver.run(*command, json.dumps(requests), LIMIT, forkserver.PEERS)
    return [json.loads(line) for line in done.stdout.splitlines()]


def results(router: RouterProcess, *requests: dict[str, Any], serializer: str = "json") -> list:
    """The results of calls of a consumer of Part 1, of which none may fail."""
    with Part1Consumer(router, serializer) as consumer:
        found = [consumer.call(r["call"], *r["args"], **r["kwargs"]) for r in requests]
    # What JSON does not know has no place in Part 1: the test shall see it.
    return json.loads(json.dumps(found, default=repr))


@contextmanager
def listening(
    router: RouterProcess,
    suffix: str,
    count: int,
    serializer: str = "json",
    authid: str = USER_CONSUMER,
) -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """Subscribe a bare consumer to a topic; gives a function that waits for `count` events."""
    request = {"subscribe": suffix, "seconds": 2 * LIMIT, "count": count}
    with TemporaryFile("w+") as stdin, TemporaryDirectory() as folder:
        json.dump([request], stdin)
        stdin.seek(0)
        out, err = Path(folder, "out"), Path(folder, "err")
        with open(out, "w") as stdout, open(err, "w") as stderr:
            command = _consumer(router, serializer, authid, None)
            peer = Forked(*command, stdin, stdout, stderr, forkserver.PEERS)

        def subscribed() -> bool:
            assert peer.poll() is None, err.read_text()
            return f"subscribed {suffix}" in err.read_text()

        def events() -> list[dict[str, Any]]:
            peer.wait(2 * LIMIT)
            return json.loads(out.read_text())["events"]

        try:
            wait_until(subscribed, LIMIT, f"the subscription to {suffix}")
            yield events
        finally:
            peer.kill()


class Member:
    """A session of this process, joined as any user; use it with ``with``."""

    def __init__(
        self, router: RouterProcess, user: str = USER_SERVER, use_socket: bool = False
    ) -> None:
        self._reactor = reactor_thread()
        joined: Queue[Any] = Queue()
        settings = router.settings(user, use_socket)
        self._connection = RouterConnection(settings, joined.put, reactor=self._reactor)
        self._reactor.callFromThread(self._run)
        self.session = joined.get(timeout=LIMIT)

    def _run(self) -> None:
        defer.ensureDeferred(self._connection.run()).addErrback(lambda failure: None)

    @property
    def id(self) -> int:
        """The session's WAMP id."""
        return self.session.session_id

    def do(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Call a method of the session and wait for what it gives, for a limited time."""

        def begin() -> defer.Deferred:
            done = defer.maybeDeferred(getattr(self.session, method), *args, **kwargs)
            return done.addTimeout(20, self._reactor)

        return threads.blockingCallFromThread(self._reactor, begin)

    def call(self, suffix: str, *args: Any, **kwargs: Any) -> Any:
        """Call a procedure of ours."""
        return self.do("request", uri(suffix), *args, **kwargs)

    def add(self, name: str, description: str = "a test", **kwargs: Any) -> bool:
        """Add a node of this session."""
        return self.call("data_node.add", name, description, self.id, **kwargs)

    def subtract(self, name: str) -> None:
        """Subtract a node of this session."""
        return self.call("data_node.subtract", name, self.id)

    def refusal(self, method: str, *args: Any, **kwargs: Any) -> str | None:
        """The error of a method of the session; None if it succeeds."""
        try:
            self.do(method, *args, **kwargs)
        except ApplicationError as error:
            return error.error
        return None

    def close(self) -> None:
        """Say goodbye."""
        threads.blockingCallFromThread(
            self._reactor, lambda: defer.ensureDeferred(self._connection.stop())
        )

    def __enter__(self) -> Member:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()
