"""A real router for all tests, and programs started against it."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import STDOUT
from typing import Any

import hypothesis
import pytest
from twisted.internet import defer, threads

from sisock.client.client import Client
from sisock.connection.runtime import reactor_thread
from sisock.pytest_plugin import sisock_router as sisock_router
from sisock.testing import RouterProcess, wait_until
from sisock.wire.protocol import USER_CONSUMER, USER_SERVER
from tests.forkserver import OURS, Forked

# A shell that starts the tests in the background has SIGINT ignored, and all that they start would.
signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes depends on what else runs on the machine.
hypothesis.settings.register_profile(
    "search", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
# The same examples each time: no change fails for an old fault. `make test-search` has new ones.
hypothesis.settings.register_profile(
    "sisock", hypothesis.settings.get_profile("search"), derandomize=True
)
hypothesis.settings.load_profile("sisock")

TOP = Path(__file__).parent.parent
LISTED = re.compile(r"node (\S+) is in the hub's list")

LONG = (
    *("faults/test_machine.py", "faults/test_memory.py", "faults/test_network.py"),
    *("faults/test_stopped_readers.py", "faults/test_doors.py", "faults/test_sites.py"),
)
"""Files that take long: were one of them begun last, everything would wait for it."""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest."""
    items.sort(key=lambda item: not item.nodeid.partition("::")[0].endswith(LONG))


class Program:
    """A program of ours, or a peer, in a process of its own, with what it printed."""

    def __init__(
        self, command: list[str], environ: dict[str, str], log: Path, modules: Any = OURS
    ) -> None:
        self._log = log
        with open(log, "wb") as output:
            self.process = Forked(command, environ, stdout=output, stderr=STDOUT, modules=modules)

    @property
    def output(self) -> str:
        """Everything that it printed so far."""
        return self._log.read_text(errors="replace")

    def wait_for(self, text: str, seconds: float = 60) -> None:
        """Wait until it has printed `text`."""

        def printed() -> bool:
            has_ended = self.process.poll() is not None
            if text in self.output:
                return True
            assert not has_ended, f"it ended without {text!r}:\n{self.output}"
            return False

        try:
            wait_until(printed, seconds, f"the line {text!r}")
        except TimeoutError as error:
            raise TimeoutError(f"{error}; it printed:\n{self.output}") from None

    def wait(self, seconds: float = 60) -> int:
        """Wait for its end; returns the exit status."""
        return self.process.wait(seconds)

    def signal(self, number: int) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def end(self) -> None:
        """Kill it, also when it is stopped."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait(60)


@pytest.fixture(scope="session")
def witnesses() -> dict[RouterProcess, Client]:
    """A consumer on each router that tests share."""
    return {}


@pytest.fixture(scope="session")
def router(
    sisock_router: RouterProcess, witnesses: dict[RouterProcess, Client]
) -> Iterator[RouterProcess]:
    """The router that most tests share: they leave no node and no session behind."""
    with Client(sisock_router.settings()) as witnesses[sisock_router]:
        yield sisock_router


@pytest.fixture(scope="session")
def second_router(witnesses: dict[RouterProcess, Client]) -> Iterator[RouterProcess]:
    """The router of another site, shared likewise."""
    with RouterProcess() as process, Client(process.settings()) as witnesses[process]:
        yield process


@pytest.fixture
def own_router() -> Iterator[RouterProcess]:
    """A router for a test that stops it."""
    with RouterProcess() as process:
        yield process


@pytest.fixture
def start(
    tmp_path: Path, witnesses: dict[RouterProcess, Client]
) -> Iterator[Callable[..., Program]]:
    """Start programs against a router; they are ended with the test.

    A further test may serve the same name: of a shared router's list, their nodes are gone then.
    """
    programs: list[Program] = []
    shared: list[tuple[Client, Program, set[str]]] = []

    def start_program(
        router: RouterProcess,
        *command: Any,
        user: str = USER_SERVER,
        modules: Any = OURS,
        **variables: str,
    ) -> Program:
        # Of the test's own: in that of the installation may still be a node of another test.
        cache = str(tmp_path / "cache")
        environ = {**router.environ(user), "SISOCK_CACHE": cache, **variables}
        log = tmp_path / f"program-{len(programs)}.log"
        words = [str(word) for word in command]
        programs.append(Program(words, environ, log, modules))
        if router in witnesses:
            # What the peers print has no names.
            named = {word.removeprefix("--name=") for word in words if word.startswith("--name=")}
            shared.append((witnesses[router], programs[-1], named))
        return programs[-1]

    yield start_program
    for program in programs:
        program.end()
    for witness, program, named in shared:
        if served := {*LISTED.findall(program.output), *named}:
            wait_for_absence(witness, *served)


@pytest.fixture
def client(router: RouterProcess) -> Iterator[Client]:
    """A consumer on the shared router."""
    with Client(router.settings(USER_CONSUMER)) as connected:
        yield connected


def node_names(client: Client) -> set[str]:
    """Names in the hub's list now."""
    return {node.name for node in client.nodes()}


def in_reactor(function: Callable[..., Any], *args: Any) -> Any:
    """Run a coroutine function in the reactor's thread, and return its result."""
    return threads.blockingCallFromThread(
        reactor_thread(), lambda: defer.ensureDeferred(function(*args))
    )


def wait_for_nodes(client: Client, *names: str, seconds: float = 60) -> None:
    """Wait until these nodes are in the hub's list."""
    wait_until(lambda: set(names) <= node_names(client), seconds, f"{names} in the hub's list")


def wait_for_absence(client: Client, *names: str, seconds: float = 60) -> None:
    """Wait until none of these nodes is in the hub's list."""
    wait_until(lambda: not set(names) & node_names(client), seconds, f"{names} gone from the hub")
