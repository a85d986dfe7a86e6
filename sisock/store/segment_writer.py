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

from sisock.store.columns import TIMES, Column, Rows, decimate, join, missing, to_bytes
from sisock.store.journal import sync_folder
from sisock.store.pyramid import level_sizes
from sisock.store.segments import BLOCK, HEAD, MAGIC, TABLE, Part

_DESCRIPTION_BYTES = 200  # maximum of an array's entry in the description, without its name


def write(
    path: Path, timeline: str, parts: Sequence[Part], rank: int, go_on: Callable[[], None]
) -> None:
    """Write the samples of successive parts to a new file, with one field in memory at a time.

    `go_on` is called before each block, and may raise to stop. Raises OSError if the file cannot
    be written.
    """
    numbers, ends = (
        (parts[0].first_journal, parts[-1].last_journal, rank),
        (parts[0].first, parts[-1].last),
    )
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
    # A field has fewer than 16 levels, each at most half as long as the one below.
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
    """Yield field, bucket size and columns of each array.

    First the times, then values and levels of each field, then levels for fields without values.
    """
    t, _ = _whole(parts, [])
    yield None, 0.0, [t]
    for field in fields:
        times, columns = _whole(parts, [field])
        column = columns.get(field, missing(TIMES, len(times)))
        if len(column) != len(t):
            raise OSError("a block of times could not be read again")
        yield field, 0.0, [column]
        for w, times, values in _levels(t, column):
            yield field, w, [times, values]
    for w, times, _ in _levels(t, None):
        yield None, w, [times]


def _whole(parts: Sequence[Part], fields: list[str]) -> Rows:
    return join(rows for part in parts for rows in part.read(fields, -math.inf, math.inf))


def _levels(t: np.ndarray, column: Column | None) -> Iterator[tuple[float, np.ndarray, Any]]:
    """Yield bucket size and samples of each level that is short enough."""
    for w in level_sizes(float(t[-1] - t[0]), len(t)):
        kept = decimate(t, column, w)
        if 2 * len(kept) <= len(t):
            t, column = t[kept], None if column is None else column[kept]
            yield w, t, column
