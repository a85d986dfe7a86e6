"""Rows history: the samples that a live node keeps on disk, beside VictoriaMetrics and SQLite."""

from __future__ import annotations

import math
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import orjson

from benchmarks.report import Figure, compared, measured, milliseconds
from benchmarks.stack import Connection
from benchmarks.victoria import Victoria, last_path
from sisock.history.columns import Table
from sisock.history.disk import History
from sisock.history.segments import write

START = 1_700_006_400.0
DAYS, FIELDS = 30, 100
BATCH, BATCHES = 100_000, 200
FLUSH, FLUSHES = 3_000, 400
"""Samples that come one by one at 60,000/s within 50 ms, and how many times."""

SINGLE = 20_000
POINTS = 1000
SEGMENT = 8192
EVER = -math.inf, math.inf
PEER_SAMPLES = 5_000_000


def opened(folder: Path) -> History:
    """Open a history, which must have nothing to complain of."""

    def fail(text: str) -> None:
        raise AssertionError(text)

    return History(folder, None, None, fail)


def walk(count: int, seed: int = 1) -> np.ndarray:
    """Return a random walk, as an instrument's values are."""
    return np.random.default_rng(seed).normal(size=count).cumsum().round(3)


def seconds(do: Callable[[], object]) -> float:
    """Return how long something takes."""
    began = time.perf_counter()
    do()
    return time.perf_counter() - began


def append_all(folder: Path, batch: int, batches: int, interval: float) -> float:
    """Return the seconds until so many samples are on the disk, synchronised."""
    values = walk(batch)
    times = START + np.arange(float(batch)) * interval
    history = opened(folder)

    def append() -> None:
        for turn in range(batches):
            history.put("line", (times + turn * batch * interval, {"a": values}))
        history.sync()

    taken = seconds(append)
    history.close()
    return taken


def figures(rounds: int) -> Iterator[Figure]:
    """Measure storing, the start, and reading of 30 days."""
    for what, batch, batches, target in (
        (f"stored in batches of {BATCH:,}", BATCH, BATCHES, ">= 2.6 M/s"),
        (f"stored as they come one by one, {FLUSH:,} each 50 ms", FLUSH, FLUSHES, ">= 0.06 M/s"),
        ("stored in calls with one sample", 1, SINGLE, ""),
    ):
        rates = []
        for _ in range(min(rounds, 5)):
            with tempfile.TemporaryDirectory() as folder:
                taken = append_all(Path(folder), batch, batches, 1e-3)
            rates.append(batch * batches / taken / 1e6)
        yield measured("history", what, float(np.median(rates)), "M samples/s", target)
    with tempfile.TemporaryDirectory() as folder:
        build(Path(folder), DAYS * 86_400, FIELDS)
        turns = [read_after_start(Path(folder), f"f{turn}") for turn in range(rounds)]
    starts, first, again = zip(*turns, strict=True)
    size = f"{DAYS} days of {FIELDS} fields at 1 Hz"
    start = float(np.median(starts))
    yield measured("history", f"start with {size}", start, "s", "<= 3 s")
    what = f"{DAYS} days of one of them at {POINTS:,} points, after the start; again"
    shown = f"{milliseconds(first)}; {milliseconds(again)}"
    yield Figure("history", what, shown, float(np.median(again)))


def read_after_start(folder: Path, field: str) -> tuple[float, float, float]:
    """Return the seconds of a start, and of reading all of a field at few points, twice."""
    found: list[History] = []
    start = seconds(lambda: found.append(opened(folder)))
    line = found[0].lines["line"]
    first, again = (
        seconds(lambda: line.decimate(field, *EVER, max_points=POINTS)) for _ in range(2)
    )
    found[0].close()
    return start, first, again


def build(folder: Path, count: int, fields: int) -> None:
    """Make the files that so many seconds leave: merged ones, small ones, and a full journal."""
    values = walk(count)
    names = [f"f{i}" for i in range(fields)]
    opened(folder).close()
    place = folder / "t-line"
    place.mkdir()
    begin = 0
    while count - begin > SEGMENT:
        merged = 16 if count - begin > 16 * SEGMENT else 1
        table, part = Table(begin // SEGMENT), slice(begin, begin + SEGMENT * merged)
        table.last_journal += merged - 1
        times = START + np.arange(float(part.start), part.stop)
        table.put(times, dict.fromkeys(names, values[part]))
        path = place / f"segment-{table.first_journal:08d}-{table.last_journal:08d}"
        write(path, "line", [table])
        begin = part.stop
    # The last ones came one by one, as they do from an instrument.
    history = opened(folder)
    for i in range(begin, count):
        history.put("line", (np.array([START + i]), dict.fromkeys(names, values[i : i + 1])))
    history.close()


def beside_others(rounds: int) -> Iterator[Figure]:
    """Measure the same samples in a history, VictoriaMetrics and SQLite."""
    values = walk(PEER_SAMPLES)
    t = START + np.arange(float(PEER_SAMPLES))
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        with Victoria(folder) as victoria:
            others = [seconds(lambda: victoria.load("history", t, {"walk": values}))]
            ours = [seconds(lambda: store(folder / "ours", t, values))]
            rows = [seconds(lambda: insert(folder / "rows.sqlite", t, values))]
            what = f"{PEER_SAMPLES:,} samples stored, until they can be read"
            yield compared("history", what, ours, others, "/api/v1/import", ">= 1 x")
            yield compared("history", what, ours, rows, "SQLite, a row each")
            history, connection = opened(folder / "ours"), Connection(victoria.port)
            line = history.lines["line"]
            database = sqlite3.connect(folder / "rows.sqlite")
            end = START + DAYS * 86_400
            path = last_path("walk", START, end, POINTS, nocache=1)
            query = (
                "SELECT min(value), max(value) FROM samples"
                f" WHERE t >= {START} AND t < {end} GROUP BY CAST(t / 8192 AS INTEGER)"
            )
            ours, others, rows = [], [], []
            for _ in range(rounds):
                ours.append(seconds(lambda: line.decimate("walk", START, end, max_points=POINTS)))
                others.append(seconds(lambda: orjson.loads(connection.ask(path))))
                rows.append(seconds(lambda: database.execute(query).fetchall()))
            what = f"{DAYS} days at 1 Hz at {POINTS:,} points"
            yield compared("history", what, ours, others, "query_range, last value")
            yield compared("history", what, ours, rows, "SQLite")
            database.close()
            history.close()


def store(folder: Path, t: np.ndarray, values: np.ndarray) -> None:
    """Store samples in a history, synchronised."""
    history = opened(folder)
    for begin in range(0, len(t), BATCH):
        part = slice(begin, begin + BATCH)
        history.put("line", (t[part], {"walk": values[part]}))
    history.sync()
    history.close()


def insert(path: Path, t: np.ndarray, values: np.ndarray) -> None:
    """Store samples in a table of SQLite, a transaction for each batch."""
    database = sqlite3.connect(path)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("CREATE TABLE samples (t REAL PRIMARY KEY, value REAL) WITHOUT ROWID")
    for begin in range(0, len(t), BATCH):
        part = slice(begin, begin + BATCH)
        with database:
            rows = zip(t[part].tolist(), values[part].tolist(), strict=True)
            database.executemany("INSERT INTO samples VALUES (?, ?)", rows)
    database.close()
