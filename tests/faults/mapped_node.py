"""A data node over 64 million samples, one gigabyte, in memory-mapped files of its own making.

The only argument is the folder for the files.
"""

import sys
from pathlib import Path

import numpy as np

import sisock

COUNT = 64_000_000
START = 1_500_000_000.0
_BLOCK = 1_000_000


class Mapped(sisock.ArchiveNode):
    """One gigabyte of samples at 1 kHz."""

    name = "mapped"
    pyramid = False

    def __init__(self, folder):
        self.t = np.memmap(folder / "t", dtype="<f8", mode="w+", shape=COUNT)
        for begin in range(0, COUNT, _BLOCK):
            self.t[begin : begin + _BLOCK] = START + np.arange(begin, begin + _BLOCK) / 1000
        # Zeros that take no disk.
        self.values = np.memmap(folder / "values", dtype="<f8", mode="w+", shape=COUNT)

    def list_fields(self, start, end):
        return {"x": {}}

    def read(self, field, start, end):
        low, high = np.searchsorted(self.t, [start, end])
        return self.t[low:high], self.values[low:high]


sisock.run(Mapped(Path(sys.argv.pop())))
