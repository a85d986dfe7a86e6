"""The trial of delivery: numbered samples through killed routers, cut connections, slow readers.

Whatever happens, each consumer must get each sample once and in order, and both the node and the
recorder must have them all in the end.
"""

from __future__ import annotations

import json
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sisock.client.client import Client
from sisock.errors import SisockError
from sisock.testing import RouterProcess, wait_until
from sisock.wire.protocol import USER_CONSUMER
from tests.browser.followers import Follower, FollowingPage
from tests.conftest import Program
from tests.faults.helpers import kill_router
from tests.faults.relay import Relay
from tests.faults.tally import faults

CAUGHT_UP = 90
"""Seconds within which a consumer has all that it missed."""

Start = Callable[..., Program]
Tallies = Callable[[], dict[str, Any]]


@dataclass
class Plan:
    """How long the trial is."""

    samples: int
    kills: int
    cuts: int
    restarts: int
    hubs: int
    recorders: int
    stop_seconds: float
    pause: float
    minutes: float
    seed: int


@dataclass
class Report:
    """What was done and found."""

    plan: Plan
    samples: int = 0
    done: Counter[str] = field(default_factory=Counter)
    got: dict[str, int] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def __str__(self) -> str:
        rows = [*self.done.items(), *((f"samples at {name}", n) for name, n in self.got.items())]
        lines = "".join(f"\n    {what}: {count}" for what, count in rows)
        return (
            f"\ndelivery of {self.samples} of {self.plan.samples} samples in {self.seconds:.0f} s,"
            f" seed {self.plan.seed}:{lines}\nviolations: {len(self.violations)}"
        )


def of_program(program: Program) -> Tallies:
    """Return what looks up what a consumer has printed last."""

    def look() -> dict[str, Any]:
        lines = [line for line in program.output.splitlines() if line.startswith("{")]
        for line in reversed(lines):
            if line.endswith("}}") or line == "{}":
                return json.loads(line)
        return {}

    return look


class Delivery:
    """Router, hub, a node and its consumers."""

    def __init__(
        self, router: RouterProcess, start: Start, folder: Path, plan: Plan, browser: Any = None
    ) -> None:
        self.router = router
        self.report = Report(plan)
        self._start, self._folder, self._plan = start, folder, plan
        self._chance = random.Random(plan.seed)
        self._relay = Relay(router.port)
        self._data = {"SISOCK_DATA": str(folder / "data")}
        self._hub = self._start_hub()
        self._node = self._start_node()
        self._recorder = self._start_recorder()
        self._stopped_until = 0.0
        direct = {"user": USER_CONSUMER}
        cut = {**direct, "CROSSBAR_TLS_PORT": str(self._relay.port)}
        every, seconds = plan.samples // 20, plan.stop_seconds / 5
        programs = {
            "a client": self._consumer(**direct),
            "a client whose connection is cut": self._consumer(**cut),
            "a client that is stopped": self._consumer(**direct),
            "a slow client": self._consumer(every, seconds, **direct),
        }
        for program in programs.values():
            program.wait_for("watching", 60)
        self._stopping = programs["a client that is stopped"]
        self.tallies = {name: of_program(program) for name, program in programs.items()}
        self._follower = Follower(router, "counter")
        self._follower.report()
        self.tallies["a client in JavaScript"] = self._follower.report
        self._page = None if browser is None else FollowingPage(router, "counter", browser)
        if self._page is not None:
            self.tallies["a page in Chromium"] = self._page.report

    def close(self) -> None:
        """End what was started here."""
        self._relay.close()
        self._follower.process.kill()
        self._follower.process.wait(10)

    def _start_hub(self) -> Program:
        hub = self._start(self.router, "hub.py")
        hub.wait_for("the hub is ready", 60)
        return hub

    def _start_node(self) -> Program:
        port = str(self._relay.port)
        command = "-m", "tests.faults.delivery_node", self._folder
        node = self._start(self.router, *command, CROSSBAR_TLS_PORT=port, **self._data)
        node.wait_for("is in the hub's list", 60)
        return node

    def _start_recorder(self) -> Program:
        command = "data_nodes/recorder.py", "counter", "--keep", "1d"
        recorder = self._start(self.router, *command, **self._data)
        recorder.wait_for("is in the hub's list", 60)
        return recorder

    def _consumer(self, *words: Any, **where: str) -> Program:
        command = "-m", "tests.faults.delivery_consumer", "counter", *words
        return self._start(self.router, *command, **where)

    def run(self) -> Report:
        """Do all steps, come to rest now and then, and check everything in the end."""
        began = time.monotonic()
        until = began + 60 * self._plan.minutes
        steps = self._steps()
        self._let_push(1 / len(steps))
        self._wait_for_recorder()
        for number, (name, act) in enumerate(steps, 1):
            if time.monotonic() > until or self.report.violations:
                break
            self._let_push(number / len(steps))
            act()
            self.report.done[name] += 1
            self._go_on(self._chance.uniform(0, 2 * self._plan.pause))
            if number % 25 == 0:
                self._rest()
                print(f"{number} of {len(steps)} faults: {self._last():.0f} samples", flush=True)
        if not self.report.violations:
            self._check_end()
        self.report.seconds = time.monotonic() - began
        return self.report

    def _wait_for_recorder(self) -> None:
        """Wait until the recorder has a sample, from which it can go on when it is killed."""
        with Client(self.router.settings()) as client:

            def has_some() -> bool:
                known = "counter.n" in client.fields("recorder")
                return known and len(client.get("recorder", "counter.n")["counter.n"]) > 0

            wait_until(has_some, 60, "the first recorded sample", every=0.2)

    def _let_push(self, part: float) -> None:
        """Let the node push up to this part of all samples, so that each fault meets some."""
        self.report.samples = round(part * self._plan.samples)
        swap = self._folder / "swap"
        swap.write_text(f"{self.report.samples}")
        swap.replace(self._folder / "go")

    def _steps(self) -> list[tuple[str, Callable[[], None]]]:
        plan = self._plan
        steps = [
            *[("routers killed", self._kill_router)] * plan.kills,
            *[("connections cut", self._relay.cut)] * plan.cuts,
            *[("nodes restarted", self._restart_node)] * plan.restarts,
            *[("hubs killed", self._kill_hub)] * plan.hubs,
            *[("recorders killed", self._kill_recorder)] * plan.recorders,
        ]
        self._chance.shuffle(steps)
        steps.insert(len(steps) // 3, ("consumers stopped for a while", self._stop_consumer))
        return steps

    def _kill_router(self) -> None:
        kill_router(self.router)
        self._go_on(self._chance.choice([0, 0, self._plan.pause]))
        self.router.start()

    def _kill_hub(self) -> None:
        self._hub.end()
        self._go_on(self._chance.uniform(0, self._plan.pause))
        self._hub = self._start_hub()

    def _restart_node(self) -> None:
        self._node.signal(signal.SIGTERM)
        assert self._node.wait(30) == 0, self._node.output
        self._node = self._start_node()

    def _kill_recorder(self) -> None:
        self._recorder.end()
        self._recorder = self._start_recorder()

    def _stop_consumer(self) -> None:
        self._stopping.signal(signal.SIGSTOP)
        self._stopped_until = time.monotonic() + self._plan.stop_seconds

    def _go_on(self, seconds: float) -> None:
        """Let some time pass."""
        end = time.monotonic() + seconds
        wait_until(lambda: time.monotonic() >= end, seconds + 10, "that time")
        if self._stopped_until and time.monotonic() > self._stopped_until:
            self._stopping.signal(signal.SIGCONT)
            self._stopped_until = 0.0

    def _last(self, of: str = "a client") -> float:
        return self.tallies[of]().get("counter", {}).get("last") or 0

    def _rest(self) -> None:
        """Wait until those that neither sleep nor were stopped have what any of them has."""
        newest = max(self._last(name) for name in self.tallies)
        slow = {"a slow client"} | ({"a client that is stopped"} if self._stopped_until else set())
        for name in self.tallies.keys() - slow:
            self._wait_for(name, newest)
        for name, tallies in self.tallies.items():
            self.report.violations += [f"{name}: {fault}" for fault in faults(tallies())]

    def _wait_for(self, name: str, number: float) -> None:
        try:
            wait_until(lambda: self._last(name) >= number, CAUGHT_UP, f"sample {number:.0f}")
        except TimeoutError as error:
            self.report.violations.append(f"{name} has {self._last(name):.0f}: {error}")

    def _check_end(self) -> None:
        if self._stopped_until:
            self._go_on(max(0.0, self._stopped_until - time.monotonic() + 0.1))
        samples = self.report.samples
        for name, tallies in self.tallies.items():
            self._wait_for(name, samples)
            line = tallies().get("counter", {})
            self.report.got[name] = line.get("count", 0)
            if (line.get("first"), line.get("count")) != (1, samples):
                self.report.violations.append(f"{name} has not all of {samples}: {line}")
        self._rest()
        if self._page is not None and "lost" in self._page.legend():
            self.report.violations.append(f"the page says: {self._page.legend()}")
        with Client(self.router.settings()) as client:
            self._check_kept(client, "counter", "n")
            self._check_kept(client, "recorder", "counter.n")

    def _check_kept(self, client: Client, node: str, name: str) -> None:
        """Check that a node has all samples."""

        def has_all() -> bool:
            try:
                values = client.get(node, name, 1, 0)[name].values
            except SisockError:
                return False
            right = np.arange(1.0, self.report.samples + 1)
            self.report.got[f"the node {node}"] = len(values)
            return np.array_equal(values, right)

        try:
            wait_until(has_all, CAUGHT_UP, f"all samples at {node}", every=1)
        except TimeoutError as error:
            self.report.violations.append(str(error))
