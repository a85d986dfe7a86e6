"""Rows paths and calls: modules of sisock on the way of a request, and its WAMP calls.

A module is on the way if one of its functions is called, in any thread of the consumer's process,
other than while modules are imported. For ``sisock get`` that is the command's whole process, by
TLS, from its start to its end. For a panel it is the bridge's, from a request to its answer; the
modules of bridge/ count, as all others belong to the client or the protocol as well.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

from benchmarks.nodes import DAY, START
from benchmarks.panels import query, view
from benchmarks.report import Figure, measured
from benchmarks.stack import CONSUMER, Connection, Stack
from sisock.testing import wait_until
from tests.conftest import Program

TRACED = ("-m", "benchmarks.traced")


def figures(_rounds: int) -> Iterator[Figure]:
    """Trace the requests, of a node of ten days."""
    with Stack() as stack:
        stack.start_node("days", "-m", "benchmarks.nodes", "days")
        get, panel = get_modules(stack), panel_modules(stack)
        calls = client_calls(stack)
    what = "modules on the way of `sisock get`"
    yield Figure("paths", what, f"{len(get)}: {named(get)}", len(get), "<= 18 modules")
    own = [module for module in panel if module.startswith("bridge/")]
    what = "modules of bridge/ on the way of a panel of a new view"
    shown = f"{len(own)}; with those of other packages {len(panel)}: {named(panel)}"
    yield Figure("paths", what, shown, len(own), "<= 15 modules")
    what = "WAMP calls of a small `Client.get`, the node known"
    yield measured("calls", what, calls, "", "<= 1 calls")


def named(modules: list[str]) -> str:
    """Return the modules by package, for people."""
    by_package: dict[str, list[str]] = {}
    for module in modules:
        package, _, name = module.removesuffix(".py").rpartition("/")
        by_package.setdefault(package or "sisock", []).append(name)
    return "; ".join(f"{package} {', '.join(names)}" for package, names in by_package.items())


def get_modules(stack: Stack) -> list[str]:
    """Return the modules that the command passes through."""
    out = stack.folder / "get.json"
    words = ("days", "f0", "--from", str(START), "--to", str(START + 20))
    command = (*TRACED, str(out), "sisock.cli", "get", *words)
    program = stack.start(*command, user=CONSUMER, use_socket=False)
    assert program.wait(60) == 0, program.output
    return json.loads(out.read_text())["modules"]


def panel_modules(stack: Stack) -> list[str]:
    """Return the modules that a panel's request passes through, the node and its fields known."""
    out = stack.folder / "panel.json"
    bridge = stack.start_bridge(*TRACED, str(out))
    connection = Connection(bridge.port)
    query(connection, *view(0))
    noted_since(bridge.program, out)
    query(connection, *view(2, DAY))
    return noted_since(bridge.program, out)


def noted_since(program: Program, out: Path) -> list[str]:
    """Return the modules that a traced program passed through since it was asked last."""
    program.signal(signal.SIGUSR1)
    wait_until(out.exists, 10, "the answer of the traced program")
    noted = json.loads(out.read_text())
    out.unlink()
    return noted["modules"]


def client_calls(stack: Stack) -> int:
    """Return the calls of a client for a few samples of a node that it knows."""
    program = stack.start("-m", "benchmarks.small_get", user=CONSUMER)
    assert program.wait(60) == 0, program.output
    return json.loads(program.output)["calls"]
