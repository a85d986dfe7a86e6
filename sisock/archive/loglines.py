"""The lines of text logs that fit regular expressions; needs pyarrow."""

from __future__ import annotations

import gzip
import re
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from itertools import compress
from pathlib import Path
from typing import IO, Any

import numpy as np

from sisock.archive.timestamps import guess_style, seconds
from sisock.errors import SisockError

with suppress(ImportError):  # the extra ``logs``
    import pyarrow as pa

HEAD_BYTES = 1 << 16


class LogLines:
    """Times and texts of the lines that fit one of some patterns; `names` are their named groups.

    `time` is a regular expression of the time in a line, `style` and `zone` are of `seconds`; a
    style may be without the year.
    """

    def __init__(self, patterns: Sequence[str], time: str, style: str | None, zone: str) -> None:
        try:
            self._patterns, self._time = [re.compile(each) for each in patterns], re.compile(time)
        except re.error as error:
            raise SisockError(f"{error.pattern!r} is no regular expression: {error}") from None
        self.names = [name for each in self._patterns for name in each.groupindex]
        if not self.names or len(set(self.names)) < len(self.names):
            raise SisockError("patterns need named groups, as (?P<level>\\S+), each once")
        self._style, self._zone = style, zone

    def parse(self, lines: bytes, path: Path) -> tuple[np.ndarray, dict[str, list[str | None]]]:
        """Return the times of the lines of a file that fit, and of each the texts of all groups."""
        times: list[str] = []
        texts: dict[str, list[str | None]] = {name: [] for name in self.names}
        for line in lines.decode("utf-8", "replace").splitlines():
            groups: dict[str, str] = {}
            for pattern in self._patterns:
                if match := pattern.search(line):
                    groups |= match.groupdict()
            time = self._time.search(line) if groups else None
            if time:
                times.append(time[time.lastindex or 0])
                for name, found in texts.items():
                    found.append(groups.get(name))
        t = self._seconds(times, path)
        good = np.isfinite(t)
        keep = {name: list(compress(found, good)) for name, found in texts.items()}
        return t[good], keep

    def why_nothing(self, lines: bytes) -> str:
        """Say why lines have no samples."""
        texts = lines.decode("utf-8", "replace").splitlines()
        if not texts:
            return "it is not there yet, or empty"
        if any(pattern.search(text) for pattern in self._patterns for text in texts):
            return "lines fit a pattern, but have no time: see --time and --time-format"
        return "no line fits a pattern"

    def _seconds(self, times: list[str], path: Path) -> np.ndarray:
        style = self._style or guess_style(times[:100])
        if style is None or "%" not in style or "%y" in style.lower():
            return seconds(pa.array(times, pa.string()), style, self._zone)
        # Without a year: that of the last line, or the one before it.
        written = path.stat().st_mtime
        year = datetime.fromtimestamp(written, UTC).year
        t, before = (
            seconds(pa.array([f"{each} {text}" for text in times]), f"%Y {style}", self._zone)
            for each in (year, year - 1)
        )
        return np.where(t > written + 86400, before, t)

    def head(self, path: Path) -> bytes:
        """Return the first lines of a file."""
        with ExitStack() as stack:
            return self.open(path, stack, 0).read(HEAD_BYTES).rpartition(b"\n")[0]

    def open(self, path: Path, stack: ExitStack, offset: int) -> IO[bytes]:
        """Open a file from a byte on, also one that is packed by gzip."""
        file: Any = stack.enter_context(path.open("rb"))
        file.seek(offset)
        if path.suffix == ".gz":
            file = stack.enter_context(gzip.GzipFile(fileobj=file))
        return file


def is_number(text: str) -> bool:
    """Return whether a text is a finite number."""
    try:
        return "_" not in text and np.isfinite(float(text))
    except ValueError:
        return False
