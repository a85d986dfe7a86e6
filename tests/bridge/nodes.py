"""Data nodes for the bridge's tests: ``python tests/bridge/nodes.py KIND [--name NAME] …``."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import numpy as np

import sisock

START = 1_500_000_000.0


class Told(sisock.ArchiveNode):
    """A sample a second; prints what it is asked for."""

    name = "told"
    pyramid = False  # to build one, it would be asked as well
    t = START + np.arange(100.0)

    def list_fields(self, start, end):
        return {"x": {"timeline": "t", "interval": 1.0}}

    def read(self, field, start, end):
        low, high = np.searchsorted(self.t, [start, end])
        print(f"asked {start - START:.0f} {end - START:.0f} {high - low}", flush=True)
        return self.t[low:high], self.t[low:high] - START


class Waiting(sisock.ArchiveNode):
    """Says that it is asked, and answers after a long while, or once a file is there."""

    name = "waiting"
    pyramid = False

    def list_fields(self, start, end):
        return {"x": {}}

    def read(self, field, start, end):
        print("asked", flush=True)
        until = time.monotonic() + 100
        while time.monotonic() < until and not Path(os.environ.get("TEST_GO_ON", "/none")).exists():
            time.sleep(0.02)
        return [start], [1.0]


def walk(t, seed):
    """Values with spikes of one sample, and missing ones for some stretches, shape (n,)."""
    random = np.random.default_rng(seed)
    values = random.normal(size=len(t)).cumsum() + 50 * random.standard_cauchy(len(t))
    for middle in np.linspace(0.07, 0.93, 9) * (t[-1] - t[0]) + t[0]:
        values[np.abs(t - middle) < (t[-1] - t[0]) / 300] = np.nan
    return values


SECONDS = 20_000
_RANDOM_TIMES = np.sort(np.random.default_rng(3).uniform(0, SECONDS, 30_000)).round(2)
GROWING = {
    # Each on a timeline of its own; the spacing of the last is said to nobody.
    "slow": (1.0, START + np.arange(0.0, SECONDS)),
    "fast": (0.05, START + np.arange(0, SECONDS * 20) / 20),
    "random": (None, START + _RANDOM_TIMES),
}
GROWING_VALUES = {name: walk(t, len(name)) for name, (_, t) in GROWING.items()}


class Growing(sisock.DataNodeServer):
    """Samples up to the second that a file tells; prints what it is asked for."""

    name = "growing"

    def get_fields(self, start, end):
        field, line = {}, {}
        for name, (interval, _) in GROWING.items():
            field[name] = {"description": None, "timeline": name, "type": "number", "units": None}
            line[name] = {"interval": interval, "field": [name]}
        return field, line

    def get_data(self, field, start, end, min_stride=None):
        newest = START + float(Path(os.environ["TEST_NEWEST"]).read_text())
        reply = {"data": {}, "timeline": {}}
        for name in field:
            t = GROWING[name][1]
            low, high = np.searchsorted(t, [start, min(end, newest)])
            print(f"asked {start - START:.0f} {end - START:.0f} {high - low}", flush=True)
            reply["data"][name] = GROWING_VALUES[name][low:high]
            reply["timeline"][name] = {"t": t[low:high], "finalized_until": newest - 1}
        return reply


class OldGrowing(Growing):
    """The same by the protocol's first part alone."""

    name = "old_growing"
    features = ()


class NewFields(sisock.ArchiveNode):
    """A sample of each of the fields that a file lists."""

    name = "new_fields"
    pyramid = False

    def list_fields(self, start, end):
        return {name: {} for name in Path(os.environ["TEST_FIELDS"]).read_text().split()}

    def read(self, field, start, end):
        return [START], [1.0]


KINDS = {
    "new_fields": NewFields,
    "growing": Growing,
    "old_growing": OldGrowing,
    "told": Told,
    "waiting": Waiting,
}

if __name__ == "__main__":
    kind = sys.argv.pop(1)
    sisock.run(KINDS[kind])
