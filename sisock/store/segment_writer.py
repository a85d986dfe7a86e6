"""Write files of samples that never change, with the decimated levels of each field."""

from __future__ import annotations

import math
import os
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import orjson

from sisock.store.columns import TIMES, Column, decimate, join, missing, pairs, pick, to_bytes
from sisock.store.journal import sync_folder
from sisock.store.segments import BLOCK, HEAD, MAGIC, TABLE, Part
from sisock.wire.protocol import MAX_EXPONENT, MIN_EXPONENT

_DESCRIPTION_BYTES = 200
"""What an array's entry in the description takes, without its name."""

_LEVEL_STEP, _MIN_SPACINGS = 4, 4
"""Exponents between the bucket sizes of two levels; mean spacings in the finest one's buckets."""


def write(
    path: Path, timeline: str, parts: Sequence[Part], rank: int, go_on: Callable[[], None]
) -> None:
    """Write the samples of parts that follow one another to a new file, in memory a field at once.

    `go_on` is called now and then, and may raise to end it; OSError says why it cannot be done.
    """
    numbers, ends = (parts[0].low, parts[-1].high, rank), (parts[0].first, parts[-1].last)
    temporary = path.with_suffix(".part")
    with open(temporary, "wb") as file:
        _write(file, {"timeline": timeline, "numbers": numbers, "ends": ends}, parts, go_on)
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)
    sync_folder(path.parent)


def _write(
    file: IO[bytes], about: dict[str, Any], parts: Sequence[Part], go_on: Callable[[], None]
) -> None:
    fields = sorted({name for part in parts for name in part.dtypes})
    blocks = sum(part.count for part in parts) // BLOCK + 1
    # A field has less than 16 levels, each half as long as what it is made of at most.
    room = sum(
        len(orjson.dumps(name)) + _DESCRIPTION_BYTES for name in (about["timeline"], *fields)
    )
    file.seek(16 * room + (len(fields) + 1) * (2 * blocks + 16) * TABLE.itemsize)
    entries: list[dict[str, Any]] = []
    table: list[tuple[int, float, int]] = []
    for field, w, columns in _arrays(parts, fields):
        dtypes = [column.dtype.str for column in columns]
        entry = {"field": field, "w": w, "dtypes": dtypes, "count": len(columns[0])}
        entries.append({**entry, "at": file.tell(), "from": len(table)})
        for start in range(0, len(columns[0]), BLOCK):
            go_on()
            block = [column[start : start + BLOCK] for column in columns]
            data = b"".join(map(to_bytes, block))
            file.write(data)
            first = block[0][0] if w or field is None else 0
            table.append((zlib.crc32(data), first, file.tell()))
    content = orjson.dumps({**about, "arrays": entries}), np.array(table, dtype=TABLE).tobytes()
    header = b"".join(content)
    head = HEAD.pack(MAGIC, *map(len, content), zlib.crc32(header))
    file.write(header + head)
    file.seek(0)
    file.write(head + header)


def _arrays(
    parts: Sequence[Part], fields: list[str]
) -> Iterator[tuple[str | None, float, list[Column]]]:
    """Yield the times; of each field the values, and the levels; and those of a missing field."""
    t, _ = join([(t, None) for part in parts for t, _ in part.read([], -math.inf, math.inf)])
    yield None, 0.0, [t]
    for field in fields:
        _, column = join([p for part in parts for p in pairs(part, field, -math.inf, math.inf)])
        if column is None:
            column = missing(TIMES, len(t))
        if len(column) != len(t):
            raise OSError("times could be read only once")
        yield field, 0.0, [column]
        for w, times, values in _levels(t, column):
            yield field, w, [times, values]
    for w, times, _ in _levels(t, None):
        yield None, w, [times]


def _levels(t: np.ndarray, column: Column | None) -> Iterator[tuple[float, np.ndarray, Any]]:
    """Yield bucket sizes, from a few mean spacings to the length of the samples, with samples."""
    span = float(t[-1] - t[0])
    least = max(_MIN_SPACINGS * span / len(t), 2.0**MIN_EXPONENT)
    finest = math.ceil(math.log2(least) / _LEVEL_STEP) * _LEVEL_STEP
    for exponent in range(finest, MAX_EXPONENT + 1, _LEVEL_STEP):
        w = 2.0**exponent
        if w >= span:
            break
        kept = decimate(t, column, w)
        if 2 * len(kept) <= len(t):
            t, column = pick((t, column), kept)
            yield w, t, column
