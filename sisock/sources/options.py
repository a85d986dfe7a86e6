"""Read what the flags of a source name: a TOML file about its fields, a password, times."""

from __future__ import annotations

import argparse
import importlib.util
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
"""A number of a time that is larger is in milliseconds: in seconds it is in the year 5138."""


class Described:
    """What a TOML file says of fields, by their names or by patterns such as ``"*.speed"``.

    Its table ``fields`` holds one of each name, with any of the keys of `sisock.describe`; the
    first that fits a field counts. SisockError says what is wrong with the file.
    """

    def __init__(self, path: Path | None) -> None:
        self.fields: Mapping[str, Mapping[str, Any]] = {}
        if path is None:
            return
        try:
            read = tomllib.loads(path.read_text())
            if unknown := read.keys() - {"fields"}:
                raise ValueError(f"the table {min(unknown)!r} is not known, only fields")
            self.fields = read.get("fields", {})
            check_entries(self.fields, "")
        except NodeContractError as fault:
            where = f"the field {fault.field!r}: " if fault.field else ""
            raise SisockError(f"{path}: {where}{fault.rule}") from None
        except (OSError, ValueError) as error:
            raise SisockError(f"{path}: {error}") from None

    def __getitem__(self, name: str) -> dict[str, Any]:
        """Return a copy of what is said of a field, possibly nothing."""
        for pattern, entry in self.fields.items():
            if name == pattern or fnmatchcase(name, pattern):
                return dict(entry)
        return {}


def require(module: str, extra: str) -> None:
    """Check that what a source needs is installed; SisockError says how to."""
    if importlib.util.find_spec(module) is None:
        raise SisockError(f"{module} is missing: pip install 'sisock[{extra}]'")


def add_path(parser: argparse.ArgumentParser, text: str) -> None:
    """Add a path as the first argument, and as a flag for where there are flags alone."""
    # With a type, argparse would convert the default, and put it in the place of the flag.
    parser.add_argument("path", nargs="?", default=argparse.SUPPRESS, help=text)
    parser.add_argument("--path", help="the same, where there are flags alone")


def read_password(path: Path | None, variable: str) -> str | None:
    """Return the password in a file, or else in a variable of the environment."""
    if path is None:
        return os.environ.get(variable)
    try:
        return path.read_text().strip()
    except (OSError, ValueError) as error:
        raise SisockError(f"the password in {path} cannot be read: {error}") from None


def parse_time(value: Any) -> float:
    """Return the UNIX time of a number of seconds or milliseconds, or of an ISO text.

    ValueError says that it is none.
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
