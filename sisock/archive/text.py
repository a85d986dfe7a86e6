"""Read two-column text, with a time and a number on each line, and lines of other text."""

from __future__ import annotations

import gzip
import io
import math
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from sisock.wire.times import counted

MAX_LINE = 1 << 12  # bytes; a longer line is malformed
MAX_QUOTED = 60  # bytes of a malformed line that a warning shows

CHUNK_BYTES = 1 << 20
"""Bytes of a file that are read at once; an unusual line has all of them parsed line by line."""

_SHORT = 1 << 10  # bytes; shorter text is parsed faster line by line
_PLAIN = b"0123456789+-.eE \t\n"  # characters of lines that numpy parses exactly like `float`


def parse_pairs(text: bytes) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Parse complete lines of a finite time, white space, and a number, which may be nan.

    ``#`` begins a comment, and empty lines are allowed. Returns times, values, and the indices of
    malformed lines.
    """
    plain = _parse_at_once(text)
    rows, malformed = _parse_line_by_line(text) if plain is None else (plain, [])
    return np.ascontiguousarray(rows[:, 0]), np.ascontiguousarray(rows[:, 1]), malformed


def _parse_at_once(text: bytes) -> np.ndarray | None:
    """Return times and values, shape (n, 2), or None if a line is unusual."""
    if len(text) < _SHORT or text.translate(None, _PLAIN):
        return None
    newlines = np.flatnonzero(np.frombuffer(text, dtype=np.uint8) == ord("\n"))
    if np.diff(newlines, prepend=-1).max() > MAX_LINE:
        return None
    try:
        rows = np.loadtxt(io.BytesIO(text), ndmin=2)
    except ValueError:
        return None
    return rows if rows.shape[1] == 2 and np.isfinite(rows[:, 0]).all() else None


def _parse_line_by_line(text: bytes) -> tuple[np.ndarray, list[int]]:
    rows, malformed = [], []
    for index, line in enumerate(text.split(b"\n")):
        if len(line) >= MAX_LINE:
            line = b"?"
        elif b"#" in line:
            line = line.partition(b"#")[0]
        try:
            t, value = map(float, line.split())
            # Python reads 1_0 as ten.
            is_valid = math.isfinite(t) and b"_" not in line
        except ValueError:
            is_valid = False
        if is_valid:
            rows.append((t, value))
        elif line.strip():
            malformed.append(index)
    return np.array(rows).reshape(-1, 2), malformed


def read_pairs(
    path: Path, offset: int, warn: Callable[[str], None]
) -> Iterator[tuple[np.ndarray, np.ndarray, int]]:
    """Parse a two-column text file from a byte on, as `FileArchive.parse` must.

    Malformed lines are left out, with one warning for all of them. A last line without a newline
    counts as half written.
    """
    malformed, first = 0, b""
    with open(path, "rb") as file:
        file.seek(offset)
        for lines, end in whole_lines(file, offset, MAX_LINE):
            t, values, bad = parse_pairs(lines)
            if bad and not malformed:
                first = lines.split(b"\n")[bad[0]]
            malformed += len(bad)
            yield t, values, end
    if malformed:
        skipped = counted(malformed, "malformed line")
        warn(f"{path}: {skipped} skipped, the first: {first[:MAX_QUOTED].decode('latin-1')!r}")


def whole_lines(
    file: IO[bytes], offset: int, max_line: int, chunk_bytes: int = CHUNK_BYTES
) -> Generator[tuple[bytes, int], None, bytes]:
    """Read a file in chunks: yield the complete lines of each, and the byte after them.

    `offset` is the position of the file. A line of more than `max_line` bytes becomes a question
    mark. Returns the rest after the last newline.
    """
    rest, cut = b"", 0
    while chunk := file.read(chunk_bytes):
        lines, newline, rest = (rest + chunk).rpartition(b"\n")
        if newline:
            offset, cut = offset + len(lines + newline) + cut, 0
        if len(rest) > max_line:
            # Replace the long line so far with one byte, which makes it malformed.
            cut, rest = cut + len(rest) - 1, b"?"
        yield lines + newline, offset
    return rest


@contextmanager
def open_text(path: Path, offset: int = 0) -> Iterator[Any]:
    """Open a file at a byte; if its name ends with ``.gz``, decompress it."""
    with path.open("rb") as file:
        file.seek(offset)
        yield gzip.GzipFile(fileobj=file) if path.suffix == ".gz" else file
