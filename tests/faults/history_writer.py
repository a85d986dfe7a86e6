"""Kill a process that writes a history, again and again: ``history_writer FOLDER KILLS SEED``.

After each kill the history is opened here, and must have all that `append` had returned for, in
order and right. What was found is printed as JSON. A record that was being written may be cut.
"""

import json
import math
import os
import random
import signal
import struct
import sys
import time
from pathlib import Path

import numpy as np

from sisock.history.disk import History
from tests.unit.stores import keep

START = 1_700_000_000.0
MAX_BATCH = 3000
KEEP_BYTES = 30_000_000
_COUNT = struct.Struct("<q")


def rows(first, stop):
    """The samples of these numbers, one a second: of all types, with missing ones."""
    number = np.arange(first, stop)
    states = [None if n % 11 == 0 else f"state {n % 7}" for n in range(first, stop)]
    with_missing = np.where(number % 5 == 0, np.nan, number / 8)
    return START + number, {"n": number, "m": with_missing, "b": number % 3 == 0, "s": states}


def write(folder, chosen, pipe):
    """Append for ever, and say after each batch how many samples there are."""
    history = History(folder, None, KEEP_BYTES, print)
    line = history.lines.get("line")
    count = 0 if line is None else round(line.last - START) + 1
    while True:
        stop = count + chosen.choice([1, 1, 10, chosen.randrange(1, MAX_BATCH)])
        keep(history, "line", *rows(count, stop))
        count = stop
        os.write(pipe, _COUNT.pack(count))


def killed(folder, chosen):
    """Have a process write and kill it; returns how many samples it said that there are."""
    reader, writer = os.pipe()
    process = os.fork()
    if not process:
        write(folder, random.Random(chosen.random()), writer)
    os.close(writer)
    said = os.read(reader, _COUNT.size)
    time.sleep(chosen.random() * 0.3)
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    while data := os.read(reader, 1 << 16):
        said = (said + data)[-_COUNT.size :]
    os.close(reader)
    return _COUNT.unpack(said)[0] if said else 0


def examine(folder, said, problems, cut):
    """Compare all that there is with what was written; returns how many samples there are."""

    def warn(text):
        (cut if "journal" in text and "damaged" in text else problems).append(text)

    history = History(folder, None, KEEP_BYTES, warn)
    t, values = history.lines["line"].samples(["n", "m", "b", "s"], -math.inf, math.inf)
    first, count = round(t[0] - START), round(t[-1] - START) + 1
    expected_t, expected = rows(first, count)
    if count < said:
        problems.append(f"{said - count} of {said} samples are lost")
    if not np.array_equal(t, expected_t):
        problems.append("times differ")
    for name, column in expected.items():
        same = list(values[name]) == column if name == "s" else _same(values[name], column)
        if not same:
            problems.append(f"values of {name} differ")
    history.close()
    return count


def _same(found, expected):
    return np.array_equal(found, expected, equal_nan=expected.dtype.kind == "f")


def main():
    """Kill, examine, and print what was found."""
    folder, kills, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    chosen = random.Random(seed)
    problems, cut, samples = [], [], 0
    for _ in range(kills):
        samples = examine(folder, killed(folder, chosen), problems, cut)
    files = len(list(folder.glob("*/segment-*")))
    found = {"samples": samples, "problems": problems, "cut": len(cut), "files": files}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
