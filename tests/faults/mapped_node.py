"""A data node over millions of samples in memory-mapped files of its own making.

The arguments are the folder for the files, and how many samples.
"""

import sys
from pathlib import Path

import numpy as np

import sisock

START = 1_500_000_000.0
_BLOCK = 1_000_000


class Mapped(sisock.ArchiveNode):
    """Samples at 1 kHz."""

    name = "mapped"
    pyramid = False

    def __init__(self, folder, count):
        self.t = np.memmap(folder / "t", dtype="<f8", mode="w+", shape=count)
        for begin in range(0, count, _BLOCK):
            self.t[begin : begin + _BLOCK] = START + np.arange(begin, begin + _BLOCK) / 1000
        # Zeros that take no disk.
        self.values = np.memmap(folder / "values", dtype="<f8", mode="w+", shape=count)

    def list_fields(self, start, end):
        return {"x": {}}

    def read(self, field, start, end):
        low, high = np.searchsorted(self.t, [start, end])
        return self.t[low:high], self.values[low:high]


count = int(sys.argv.pop())
sisock.run(Mapped(Path(sys.argv.pop()), count))
