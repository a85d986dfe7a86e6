"""Data node over a directory of text files with one field each: the archived weather of APEX.

A field has the name of its file, without `.dat`. The first line of a file is `# ` and the
description, the second `# ` and the name of the timeline, the third `# ` and the units; further
lines that begin with `#` are comments. Each other line is a UNIX time, white space and a value. A
last line without a newline counts as half written, and is read once it is complete.
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
"""The example data of the repository, or the copy that a wheel installs."""

SUFFIX = ".dat"
MAX_LINE = 4096
"""Bytes; of each header line no more are read."""


class WeatherArchive(sisock.FileArchive):
    """Archived APEX weather.

    Serves a directory of text files with one field each; the docstring of data_nodes/weather.py
    describes their format. New, changed and removed files are noticed within a second.
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
        """Check that the directory exists, before anything is served."""
        if not self._directory.is_dir():
            raise sisock.SisockError(f"{self._directory} is not a directory: see --directory")

    def list_files(self) -> dict[str, Path]:
        """Find the files of the directory."""
        paths = sorted(self._directory.glob(f"*{SUFFIX}"))
        self.left_out = {} if paths else {self._directory: f"no file of it ends in {SUFFIX}"}
        # A name must be valid text, or nobody could request it.
        return {
            os.fsencode(path.name).decode("utf-8", "replace").removesuffix(SUFFIX): path
            for path in paths
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
