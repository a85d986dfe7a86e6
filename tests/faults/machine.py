"""The trial of faults: hypothesis chooses what is started, killed, stopped, spoilt and asked.

A violation does not end the trial: it is noted with the steps that led to it, and the next part
begins on a new world. Processes do not repeat their timing, so nothing is shrunk; the seed repeats
the steps.
"""

from __future__ import annotations

import time
import traceback
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import hypothesis
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from sisock.testing import wait_until
from tests.faults import machine_nodes
from tests.faults.processes import Process
from tests.faults.starvation import Starvation
from tests.faults.world import World

PART = 25
"""Steps of a part; between two of them everything is reset, and memory is measured."""

REST = 8
"""Steps between two times at which everything comes to rest and is checked."""

NAMES = machine_nodes.names(20)
CENTRAL = ["router", "hub", "bridge"]
OTHERS = [f"host{i}" for i in range(4)] + [f"consumer{i}" for i in range(2)]
SINGLES = [f"single-{name}" for name in NAMES[-2:]]
ALL = [*CENTRAL, *OTHERS, *SINGLES]


@dataclass
class Report:
    """What the trial did, and what it found."""

    wanted: int
    until: float
    seed: int
    faults: Counter[str] = field(default_factory=Counter)
    answers: Counter[str] = field(default_factory=Counter)
    steps: int = 0
    violations: list[str] = field(default_factory=list)
    growth: dict[str, str] = field(default_factory=dict)

    @property
    def is_over(self) -> bool:
        """Whether no further step is to be done."""
        return self.steps >= self.wanted or time.monotonic() > self.until

    def __str__(self) -> str:
        def table(counts: Any) -> str:
            return "".join(f"\n    {name}: {counts[name]}" for name in sorted(counts))

        return (
            f"\nsteps: {self.steps} of {self.wanted}; seed {self.seed} (SISOCK_TEST_SEED)"
            f"\nfaults by kind:{table(self.faults)}"
            f"\nanswers:{table(self.answers)}"
            f"\nmemory and descriptors, of each process's first and last look:{table(self.growth)}"
            f"\nviolations: {len(self.violations)}"
        )


class Trial:
    """The machine's connection to the world, which outlives each part."""

    def __init__(self, folder: Path, hub_alone: bool, kill_central: bool, report: Report) -> None:
        self.report = report
        self.kill_central = kill_central
        self.is_broken = False
        self.parts = 0
        self._make = lambda: World(folder, hub_alone)
        self.world = self._make()
        self.trace: list[str] = []

    def begin(self) -> None:
        """Bring the world to its first state, on a new one if the last was found broken."""
        if self.report.is_over:
            return
        self.parts += 1
        print(f"{self.report.steps} steps, {len(self.report.violations)} violations", flush=True)
        if self.is_broken:
            self.end()
            self.world = self._make()
        self.is_broken, self.trace = False, []
        self.guarded("a new part", self.world.reset)

    def end(self) -> None:
        """End the world, and note what each central process used at first and at last."""
        kind = "restarted at times" if self.kill_central else "kept"
        for label, looks in self.world.growth.items():
            texts = [f"{memory / 1e6:.0f} MB, {files} open" for memory, files in looks]
            self.report.growth[f"{label} ({kind})"] = f"{texts[0]} → {texts[-1]}"
        self.world.close()

    def guarded(self, what: str, action: Callable[[], Any]) -> None:
        """Do something; what it raises is a violation, and the part is over."""
        self.trace.append(what)
        starvation = Starvation(self.world.processes)
        try:
            action()
        except Exception as error:
            self.is_broken = True
            where = "".join(traceback.format_tb(error.__traceback__)[-2:])
            text = f"{error!r}\n{where}{starvation}\nafter: {'; '.join(self.trace)}"
            self.report.violations.append(text)
            print(text, flush=True)

    def step(self, fault: str, what: str, action: Callable[[], Any]) -> None:
        """Do one step, and come to rest after some."""
        # Hypothesis begins with the simplest part, which is one question again and again.
        if self.parts == 1 or self.is_broken or self.report.is_over:
            return
        self.report.steps += 1
        if fault:
            self.report.faults[fault] += 1
        self.guarded(what, action)
        steps = self.report.steps
        if steps % REST == 0 and not self.is_broken:
            thaw = steps % (10 * REST) != 0
            self.guarded("rest" if thaw else "rest of the others", lambda: self._rest(thaw))

    def _rest(self, thaw: bool) -> None:
        if not thaw and (host := self.world.hosts[0]).is_well:
            self.report.faults["SIGSTOP host, until its nodes are gone"] += 1
            host.freeze()
        self.report.answers["samples of all sound nodes, at rest"] += self.world.settle(thaw)


class Machine(RuleBasedStateMachine):
    """The steps; each has a meaning in every state, so that none is chosen in vain."""

    trial: Trial

    def __init__(self) -> None:
        super().__init__()
        self.trial.begin()

    @property
    def _world(self) -> World:
        return self.trial.world

    def _process(self, label: str) -> Process | None:
        """A process by its name; there is no hub where it is in the router."""
        return next((p for p in self._world.processes if p.label == label), None)

    def _is_kept(self, label: str) -> bool:
        return label in CENTRAL and not self.trial.kill_central

    @initialize(hosts=st.sets(st.integers(0, 3), min_size=1))
    def begin(self, hosts: set[int]) -> None:
        """Have some nodes from the beginning."""
        for host in sorted(hosts):
            self.start_many(host)

    @rule(
        question=st.tuples(
            st.sampled_from(["get", "panel"]),
            st.integers(0, 24),
            st.integers(0, 1_900_000),
            st.sampled_from([10, 1000, 100_000]),
            st.sampled_from([None, 100]),
        )
    )
    def ask(self, question: tuple[str, int, int, int, int | None]) -> None:
        """Ask a node, most often one that is there, directly or through the bridge."""
        how, which, *arguments = question
        name = chosen(self._world.started_nodes(), which) if which < 20 else NAMES[which - 5]

        def act() -> None:
            answer = f"{how}: {getattr(self._world, how)(name, *arguments)}"
            self.trial.report.answers[answer.replace(name, "NODE")] += 1

        self.trial.step("", f"{how} {name} {arguments}", act)

    @rule(label=st.sampled_from(ALL), gently=st.booleans())
    def end_or_start(self, label: str, gently: bool) -> None:
        """Kill a process, or end it by a signal; or start it again."""
        process = self._process(label)
        if process is None or self._is_kept(label):
            return
        if process.is_alive:
            number, kind = (15, "SIGTERM") if gently else (9, "SIGKILL")
            if label == "router" and gently:
                number, kind = 2, "SIGINT"
            what = f"{kind} {process.label.rstrip('0123456789')}"
            self.trial.step(what, f"{kind} {label}", lambda: process.end(number))
        else:
            self.trial.step("", f"start {label}", process.start)

    @rule(label=st.sampled_from(ALL))
    def freeze_or_thaw(self, label: str) -> None:
        """Stop a process as SIGSTOP does, or continue it."""
        process = self._process(label)
        if process is None or not process.is_alive:
            return
        if process.frozen:
            self.trial.step("", f"thaw {label}", process.thaw)
        else:
            kind = f"SIGSTOP {label.rstrip('0123456789')}"
            self.trial.step(kind, f"freeze {label}", process.freeze)

    @rule(label=st.sampled_from([*CENTRAL, *OTHERS]))
    def restart(self, label: str) -> None:
        """Kill a process and start it at once."""
        process = self._process(label)
        if process is None or self._is_kept(label):
            return

        def act() -> None:
            process.end()
            process.start()

        self.trial.step(f"restart {label.rstrip('0123456789')}", f"restart {label}", act)

    @rule(name=st.sampled_from(NAMES), host=st.integers(0, 3))
    def start_or_stop(self, name: str, host: int) -> None:
        """Start or stop a node, perhaps one whose name another process has."""
        process = self._world.hosts[host]
        if process.is_well:
            others = [*self._world.hosts, *self._world.singles]
            taken = any(name in o.nodes for o in others if o is not process and o.is_alive)
            fault = "duplicate name" if taken and name not in process.nodes else ""
            self.trial.step(fault, f"switch {name} of {host}", lambda: process.switch(name))

    @rule(host=st.integers(0, 3))
    def start_many(self, host: int) -> None:
        """Start five nodes of one process."""
        process = self._world.hosts[host]
        names = [n for n in NAMES[5 * host : 5 * host + 5] if n not in process.nodes]
        if process.is_well and names:
            self.trial.step("", f"start {names}", lambda: [process.switch(n) for n in names])

    @rule(which=st.integers(0, 19), fault=st.sampled_from(machine_nodes.FAULTS))
    def spoil(self, which: int, fault: str) -> None:
        """Have a node hang, raise or lie; or be right again."""
        name = chosen(self._world.started_nodes(), which)
        hosts = [h for h in self._world.hosts if h.is_well and name in h.nodes]
        if not machine_nodes.is_archive(name) and fault in machine_nodes.ARCHIVE_FAULTS:
            fault = "hangs"
        if hosts:
            what = f"a read that {fault or 'is right again'}"
            self.trial.step(
                what, f"spoil {name}: {fault}", lambda: [h.spoil(name, fault) for h in hosts]
            )

    @rule(consumer=st.integers(0, 1), which=st.integers(0, 19))
    def vanish(self, consumer: int, which: int) -> None:
        """Have a consumer end in the middle of a reply of megabytes."""
        archives = [n for n in self._world.sound_nodes() if machine_nodes.is_archive(n)]
        if self._world.watchers[consumer].is_well and archives:
            name = chosen(archives, which)
            what = f"consumer{consumer} vanishes, asking {name}"
            act = partial(self._vanish, consumer, name)
            self.trial.step("consumer vanishes in a reply", what, act)

    def _vanish(self, consumer: int, name: str) -> None:
        process = self._world.watchers[consumer]
        if self._world.router.is_well:
            process.wait_until_ready()
        process.tell(f"vanish {name}")
        with suppress(TimeoutError):
            wait_until(process.has_ended, 3, "its end")
        process.end()


def chosen(names: list[str], which: int) -> str:
    """One of the names; of none, one that is nobody's."""
    return names[which % len(names)] if names else NAMES[which]


def run_trial(folder: Path, hub_alone: bool, kill_central: bool, report: Report) -> None:
    """Do the steps that the report wants."""
    trial = Trial(folder, hub_alone, kill_central, report)
    machine = type("SeededMachine", (Machine,), {"trial": trial})
    try:
        run_state_machine_as_test(
            hypothesis.seed(2 * report.seed + kill_central)(machine),
            settings=hypothesis.settings(
                phases=[hypothesis.Phase.generate],
                max_examples=6 * report.wanted // PART + 2,
                stateful_step_count=PART,
                database=None,
                deadline=None,
                suppress_health_check=list(hypothesis.HealthCheck),
                verbosity=hypothesis.Verbosity.quiet,
            ),
        )
    finally:
        trial.end()
