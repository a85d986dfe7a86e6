"""Data nodes that the tests start: ``python tests/nodes.py KIND [--name NAME] …``."""

from __future__ import annotations

import os
import sys
import time

import numpy as np
from twisted.internet import defer

import sisock
from sisock.wire.reply import Decimated

ROWS = 2_000_000
START = 1_500_000_000.0


class Big(sisock.ArchiveNode):
    """Two million samples at 1 kHz, in several array types."""

    name = "big"
    t = START + np.arange(ROWS) / 1000
    columns = {
        "f8": np.sin(np.arange(ROWS) / 1e4),
        "f4": np.arange(ROWS, dtype="<f4"),
        "i4": np.arange(ROWS, dtype="<i4") - 1000,
        "b1": np.arange(ROWS) % 3 == 0,
    }

    def list_fields(self, start, end):
        return {name: {"timeline": "khz", "interval": 1e-3} for name in self.columns}

    def read(self, field, start, end):
        low, high = np.searchsorted(self.t, [start, end])
        return self.t[low:high], self.columns[field][low:high]


class Counted(Big):
    """Says each time that it is read."""

    name = "counted"
    pyramid = False

    def read(self, field, start, end):
        print(f"read {field}", flush=True)
        return super().read(field, start, end)


class SlowDisk(Big):
    """Takes 0.6 s for each of its windows, and stops while there is a file of the name in STUCK.

    A field has 32 MB: windows of 1, 4 and twice 16 MiB. The first two never stop.
    """

    name = "slow_disk"
    pyramid = False

    def read(self, field, start, end):
        time.sleep(0.6)
        while start > START + 1000 and os.path.exists(os.environ.get("STUCK", "")):
            time.sleep(0.05)
        return super().read(field, start, end)


class Fresh(sisock.ArchiveNode):
    """Makes 16 MB of samples anew whenever it is read."""

    name = "fresh"
    pyramid = False

    def list_fields(self, start, end):
        return {"x": {}}

    def read(self, field, start, end):
        t = START + np.arange(1_000_000.0)
        return t, t * 2


class Ending(sisock.ArchiveNode):
    """Two fields of one timeline, of which one ends long before the other; and a late False."""

    name = "ending"

    def list_fields(self, start, end):
        return {"long": {"timeline": "t"}, "short": {"timeline": "t"}}

    def read(self, field, start, end):
        t = START + np.arange(400_000 if field == "long" else 1000)
        return t, np.arange(len(t), dtype="<i4")


class TooMuch(sisock.DataNodeServer):
    """Says False, as the protocol lets a node do."""

    name = "too_much"

    def get_fields(self, start, end):
        field = {"x": {"description": None, "timeline": "t", "type": "number", "units": None}}
        return field, {"t": {"interval": None, "field": ["x"]}}

    def get_data(self, field, start, end, min_stride=None):
        return False


class Odd(sisock.DataNodeServer):
    """Fields with every kind of trouble, by the original API."""

    name = "odd"

    def get_fields(self, start, end):
        names = ["nan", "text", "flag", "count", "fails", "unequal", "backward", "slow", "empty"]
        field = {
            n: {"description": n, "timeline": "t", "type": "number", "units": None} for n in names
        }
        field["text"]["type"], field["flag"]["type"] = "string", "bool"
        return field, {"t": {"interval": 1.0, "field": names}}

    def get_data(self, field, start, end, min_stride=None):
        t = [START + i for i in range(5)]
        values = {
            "nan": [1.0, float("nan"), float("inf"), None, 5.0],
            "text": ["a", None, "ü", "", "e"],
            "flag": [True, None, False, True, True],
            "count": [1, None, 3, 4, 5],
            "unequal": [1.0, 2.0],
            "empty": [],
        }
        if "fails" in field:
            raise OSError("/secret/path is not readable")
        if "backward" in field:
            t = t[::-1]
            values["backward"] = [1, 2, 3, 4, 5]
        if "slow" in field:
            time.sleep(3)
            values["slow"] = [1, 2, 3, 4, 5]
        return {
            "data": {name: values.get(name, []) for name in field},
            "timeline": {"t": {"t": t, "finalized_until": START + 3}},
        }


class Coroutine(Odd):
    """The same from a coroutine, and by ``inlineCallbacks``."""

    name = "coroutine"

    @defer.inlineCallbacks
    def get_fields(self, start, end):
        yield defer.succeed(None)
        return super().get_fields(start, end)

    async def get_data(self, field, start, end, min_stride=None):
        await defer.succeed(None)
        return super().get_data(field, start, end, min_stride)

    async def get_decimated(self, field, start, end, bucket=None, max_points=None):
        await defer.succeed(None)
        if field != ["count"]:
            return None
        return {"count": Decimated([START, START + 4], [1, 5], bucket, START + 3)}


class Ticker(sisock.LiveNode):
    """Counts, ten times a second; now and then its instrument is out of order."""

    name = "ticker"
    interval = 0.1
    history_samples = 50
    read_timeout = 2
    fields = {
        "count": {"units": "1", "description": "number of readings"},
        "state": {"type": "string"},
        "even": {"type": "bool"},
    }

    def __init__(self):
        self.count = 0

    def read(self):
        self.count += 1
        if self.count % 10 == 3:
            raise OSError("the instrument does not answer")
        if self.count % 10 == 5:
            return {"count": "five", "state": "odd", "even": False}
        if self.count % 10 == 7:
            return None
        if self.count == 9:
            time.sleep(2.5)
        return {"count": self.count, "state": "ok", "even": self.count % 2 == 0}


class Numbered(sisock.LiveNode):
    """Counts its readings, and keeps all of them."""

    name = "numbered"
    interval = 0.02
    fields = {"n": {}}

    def __init__(self):
        self.count = 0

    def read(self):
        self.count += 1
        return {"n": self.count}


class Spoken(sisock.LiveNode):
    """Says each time that its instrument is read."""

    name = "spoken"
    interval = 0.1
    fields = {"x": {}}

    def read(self):
        print("read the instrument", flush=True)
        return {"x": 1}


class Corrected(sisock.DataNodeServer):
    """A sample that is another one at each request, which it says."""

    name = "corrected"
    count = 0

    def get_fields(self, start, end):
        field = {"x": {"description": None, "timeline": "t", "type": "number", "units": None}}
        return field, {"t": {"interval": None, "field": ["x"]}}

    def get_data(self, field, start, end, min_stride=None):
        self.count += 1
        self.samples_changed()
        return {"data": {"x": [self.count]}, "timeline": {"t": {"t": [START]}}}


KINDS = {
    "corrected": Corrected,
    "big": Big,
    "counted": Counted,
    "fresh": Fresh,
    "ending": Ending,
    "too_much": TooMuch,
    "odd": Odd,
    "slow_disk": SlowDisk,
    "coroutine": Coroutine,
    "ticker": Ticker,
    "numbered": Numbered,
    "spoken": Spoken,
}

if __name__ == "__main__":
    kind = sys.argv.pop(1)
    sisock.run(KINDS[kind])
