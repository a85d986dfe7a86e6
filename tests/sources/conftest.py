"""One check for the nodes of all sources: whatever is asked for, the samples are the source's."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet import defer, threads

from sisock.connection.runtime import reactor_thread
from sisock.errors import NodeContractError
from sisock.node.api import DataNodeServer
from sisock.node.service import NodeService
from sisock.testing import check_node, wait_until
from tests import grid_oracle as oracle
from tests.conftest import TOP, wait_for_absence, wait_for_nodes

MAX_BUCKETS = 16_384

Pairs = list[tuple[float, Any]]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SISOCK_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def serve(router: Any, client: Any, tmp_path: Any) -> Iterator[Callable[..., Any]]:
    """Start a node of data_nodes/ in a process of its own, whose memory is nobody else's."""
    started: dict[str, Any] = {}

    def start(program: str, name: str, *flags: Any, seconds: float = 60) -> psutil.Process:
        environ = {**router.environ("server"), "SISOCK_CACHE": str(tmp_path / "cache")}
        words = [sys.executable, f"data_nodes/{program}.py", *map(str, flags), "--name", name]
        started[name] = subprocess.Popen(words, cwd=TOP, env=environ)
        wait_for_nodes(client, name, seconds=seconds)
        return psutil.Process(started[name].pid)

    yield start
    for process in started.values():
        process.terminate()
        process.wait(60)
    wait_for_absence(client, *started)


class Asked:
    """A node that is asked as over the wire, without a router."""

    def __init__(self, node: DataNodeServer) -> None:
        self.service = NodeService(node, reactor_thread())
        threads.blockingCallFromThread(self.service.reactor, node.begin, self.service)

    def fields(self) -> dict[str, Any]:
        """Return the entries of all fields."""
        return self._wait(lambda: self.service.requests.answer_fields((1, 0), {}))[0]

    def samples(self, fields: list[str], start: float, end: float, **how: Any) -> dict[str, Pairs]:
        """Return the samples of fields, without those that are missing in plain replies."""
        args = fields, start, end
        reply = self._wait(lambda: self.service.requests.answer_data(args, how, None))
        follows = reply.get("follows") or {
            name: line for line, about in self._lines().items() for name in about["field"]
        }
        found = {}
        for name, values in reply["data"].items():
            t = reply["timeline"][follows[name]]["t"] if values else []
            found[name] = list(zip(t, values, strict=True))
        return found

    def _lines(self) -> dict[str, Any]:
        return self._wait(lambda: self.service.requests.answer_fields((1, 0), {}))[1]

    def _wait(self, ask: Callable[[], Any]) -> Any:
        reactor = self.service.reactor
        return threads.blockingCallFromThread(reactor, lambda: defer.ensureDeferred(ask()))

    def stop(self) -> None:
        """End its threads."""
        threads.blockingCallFromThread(self.service.reactor, self.service.stop)


@pytest.fixture
def asked() -> Iterator[Callable[[Any], Any]]:
    """Have a node asked; returns both. It ends with the test."""
    every: list[Asked] = []

    def ask(node: Any) -> Any:
        every.append(Asked(node))
        return node, every[-1]

    yield ask
    for one in every:
        one.stop()


def check(
    make: Callable[[], DataNodeServer],
    is_placed: bool = False,
    examples: int = 60,
    fill: Callable[[Asked], Any] = lambda asked: None,
) -> None:
    """Have hypothesis choose fields, intervals, strides and buckets, and judge all replies.

    `make` makes the node, of which there are to be fewer than 10,000 samples. Where it knows of a
    bucket only the extremes (`is_placed`), only these are compared, but of texts. `fill` gives a
    live node its samples, and returns when it has them.
    """
    wait_until(lambda: _is_sound(make()), 60, "a check without trouble")
    asked = Asked(make())
    try:
        fill(asked)
        types = {name: entry["type"] for name, entry in asked.fields().items()}
        names = sorted(types)
        every = {name: asked.samples([name], 1, 0)[name] for name in names}
        times = sorted({t for pairs in every.values() for t, _ in pairs})
        moments = st.sampled_from(times).flatmap(
            lambda t: st.sampled_from([t, math.nextafter(t, 0), math.nextafter(t, 1e12), t + 0.3])
        )
        ways = st.one_of(
            st.just({}),
            st.builds(lambda s: {"min_stride": s}, st.floats(0.001, times[-1] - times[0] + 1)),
            st.builds(lambda e: {"bucket": 2.0**e}, st.integers(-4, 24)),
            st.builds(lambda n: {"max_points": n}, st.integers(8, 3000)),
        )

        @settings(max_examples=examples, deadline=None)
        @given(
            st.lists(st.sampled_from(names), min_size=1, max_size=4, unique=True),
            st.tuples(moments, moments).map(sorted),
            ways,
        )
        def judge(fields: list[str], interval: list[float], how: dict[str, Any]) -> None:
            start, end = interval
            if "bucket" in how:
                end = min(end, start + how["bucket"] * (MAX_BUCKETS // 4 - 1))
            found = asked.samples(fields, start, end, **how)
            assert set(found) == set(fields)
            for name in fields:
                inside = [(t, value) for t, value in every[name] if start <= t < end]
                _judge(found[name], inside, how, is_placed and types[name] != "string")

        judge()
    finally:
        asked.stop()


def _is_sound(node: DataNodeServer) -> bool:
    """Return False if a node has trouble, as it may connect later than a check waits."""
    try:
        check_node(node)
    except NodeContractError as fault:
        if fault.rule == node.trouble:
            return False
        raise
    return True


def _judge(found: Pairs, inside: Pairs, how: dict[str, Any], is_placed: bool) -> None:
    t, values = [t for t, _ in inside], [value for _, value in inside]
    if not how:
        assert _present(found) == _present(inside)
    elif "min_stride" in how:
        assert set(_present(found)) <= set(inside)
        apart = [b - a for (a, _), (b, _) in pairwise(found)]
        assert all(gap >= how["min_stride"] * (1 - 1e-9) for gap in apart)
    elif is_placed:
        assert len(found) <= how.get("max_points", math.inf)
        w = how.get("bucket") or oracle.decimate_to(t, values, how["max_points"])[1]
        assert found == inside if w is None else _extremes(found, w) == _extremes(inside, w)
        assert all(inside[0][0] <= t <= inside[-1][0] for t, _ in found) or "bucket" in how
    elif "bucket" in how:
        assert found == [inside[i] for i in oracle.decimate(t, values, how["bucket"])]
    else:
        which, _ = oracle.decimate_to(t, values, how["max_points"])
        assert found == [inside[i] for i in which]


def _present(pairs: Pairs) -> Pairs:
    return [pair for pair in pairs if pair[1] is not None]


def _extremes(pairs: Pairs, w: float) -> dict[int, Any]:
    """Return of each bucket the smallest and the largest value, None where all are missing."""
    buckets: dict[int, list[Any]] = {}
    for t, value in pairs:
        buckets.setdefault(math.floor(t / w), []).append(value)
    present = {i: [v for v in values if v is not None] for i, values in buckets.items()}
    return {i: (min(values), max(values)) if values else None for i, values in present.items()}
