"""Decimated samples of `.g3` files: out of the cache and out of the files, they are the same."""

import numpy as np

from sisock.sources.g3.index import open_index
from sisock.sources.g3.levels import Levels
from sisock.wire.grid import Wanted
from tests.sources.g3_archive import Writer

BEGAN = 1_700_000_000.0
FRAMES, ROWS, SPACING = 60, 40, 2.5
OF_FIELD = {"stage": range(FRAMES), "late": range(30, FRAMES), "gone": range(10, 30)}
"""The frames that have samples of a field."""


class Watched:
    """An index that counts the frames that it finds, and that may grow whenever it is asked."""

    def __init__(self, index):
        self.index, self.count, self.grow = index, 0, lambda: None

    def __getattr__(self, name):
        return getattr(self.index, name)

    def frames(self, *args):
        found = self.index.frames(*args)
        self.count += len(found)
        self.grow()
        return found

    def read(self):
        self.index.update(lambda done, count: None)


def write_frame(writer, number):
    """Write a frame of 100 s; returns times and values."""
    i = np.arange(ROWS) + number * ROWS
    t, values = BEGAN + i * SPACING, np.sin(i / 30)
    names = [name for name, frames in OF_FIELD.items() if number in frames]
    writer.write(t, dict.fromkeys(names, values.tolist()))
    return t, values


def opened(folder):
    """Return an index of the files, its cache of decimated samples, and the only block."""
    index = Watched(open_index("g3", folder, warn=print))
    index.read()
    levels = Levels("g3", index, warn=print)
    levels.extend(print)
    (block,) = index.blocks.values()
    return index, levels, block


def test_nothing_is_final_that_comes_while_files_are_read(tmp_path):
    writer = Writer(tmp_path)
    write_frame(writer, 0)
    index, levels, block = opened(tmp_path)

    def grow():
        write_frame(writer, 1)
        index.read()

    index.grow = grow
    found = levels.decimate([block], "stage", Wanted(BEGAN, BEGAN + 1000, bucket=16.0))
    assert found.final_to == np.nextafter(BEGAN + 39 * SPACING, np.inf) < block.last
