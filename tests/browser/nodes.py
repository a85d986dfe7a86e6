"""Data nodes of what is hard to bring to a page: ``python tests/browser/nodes.py KIND [--name …]``.

Their samples are names of this module too, for the tests to compare with.
"""

from __future__ import annotations

import os
import sys
import time

import numpy as np
from twisted.internet import task

import sisock

START = 1_500_000_000.0
"""Time of the first sample of each."""

COUNT = 42_000
"""Samples of each field of `Types`: more than one window and one chunk hold."""

ALPHABET = ["", "a", None, "ü", "日本", "\U0001f4ab", 'q"uo,te\r\nline']

SPIKES = {500_000: 100.0, 600_000: 80.0}
"""Number of a millisecond to the one value in it that stands out."""

MISSING = slice(200_000, 250_000)
"""Milliseconds whose values are NaN."""

PAUSE = slice(700_000, 750_000)
"""Milliseconds of which there is no sample at all."""


def _tiled(values, dtype=None):
    """The values, again and again."""
    if dtype is None:
        return [values[i % len(values)] for i in range(COUNT)]
    return np.resize(np.array(values, dtype), COUNT)


def _extremes(dtype):
    """What is largest, smallest and oddest of a type."""
    kind = np.dtype(dtype).kind
    if kind == "b":
        return _tiled([True, False, False], dtype)
    if kind == "f":
        info = np.finfo(dtype)
        ends = [info.max, info.min, info.tiny, info.smallest_subnormal, info.eps]
        return _tiled([*ends, 0.0, -0.0, 0.1, np.pi, np.nan], dtype)
    info = np.iinfo(dtype)
    return _tiled([info.min, info.max, 0, 1, info.max - 1, info.min + 1], dtype)


TYPED = {
    dtype.strip("<|"): _extremes(dtype)
    for dtype in ("<f8", "<f4", "<i8", "<i4", "<i2", "|i1", "<u8", "<u4", "<u2", "|u1", "|b1")
}
LISTED = {
    "text": _tiled(ALPHABET),
    "flag": _tiled([True, None, False]),
    "count": _tiled([1, None, -(2**31), 2**53]),
}


class Types(sisock.ArchiveNode):
    """A field of each type that can travel, with its extremes; and some with missing values."""

    name = "types"
    t = START + np.arange(COUNT)
    columns = {**TYPED, **LISTED}

    def list_fields(self, start, end):
        kinds = {"b1": "bool", "flag": "bool", "text": "string"}
        about = {"timeline": "t", "interval": 1.0}
        return {name: {**about, "type": kinds.get(name, "number")} for name in self.columns}

    def read(self, field, start, end):
        low, high = np.searchsorted(self.t, [start, end])
        return self.t[low:high], self.columns[field][low:high]


class Spiky(sisock.ArchiveNode):
    """A thousand seconds at 1 kHz: a small sine with spikes of one sample, and with gaps."""

    name = "spiky"
    t = START + np.delete(np.arange(1_000_000), PAUSE) / 1000

    def __init__(self):
        values = np.sin(np.arange(1_000_000) / 1e4)
        for index, value in SPIKES.items():
            values[index] = value
        values[MISSING] = np.nan
        self.values = np.delete(values, PAUSE)

    def list_fields(self, start, end):
        return {"x": {"timeline": "khz", "interval": 1e-3}}

    def read(self, field, start, end):
        low, high = np.searchsorted(self.t, [start, end])
        return self.t[low:high], self.values[low:high]


class Mixed(sisock.DataNodeServer):
    """Ten thousand seconds by the original API; the last tenth may still change."""

    name = "mixed"

    def get_fields(self, start, end):
        kinds = {"number": "number", "text": "string", "flag": "bool", "empty": "number"}
        lines = {"number": "a", "text": "a", "flag": "b", "empty": "b"}
        field = {
            name: {"description": None, "timeline": lines[name], "type": kind, "units": None}
            for name, kind in kinds.items()
        }
        timeline = {
            line: {"interval": 1.0, "field": [name for name in lines if lines[name] == line]}
            for line in "ab"
        }
        return field, timeline

    def get_data(self, field, start, end, min_stride=None):
        seconds = np.arange(10_000.0)
        number = np.sin(seconds / 100)
        number[1234], number[8765] = 50.0, -50.0
        number[4000:4500] = np.nan
        columns = {
            "number": number,
            "text": [f"{i}" for i in range(10_000)],
            "flag": seconds % 2 == 0,
        }
        until = {"a": START + 9000, "b": None}
        return {
            "data": {name: columns.get(name, []) for name in field},
            "timeline": {
                line: {"t": START + seconds, "finalized_until": until[line]} for line in "ab"
            },
        }


class Instrument(sisock.ArchiveNode):
    """Twenty thousand seconds of an instrument: one field of each kind that a panel draws its way.

    Every field is silent from second 12,000 to 13,000.
    """

    name = "instrument"
    t = START + np.delete(np.arange(20_000.0), slice(12_000, 13_000))
    about = {
        "stage": {
            "units": "K",
            "precision": 6,
            "limits": {"warning": [None, 0.06], "alarm": [0.02, 0.07]},
            "description": "temperature of the coldest stage",
        },
        "chamber": {"units": "Pa", "limits": {"warning": [None, 108_000.0], "alarm": [None, None]}},
        "noise": {"units": "V"},
        "humidity": {"units": "%", "precision": 1},
        "count": {},
        "valve": {"type": "bool"},
        "state": {"labels": {"0": "idle", "1": "cooling", "2": "observing"}},
        "mode": {"type": "string"},
    }

    def __init__(self):
        seconds = self.t - START
        wave = np.sin(seconds / 900)
        self.columns = {
            "stage": 0.05 + 0.025 * wave,
            "chamber": 101_325 + 8_000 * np.cos(seconds / 2000),
            "noise": 4e-6 * np.sin(seconds * 1.7) * (1 + wave / 2),
            "humidity": 40 + 10 * np.cos(seconds / 700),
            "count": np.exp(seconds / 1000),
            "valve": (seconds // 1500) % 2 == 1,
            "state": (seconds // 2500) % 3,
            "mode": ["survey" if int(s // 4000) % 2 else "calibration" for s in seconds],
        }

    def list_fields(self, start, end):
        return {name: {"timeline": "s", "interval": 1.0, **own} for name, own in self.about.items()}

    def read(self, field, start, end):
        low, high = np.searchsorted(self.t, [start, end])
        return self.t[low:high], self.columns[field][low:high]


class Numbered(sisock.DataNodeServer):
    """Numbers samples by their times, so that it knows them also after a restart.

    Of the timeline `fast` a thousand a second, of `slow` ten. With NUMBERED_FORGETS set it knows
    only those since its start.
    """

    name = "numbered"
    features = (*sisock.DataNodeServer.features, "live")
    rates = {"fast": 1000, "slow": 10}

    def __init__(self):
        began = self.newest()
        self.first = began if "NUMBERED_FORGETS" in os.environ else dict.fromkeys(self.rates, 0)
        self.published = began
        self.loop = task.LoopingCall(self.publish)

    def newest(self):
        now = time.time()
        return {line: int(now * rate) for line, rate in self.rates.items()}

    def begin(self, service):
        self.loop.start(0.05)

    def end(self):
        self.loop.stop()

    def publish(self):
        before, self.published = self.published, self.newest()
        new = {line: range(before[line], self.published[line]) for line in self.rates}
        if self.service is not None:
            self.service.publish(self.reply({line: some for line, some in new.items() if some}))

    def reply(self, numbers):
        return {
            "data": {f"{line}_number": list(some) for line, some in numbers.items()},
            "timeline": {
                line: {"t": [i / self.rates[line] for i in some], "finalized_until": None}
                for line, some in numbers.items()
            },
        }

    def get_fields(self, start, end):
        field = {
            f"{line}_number": {
                "description": None,
                "timeline": line,
                "type": "number",
                "units": None,
                "precision": 0,
            }
            for line in self.rates
        }
        timeline = {
            line: {"interval": 1 / rate, "field": [f"{line}_number"]}
            for line, rate in self.rates.items()
        }
        return field, timeline

    def get_data(self, field, start, end, min_stride=None):
        numbers = {}
        for line in (name.removesuffix("_number") for name in field):
            rate, first = self.rates[line], self.first[line]
            low, high = (int(np.ceil(t * rate - 1e-6)) for t in (start, end))
            numbers[line] = range(max(low, first), min(high, self.published[line]))
        return self.reply(numbers)


class Wide(sisock.ArchiveNode):
    """Five thousand fields of fifty timelines, of 14 to 28 July 2017."""

    name = "wide"
    description = "Bolometers"
    pyramid = False
    t = 1_499_990_400.0 + np.arange(0.0, 14 * 86_400 + 1, 600)

    def list_fields(self, start, end):
        return {
            f"channel_{i:04}": {
                "description": f"Detector {i} of wafer {i // 100}",
                "timeline": f"wafer_{i // 100}",
                "units": "K" if i % 2 else "V",
                "interval": 600.0,
                "first": self.t[0],
                "last": self.t[-1],
            }
            for i in range(5000)
        }

    def read(self, field, start, end):
        low, high = np.searchsorted(self.t, [start, end])
        return self.t[low:high], np.sin(self.t[low:high] / 1e4)


class Growing(sisock.LiveNode):
    """Pushes a level and its state, and a further field and timeline while a file is there.

    GROWS_WITH names the file. When it is gone again, nothing is pushed, and the node says so.
    """

    name = "growing"
    interval = None
    stale_after = 2.0
    fields = {
        "level": {"units": "m", "precision": 2},
        "state": {"labels": {"0": "closed", "1": "open"}},
    }

    def begin(self, service):
        super().begin(service)
        self.has_grown = False
        self.loop = task.LoopingCall(self.push_all)
        self.loop.start(0.1)

    def end(self):
        self.loop.stop()
        super().end()

    def push_all(self):
        is_there = os.path.exists(os.environ["GROWS_WITH"])
        self.has_grown = self.has_grown or is_there
        self.trouble = "the pump is off" if self.has_grown and not is_there else None
        if is_there or not self.has_grown:
            self.push({"level": 2 / 3, "state": 1})
        if is_there:
            self.push({"further": 1.5})
            self.push({"later": "spoken"}, timeline="words")


class Fast(sisock.LiveNode):
    """Pushes RATE numbered samples a second, in arrays."""

    name = "fast"
    interval = None
    history = 120.0
    rate = int(os.environ.get("RATE", 40_000))

    def begin(self, service):
        super().begin(service)
        self.pushed = int(time.time() * self.rate)
        self.loop = task.LoopingCall(self.push_new)
        self.loop.start(0.02)

    def end(self):
        self.loop.stop()
        super().end()

    def push_new(self):
        before, self.pushed = self.pushed, int(time.time() * self.rate)
        numbers = np.arange(before, self.pushed)
        self.push({"wave": np.sin(numbers / self.rate)}, numbers / self.rate)


KINDS = {
    "fast": Fast,
    "growing": Growing,
    "instrument": Instrument,
    "numbered": Numbered,
    "types": Types,
    "spiky": Spiky,
    "mixed": Mixed,
    "wide": Wide,
}

if __name__ == "__main__":
    kind = sys.argv.pop(1)
    sisock.run(KINDS[kind])
