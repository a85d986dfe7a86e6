"""Find the fields of an HDF5 file, and read them while it is written; needs h5py."""

from __future__ import annotations

import bisect
import math
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

with suppress(ImportError):  # only the node of HDF5 files needs it
    import h5py

LOCKED_FOR = 3.0  # seconds during which opening a file locked by its writer is tried again

SUFFIXES = (".h5", ".hdf5", ".hdf", ".he5", ".nxs")
MAX_COLUMNS = 64
NAMED = 8
TAIL = 4096
MAX_BYTES = 1 << 28  # bytes to read at once: of a file of a few KB, HDF5 may unpack many GB
ABOUT = ("long_name", "description", "title", "TITLE")
UNITS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9, "second": 1.0, "millisecond": 1e-3}
UNITS |= {"microsecond": 1e-6, "nanosecond": 1e-9, "minute": 60.0, "hour": 3600.0, "day": 86400.0}


class Part(NamedTuple):
    """A field in one file: the dataset (and column) of its values, and that of its times."""

    path: str
    column: str | int | None
    time_path: str
    time_column: str | None
    span: tuple[int, float, float]  # rows, first and last time
    entry: dict[str, Any]


def find_files(path: Path) -> list[Path]:
    """Return a file, or all HDF5 files of a folder and its subfolders."""
    if path.is_dir():
        return sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES)
    return [path] if path.exists() else []


def open_file(path: Path, wait: float = 0.0) -> h5py.File:
    """Open a file that may be growing; wait up to `wait` seconds for its writer's lock."""
    end = time.monotonic() + wait
    while True:
        try:
            return h5py.File(path, "r", swmr=True)
        except BlockingIOError:
            if time.monotonic() > end:
                raise OSError("it is locked by its writer") from None
        except (OSError, RuntimeError) as error:
            if re.search("signature not found|superblock", str(error)):
                raise OSError("it is no HDF5 file, or not written yet") from None
            raise
        time.sleep(0.05)


def find_parts(file: h5py.File, time_name: str) -> Iterator[tuple[str, Part]]:
    """Yield the fields of a file by name; raises ValueError if no dataset has times."""
    paths: list[str] = []
    file.visititems(lambda path, it: paths.append(path) if is_inside(it) else None)
    has_times = False
    for path in paths:
        dataset, line, own = file[path], "", None
        if dataset.dtype.names and time_name in dataset.dtype.names:
            line, own = path, time_name
        else:
            folders = path.split("/")[:-1]
            above = ("/".join([*folders[:n], time_name]) for n in range(len(folders), -1, -1))
            line = next((name for name in above if name in paths), "")
        if not line or dataset.ndim not in (1, 2):
            continue
        has_times = True
        if line == path and own is None:
            continue
        can_grow = dataset.maxshape[0] is None and file[line].maxshape[0] is None
        if len(dataset) != len(file[line]) and not can_grow:
            continue
        for name, column, dtype in columns_of(path, dataset, own):
            span, kind = span_of(file, path, line, own), kind_of(dtype)
            if span[0] and kind:
                entry = {"type": kind, "timeline": line, **described(dataset, dtype)}
                yield name, Part(path, column, line, own, span, entry)
    if not has_times:
        there = ", ".join(paths[:NAMED]) or "nothing"
        raise ValueError(f"no dataset {time_name!r} has the times; there is {there}: see --time")


def is_inside(item: Any) -> bool:
    """Return whether an item is a dataset whose values are in the same file.

    HDF5 would read any file of this computer that a dataset names.
    """
    return isinstance(item, h5py.Dataset) and not item.external and not item.is_virtual


def check_size(dataset: h5py.Dataset, column: Any, rows: int) -> None:
    """Raise ValueError if reading so many rows of a column would take too much memory."""
    dtype = dataset.dtype[column] if isinstance(column, str) else dataset.dtype
    size = max(rows * dtype.itemsize, math.prod(dataset.chunks or ()) * dataset.dtype.itemsize)
    if size > MAX_BYTES:
        limit = f"at most {MAX_BYTES >> 20} are read at once"
        raise ValueError(
            f"{dataset.name}: {size >> 20} MiB in a chunk or at almost a time: {limit}"
        )


def columns_of(path: str, dataset: h5py.Dataset, own: str | None) -> Iterator[tuple[str, Any, Any]]:
    """Yield name, column and type of each field of a dataset."""
    if dataset.dtype.names:
        for column in dataset.dtype.names:
            if column != own and dataset.ndim == 1:
                yield f"{path}.{column}", column, dataset.dtype[column]
    elif dataset.ndim == 1:
        yield path, None, dataset.dtype
    elif dataset.shape[1] <= MAX_COLUMNS:
        for column in range(dataset.shape[1]):
            yield f"{path}.{column}", column, dataset.dtype


def kind_of(dtype: np.dtype) -> str | None:
    """Return the type of a field, None if it cannot be served."""
    if h5py.check_string_dtype(dtype):
        return "string"
    return {"b": "bool", "i": "number", "u": "number", "f": "number"}.get(dtype.kind)


def described(dataset: h5py.Dataset, dtype: np.dtype) -> dict[str, Any]:
    """Return the metadata of a field from its dataset's attributes and type."""
    units, about = text(dataset, "units", "unit"), text(dataset, *ABOUT)
    values = h5py.check_enum_dtype(dtype) if dtype.kind != "b" else None
    labels = {"labels": {str(number): label for label, number in values.items()}} if values else {}
    return {"units": units, "description": about, **labels}


def text(dataset: h5py.Dataset, *names: str) -> str | None:
    """Return the first existing attribute of these names as a text."""
    for name in names:
        value = dataset.attrs.get(name)
        value = value[0] if isinstance(value, np.ndarray) and value.size == 1 else value
        if isinstance(value, bytes | str):
            return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    return None


class Times:
    """Read the times of a dataset, or of its column, as UNIX seconds; `rows` counts those in order.

    Rows that are not written yet are left out, as their times are before the first one.
    """

    def __init__(self, file: h5py.File, path: str, column: str | None) -> None:
        check_size(file[path], column, TAIL)
        if (file[path].dtype[column] if column else file[path].dtype).kind not in "fiu":
            raise ValueError(f"the times of {path!r} are not numbers")
        self._raw = file[path] if column is None else file[path].fields(column)
        units = (None if column else text(file[path], "units", "unit")) or "s"
        word, _, since = units.partition(" since ")
        word = word.strip().lower()
        self._unit = UNITS.get(word) or UNITS.get(word.removesuffix("s"), 0.0)
        if not self._unit:
            raise ValueError(f"{units!r} of {path!r} are not units of times")
        moment = re.sub(r"\s*(Z|UTC|GMT|[+]00:?00)$", "", since.strip()).replace(" ", "T")
        self._epoch = float(np.datetime64(moment or 0, "us").astype(int)) / 1e6
        self.rows = len(file[path])
        if self.rows:
            first, tail = self[0], self[max(0, self.rows - TAIL) : self.rows]
            self.rows -= len(tail) - len(tail[: np.argmin(np.append(tail >= first, False))])

    def __getitem__(self, rows: Any) -> Any:
        t = np.asarray(self._raw[rows], dtype="<f8")
        # In place, as there may be millions of times.
        t *= self._unit
        t += self._epoch
        return t

    def before(self, t: float, rows: int) -> int:
        """Return how many of the first rows are before a time."""
        return bisect.bisect_left(range(rows), t, key=lambda row: float(self[row]))


def span_of(file: h5py.File, path: str, line: str, own: str | None) -> tuple[int, float, float]:
    """Return how many rows a dataset has, and its first and last time."""
    times = Times(file, line, own)
    rows = min(times.rows, len(file[path]))
    return (rows, float(times[0]), float(times[rows - 1])) if rows else (0, math.nan, math.nan)


def entry_of(parts: list[Part]) -> dict[str, Any]:
    """Return the entry of a field, given its parts in all files, in time order."""
    rows, first, last = max(part.span for part in parts)
    span = {"first": parts[0].span[1], "last": max(part.span[2] for part in parts)}
    interval = (last - first) / (rows - 1) if rows > 1 else None
    return {**parts[-1].entry, "interval": interval, **span}


def look(path: Path, time_name: str, known: Mapping[str, Part]) -> tuple[dict[str, Part], bool]:
    """Return the fields of a file, and whether rows of the known ones have changed or are gone."""
    with open_file(path) as file:
        now = dict(find_parts(file, time_name))
        has_all = all(n in now and has_grown(file, part, now[n]) for n, part in known.items())
        return now, not has_all


def has_grown(file: h5py.File, before: Part, now: Part) -> bool:
    """Return whether a field still has its earlier rows, judged by times, and perhaps more."""
    rows, first, last = before.span
    times = Times(file, now.time_path, now.time_column)
    return now.span[:2] >= (rows, first) and first == now.span[1] and times[rows - 1] == last


def read_part(path: Path, part: Part, start: float, end: float) -> tuple[Any, Any]:
    """Read the rows of one file from `start` to before `end`."""
    with open_file(path, LOCKED_FOR) as file:
        times, dataset = Times(file, part.time_path, part.time_column), file[part.path]
        rows = min(times.rows, len(dataset))
        chosen = slice(times.before(start, rows), times.before(end, rows))
        check_size(file[part.time_path], part.time_column, chosen.stop - chosen.start)
        check_size(dataset, part.column, chosen.stop - chosen.start)
        if part.entry["type"] == "string":
            dataset = dataset.asstr() if part.column is None else dataset
        if isinstance(part.column, str):
            return times[chosen], dataset.fields(part.column)[chosen]
        return times[chosen], dataset[chosen] if part.column is None else dataset[
            chosen, part.column
        ]


def read_parts(parts: Iterable[tuple[Path, Part]], start: float, end: float) -> tuple[Any, Any]:
    """Read the rows of an interval; where two files overlap, the earlier one counts."""
    times, columns, begin = [np.empty(0)], [], start
    for path, part in parts:
        _, first, last = part.span
        if first < end and last >= begin:
            t, values = read_part(path, part, begin, end)
            times.append(t)
            columns.append(values)
        begin = max(begin, math.nextafter(last, math.inf))
    if len(columns) == 1:
        return times[1], columns[0]
    return np.concatenate(times), np.concatenate(columns) if columns else np.empty(0)
