"""Convert the values of a field: from what node authors return to arrays, and to and from the wire.

Internally, values are a numpy array: one of `WIRE_DTYPES`, with NaN for a missing number; or, for
strings and for integers or booleans with missing values, an object array with None for these.
"""

from __future__ import annotations

import math
import mmap
import sys
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from itertools import chain
from typing import Any, TypeAlias

import numpy as np
import orjson

from sisock.wire.protocol import as_text
from sisock.wire.times import counted

Samples: TypeAlias = tuple[np.ndarray, np.ndarray]
"""Times and values of one field, both of shape (n,)."""

Span: TypeAlias = tuple[int, float, float]
"""The number of samples, and the times of the first and the last one."""

WIRE_DTYPES = frozenset(
    {"<f8", "<f4", "<i8", "<i4", "<i2", "|i1", "<u8", "<u4", "<u2", "|u1", "|b1"}
)
"""The array types that travel as they are, in numpy's notation (the protocol's binary arrays)."""

_CBOR_NUMBER_BYTES = 9
_OBJECT_BYTES = 72  # estimated memory of a short string and the reference to it

_BLOCK = 1 << 18
"""Number of times checked at once: for mapped files of gigabytes, one mask would be too large."""


def normalise(values: Any) -> np.ndarray:
    """Convert values returned by a node author to the internal form.

    `values`, shape (n,), are numbers, booleans or strings; None, NaN or a mask marks missing ones.
    Raises ValueError for anything else.
    """
    # Importing numpy.ma takes 30 ms; without masked arrays it is not needed.
    masked: Any = getattr(sys.modules.get("numpy.ma"), "MaskedArray", ())
    if isinstance(values, masked):
        if np.ma.is_masked(values) and values.dtype.kind != "f":
            return _from_items(values.tolist())
        values = values.filled(np.nan) if np.ma.is_masked(values) else values.data
    if isinstance(values, list | tuple):
        return _from_items(values)
    if isinstance(values, str | bytes) or not hasattr(values, "__len__"):
        raise ValueError(f"the values must be a list or an array, not {type(values).__name__}")
    values = np.asarray(values)
    if values.ndim != 1:
        raise ValueError(f"the values must have one dimension, not {values.ndim}")
    if values.dtype.str in WIRE_DTYPES:
        return values
    if values.dtype.kind in "OUS":
        return _from_items(values.tolist())
    if values.dtype.kind not in "fiub":
        hint = ", but a number of seconds can" if values.dtype.kind in "Mm" else ""
        raise ValueError(f"{values.dtype} cannot be served{hint}")
    return values.astype("<f8")


def _from_items(values: Sequence[Any]) -> np.ndarray:
    kinds = set(map(type, values))
    if kinds == {float}:  # the usual case for live samples: four times as fast
        return np.array(values, dtype="<f8")
    if any(issubclass(kind, np.datetime64 | np.timedelta64) for kind in kinds):
        return normalise(np.asarray(values))
    if any(issubclass(kind, np.generic) for kind in kinds):
        values = [v.item() if isinstance(v, np.generic) else v for v in values]
        kinds = set(map(type, values))
    has_missing, kinds = type(None) in kinds, kinds - {type(None)}
    if kinds == {bool}:
        return _objects(values) if has_missing else np.array(values, dtype="|b1")
    if kinds == {int}:
        with suppress(OverflowError):
            array = np.array([v for v in values if v is not None], dtype="<i8")
            return _objects(values) if has_missing else array
    if kinds and all(issubclass(kind, str) for kind in kinds):  # also enumerations
        return _objects([v if v is None else as_text(str.__str__(v)) for v in values])
    if kinds == {bytes}:
        return _objects([v if v is None else v.decode("utf-8", "replace") for v in values])
    if has_missing and not kinds:
        return _objects(values)
    # Only types of numbers may be mixed, such as Decimal, Fraction or bool with float.
    names = ", ".join(sorted(kind.__name__ for kind in kinds))
    if kinds & {str, bytes}:
        raise ValueError(f"strings and other types are mixed in the values ({names})")
    try:
        if kinds <= {int, float}:
            return np.array(values, dtype="<f8")
        return np.array([np.nan if v is None else float(v) for v in values], dtype="<f8")
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"values of type {names} cannot be served") from None


def _objects(values: Sequence[Any]) -> np.ndarray:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def as_samples(t: Any, values: Any) -> Samples:
    """Return times and values of a field as arrays of shape (n,); raises ValueError."""
    t, values = as_times(t, "its times"), normalise(values)
    check_length(t, values)
    return t, values


def check_length(t: np.ndarray, values: np.ndarray) -> None:
    """Raise ValueError if there are not as many values as times."""
    if len(values) != len(t):
        raise ValueError(f"it has {counted(len(values), 'value')} for {counted(len(t), 'time')}")


def as_times(values: Any, label: str) -> np.ndarray:
    """Return sample times as UNIX seconds, shape (n,).

    Raises ValueError, in which `label` names the times, unless they are finite and ascend.
    """
    try:
        t = normalise(values)
    except ValueError as error:
        raise ValueError(f"{label} must be UNIX seconds: {error}") from None
    if len(t) and t.dtype.kind not in "fiu":
        raise ValueError(f"{label} must all be UNIX seconds")
    t = np.asarray(t, dtype="<f8")
    for start in range(0, len(t), _BLOCK):
        block = t[max(start - 1, 0) : start + _BLOCK]
        if not np.isfinite(block).all():
            raise ValueError(f"{label} must be finite")
        if not ascends(block):
            index = max(start, 1) + int(np.argmax(block[1:] < block[:-1]))
            raise ValueError(f"{label} must ascend: t[{index}] goes back")
    return t


def ascends(t: np.ndarray) -> bool:
    """Return whether times never go back, and none of several is NaN."""
    return len(t) < 2 or bool((t[1:] >= t[:-1]).all())


def merge_timeline(samples_of: Mapping[str, Samples]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Merge the times of several fields, and align the values of each field with the merged times.

    Times and values of each field have shape (n,). Returns all times, shape (m,), and the values of
    each field, shape (m,), missing where it has no sample. A field without samples stays empty.
    """
    filled = {name: samples for name, samples in samples_of.items() if len(samples[0])}
    merged = {name: values for name, (_, values) in samples_of.items()}
    times = [t for t, _ in filled.values()]
    if all(t is times[0] or np.array_equal(t, times[0]) for t in times[1:]):
        return (times[0] if times else np.empty(0)), merged
    # Number equal times of a field in the imaginary part, so that `unique` keeps all of them;
    # numpy sorts complex numbers by their real part first.
    keys = {
        name: t + 1j * (np.arange(len(t)) - np.searchsorted(t, t))
        for name, (t, _) in filled.items()
    }
    union = np.unique(np.concatenate(list(keys.values())))
    for name, key in keys.items():
        values = merged[name]
        if len(values) < len(union):
            missing: Any = (np.nan, values.dtype) if values.dtype.kind == "f" else (None, object)
            merged[name] = np.full(len(union), *missing)
            merged[name][np.searchsorted(union, key)] = values
    return np.ascontiguousarray(union.real), merged


def join(parts: Sequence[Samples]) -> Samples:
    """Join consecutive samples of a field; the types of the values may differ."""
    # Leave out empty parts: their dtype says nothing about the field.
    filled = [part for part in parts if len(part[0])] or parts[:1]
    if len(filled) == 1:
        return filled[0]
    return np.concatenate([t for t, _ in filled]), np.concatenate([v for _, v in filled])


def to_list(values: np.ndarray | Sequence[Any]) -> list[Any]:
    """Return Python values for the wire, None where a sample is missing, NaN or infinite."""
    if not isinstance(values, np.ndarray) or values.dtype == object:
        return [None if isinstance(v, float) and not math.isfinite(v) else v for v in values]
    if values.dtype.kind == "f" and not (finite := np.isfinite(values)).all():
        values = values.astype(object)
        values[~finite] = None
    return values.tolist()


def to_lists(columns: Collection[np.ndarray]) -> list[list[Any]]:
    """Return each of some columns of equal length as `to_list` does."""
    if {column.dtype.kind for column in columns} == {"f"}:
        joined = np.concatenate([*columns])
        if np.isfinite(joined).all():
            return joined.reshape(len(columns), -1).tolist()
    return [to_list(column) for column in columns]


def to_binary(values: np.ndarray) -> dict[str, Any] | list[Any]:
    """Return a dict with dtype and raw bytes, or a list for objects, for the encoding binary."""
    if values.dtype == object:
        return to_list(values)
    if values.dtype.kind == "f" and (infinite := np.isinf(values)).any():
        values = values.copy()
        values[infinite] = np.nan
    return {"dtype": values.dtype.str, "values": values.tobytes()}


def from_wire(encoded: Any) -> np.ndarray:
    """Decode one array of a reply, shape (n,); raises ValueError if it is invalid.

    Bytes become a read-only view. Missing numbers are NaN, other missing values None.
    """
    if isinstance(encoded, dict):
        dtype = encoded.get("dtype")
        if dtype not in WIRE_DTYPES or not isinstance(encoded.get("values"), bytes | bytearray):
            raise ValueError(f"an array of type {dtype!r} is not in the protocol")
        return np.frombuffer(encoded["values"], dtype=dtype)
    if not isinstance(encoded, list | tuple):
        raise ValueError(f"an array must be a list or bytes, not {type(encoded).__name__}")
    values = _from_items(encoded)
    if values.dtype == object and set(map(type, values)) == {int, type(None)}:
        return values.astype("<f8")
    return values


def all_from_wire(encoded: Mapping[str, list[Any]]) -> dict[str, np.ndarray]:
    """Decode lists of equal length as `from_wire` does, but floats all at once."""
    values = [*chain.from_iterable(encoded.values())]
    if set(map(type, values)) == {float}:
        rows = np.array(values, dtype="<f8").reshape(len(encoded), -1)
        return dict(zip(encoded, rows, strict=True))
    return {name: from_wire(column) for name, column in encoded.items()}


def has_value(values: np.ndarray) -> np.ndarray:
    """Return which values are not missing, shape (n,)."""
    if values.dtype.kind == "f":
        return np.isfinite(values)
    if values.dtype == object:
        return np.array([value is not None for value in values], dtype=bool)
    return np.ones(len(values), dtype=bool)


def span_of(t: np.ndarray) -> Span | None:
    """Return the span of samples with these times, or None without samples."""
    return (len(t), float(t[0]), float(t[-1])) if len(t) else None


def last_present(values: np.ndarray) -> np.ndarray:
    """Return the index of the last present value, shape (1,); shape (0,) if all are missing."""
    return np.flatnonzero(has_value(values))[-1:]


def binary_size(values: np.ndarray) -> int:
    """Return the bytes that the values take on the wire in binary encoding."""
    if values.dtype != object:
        return values.nbytes
    return sum(len(v) * 2 + 3 if isinstance(v, str) else _CBOR_NUMBER_BYTES for v in values)


def held_by(values: np.ndarray) -> tuple[int, int]:
    """Return the id and the size in bytes of the buffer that the values keep in memory.

    A view keeps its whole base array in memory; a mapped file takes none.
    """
    while isinstance(values.base, np.ndarray):
        values = values.base
    if isinstance(values.base, mmap.mmap):
        return id(values.base), 0
    return id(values if values.base is None else values.base), memory_size(values)


def memory_size(*arrays: np.ndarray) -> int:
    """Return the approximate bytes of memory that arrays take."""
    return sum(len(a) * _OBJECT_BYTES if a.dtype == object else a.nbytes for a in arrays)


def cbor_size(values: np.ndarray) -> int:
    """Return a size in bytes of the values as a list in CBOR, exact where CBOR may exceed JSON.

    A float with few digits takes nine bytes in CBOR but only four in JSON.
    """
    return len(values) * (_CBOR_NUMBER_BYTES if values.dtype.kind == "f" else 1)


def json_size(values: np.ndarray) -> int:
    """Return an upper bound of the bytes that the values take as a list in JSON."""
    if values.dtype == object:
        return len(orjson.dumps(to_list(values)))
    longer = 0
    if values.dtype.kind == "f":
        values = values.astype("<f8")
        # Python's own JSON writes 1e+16 and 1e-05 where orjson writes 1e16 and 1e-5.
        longer = int(((np.abs(values) >= 1e16) | (np.abs(values) < 1e-4)).sum())
    numbers = np.ascontiguousarray(values)
    return len(orjson.dumps(numbers, option=orjson.OPT_SERIALIZE_NUMPY)) + longer
