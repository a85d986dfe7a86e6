"""Tables of figures, printed and put into docs/performance.md."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Sequence
from datetime import date
from pathlib import Path

DOCUMENT = Path(__file__).parent.parent / "docs" / "performance.md"


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
