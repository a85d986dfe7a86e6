"""VictoriaMetrics from Debian's packages as the peer: started, loaded and asked over HTTP."""

from __future__ import annotations

import http.client
import shutil
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from benchmarks.stack import Connection
from sisock.testing import free_port, wait_until

PROGRAM = "victoria-metrics"
LINE_SAMPLES = 100_000
"""Samples in one line of an import: it takes long ones badly."""


class Victoria:
    """A VictoriaMetrics of its own, on loopback, in a folder that may have samples already.

    Parameters
    ----------
    folder : Path
        For its samples and its log.
    flags : str
        Further flags.
    """

    def __init__(self, folder: Path, *flags: str) -> None:
        program = shutil.which(PROGRAM)
        if program is None:
            raise SystemExit(f"{PROGRAM} is missing: apt-get install {PROGRAM}")
        self.port = free_port()
        # Its default is to forget what is older than a month.
        command = [program, f"-storageDataPath={folder / 'data'}", "-retentionPeriod=100y"]
        # Connections are closed after a minute or two else.
        command += ["-http.connTimeout=1h", "-http.idleConnTimeout=1h"]
        command += ["-loggerLevel=ERROR", *flags]
        command.append(f"-httpListenAddr=127.0.0.1:{self.port}")
        with open(folder / "log", "ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        wait_until(self._answers, 60, "the start of VictoriaMetrics")

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=5):
                return True
        except urllib.error.URLError:
            return False

    def load(self, node: str, t: np.ndarray, columns: Mapping[str, np.ndarray]) -> None:
        """Import samples, a series a field, and wait until they can be found."""
        link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=600)
        for line in _lines(node, t, columns):
            link.request("POST", "/api/v1/import", line)
            response = link.getresponse()
            response.read()
            assert response.status == 204, response.status
        selector = f'{{node="{node}",__name__=~"{"|".join(columns)}"}}'
        count = len(t) * len(columns)
        wait_until(lambda: self._count(selector, t) == count, 60, "that all samples are found")

    def _count(self, selector: str, t: np.ndarray) -> int:
        """Return the number of samples that can be found."""
        Connection(self.port).ask("/internal/force_flush")
        seconds = int(t[-1] - t[0]) + 2
        query = f"sum(count_over_time({selector}[{seconds}s]))"
        path = _path("/api/v1/query", {"query": query, "time": int(t[-1]) + 1, "nocache": 1})
        found = orjson.loads(Connection(self.port).ask(path))["data"]["result"]
        return int(found[0]["value"][1]) if found else 0

    def end(self) -> None:
        """End it; what it has in memory is written down before."""
        self._process.terminate()
        self._process.wait(60)

    def __enter__(self) -> Victoria:
        return self

    def __exit__(self, *_: Any) -> None:
        self.end()


def _lines(node: str, t: np.ndarray, columns: Mapping[str, np.ndarray]) -> Iterator[bytes]:
    stamps = np.rint(t * 1000).astype("<i8")
    for field, values in columns.items():
        for first in range(0, len(t), LINE_SAMPLES):
            part = slice(first, first + LINE_SAMPLES)
            line = {
                "metric": {"__name__": field, "node": node},
                "values": values[part],
                "timestamps": stamps[part],
            }
            yield orjson.dumps(line, option=orjson.OPT_SERIALIZE_NUMPY)


def raw_path(selector: str, start: float, end: float) -> str:
    """Return the request for all samples of some series."""
    return _path("/api/v1/export", {"match[]": selector, "start": start, "end": end})


def last_path(selector: str, start: float, end: float, points: int, **more: Any) -> str:
    """Return the request for so many last values, the cheapest function of a step."""
    step = f"{(end - start) / points:g}s"
    return _path(
        "/api/v1/query_range",
        {"query": selector, "start": start, "end": end, "step": step, **more},
    )


def _path(path: str, query: Mapping[str, Any]) -> str:
    return f"{path}?{urllib.parse.urlencode(query)}"
