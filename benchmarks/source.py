"""Rows size and structure: lines, modules, circles of imports and broken rules of the library."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from benchmarks.report import Figure, measured

TOP = Path(__file__).parent.parent
LIBRARY = TOP / "sisock"


def modules() -> dict[str, Path]:
    """Return all modules by their dotted names, without ``__init__`` and ``__main__``."""
    files = sorted(path for path in LIBRARY.rglob("*.py") if not path.name.endswith("__.py"))
    return {".".join(path.relative_to(TOP).with_suffix("").parts): path for path in files}


def size(_rounds: int) -> Iterator[Figure]:
    """Count lines and modules."""
    lines = sum(len(path.read_text().splitlines()) for path in LIBRARY.rglob("*.py"))
    yield measured("size", "lines of sisock/, docstrings included", lines, "", "<= 10500 lines")
    names = modules()
    what = "modules, without `__init__` and `__main__`"
    yield measured("size", what, len(names), "", "<= 62 modules")
    ((package, count),) = Counter(name.rpartition(".")[0] for name in names).most_common(1)
    shown = f"{count} ({package})"
    yield Figure("size", "modules of the largest package", shown, count, "<= 12 modules")


def structure(_rounds: int) -> Iterator[Figure]:
    """Count circles of imports, and the rules of `make lint` that are broken."""
    found = circles()
    shown = str(len(found)) + "".join(f"; {' '.join(sorted(circle))}" for circle in found)
    what = "circles of imports, those for types and in functions included"
    yield Figure("structure", what, shown, len(found), "<= 0 circles")
    if (broken := broken_rules()) is not None:
        yield measured("structure", "broken rules of imports", broken, "", "<= 0 rules")


def circles() -> list[frozenset[str]]:
    """Return the groups of modules that import each other, directly or by others."""
    known = modules()
    # A program that imports itself, to be a module as well, is no circle.
    imported = {name: set(imports(path)) & known.keys() - {name} for name, path in known.items()}
    reached = {name: _reachable(name, imported) for name in known}
    groups = {
        frozenset(other for other in reached[name] if name in reached[other])
        for name in known
        if name in reached[name]
    }
    return sorted(groups, key=sorted)


def imports(path: Path) -> Iterator[str]:
    """Return what may be the names of the modules that a module imports anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _reachable(name: str, imported: dict[str, set[str]]) -> set[str]:
    reached: set[str] = set()
    waiting = [name]
    while waiting:
        new = imported[waiting.pop()] - reached
        reached |= new
        waiting += new
    return reached


def broken_rules() -> int | None:
    """Return how many contracts import-linter finds broken; None if it is not installed."""
    program = shutil.which("lint-imports", path=str(Path(sys.executable).parent))
    if program is None:
        return None
    told = subprocess.run([program], cwd=TOP, capture_output=True, text=True)
    found = re.search(r"(\d+) broken", told.stdout)
    if found is None:
        raise RuntimeError(f"lint-imports: {told.stdout}{told.stderr}")
    return int(found[1])
