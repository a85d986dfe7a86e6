"""What the trial of faults runs on, and what must hold of it: see `reliability.md`."""

from __future__ import annotations

import itertools
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from sisock import errors
from sisock.client.client import Client
from sisock.errors import SisockError
from sisock.testing import RouterProcess, free_port, wait_until
from sisock.wire.protocol import USER_CONSUMER, USER_SERVER
from tests.faults import machine_nodes
from tests.faults.helpers import PROMISE, listed
from tests.faults.processes import Host, Process, Router, Single, Watcher, replay

CONTESTED = PROMISE + 5
"""Seconds until a name has passed from a process that was stopped to another one: the router drops
the first after 13 s, and the second tries every two seconds."""

CALL = 2.0
"""Seconds that the trial's own client waits for a node."""

HANGS = PROMISE + 5
"""Seconds after which a `get` that should have ended after a few times `CALL` is hanging."""

MEMORY = 60e6
DESCRIPTORS = 8
"""Bytes and open descriptors that a process may have more than when it was first looked at."""


class World:
    """Router, hub, bridge, nodes and consumers; with `hub_alone` the hub is its own process."""

    def __init__(self, folder: Path, hub_alone: bool) -> None:
        router = RouterProcess(hub=not hub_alone)
        server, consumer = router.environ(USER_SERVER), router.environ(USER_CONSUMER)
        self.bridge_port = free_port()
        bridge = {
            **consumer,
            "PORT": str(self.bridge_port),
            "SISOCK_NODE_TIMEOUT": "2",
            "SISOCK_CACHE_MB": "8",
        }
        self.router = Router(router)
        self.hubs = (
            [Process("hub", ["hub.py"], server, folder, "the router at ")] if hub_alone else []
        )
        self.bridge = Process("bridge", ["grafana_http_json.py"], bridge, folder, "listening on")
        self.hosts = [Host(f"host{i}", server, folder) for i in range(4)]
        self.singles = [Single(name, server, folder) for name in machine_nodes.names(20)[-2:]]
        self.watchers = [Watcher(f"consumer{i}", consumer, folder) for i in range(2)]
        self.central = [self.router, *self.hubs, self.bridge]
        self.lasting: list[Process] = [*self.central, *self.watchers, *self.hosts]
        self.processes: list[Process] = [*self.lasting, *self.singles]
        self.start_all()
        self.client = Client(router.settings(), timeout=CALL)
        self._events = self.client.watch_nodes()
        self._heard: list[tuple[str, bool]] = []
        self._first = set(listed(self.client))
        self._use: dict[tuple[str, int], tuple[int, int]] = {}
        self.growth: dict[str, list[tuple[int, int]]] = {}

    # Bringing it to rest

    def start_all(self, processes: list[Process] | None = None) -> None:
        """Start what is not running and continue what was stopped, but nodes of their own."""
        for process in self.lasting if processes is None else processes:
            if process.frozen:
                process.thaw()
            if not process.is_alive:
                process.start()
        for process in self.processes:
            if process.is_well:
                process.wait_until_ready()

    def reset(self) -> None:
        """Begin again: everything runs, and no node is started."""
        for process in self.processes:
            if process.frozen:
                process.thaw()
        self.start_all()
        for host in [*self.hosts, *self.singles]:
            if host.is_alive:
                host.reset()
        self.settle()
        self.measure()

    def close(self) -> None:
        """End everything."""
        self.client.close()
        for process in reversed(self.processes):
            process.end()
        self.router.process.__exit__()

    # What must hold

    def settle(self, thaw: bool = True) -> int:
        """Let all come to rest, and check everything; returns how many nodes gave true samples.

        Without `thaw` nodes and consumers that were stopped stay so: their nodes must be gone.
        """
        self.start_all(self.central if not thaw else [*self.central, *filter_frozen(self)])
        self._check_ends()
        end = time.monotonic() + (PROMISE if thaw else CONTESTED)
        present = self.present_nodes()
        self._in_time(end, lambda: (sorted(listed(self.client)), present), "the hub's list")
        self._in_time(end, lambda: (self._replayed(), present), "the events of the trial's client")
        for watcher in self.watchers:
            if watcher.is_well:
                what = f"the events of {watcher.label}"
                self._in_time(end, lambda w=watcher: (w.replayed(), present), what)
        self._in_time(end, lambda: (self._bridge("/readyz")[0], 200), "health of the bridge")
        sound = self.sound_nodes()
        for name in sound:
            for ask in (self.get, self.panel):
                what = f"{ask.__name__} of {name}"
                self._in_time(end, lambda n=name, a=ask: (a(n, 1000, 10), "samples"), what)
        return len(sound)

    def _in_time(self, end: float, look: Callable[[], tuple[Any, Any]], what: str | None) -> None:
        seen: list[Any] = []

        def holds() -> bool:
            seen[:] = look()
            return seen[0] == seen[1]

        try:
            wait_until(holds, max(0.0, end - time.monotonic()), f"{what}", every=0.05)
        except TimeoutError:
            raise AssertionError(f"{what}: {seen[0]}, but should be {seen[1]}") from None

    def _check_ends(self) -> None:
        for process in self.processes:
            assert not process.has_ended(), f"{process.label} has ended by itself"

    def present_nodes(self) -> list[str]:
        """Nodes that must be in the list."""
        hosts = [*self.hosts, *self.singles]
        return sorted({name for host in hosts if host.is_well for name in host.nodes})

    def started_nodes(self) -> list[str]:
        """Nodes that were started, also those of processes that are stopped."""
        hosts = [*self.hosts, *self.singles]
        return sorted({name for host in hosts if host.is_alive for name in host.nodes})

    def sound_nodes(self) -> list[str]:
        """Those of them that must answer with samples."""
        bad = {
            n for host in self.hosts if host.is_alive for n, fault in host.nodes.items() if fault
        }
        return [name for name in self.present_nodes() if name not in bad]

    def _replayed(self) -> list[str]:
        while True:
            try:
                event = self._events.next(timeout=0)
            except TimeoutError:
                return replay(self._first, self._heard)
            self._heard.append((event.node.name, event.present))

    # Asking

    def get(self, name: str, at: int, count: int, max_points: int | None = None) -> str:
        """What a client gets of a node: "samples", or a clear error's name."""
        archive = machine_nodes.is_archive(name)
        start = machine_nodes.START + at if archive else 1
        end = machine_nodes.START + at + count if archive else 0
        fields = ["x"] if archive else ["first", "second", "even"]
        began = time.monotonic()
        try:
            data = self.client.get(name, fields, start, end, max_points=max_points)
        except SisockError as error:
            assert getattr(errors, type(error).__name__, None) is type(error), repr(error)
            assert str(error), repr(error)
            return type(error).__name__
        finally:
            taken = time.monotonic() - began
            assert taken < HANGS, f"a get of {name} took {taken:.1f} s"
        if archive:
            _check_archive(name, start, end, data["x"].t, data["x"].values, max_points)
        else:
            _check_live(name, [(s.t, s.values) for s in (data[f] for f in fields)])
        return "samples"

    def panel(self, name: str, at: int, count: int, max_points: int | None = None) -> str:
        """What the bridge gives of a node: "samples", or a clear error."""
        archive = machine_nodes.is_archive(name)
        start = machine_nodes.START + at if archive else int(time.time()) - 100
        end = start + (count if archive else 200)
        body = {
            "range": {"from": _iso(start), "to": _iso(end)},
            "targets": [{"target": f"{name}::{'x' if archive else 'first'}", "refId": "A"}],
            **({"maxDataPoints": max_points} if max_points else {}),
        }
        status, headers, text = self._bridge("/query", body)
        if status != 200:
            assert status in (0, 502, 503), f"the bridge answers {status}: {text[:300]!r}"
            return f"status {status}"
        pairs = [pair for series in json.loads(text) for pair in series["datapoints"]]
        if not pairs:
            return headers.get("X-Sisock-Notice") or "nothing"
        values, milliseconds = np.array(pairs, dtype="<f8").T
        if archive:
            if max_points and count > max_points:
                start, end = _whole_buckets(start, end, max_points)
            _check_archive(name, start, end, milliseconds / 1000, values, max_points)
        return "samples"

    def _bridge(self, path: str, body: Any = None) -> tuple[int, Any, bytes]:
        """Send the bridge a request; status 0 if it is not there, or is stopped."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.bridge_port}{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        is_ready = self.bridge.is_well and self.bridge.is_ready
        wait = CALL if self.bridge.frozen else HANGS
        try:
            with urllib.request.urlopen(request, timeout=wait) as response:
                return response.status, response.headers, response.read()
        except urllib.error.HTTPError as error:
            return error.code, error.headers, error.read()
        except OSError:
            assert not is_ready, f"the bridge does not answer {path}"
            return 0, {}, b""

    # Memory and descriptors

    def measure(self) -> None:
        """Compare what the central processes use with their first use, in the same state."""
        for process in self.central:
            key = (process.label, process.pid)
            first = self._use.setdefault(key, process.use())
            self._in_time(
                time.monotonic() + PROMISE,
                lambda p=process, f=first: (p.use()[1] <= f[1] + DESCRIPTORS, True),
                f"{process.label} has more open descriptors than {first[1]}: few",
            )
            memory, descriptors = process.use()
            assert memory < first[0] + MEMORY, (
                f"{process.label} grew from {first[0] / 1e6:.0f} to {memory / 1e6:.0f} MB"
            )
            spans = self.growth.setdefault(process.label, [])
            spans.append((memory, descriptors))


def filter_frozen(world: World) -> list[Process]:
    """Processes that were stopped and shall go on."""
    return [process for process in world.processes if process.frozen]


def _iso(t: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(t))


def _whole_buckets(start: float, end: float, points: int) -> tuple[float, float]:
    """Return what a panel shows of an interval: whole buckets, of at most two samples each."""
    sizes = (2.0**exponent for exponent in itertools.count())
    w = next(w for w in sizes if 2 * (-(-end // w) - start // w) <= points)
    return start // w * w, -(-end // w) * w


def _check_archive(
    name: str, start: float, end: float, t: np.ndarray, x: np.ndarray, max_points: int | None
) -> None:
    true_t, true_x = machine_nodes.archive_samples(name, start, end)
    if max_points:
        assert len(t) <= max(max_points, 8), f"{name}: {len(t)} samples, not {max_points}"
        assert t[0] == true_t[0] and t[-1] == true_t[-1], f"{name}: an end is missing"
        which = np.searchsorted(true_t, t)
        true_t, true_x = true_t[which], true_x[which]
    assert np.array_equal(t, true_t) and np.array_equal(x, true_x), (
        f"{name} from {start} to {end}: {len(t)} wrong samples of {len(true_t)}"
    )


def _check_live(name: str, columns: list[tuple[np.ndarray, np.ndarray]]) -> None:
    (t, first), (_, second), (t_even, even) = columns
    first, second = first.astype("<f8"), second.astype("<f8")
    known = np.isfinite(first)
    assert np.array_equal(known, np.isfinite(second)), f"{name}: half of a sample is missing"
    right = machine_nodes.live_second(name, first[known])
    assert np.array_equal(second[known], right), f"{name}: wrong samples"
    assert (first[known] >= t[known] * 1000 - 2).all(), f"{name}: samples of another time"
    # Of few points each field has its own.
    first_at = dict(zip(t[known].tolist(), first[known].tolist(), strict=True))
    both = [(first_at[at], value) for at, value in zip(t_even, even, strict=True) if at in first_at]
    assert all(value == (number % 2 == 0) for number, value in both), f"{name}: wrong booleans"
