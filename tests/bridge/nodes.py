"""Data nodes for the bridge's tests: ``python tests/bridge/nodes.py KIND [--name NAME] …``."""

from __future__ import annotations

import sys
import time

import numpy as np

import sisock

START = 1_500_000_000.0


class Told(sisock.ArchiveNode):
    """A sample a second; prints what it is asked for."""

    name = "told"
    t = START + np.arange(100.0)

    def list_fields(self, start, end):
        return {"x": {"timeline": "t", "interval": 1.0}}

    def read(self, field, start, end):
        low, high = np.searchsorted(self.t, [start, end])
        print(f"asked {start - START:.0f} {end - START:.0f} {high - low}", flush=True)
        return self.t[low:high], self.t[low:high] - START


class Waiting(sisock.ArchiveNode):
    """Says that it is asked, and answers after a long while."""

    name = "waiting"

    def list_fields(self, start, end):
        return {"x": {}}

    def read(self, field, start, end):
        print("asked", flush=True)
        time.sleep(20)
        return [], []


KINDS = {"told": Told, "waiting": Waiting}

if __name__ == "__main__":
    kind = sys.argv.pop(1)
    sisock.run(KINDS[kind])
