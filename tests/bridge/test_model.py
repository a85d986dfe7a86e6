"""The bridge against a node that changes: never a stale or missing sample, whatever it keeps."""

from __future__ import annotations

import math
import os
import random
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

from sisock import Client
from tests import grid_oracle as oracle
from tests.bridge.conftest import Answer, RunningBridge, iso_range
from tests.bridge.model import INTERVALS, TYPES, ModelNode
from tests.conftest import wait_for_nodes

SECONDS = float(os.environ.get("SISOCK_TEST_MODEL_SECONDS", "8"))
SEED = int(os.environ.get("SISOCK_TEST_SEED", str(random.SystemRandom().randrange(10**6))))


@dataclass
class Read:
    """A panel's request."""

    start: float
    end: float
    points: int | None
    names: list[str]

    @property
    def body(self) -> dict[str, Any]:
        """What Grafana sends for it."""
        points = {} if self.points is None else {"maxDataPoints": self.points}
        return {"range": iso_range(self.start, self.end), "intervalMs": None, **points}

    def sizes(self, name: str) -> list[float | None]:
        """Return the sizes of buckets that a panel of so many points may be made of."""
        if self.points is None:
            return [None]
        fitting = (w for w in oracle.SIZES if 2 * self._buckets(w) <= self.points)
        w = float(next(fitting))
        interval = INTERVALS[name]
        if interval is not None and (self.end - self.start) / interval <= self.points:
            regular = 2.0 ** math.floor(math.log2(1.01 * interval))
            return [regular, 2 * regular, 4 * regular]
        # The next size, if there were more samples at equal times in a smaller one.
        return [w, 2 * w]

    def _buckets(self, w: Any) -> int:
        return -oracle.bucket_of(-self.end, w) - oracle.bucket_of(self.start, w)


@dataclass
class Asked:
    """A request under way, and when it was sent and answered."""

    read: Read
    future: Future[tuple[float, Answer, float]]


class Trial:
    """Steps of all kinds, in any order, while requests are under way."""

    def __init__(self, bridge: RunningBridge, node: ModelNode, pool: ThreadPoolExecutor) -> None:
        self.bridge, self.node, self.pool, self.chance = bridge, node, pool, node.chance
        self.open: list[Asked] = []
        self.steps: list[str] = []
        self.checked = 0

    def step(self) -> None:
        """Do one thing."""
        chance, node = self.chance, self.node
        kinds = {
            "read": (40, lambda: self.ask(chance.randrange(1, 4))),
            "append": (20, lambda: node.append(chance.choice([1, 3, 10, 60]))),
            "revise": (8, node.revise),
            "correct": (6, lambda: node.correct(self.ask_shortly)),
            "restart": (1, lambda: node.restart(True)),
            "return": (1, lambda: node.restart(False)),
            "lag": (6, lambda: setattr(node, "lag", chance.choice([0, 0, 0.05, 0.4]))),
            "wait": (8, lambda: time.sleep(chance.choice([0.01, 0.1]))),
            "drain": (10, self.drain),
        }
        weights = [weight for weight, _ in kinds.values()]
        (kind,) = chance.choices(list(kinds), weights)
        self.steps.append(kind)
        kinds[kind][1]()
        if len(self.open) > 8:
            self.drain()

    def ask(self, count: int) -> None:
        """Send requests that are answered some time later."""
        for _ in range(count):
            read = self.view()
            self.open.append(Asked(read, self.pool.submit(self.send, read)))

    def ask_shortly(self) -> None:
        """Send requests, and wait until they have come to the node, perhaps."""
        self.ask(self.chance.randrange(3))
        time.sleep(self.chance.choice([0, 0.01, 0.05]))

    def view(self) -> Read:
        """Choose a range and a width: often the latest samples, or some seen before, shifted."""
        chance, clock = self.chance, self.node.clock
        span, points = chance.choice([(60, 100), (600, 100), (1000, 333), (1500, 2000), (90, 8)])
        end = chance.choice([clock, clock + 30, time.time(), clock - chance.randrange(1500)])
        end = math.floor(end * 8) / 8 + chance.choice([0, 0.125, 10])
        names = chance.sample(list(TYPES), chance.randrange(1, 4))
        return Read(end - span, end, chance.choice([points, points, points, None]), names)

    def send(self, read: Read) -> tuple[float, Answer, float]:
        """Ask the bridge; gives the times before and after too."""
        targets = [{"target": f"{self.node.name}::{name}", "refId": name} for name in read.names]
        asked = time.monotonic()
        answer = self.bridge.ask("/query", {**read.body, "targets": targets})
        return asked, answer, time.monotonic()

    def drain(self) -> None:
        """Wait for all answers, and judge them."""
        found = [(each.read, *each.future.result()) for each in self.open]
        self.open.clear()
        self.node.end_calls([(asked, answered) for _, asked, _, answered in found])
        for each in found:
            self.judge(*each)

    def judge(self, read: Read, asked: float, answer: Answer, answered: float) -> None:
        """Compare an answer with what may have been answered."""
        is_absent = self.node.was_absent(asked, answered)
        if is_absent and answer.status >= 400:
            return
        assert answer.status == 200, (read, answer.body)
        shown = {series["refId"]: series["datapoints"] for series in answer.json}
        assert set(shown) == set(read.names)
        versions = self.node.valid(asked, answered)
        for name, points in shown.items():
            if is_absent and not points:
                continue
            assert read.points is None or len(points) <= read.points
            sizes = read.sizes(name)
            asked_for = name, read.start, read.end
            if not any(points in v.views(*asked_for, w) for v in versions for w in sizes):
                wanted = versions[0].views(*asked_for, sizes[0])[0]
                told = f"answered in {answered - asked:.3f} s with {dict(answer.headers)}"
                pytest.fail(f"{self.explain(read, name, points, wanted)}; {told}")
            self.checked += 1

    def explain(self, read: Read, name: str, points: list[Any], wanted: list[Any]) -> str:
        """Say what is wrong, for whoever has to find out why."""
        missing = [point for point in wanted if point not in points]
        stale = [point for point in points if point not in wanted]
        return (
            f"{name} of {read}: missing {missing[:9]} ({len(missing)}), stale {stale[:9]}"
            f" ({len(stale)}), of {len(wanted)}; seed {SEED}, steps {self.steps[-40:]}"
        )


@pytest.mark.parametrize(
    "megabytes", ["", "0.02", "0.000001"], ids=["kept", "hardly_kept", "not_kept"]
)
def test_no_sample_is_stale_or_missing(router, start_bridge, megabytes):
    variables = {"SISOCK_CACHE_MB": megabytes} if megabytes else {}
    bridge = start_bridge(**variables)
    name = f"model_{megabytes.replace('.', '_') or 'kept'}"
    node = ModelNode(router, name, random.Random(SEED), bridge.known)
    try:
        with Client(router.settings()) as client:
            wait_for_nodes(client, name)
        with ThreadPoolExecutor(8) as pool:
            trial = Trial(bridge, node, pool)
            until = time.monotonic() + SECONDS * (1 if megabytes == "" else 0.5)
            while time.monotonic() < until:
                trial.step()
            trial.drain()
    finally:
        node.close()
    assert trial.checked > 20, "hardly anything was read"
