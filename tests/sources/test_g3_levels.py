"""Decimated samples of `.g3` files: out of the cache and out of the files, they are the same."""

import numpy as np
import pytest

from sisock.sources.g3.index import open_index
from sisock.sources.g3.levels import Levels
from sisock.wire.grid import Wanted, decimate_by
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


@pytest.mark.parametrize("field", OF_FIELD)
@pytest.mark.parametrize("how", [{"bucket": 16.0}, {"bucket": 64.0}, {"max_points": 40}])
def test_few_frames_are_read_wherever_a_field_has_samples(tmp_path, field, how):
    parts = []
    for frames in (range(10), range(10, 30), range(30, FRAMES)):
        # The fields of a block change when its agent is started again.
        writer = Writer(tmp_path / str(frames.start))
        parts += [write_frame(writer, number) for number in frames]
    t, values = np.concatenate([parts[number] for number in OF_FIELD[field]], axis=1)
    index, levels, block = opened(tmp_path)
    for start, end in ((0, 6000), (105, 905), (-50, 2900), (3010, 4000), (1010, 9000), (500, 3500)):
        index.count = 0
        found = levels.decimate([block], field, Wanted(BEGAN + start, BEGAN + end, **how))
        assert index.count < 12
        inside = slice(*t.searchsorted([BEGAN + start, BEGAN + end]))
        if found is None:  # too few samples for the cache
            assert len(t[inside]) <= 40
            continue
        sizes = how.get("bucket"), how.get("max_points")
        which, bucket = decimate_by(t[inside], values[inside], *sizes)
        assert found.t.tolist() == t[inside][which].tolist()
        assert found.values.tolist() == values[inside][which].tolist()
        assert found.bucket == bucket
