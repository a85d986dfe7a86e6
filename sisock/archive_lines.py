"""Text files of a time and a number a line, parsed in chunks; a large one in another process.

What is left to do for the node's own process, to store what was read and to answer requests, has a
core of its own then. The other process ends with the file, when its reader is closed, or with the
node; while it is not read from it waits.
"""

from __future__ import annotations

import contextlib
import io
import os
import select
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

import numpy as np

from sisock.archive_text import Pairs, parse_pairs

LARGE = 32 << 20
"""Bytes that take longer to parse than another process to start."""

_CHUNK = 1 << 20

_HEADER = struct.Struct("<qqq")
"""Number of samples, number of malformed lines, and the byte behind the last whole line."""

_POLL = 10
"""Milliseconds after which an empty chunk is given: the archive has other things to do as well."""

_END_WITHIN = 10.0
"""Seconds within which another process ends that has nothing more to say."""

_other_process = threading.Lock()
"""Held while there is another process: who comes later has its own time, not its memory."""


def parse_file(path: Path, offset: int = 0) -> Iterator[tuple[Pairs, int]]:
    """Read the lines of a file as `parse_pairs` does, about a megabyte at a time.

    Parameters
    ----------
    path : Path
        The file.
    offset : int
        The byte to begin at; a line begins there.

    Yields
    ------
    pairs : Pairs
        What was read, which may be nothing; malformed lines are counted from the first one of
        this chunk.
    offset : int
        The byte behind the last whole line that was read: a last line without its newline is
        taken as half written.

    Raises
    ------
    OSError
        If the file cannot be read.
    """
    if os.path.getsize(path) - offset > LARGE and _other_process.acquire(blocking=False):
        try:
            for pairs, reached in _parse_elsewhere(path, offset):
                offset = reached
                yield pairs, offset
        finally:
            _other_process.release()
    # All of a small file, or whatever the other process has left, for whichever reason.
    yield from _parse_here(path, offset)


def _parse_here(path: Path, offset: int) -> Iterator[tuple[Pairs, int]]:
    with open(path, "rb") as file:
        file.seek(offset)
        rest = b""
        while chunk := file.read(_CHUNK):
            lines, newline, rest = (rest + chunk).rpartition(b"\n")
            offset += len(lines) + len(newline)
            yield parse_pairs(lines + newline), offset


def _parse_elsewhere(path: Path, offset: int) -> Iterator[tuple[Pairs, int]]:
    process = _start(path, offset)
    if process is None:
        return
    with process:
        try:
            for chunk in _chunks(cast(io.FileIO, process.stdout)):
                if chunk is not None:
                    offset = chunk[1]
                yield chunk or (Pairs(np.empty(0), np.empty(0), []), offset)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_END_WITHIN)
        finally:
            process.kill()
    if process.returncode:
        _say(path, f"another process ended with {process.returncode}")


def _start(path: Path, offset: int) -> subprocess.Popen | None:
    """Start to parse in another process, with the modules that this one has."""
    modules = os.pathsep.join(filter(None, sys.path))
    try:
        return subprocess.Popen(
            [sys.executable, "-m", __name__, os.path.abspath(path), str(offset)],
            bufsize=0,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": modules, "PYTHONSAFEPATH": "1"},
            # Ctrl-C is for the node, which then reads no further.
            start_new_session=True,
            pipesize=_CHUNK,
        )
    except OSError as error:
        _say(path, str(error))
        return None


def _say(path: Path, why: str) -> None:
    # Not needed where this module runs as a program, which is to start fast.
    from sisock.logs import make_logger

    make_logger().warn("{path}: what is left is parsed here, as {why}", path=path, why=why)


def _send(pairs: Pairs, reached: int, output: IO[bytes]) -> None:
    """Write what `_receive` reads."""
    malformed = np.array(pairs.malformed, dtype="<i8")
    arrays = (pairs.t.astype("<f8"), pairs.values.astype("<f8"), malformed)
    output.write(_HEADER.pack(len(pairs.t), len(malformed), reached))
    output.write(b"".join(array.tobytes() for array in arrays))
    output.flush()


def _chunks(output: io.FileIO) -> Iterator[tuple[Pairs, int] | None]:
    """What comes, and None whenever nothing has come for a while."""
    poll = select.poll()
    poll.register(output, select.POLLIN)
    while True:
        if not poll.poll(_POLL):
            yield None
        elif (chunk := _receive(output)) is not None:
            yield chunk
        else:
            return


def _receive(output: io.FileIO) -> tuple[Pairs, int] | None:
    """Read one chunk, or None at the end."""
    header = _read(output, _HEADER.size)
    if header is None:
        return None
    count, malformed, reached = _HEADER.unpack(header)
    body = _read(output, 8 * (2 * count + malformed))
    if body is None:
        return None
    # Of a bytearray: an author may change the arrays, as those of a small file.
    t, values = np.frombuffer(body, "<f8", 2 * count).reshape(2, -1)
    return Pairs(t, values, np.frombuffer(body, "<i8", offset=16 * count).tolist()), reached


def _read(output: io.FileIO, size: int) -> bytearray | None:
    """Read so many bytes, or None if there are less."""
    body = bytearray(size)
    filled = 0
    while filled < size and (count := output.readinto(memoryview(body)[filled:])):
        filled += count
    return body if filled == size else None


def _main(path: str, offset: str) -> None:
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    for pairs, reached in _parse_here(Path(path), int(offset)):
        _send(pairs, reached, sys.stdout.buffer)


if __name__ == "__main__":
    _main(*sys.argv[1:])
