"""Tables of figures, printed and put into docs/explanation/performance.md."""

from __future__ import annotations

import operator
import os
import platform
import re
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

DOCUMENTS = Path(__file__).parent.parent / "docs/explanation"

HEADER = ("", "what", "value", "target", "ok")

_HOLDS = {">=": operator.ge, "<=": operator.le, "<": operator.lt}


@dataclass(frozen=True)
class Figure:
    """One row of a table.

    Attributes
    ----------
    name : str
        Of the row, as in docs/explanation/performance.md.
    what : str
        What was measured.
    shown : str
        The figure for people, with its unit and what it is compared with.
    value : float
        What the target speaks of.
    target : str
        Sign, limit and unit, as ``<= 1.5 x``; empty if none is set.
    """

    name: str
    what: str
    shown: str
    value: float
    target: str = ""

    def cells(self) -> tuple[str, ...]:
        """Return the row's texts."""
        is_reached = ""
        if self.target:
            sign, limit, _ = self.target.split(maxsplit=2)
            is_reached = "yes" if _HOLDS[sign](self.value, float(limit)) else "**no**"
        return self.name, self.what, self.shown, self.target, is_reached


def measured(name: str, what: str, value: float, unit: str, target: str = "") -> Figure:
    """Make the row of one measured number."""
    return Figure(name, what, f"{short(value)} {unit}".strip(), value, target)


def compared(
    name: str,
    what: str,
    ours: Sequence[float],
    others: Sequence[float],
    other: str,
    target: str = "",
) -> Figure:
    """Make the row of two sides' seconds; `other` names the other side.

    The ratio is that of the times where the target is an upper limit, and that of the speeds
    where it is a lower one.
    """
    is_speed = target.startswith(">")
    value = ratio(others, ours) if is_speed else ratio(ours, others)
    kind = "the speed" if is_speed else "the time"
    shown = f"{milliseconds(ours)}, {short(value)} x {kind} of {other}: {milliseconds(others)}"
    return Figure(name, what, shown, value, target)


def ratio(above: Sequence[float], below: Sequence[float]) -> float:
    """Return the median of each round's ratio, as a busy machine slows both sides of a round."""
    return statistics.median(a / b for a, b in zip(above, below, strict=True))


def milliseconds(seconds: Sequence[float]) -> str:
    """Return the median, for people."""
    return f"{short(statistics.median(seconds) * 1e3)} ms"


def short(value: float) -> str:
    """Return a number of three digits, or a whole one if it is larger."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def percentile(seconds: Iterable[float], part: float) -> float:
    """Return the time below which `part` of all lie, nearest rank."""
    ordered = sorted(seconds)
    return ordered[min(int(part * len(ordered)), len(ordered) - 1)]


def machine() -> str:
    """Describe this computer in a line."""
    model = "unknown processor"
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists() and (found := re.search(r"model name\s*: (.*)", cpuinfo.read_text())):
        model = found[1]
    python = platform.python_version()
    return f"{os.cpu_count()} cores ({model}), Python {python}, {date.today()}"


def table(figures: Iterable[Figure]) -> str:
    """Return the figures as a table in Markdown."""
    lines = [HEADER, ["---"] * len(HEADER), *(figure.cells() for figure in figures)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def publish(section: str, text: str) -> None:
    """Put a table between its markers in a document, with the machine that it was made on."""
    begin, end = f"<!-- {section} -->\n", f"<!-- end of {section} -->"
    path = next(path for path in DOCUMENTS.glob("*.md") if begin in path.read_text())
    document = path.read_text()
    before, _, rest = document.partition(begin)
    _, _, after = rest.partition(end)
    path.write_text(f"{before}{begin}\n{text}\n\nMachine: {machine()}.\n\n{end}{after}")
