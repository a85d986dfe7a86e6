"""A node for the latest values: ``python tests/browser/wall.py [--name …]``.

Of its fields some are beyond their limits, one is silent, and most just move.
"""

from __future__ import annotations

import math
import os
import time

import sisock

LIMITS = {"warning": [0.0, 10.0], "alarm": [-10.0, 20.0]}
FIXED = {"well": 5.0, "warm": 12.0, "cold": -5.0, "hot": 25.0, "frozen": -11.5}
PAST = 3500
MOVING = [f"wave_{i:03}" for i in range(int(os.environ.get("MOVING", 190)))]


class Wall(sisock.LiveNode):
    """Reads two hundred fields once a second; of one timeline nothing but a first sample."""

    name = "wall"
    interval = 1.0
    fields = {
        **{name: {"units": "K", "precision": 2, "limits": LIMITS} for name in FIXED},
        "valve": {"labels": {"0": "closed", "1": "open"}},
        "mode": {"type": "string", "description": "what the telescope does"},
        "fault": {"type": "bool"},
        "count": {"precision": 0, "description": "seconds since 1970"},
        **{name: {"units": "V", "precision": 3} for name in MOVING},
    }
    stale_after = 3.0

    def begin(self, service):
        super().begin(service)
        self.push({"silent": 1.0}, timeline="silence")
        now = math.floor(time.time())
        hour = range(now - PAST, now, 10)
        before = [values_at(t) for t in hour]
        self.push({name: [each[name] for each in before] for name in before[0]}, list(hour))

    def read(self):
        return values_at(time.time())


def values_at(now):
    """What is measured at a time."""
    waves = {name: math.sin(now / 300 + i / 9) + i for i, name in enumerate(MOVING)}
    moved = {name: value + math.sin(now / 400) / 4 for name, value in FIXED.items()}
    states = {"valve": 1, "mode": "scanning", "fault": False, "count": math.floor(now)}
    return {**(moved if now < time.time() - 5 else FIXED), **states, **waves}


if __name__ == "__main__":
    sisock.run(Wall)
