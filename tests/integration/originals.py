"""The samples that the peers of tests/peers/original_node.py have, by kind and field."""

from __future__ import annotations

from collections.abc import Callable

from sisock.client.client import Client
from sisock.testing import RouterProcess
from tests.conftest import Program, wait_for_nodes
from tests.integration.peers import start_bare

START = 1_500_000_000.0
END = START + 3600
LACKS = {"a": {20}, "b": {40}, "c": set()}
"""Minutes that the files of the weather node lack."""


def _pairs(minutes, time_of, value_of) -> list[tuple[float, float]]:
    return [(START + time_of(m), value_of(m)) for m in minutes]


def truth(kind: str, start: float = START, end: float = END) -> dict[str, list]:
    """Time and value of each sample in an interval, by field."""
    everything = {
        "weather": {
            name: _pairs(
                [m for m in range(60) if m not in LACKS[name]],
                lambda m: 60.0 * m,
                lambda m, i=i: 1000.0 * i + m,
            )
            for i, name in enumerate("abc")
        },
        "g3_reader": {
            name: _pairs(
                range(60),
                lambda m, shift=shift: m + shift,
                lambda m, i=i: 1000.0 * i + m,
            )
            for i, (name, shift) in enumerate([("a", 0.2), ("b", 0.2), ("c", 0.1)])
        },
        "apex_weather": {"pwv": _pairs(range(60), lambda m: 60.0 * m, lambda m: m / 10)},
    }
    everything["radiometer"] = everything["apex_weather"]
    return {
        name: [(t, value) for t, value in samples if start <= t < end]
        for name, samples in everything[kind].items()
    }


def start_original(
    start: Callable[..., Program], router: RouterProcess, kind: str, name: str
) -> Program:
    """Start one of the peers and wait until it is in the hub's list."""
    node = start_bare(start, router, "original_node", f"--kind={kind}", f"--name={name}")
    with Client(router.settings()) as client:
        wait_for_nodes(client, name)
    return node
