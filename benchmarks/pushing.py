"""Row push: samples pushed to a live node that keeps them on disk, until they can be read.

The targets are what VictoriaMetrics took on this machine, in batches and one by one.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable

import numpy as np

import sisock
from benchmarks.report import Figure, measured
from sisock.connection.runtime import reactor_thread
from sisock.node.service import NodeService

START = 1_700_000_000.0
SINGLE = 200_000
BATCH, BATCHES = 10_000, 500
ROUNDS = 5


class Pushed(sisock.LiveNode):
    """One field."""

    name = "pushed"
    interval = None
    keep = "30d"


def one_by_one(node: Pushed) -> int:
    """Push samples as an instrument's library would, and return how many."""
    for _ in range(SINGLE):
        node.push({"x": 1.5})
    return SINGLE


def in_batches(node: Pushed) -> int:
    """Push arrays of samples, and return how many of these."""
    values, t = np.random.default_rng(1).normal(size=BATCH), np.arange(BATCH) / BATCH
    for turn in range(BATCHES):
        node.push({"x": values}, START + turn + t)
    return BATCH * BATCHES


def rate(push: Callable[[Pushed], int]) -> float:
    """Return the samples per second until all of them can be read."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["SISOCK_DATA"] = folder
        node = Pushed()
        service = NodeService(node, reactor_thread())
        service.open()
        node.begin(service)
        began = time.perf_counter()
        count = push(node)
        # Whoever asks gets all that was pushed before.
        node.get_decimated(["x"], START, START + 1, max_points=8)
        taken = time.perf_counter() - began
        assert node.status()["samples"] == count
        service.stop()
    return count / taken


def figures(rounds: int) -> list[Figure]:
    """Measure."""
    rows = (
        (one_by_one, "one by one, each by a call of `push`", 1e3, "thousand", ">= 60 thousand/s"),
        (in_batches, f"arrays of {BATCH:,}", 1e6, "million", ">= 2.6 million/s"),
    )
    found = []
    for push, what, unit, name, target in rows:
        value = float(np.median([rate(push) for _ in range(min(rounds, ROUNDS))])) / unit
        found.append(measured("push", f"{what}; kept", value, f"{name} samples/s", target))
    return found
