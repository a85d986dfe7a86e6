"""Read frames of `.g3` files, and the samples in them."""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import numpy as np

from sisock.store.series import NOTHING
from sisock.wire.arrays import Samples

with suppress(ImportError):  # only the node of .g3 files needs them
    import so3g
    from spt3g import core

STATUS, DATA = 1, 2  # kinds of housekeeping frames: a list of feeds, or samples of one
HOUSEKEEPING = ord("H")  # type of a frame
TICKS = 1e8  # ticks of a G3Time in a second


def read_frames(path: Path | str, offset: int = 0) -> Iterator[tuple[int, int, Any]]:
    """Yield the first byte, the end, and the frame (None if not housekeeping) from `offset` on.

    Raises ValueError if the next frame is incomplete or damaged.
    """
    # Without a G3Reader: its tell and seek take as long as reading a hundred frames.
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        while offset < size:
            try:
                kind, end = _head_of(file, offset)
                if end > size:
                    raise ValueError("it is not whole")
                file.seek(offset)
                frame = core.G3Frame() if kind == HOUSEKEEPING else None
                if frame is not None:
                    frame.__setstate__(({}, file.read(end - offset)))  # as pickle does
            except (ValueError, struct.error, RuntimeError) as error:
                why = "it is not whole" if isinstance(error, struct.error) else error
                raise ValueError(f"the frame at byte {offset} cannot be read: {why}") from None
            yield offset, end, frame
            offset = end


def _head_of(file: IO[bytes], offset: int) -> tuple[int, int]:
    """Return the type of a frame, and the byte after it."""
    file.seek(offset)
    is_little, version, count, kind = struct.unpack("<BiiI", file.read(13))
    if (is_little, version) != (1, 1):
        raise ValueError("no frame begins there")
    end = offset + 13
    for _ in range(2 * count):  # names and contents
        file.seek(end)
        (length,) = struct.unpack("<Q", file.read(8))
        end += 8 + length
    return kind, end + 4  # after the checksum


def blocks_of(frame: Any) -> dict[str, Any]:
    """Return the blocks by name of a frame of samples, of any version of the format."""
    frame = so3g.hk.HKTranslator().Process(frame)[0]
    pairs = zip(frame["block_names"], frame["blocks"], strict=True)
    return {str(name): block for name, block in pairs if len(block.times)}


def times_of(block: Any) -> np.ndarray:
    """Return the times of a block as UNIX seconds."""
    return np.asarray(block.times) / TICKS


def type_of(column: Any) -> str:
    """Return the field type of a column of values."""
    return {"U": "string", "S": "string", "b": "bool"}.get(np.asarray(column).dtype.kind, "number")


def values_of(column: Any, kind: str) -> np.ndarray:
    """Convert values to a field's type `kind`; texts of a number field become NaN."""
    found = np.asarray(column)
    if kind == "string":
        return found.astype(str).astype(object)
    if found.dtype.kind in "US":
        found = np.full(len(found), np.nan)
    return found.astype("<f8" if kind == "number" else bool)


def short_name(address: str) -> str:
    """Shorten a feed's address ``root.agent.feeds.feed`` to ``agent.feed``."""
    match = re.fullmatch(r"[^.]+\.(.+)\.feeds\.(.+)", address)
    return f"{match[1]}.{match[2]}" if match else address


def in_order(parts: Iterable[Samples]) -> Samples:
    """Join samples of several frames in the order of their times, each time once."""
    filled = [part for part in parts if len(part[0])] or [NOTHING]
    t, values = (np.concatenate(each) for each in zip(*filled, strict=True))
    if (t[1:] > t[:-1]).all():
        return t, values
    order = np.argsort(t, kind="stable")
    order = order[np.diff(t[order], prepend=-np.inf) > 0]
    return t[order], values[order]
