"""Row memory of the nodes of sources: the most that each has in memory with much to serve.

Each is started on its own, as people start it, reads all that is there, and then answers for all of
it at a thousand points, for days of it, and for all samples of an hour.
"""

from __future__ import annotations

import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import psutil

import sisock
from benchmarks.report import Figure
from benchmarks.stack import Stack
from tests.conftest import TOP, wait_for_nodes

START = 1_577_836_800
DAY = 86_400
MAX_MB = 300
NEEDS = 3.5
"""Times of the size that samples and the node's cache take on the disk, at most."""

Write = Callable[[Path, int], list[str]]


def figures(kind: str, gigabytes: float, _rounds: int) -> Iterator[Figure]:
    """Measure the node of one kind of files, with as much as the disk has room for."""
    program, write = KINDS[kind]
    with tempfile.TemporaryDirectory(prefix="sisock-") as folder:
        size = int(min(gigabytes * 1e9, shutil.disk_usage(folder).free / NEEDS))
        source = Path(folder, "source")
        source.mkdir()
        flags = write(source, size)
        served = sum(path.stat().st_size for path in source.rglob("*") if path.is_file())
        peak, anonymous = _peak(program, flags, Path(folder))
    what = f"{program}.py with {served / 1e9:.1f} GB of {kind}: RSS at most"
    shown = f"{peak:.0f} MB; {anonymous:.0f} MB without mapped files"
    yield Figure("memory", what, shown, peak, f"<= {MAX_MB} MB")


def _peak(program: str, flags: list[str], folder: Path) -> tuple[float, float]:
    """Return the megabytes that a node had at most, with and without mapped files."""
    with Stack() as stack:
        environ = {**stack.router.environ("server"), "SISOCK_CACHE": str(folder / "cache")}
        words = [sys.executable, f"data_nodes/{program}.py", *flags, "--name", program]
        with open(folder / "log", "wb") as log:
            node = subprocess.Popen(words, cwd=TOP, env=environ, stdout=log, stderr=log)
        watched = _Watched(node.pid)
        try:
            with stack.client() as client:
                wait_for_nodes(client, program, seconds=600)
                _ask(client, program)
            _wait_until_idle(psutil.Process(node.pid))
            with stack.client() as client:
                _ask(client, program)
            said = Path(f"/proc/{node.pid}/status").read_text()
        finally:
            node.send_signal(signal.SIGTERM)
            node.wait(60)
            watched.has_ended.set()
    return _megabytes(said, "VmHWM"), watched.anonymous


class _Watched(threading.Thread):
    """Watch how much of a process's memory is no mapped file."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.anonymous, self.has_ended, self._status = 0.0, threading.Event(), f"/proc/{pid}/status"
        self.start()

    def run(self) -> None:
        while not self.has_ended.wait(0.05):
            with suppress(OSError, IndexError):
                said = Path(self._status).read_text()
                self.anonymous = max(self.anonymous, _megabytes(said, "RssAnon"))


def _megabytes(status: str, name: str) -> float:
    return int(re.findall(rf"{name}:\s+(\d+) kB", status)[0]) / 1e3


def _ask(client: sisock.Client, node: str) -> None:
    """Ask for all there is, for days, and for hours; until all is prepared that may take long."""
    random = np.random.default_rng(1)
    for name, field in _until_ready(lambda: client.fields(node)).items():
        spans = [(1.0, 0.0)] if node != "sql" else []
        first, last = field.first or START, field.last or START + 30 * DAY
        for days in (30, 1, 1 / 24):
            begin = first + random.uniform(0, max(0.0, last - first - days * DAY))
            spans.append((begin, begin + days * DAY))
        for start, end in spans:
            points = None if 0 < end - start <= 3601 else 1000
            _until_ready(lambda: client.get(node, name, start, end, max_points=points))  # noqa: B023


def _until_ready(ask: Callable[[], Any]) -> Any:
    while True:
        try:
            return ask()
        except sisock.SisockError as error:
            if not re.search("not ready|not answer|no answer|ask again", str(error)):
                raise
            time.sleep(1)


def _wait_until_idle(process: psutil.Process) -> None:
    """Wait until it has read all that is there."""
    used = -1.0
    while (now := sum(process.cpu_times()[:2])) - used > 0.2:
        used = now
        time.sleep(5)


def _days(folder: Path, size: int, head: str, row: str, ending: str) -> None:
    """Write files of a day, of rows with a date that is left out in `row`."""
    random = np.random.default_rng(0)
    lines = [
        row.format(second, *values)
        for second, values in zip(
            (f"{s // 3600:02}:{s // 60 % 60:02}:{s % 60:02}" for s in range(DAY)),
            random.normal(size=(DAY, 4)).round(4).tolist(),
            strict=True,
        )
    ]
    text = "".join(lines).encode()
    for day in range(max(1, size // len(text))):
        date = datetime.fromtimestamp(START + day * DAY, UTC)
        path = folder / ending.format(f"{date:%Y-%m-%d}", f"{date:%Y%m%d}")
        path.write_bytes(head.encode() + text.replace(b"YYYY-MM-DD", f"{date:%Y-%m-%d}".encode()))


def write_csv(folder: Path, size: int) -> list[str]:
    """Write daily files of CSV."""
    row = "YYYY-MM-DD {},{},{},{},{}\n"
    _days(folder, size, "time,a [K],b [K],c [K],d [K]\n", row, "{0}.csv")
    return [str(folder)]


def write_logs(folder: Path, size: int) -> list[str]:
    """Write the logs of days, each rotated away at its end."""
    row = "YYYY-MM-DD {} pump INFO pressure={} bar flow={} l/min speed={} rpm load={} %\n"
    _days(folder, size, "", row, "pump.log-{1}")
    return [str(folder / "pump.log"), "--pattern", r"pressure=(?P<pressure>\S+) bar"]


def write_parquet(folder: Path, size: int) -> list[str]:
    """Write daily files of Parquet, ten rows a second."""
    import pyarrow as pa
    from pyarrow import parquet

    rows = 10 * DAY
    random = np.random.default_rng(0)
    values = {name: random.normal(size=rows) for name in "abcd"}
    for day in range(max(1, size // (rows * 40))):
        table = pa.table({"time": START + day * DAY + np.arange(rows) / 10, **values})
        path = folder / f"{datetime.fromtimestamp(START + day * DAY, UTC):%Y-%m-%d}.parquet"
        parquet.write_table(table, path, compression="none", use_dictionary=False)
    return [str(folder)]


def write_hdf5(folder: Path, size: int) -> list[str]:
    """Write files of HDF5, each of a day with a hundred rows a second."""
    import h5py

    rows = 100 * DAY
    values = np.random.default_rng(0).normal(size=rows)
    for day in range(max(1, size // (rows * 40))):
        with h5py.File(folder / f"{day:04}.h5", "w") as file:
            file["time"] = START + day * DAY + np.arange(rows) / 100
            for name in "abcd":
                file.create_dataset(name, data=values, chunks=(1 << 16,))
    return ["--path", str(folder)]


def write_sqlite(folder: Path, size: int) -> list[str]:
    """Write a table of SQLite with a row a second."""
    with sqlite3.connect(folder / "site.db") as db:
        db.execute("pragma journal_mode = off")
        db.execute("pragma synchronous = off")
        db.execute("create table w (time integer primary key, a real, b real, c real, d real)")
        random = "random() / 1e19"
        db.execute(
            "with recursive s(t) as (select ? union all select t + 1 from s limit ?)"
            f" insert into w select t, {random}, {random}, {random}, {random} from s",
            (START, max(1, size // 46)),
        )
    db.close()
    return ["--database", f"sqlite:{folder / 'site.db'}", "--table", "w"]


def write_g3(folder: Path, size: int) -> list[str]:
    """Write `.g3` files of OCS, each of an hour: frames of a minute with ten rows a second."""
    import so3g
    from spt3g import core

    rows, helper = 600, so3g.hk.HKSessionHelper(hkagg_version=2, start_time=START)
    number = helper.add_provider("observatory.fridge.feeds.temps")
    values = core.G3VectorDouble(np.random.default_rng(0).normal(size=rows))
    for hour in range(max(1, size // (60 * rows * 40))):
        writer = core.G3Writer(str(folder / f"{START + hour * 3600}.g3"))
        for frame in (helper.session_frame(), helper.status_frame()):
            writer(frame)
        for minute in range(60):
            frame, block = helper.data_frame(number), core.G3TimesampleMap()
            ticks = (START + hour * 3600 + minute * 60) * 10 + np.arange(rows)
            block.times = core.G3VectorTime(ticks * 10_000_000)
            for name in "abcd":
                block[name] = values
            frame["blocks"].append(block)
            frame["block_names"].append("block")
            writer(frame)
        del writer
    return ["--path", str(folder)]


KINDS: dict[str, tuple[str, Write]] = {
    "Parquet": ("tables", write_parquet),
    "CSV": ("tables", write_csv),
    "HDF5": ("hdf5", write_hdf5),
    "SQLite": ("sql", write_sqlite),
    "logs": ("logs", write_logs),
    "g3": ("g3", write_g3),
}
