"""Tables of figures, printed and put into docs/performance.md."""

from __future__ import annotations

import operator
import os
import platform
import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

DOCUMENT = Path(__file__).parent.parent / "docs" / "performance.md"

_HOLDS = {">=": operator.ge, "<=": operator.le, "<": operator.lt}


@dataclass(frozen=True)
class Figure:
    """One row of a table.

    Attributes
    ----------
    letter : str
        Of the comparison that it belongs to.
    what : str
        What was measured.
    ours, other : str
        The two sides; the other may be empty.
    value : float
        What the target speaks of: a ratio, or what was measured itself.
    target : str
        Sign, limit and unit, as ``>= 100 x``; empty if none is set.
    """

    letter: str
    what: str
    ours: str
    other: str
    value: float
    target: str = ""

    def cells(self) -> list[str]:
        """The row's texts."""
        sign, limit, unit = self.target.split() if self.target else ("", "", "x")
        ratio = f"{self.value:.3g}" if unit == "x" and self.other else ""
        reached = ""
        if sign:
            reached = "yes" if _HOLDS[sign](self.value, float(limit)) else "**no**"
        return [self.letter, self.what, self.ours, self.other, ratio, self.target, reached]


HEADER = ["", "what", "ours", "other", "ratio", "target", "reached"]


def ratio(above: Sequence[float], below: Sequence[float]) -> float:
    """The median of the ratios of each round, as a busy machine slows both sides of a round."""
    return statistics.median(a / b for a, b in zip(above, below, strict=True))


def milliseconds(seconds: Sequence[float]) -> str:
    """The median, for people."""
    middle = statistics.median(seconds) * 1e3
    return f"{middle:,.0f} ms" if middle >= 100 else f"{middle:.3g} ms"


def machine() -> str:
    """What this computer is, in a line."""
    model = "unknown processor"
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists() and (found := re.search(r"model name\s*: (.*)", cpuinfo.read_text())):
        model = found[1]
    python = platform.python_version()
    return f"{os.cpu_count()} cores ({model}), Python {python}, {date.today()}"


def percentile(seconds: Sequence[float], part: float) -> float:
    """The time below which `part` of all lie, nearest rank."""
    ordered = sorted(seconds)
    return ordered[min(int(part * len(ordered)), len(ordered) - 1)]


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def publish(section: str, text: str) -> None:
    """Print a section, and put it between its markers in the document."""
    text = f"{text}\n\nMachine: {machine()}.\n"
    print(text)
    begin, end = f"<!-- {section} -->\n", f"<!-- end of {section} -->"
    document = DOCUMENT.read_text()
    before, _, rest = document.partition(begin)
    _, _, after = rest.partition(end)
    DOCUMENT.write_text(before + begin + "\n" + text + "\n" + end + after)
