"""Keep what the last `python -m benchmarks --scale` measured, for the model of sites."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.report import machine

PATH = Path(__file__).with_name("costs.json")

Costs = Mapping[str, Any]
"""CPU seconds of one of each.

``router``: number of proxies → what → of the router, of all proxies together, of the node.
``bridge panel``, ``bridge tile`` and ``cache tile``: of one that is asked for. ``machine``: where
they were measured.
"""


def read_costs() -> Costs:
    """Return the costs of the last run, or exit if there was none."""
    if not PATH.exists():
        sys.exit(f"{PATH} is missing: run `python -m benchmarks --scale`")
    return json.loads(PATH.read_text())


def write_costs(part: str, costs: Any) -> None:
    """Replace a part of the costs."""
    known = json.loads(PATH.read_text()) if PATH.exists() else {}
    text = json.dumps({**known, part: costs, "machine": machine()}, indent=1, sort_keys=True)
    PATH.write_text(f"{text}\n")
