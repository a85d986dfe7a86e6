"""Read what flags of sources refer to: files that describe fields, passwords, times."""

from __future__ import annotations

import argparse
import os
import tomllib
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from sisock.errors import NodeContractError, SisockError
from sisock.wire.fields import check_entries
from sisock.wire.times import to_sisock_time

MILLISECONDS = 1e11
"""A larger number is a time in milliseconds; in seconds it would be after the year 5138."""


class Described:
    """Read descriptions of fields from a TOML file.

    Its table ``fields`` has a table per name, or pattern like ``"*.speed"``, with any keys of
    `sisock.describe`; the first match counts. Raises SisockError for an invalid file.
    """

    def __init__(self, path: Path | None) -> None:
        self.fields: Mapping[str, Mapping[str, Any]] = {}
        if path is None:
            return
        try:
            read = tomllib.loads(path.read_text())
            if unknown := read.keys() - {"fields"}:
                raise ValueError(f"the table {min(unknown)!r} is unknown, only fields is allowed")
            self.fields = read.get("fields", {})
            check_entries(self.fields, "")
        except NodeContractError as error:
            where = f"the field {error.field!r}: " if error.field else ""
            raise SisockError(f"{path}: {where}{error.rule}") from None
        except (OSError, ValueError) as error:
            raise SisockError(f"{path}: {error}") from None

    def __getitem__(self, name: str) -> dict[str, Any]:
        """Return a copy of the description of a field; empty if there is none."""
        for pattern, entry in self.fields.items():
            if name == pattern or fnmatchcase(name, pattern):
                return dict(entry)
        return {}


def add_path(parser: argparse.ArgumentParser, text: str) -> None:
    """Add a path as the first argument, and as a flag for files that can only hold flags."""
    # Without a type: argparse would convert the default too, and overwrite the flag with it.
    parser.add_argument("path", nargs="?", default=argparse.SUPPRESS, help=text)
    parser.add_argument("--path", help="the same, as a flag")


def given_path(path: str | Path | None) -> Path:
    """Return the path that `add_path` read; SisockError if there is none."""
    if path is None:
        raise SisockError("name a file or a folder, see --help")
    return Path(path)


def read_password(path: Path | None, variable: str) -> str | None:
    """Return the password from a file, or else from an environment variable."""
    if path is None:
        return os.environ.get(variable)
    try:
        return path.read_text().strip()
    except (OSError, ValueError) as error:
        raise SisockError(f"the password in {path} cannot be read: {error}") from None


def parse_time(value: Any) -> float:
    """Return UNIX seconds from a number of seconds or milliseconds, or from an ISO time.

    Raises ValueError if it is not a time.
    """
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        raise ValueError(f"{value!r} is not a time")
    try:
        seconds = to_sisock_time(value)
    except SisockError as error:
        raise ValueError(str(error)) from None
    if seconds <= 0:
        raise ValueError(f"{value!r} is not a time after 1970")
    return seconds / 1e3 if seconds > MILLISECONDS else seconds
