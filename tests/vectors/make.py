"""Make grid.json for the tests of Python and of JavaScript: ``python -m tests.vectors.make``.

A sample is null in it if it counts as missing.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests import grid_oracle as oracle

VECTORS = Path(__file__).with_name("grid.json")
NOW = 1_700_000_000.0
TYPES = ("number", "bool", "string")


def values_of(kind: str, count: int, chance: random.Random) -> list[Any]:
    """Return random values of one type, of which many are equal and some missing."""
    if kind == "number":
        some = [*range(-3, 4), 0.1, -0.0, 1e300, -1e-300, math.nan, math.inf, -math.inf]
    else:
        some = [True, False, None] if kind == "bool" else ["", "a", "b", "ü", None]
    if chance.random() < 0.3:
        some = chance.sample(some, 2)
    return [chance.choice(some) for _ in range(count)]


def times_of(w: float, count: int, chance: random.Random) -> list[float]:
    """Return ascending times, some equal, some on an edge, some before 1970 or about now."""
    origin = chance.choice([0.0, -w * count / 8, NOW, -NOW])
    # Multiples of an eighth of w; sums of them are rounded where w is small and the time is large.
    steps = [chance.choice([0, 0, 1, 2, 3, 8, 8, 40]) for _ in range(count)]
    return [origin + sum(steps[: i + 1]) * w / 8 for i in range(count)]


def bucket_of_vectors() -> Iterator[dict[str, Any]]:
    """Yield times on both sides of edges, and their bucket."""
    for exponent in (-20, -7, -1, 0, 1, 13, 40):
        w = 2.0**exponent
        for edge in (0.0, w, -w, 1000 * w, float(math.floor(NOW / w)) * w):
            for t in (math.nextafter(edge, -math.inf), edge, math.nextafter(edge, math.inf)):
                if t == 0.0 or abs(t) > 1e-300:
                    yield {"t": t, "w": w, "i": oracle.bucket_of(t, w)}


def size_for_vectors(chance: random.Random) -> Iterator[dict[str, Any]]:
    """Yield intervals of all lengths, and the smallest w for a number of points."""
    for exponent in range(-22, 44, 3):
        first = chance.choice([0.0, NOW, -NOW, -(2.0**exponent) / 3])
        last = first + 2.0**exponent * chance.choice([0.7, 1, 1.5])
        points = chance.choice([8, 9, 10, 100, 1000, 1001, 20_000])
        if (w := oracle.size_for(first, last, points)) is not None:
            yield {"first": first, "last": last, "maxPoints": points, "w": w}
    yield {"first": NOW, "last": NOW, "maxPoints": 8, "w": 2.0**-20}
    yield {"first": -1.0, "last": 1.0, "maxPoints": 8, "w": oracle.size_for(-1.0, 1.0, 8)}


def decimate_vectors(chance: random.Random) -> Iterator[dict[str, Any]]:
    """Yield samples of each type, and those that are kept."""
    for exponent in (-20, -19, -10, -3, 0, 0, 5, 20, 40):
        for kind in TYPES:
            w, count = 2.0**exponent, chance.choice([0, 1, 2, 12, 12, 30])
            t, values = times_of(w, count, chance), values_of(kind, count, chance)
            kept = oracle.decimate(t, values, w)
            yield {"type": kind, "t": t, "values": values, "w": w, "kept": kept}
    for kind in TYPES:
        t, values = [float(i) for i in range(16)], values_of(kind, 16, chance)
        kept = oracle.decimate(t, values, 4.0)
        yield {"type": kind, "t": t, "values": values, "w": 4.0, "kept": kept}
        missing: list[Any] = [None] * 16
        kept = oracle.decimate(t, missing, 4.0)
        yield {"type": kind, "t": t, "values": missing, "w": 4.0, "kept": kept}


def decimate_to_vectors(chance: random.Random) -> Iterator[dict[str, Any]]:
    """Yield samples of each type, and those that are kept for a number of points."""
    for exponent in (-16, -3, 0, 9):
        for kind in TYPES:
            w, count, points = 2.0**exponent, chance.choice([8, 9, 40, 60]), chance.choice([8, 23])
            t, values = times_of(w, count, chance), values_of(kind, count, chance)
            kept, size = oracle.decimate_to(t, values, points)
            found = {"maxPoints": points, "kept": kept, "w": size}
            yield {"type": kind, "t": t, "values": values, **found}


def as_json(value: Any) -> Any:
    """Return a value as JSON has it, with null for what counts as missing."""
    return None if oracle.is_missing(value) else value


def make() -> str:
    """Return all vectors as the text of the file, one to a line."""
    chance = random.Random(11)
    vectors = {
        "bucketOf": list(bucket_of_vectors()),
        "sizeFor": list(size_for_vectors(chance)),
        "decimate": list(decimate_vectors(chance)),
        "decimateTo": list(decimate_to_vectors(chance)),
    }
    for vector in vectors["decimate"] + vectors["decimateTo"]:
        vector["values"] = [as_json(value) for value in vector["values"]]
    parts = [
        f'"{name}": [\n' + ",\n".join(json.dumps(v, ensure_ascii=False) for v in listed) + "\n]"
        for name, listed in vectors.items()
    ]
    return "{" + ",\n".join(parts) + "}\n"


if __name__ == "__main__":
    VECTORS.write_text(make(), encoding="utf-8")
