"""Data node over a directory of text files, a field a file: the archived weather of APEX.

The file's name without `.dat` is the field's. Its first line is `# ` and the description, the
second `# ` and the name of the timeline, the third `# ` and the units; further lines that begin
with `#` are remarks. Every other line is a UNIX time, white space and a value. A last line without
its newline is taken as half written, and read when it is whole.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import sisock

_TOP = Path(__file__).parent.parent
EXAMPLE_DATA = next(
    filter(Path.is_dir, (_TOP / "example_data", _TOP / "sisock_programs" / "example_data")), _TOP
)
"""The repository's, or what a wheel installs of it."""

SUFFIX = ".dat"
MAX_LINE = 4096
"""Bytes of a line of a file's head that are read."""


class WeatherArchive(sisock.FileArchive):
    """Archived APEX weather.

    Serves a directory of text files, a field a file; see the head of data_nodes/weather.py for
    their format. Files that appear, change or go are noticed within a second.
    """

    name = "apex_archive"
    description = "Archived APEX weather."

    def __init__(self, directory: Path = EXAMPLE_DATA) -> None:
        self._directory = directory
        self._warn = sisock.RepeatedWarning(self.log)

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Add the flag that names the directory."""
        parser.add_argument(
            "--directory",
            type=Path,
            default=EXAMPLE_DATA,
            help="the directory of .dat files (default: %(default)s)",
        )

    def prepare(self) -> None:
        """See that the directory is there, before anything is served."""
        if not self._directory.is_dir():
            raise sisock.SisockError(f"{self._directory} is not a directory: see --directory")

    def list_files(self) -> dict[str, Path]:
        """Find the files of the directory."""
        # A name that is no text could not be asked for.
        return {
            os.fsencode(path.name).decode("utf-8", "replace").removesuffix(SUFFIX): path
            for path in sorted(self._directory.glob(f"*{SUFFIX}"))
        }

    def describe_file(self, path: Path) -> dict[str, str | None]:
        """Read the first three lines."""
        with open(path, "rb") as file:
            lines = [file.readline(MAX_LINE) for _ in range(3)]
        return dict(zip(("description", "timeline", "units"), map(_remark, lines), strict=True))

    def parse(self, path: Path, offset: int) -> Iterator[tuple[np.ndarray, np.ndarray, int]]:
        """Parse whole lines; malformed ones are skipped, with one warning for all of them."""
        return sisock.read_pairs(path, offset, self._warn)


def _remark(line: bytes) -> str | None:
    text = line.decode("utf-8", "replace").strip()
    return text.removeprefix("#").strip() or None if text.startswith("#") else None


if __name__ == "__main__":
    sisock.run(WeatherArchive)
