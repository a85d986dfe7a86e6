"""Bring the values of a field from whatever a node hands over to arrays, and to and from the wire.

Inside, they are a numpy array of one of `WIRE_DTYPES`, with NaN for a missing sample, or a list
(strings, and integers or booleans with missing samples, which are None).
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, TypeAlias

import numpy as np
import orjson

from sisock.wire.protocol import as_text

Values: TypeAlias = np.ndarray | list[Any]

WIRE_DTYPES = frozenset(
    {"<f8", "<f4", "<i8", "<i4", "<i2", "|i1", "<u8", "<u4", "<u2", "|u1", "|b1"}
)
"""The array types that travel as they are, in numpy's notation (PROTOCOL.md, binary)."""

_CBOR_NUMBER_BYTES = 9
_OBJECT_BYTES = 72
"""Memory of an item of a list: a short string, and the place that refers to it."""

_BLOCK = 1 << 18
"""Times that are checked at once: of a mapped file of gigabytes, no mask as large."""


def normalise(values: Any) -> Values:
    """Bring what a node's author calls values into the form used inside.

    They are numbers, booleans or strings, None or NaN or a mask for a missing one, of shape (n,);
    ValueError says what else they are.
    """
    if type(values) is np.ndarray:
        return _normalise_array(values)
    if isinstance(values, np.ma.MaskedArray):
        if np.ma.is_masked(values) and values.dtype.kind != "f":
            return _normalise_list(values.tolist())
        values = values.filled(np.nan) if np.ma.is_masked(values) else values.data
    if isinstance(values, str | bytes) or not hasattr(values, "__len__"):
        raise ValueError(f"the values must be a list or an array, not {type(values).__name__}")
    if isinstance(values, list | tuple):
        return _normalise_list(values)
    return _normalise_array(np.asarray(values))


def _normalise_array(values: np.ndarray) -> Values:
    if values.ndim != 1:
        raise ValueError(f"the values must have one dimension, not {values.ndim}")
    if values.dtype.str in WIRE_DTYPES:
        return values
    if values.dtype.kind in "OUS":
        return _normalise_list(values.tolist())
    if values.dtype.kind not in "fiub":
        hint = ", but a number of seconds can" if values.dtype.kind in "Mm" else ""
        raise ValueError(f"{values.dtype} cannot be served{hint}")
    return values.astype("<f8")


def _normalise_list(values: Sequence[Any]) -> Values:
    kinds = set(map(type, values))
    if any(issubclass(kind, np.datetime64 | np.timedelta64) for kind in kinds):
        return _normalise_array(np.asarray(values))
    if any(issubclass(kind, np.generic) for kind in kinds):
        values = [v.item() if isinstance(v, np.generic) else v for v in values]
        kinds = set(map(type, values))
    has_missing, kinds = type(None) in kinds, kinds - {type(None)}
    if kinds == {bool}:
        return list(values) if has_missing else np.array(values, dtype="|b1")
    if kinds == {int}:
        with suppress(OverflowError):
            integers = [v for v in values if v is not None] if has_missing else values
            array = np.array(integers, dtype="<i8")
            return list(values) if has_missing else array
    if kinds == {str}:
        return [v if v is None else as_text(v) for v in values]
    if kinds == {bytes}:
        return [v if v is None else v.decode("utf-8", "replace") for v in values]
    if has_missing and not kinds:
        return list(values)
    # Now only numbers can be mixed: Decimal, Fraction or bool among floats.
    names = ", ".join(sorted(kind.__name__ for kind in kinds))
    if kinds & {str, bytes}:
        raise ValueError(f"strings and other types are mixed in the values ({names})")
    try:
        if kinds <= {int, float}:
            return np.array(values, dtype="<f8")
        return np.array([np.nan if v is None else float(v) for v in values], dtype="<f8")
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"values of type {names} cannot be served") from None


def as_times(values: Any, what: str) -> np.ndarray:
    """Return sample times as UNIX seconds, shape (n,).

    ValueError says that the times, of `what`, are not finite numbers in ascending order.
    """
    try:
        t = normalise(values)
    except ValueError as error:
        raise ValueError(f"the times of {what} must be UNIX seconds: {error}") from None
    if not len(t):
        return np.empty(0)
    if isinstance(t, list) or t.dtype.kind not in "fiu":
        raise ValueError(f"the times of {what} must all be UNIX seconds")
    t = np.asarray(t, dtype="<f8")
    for start in range(0, len(t), _BLOCK):
        block = t[max(start - 1, 0) : start + _BLOCK]
        if not np.isfinite(block).all():
            raise ValueError(f"the times of {what} must be finite")
        if (block[1:] < block[:-1]).any():
            index = max(start, 1) + int(np.argmax(block[1:] < block[:-1]))
            raise ValueError(f"the times of {what} must ascend: t[{index}] goes back")
    return t


def to_list(values: Values) -> list[Any]:
    """Return Python values for the wire, None where a sample is missing, NaN or infinite."""
    if isinstance(values, list):
        return [None if isinstance(v, float) and not math.isfinite(v) else v for v in values]
    if values.dtype.kind == "f" and not (finite := np.isfinite(values)).all():
        holed = values.astype(object)
        holed[~finite] = None
        return holed.tolist()
    return values.tolist()


def to_binary(values: Values) -> dict[str, Any] | list[Any]:
    """Return the array's own bytes with their type, or a list where PROTOCOL.md wants one."""
    if isinstance(values, list):
        return to_list(values)
    if values.dtype.kind == "f" and (infinite := np.isinf(values)).any():
        values = values.copy()
        values[infinite] = np.nan
    return {"dtype": values.dtype.str, "values": values.tobytes()}


def from_wire(encoded: Any) -> np.ndarray:
    """Decode one array of a reply, of shape (n,); ValueError if it is neither list nor typed bytes.

    Bytes become a read-only view. Missing samples are NaN among numbers, None in an object array.
    """
    if isinstance(encoded, dict):
        dtype = encoded.get("dtype")
        if dtype not in WIRE_DTYPES or not isinstance(encoded.get("values"), bytes | bytearray):
            raise ValueError(f"an array of type {dtype!r} is not in the protocol")
        return np.frombuffer(encoded["values"], dtype=dtype)
    if not isinstance(encoded, list | tuple):
        raise ValueError(f"an array came as {type(encoded).__name__}")
    return as_array(_normalise_list(encoded))


def as_array(values: Values) -> np.ndarray:
    """Make an array of values, with NaN for a missing integer and None for any other missing."""
    if isinstance(values, np.ndarray):
        return values
    if set(map(type, values)) == {int, type(None)}:
        return np.array(values, dtype="<f8")
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def has_value(values: np.ndarray) -> np.ndarray:
    """Return which values are not missing, shape (n,)."""
    if values.dtype.kind == "f":
        return np.isfinite(values)
    if values.dtype.kind == "O":
        return np.array([value is not None for value in values], dtype=bool)
    return np.ones(len(values), dtype=bool)


def take(values: Values, indices: slice | np.ndarray) -> Values:
    """Return the values at `indices`, shape (m,)."""
    if isinstance(values, list) and isinstance(indices, np.ndarray):
        return [values[i] for i in indices.tolist()]
    return values[indices]


def binary_size(values: Values) -> int:
    """Return the bytes that the values take on the wire in binary encoding."""
    if isinstance(values, np.ndarray):
        return values.nbytes
    return sum(len(v) * 2 + 3 if isinstance(v, str) else _CBOR_NUMBER_BYTES for v in values)


def held_by(values: Values) -> tuple[int, int]:
    """Return the id of the buffer that the values keep in memory, and its bytes.

    A view keeps all of the array that it is a part of. A mapped file takes no memory.
    """
    if isinstance(values, list):
        return id(values), len(values) * _OBJECT_BYTES
    while isinstance(values.base, np.ndarray):
        values = values.base
    if values.base is None:
        return id(values), values.nbytes
    return id(values.base), 0 if isinstance(values.base, mmap.mmap) else values.nbytes


def cbor_size(values: Values) -> int:
    """Return the bytes that the values take as a list in CBOR, where that may be more than JSON.

    A float of few digits takes nine bytes, against four in JSON.
    """
    is_float = isinstance(values, np.ndarray) and values.dtype.kind == "f"
    return len(values) * (_CBOR_NUMBER_BYTES if is_float else 1)


def json_size(values: Values) -> int:
    """Return the bytes that the values take as a list in JSON, at most."""
    if isinstance(values, list):
        return len(orjson.dumps(to_list(values)))
    longer = 0
    if values.dtype.kind == "f":
        values = values.astype("<f8")
        # Python's own JSON writes 1e+16 and 1e-05 where orjson writes 1e16 and 1e-5.
        longer = int(((np.abs(values) >= 1e16) | (np.abs(values) < 1e-4)).sum())
    numbers = np.ascontiguousarray(values)
    return len(orjson.dumps(numbers, option=orjson.OPT_SERIALIZE_NUMPY)) + longer
