"""Count what a consumer of numbered samples got; the same as `js/test/router/tally.js`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sisock.client.merge import Gap, LiveSample


class Tally:
    """Samples of each timeline: how many, from which to which number, and what is wrong."""

    def __init__(self) -> None:
        self.lines: dict[str, dict[str, Any]] = {}

    def take(self, sample: LiveSample | Gap) -> None:
        """Take a sample, which has one value, or a gap."""
        line = self.lines.setdefault(
            str(sample.timeline),
            {"count": 0, "first": None, "last": None, "missing": 0, "disordered": 0, "gaps": []},
        )
        if isinstance(sample, Gap):
            line["gaps"].append([sample.start, sample.end])
            return
        (number,) = (int(value) for value in sample.values.values())
        line["count"] += 1
        if line["first"] is None:
            line["first"] = number
        elif number <= line["last"]:
            line["disordered"] += 1
        else:
            line["missing"] += number - line["last"] - 1
        line["last"] = number


def faults(lines: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Name what is wrong."""
    return [
        f"{key} of timeline {name}: {line[key]}"
        for name, line in lines.items()
        for key in ("missing", "disordered", "gaps")
        if line[key]
    ]
