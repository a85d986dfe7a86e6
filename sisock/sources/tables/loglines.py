"""Parse lines of text logs with regular expressions; needs pyarrow."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from itertools import compress
from pathlib import Path

import numpy as np

from sisock.archive.text import open_text
from sisock.errors import SisockError
from sisock.sources.tables.timestamps import guess_style, seconds

with suppress(ImportError):  # the extra ``logs``
    import pyarrow as pa

HEAD_BYTES = 1 << 16


class LogLines:
    """Extract times and texts from the lines that match a pattern; `names` are its named groups.

    `time` is a regular expression for the time in a line; `style` and `zone` are those of
    `timestamps.seconds`, but a style may lack the year.
    """

    def __init__(self, patterns: Sequence[str], time: str, style: str | None, zone: str) -> None:
        try:
            self._patterns, self._time = [re.compile(p) for p in patterns], re.compile(time)
        except re.error as error:
            raise SisockError(f"{error.pattern!r} is not a regular expression: {error}") from None
        self.names = [name for pattern in self._patterns for name in pattern.groupindex]
        if not self.names or len(set(self.names)) < len(self.names):
            raise SisockError("patterns need named groups, like (?P<level>\\S+), with unique names")
        self._style, self._zone = style, zone

    def parse(self, lines: bytes, path: Path) -> tuple[np.ndarray, dict[str, list[str | None]]]:
        """Return the times of the matching lines of a file, and their texts by named group."""
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
        valid = np.isfinite(t)
        return t[valid], {name: list(compress(found, valid)) for name, found in texts.items()}

    def _seconds(self, times: list[str], path: Path) -> np.ndarray:
        style = self._style or guess_style(times[:100])
        if style is None or "%" not in style or "%y" in style.lower():
            return seconds(pa.array(times, pa.string()), style, self._zone)
        # The style has no year: use the one in which the file was last written, or the previous.
        written = path.stat().st_mtime
        year = datetime.fromtimestamp(written, UTC).year
        t, before = (
            seconds(pa.array([f"{y} {text}" for text in times]), f"%Y {style}", self._zone)
            for y in (year, year - 1)
        )
        return np.where(t > written + 86400, before, t)

    def head(self, path: Path) -> bytes:
        """Return the first lines of a file."""
        with open_text(path) as file:
            return file.read(HEAD_BYTES).rpartition(b"\n")[0]


def is_number(text: str) -> bool:
    """Return whether a text is a finite number."""
    try:
        return "_" not in text and np.isfinite(float(text))
    except ValueError:
        return False
