"""Nodes whose samples the tests of decimation know: ``python …/grid_nodes.py KIND``."""

from __future__ import annotations

import itertools
import sys

import numpy as np

import sisock
from sisock.wire.reply import Decimated

START = 1_500_000_000.0
SECONDS = 4000


def _times(count, seed):
    """Times in hundredths of a second, of which some are equal, with a pause; shape (count,)."""
    t = np.sort(np.random.default_rng(seed).integers(0, SECONDS * 100, count)) / 100
    return START + np.where(t > 1500, t + 300, t)


def _numbers(count):
    """Values with spikes, and missing ones, some of them next to each other; shape (count,)."""
    chance = np.random.default_rng(1)
    values = (chance.normal(size=count).cumsum() + chance.standard_cauchy(count)).round(2)
    values[500:600] = np.nan
    values[chance.integers(0, count, 100)] = np.nan
    values[[700, 1700]] = np.inf, -np.inf
    return values


def _cycle(values, count):
    return list(itertools.islice(itertools.cycle(values), count))


SHARED = _times(1000, 2)
FIELDS = {
    "number": (_times(3000, 3), _numbers(3000)),
    "count": (START + np.arange(SECONDS), np.arange(SECONDS, dtype="<i4") % 997 - 400),
    "flag": (SHARED, _cycle([True, True, None, False, True, True, True], 1000)),
    "text": (SHARED[::3], _cycle(["", "a", "a", "ü", None, "a", "a", "a"], len(SHARED[::3]))),
    "early": (np.arange(-400, 400) / 4, np.arange(800) % 3 == 0),
    "single": ([START + 7.5], [1.5]),
    "empty": ([], []),
}
TYPES = {"flag": "bool", "early": "bool", "text": "string"}
LINES = {"flag": "shared", "text": "shared"}
FINAL = START + 3000.5


class GridArchive(sisock.ArchiveNode):
    """The fields, two of them on one timeline, of which one has fewer samples."""

    name = "grid_archive"

    def list_fields(self, start, end):
        return {
            name: {"timeline": LINES.get(name, f"t_{name}"), "type": TYPES.get(name, "number")}
            for name in FIELDS
        }

    def read(self, field, start, end):
        t, values = FIELDS[field]
        low, high = np.searchsorted(t, [start, end])
        return t[low:high], values[low:high]


class GridPlain(sisock.DataNodeServer):
    """The fields by the original API, each on a timeline of its own; some are not final yet."""

    name = "grid_plain"

    def get_fields(self, start, end):
        field, line = {}, {}
        for name in FIELDS:
            kind = TYPES.get(name, "number")
            field[name] = {"description": None, "timeline": name, "type": kind, "units": None}
            line[name] = {"interval": None, "field": [name]}
        return field, line

    def get_data(self, field, start, end, min_stride=None):
        start, end = (sisock.sisock_to_unix_time(each) for each in (start, end))
        reply = {"data": {}, "timeline": {}}
        for name in field:
            t, values = FIELDS.get(name, ([], []))
            low, high = np.searchsorted(t, [start, end])
            reply["data"][name] = values[low:high]
            until = FINAL if name == "number" else None
            reply["timeline"][name] = {"t": t[low:high], "finalized_until": until}
        return reply


class GridExtremes(GridPlain):
    """Knows of "count" the extremes only, not their times."""

    name = "grid_extremes"

    def get_decimated(self, field, start, end, bucket=None, max_points=None):
        if field != ["count"]:
            return None
        w = bucket or 1024.0
        first = np.floor(START / w) * w
        t, values = np.array([first, first + w / 2]), np.array([-5, 5])
        return {"count": Decimated(t, values, w, first + w, is_placed=True)}


class GridLive(sisock.LiveNode):
    """Counts, fifty times a second; some readings are missing."""

    name = "grid_live"
    interval = 0.02
    history_samples = 100_000
    fields = {"count": {}, "word": {"type": "string"}, "even": {"type": "bool"}}

    def __init__(self):
        self.count = 0

    def read(self):
        self.count += 1
        if self.count % 7 == 0:
            return {"word": "seven"}
        word = "low" if self.count % 20 < 10 else "high"
        return {"count": self.count % 13, "word": word, "even": self.count % 2 == 0}


KINDS = {node.name: node for node in (GridArchive, GridPlain, GridExtremes, GridLive)}

if __name__ == "__main__":
    sisock.run(KINDS[sys.argv.pop(1)])
