"""Decimated samples of `.g3` files: out of the cache and out of the files, they are the same."""

import numpy as np

from sisock.sources.g3.index import open_index
from sisock.sources.g3.levels import Levels
from sisock.wire.grid import Wanted
from tests.sources.g3_archive import Writer

BEGAN = 1_700_000_000.0
ROWS, SPACING = 40, 2.5


def write_frame(writer, number):
    """Write a frame of 100 s."""
    i = np.arange(ROWS) + number * ROWS
    t, values = BEGAN + i * SPACING, np.sin(i / 30)
    writer.write(t, {"stage": values.tolist()})


def opened(folder):
    """Return an index of the files, its cache of decimated samples, and the only block."""
    index = open_index("g3", folder, warn=print)
    index.update(lambda done, count: None)
    levels = Levels("g3", index, warn=print)
    levels.extend(print)
    (block,) = index.blocks.values()
    return index, levels, block


def test_nothing_is_final_that_comes_while_files_are_read(tmp_path, monkeypatch):
    writer = Writer(tmp_path)
    write_frame(writer, 0)
    index, levels, block = opened(tmp_path)
    find = index.frames

    def frames(*args):
        found = find(*args)
        write_frame(writer, 1)
        index.update(lambda done, count: None)
        return found

    monkeypatch.setattr(index, "frames", frames)
    found = levels.decimate([block], "stage", Wanted(BEGAN, BEGAN + 1000, bucket=16.0))
    assert found.final_to == np.nextafter(BEGAN + 39 * SPACING, np.inf)
