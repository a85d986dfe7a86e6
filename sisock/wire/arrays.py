"""The values of one field: from whatever a node hands over to arrays, and to and from the wire.

Inside, the values of a field are a numpy array of one of `WIRE_DTYPES`, with NaN for a missing
sample, or a list (strings, and integers or booleans with missing samples, which are None).
"""

from __future__ import annotations

import json
import math
import mmap
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from sisock.wire.protocol import as_text

Values: TypeAlias = np.ndarray | list[Any]

WIRE_DTYPES = frozenset(
    {"<f8", "<f4", "<i8", "<i4", "<i2", "|i1", "<u8", "<u4", "<u2", "|u1", "|b1"}
)
"""The array types that travel as they are, in numpy's notation (PROTOCOL.md, binary)."""

_CBOR_NUMBER_BYTES = 9
_JSON_NUMBER_BYTES = 26
_OBJECT_BYTES = 72
"""Memory of an item of a list: a short string, and the place that refers to it."""

_NUMBERS = {int, float}


def normalise(values: Any) -> Values:
    """Bring what a node's author calls values into the form used inside.

    Parameters
    ----------
    values : array_like
        Numbers, booleans or strings, None or NaN or a mask for a missing one; shape (n,).

    Raises
    ------
    ValueError
        If they are not one-dimensional, or of a kind that cannot travel.
    """
    if isinstance(values, np.ma.MaskedArray):
        return _normalise_masked(values)
    if isinstance(values, np.ndarray):
        return _normalise_array(values)
    if isinstance(values, str | bytes) or not hasattr(values, "__len__"):
        raise ValueError(f"the values must be a list or an array, not {type(values).__name__}")
    if not isinstance(values, list | tuple):
        return _normalise_array(np.asarray(values))
    return _normalise_list(values)


def _normalise_masked(values: np.ma.MaskedArray) -> Values:
    if not np.ma.is_masked(values):
        return _normalise_array(values.data)
    if values.dtype.kind == "f":
        return _normalise_array(values.filled(np.nan))
    return _normalise_list(values.tolist())


def _normalise_array(values: np.ndarray) -> Values:
    if values.ndim != 1:
        raise ValueError(f"the values must have one dimension, not {values.ndim}")
    if values.dtype.str in WIRE_DTYPES:
        return values
    if values.dtype.kind in "OUS":
        return _normalise_list(values.tolist())
    if values.dtype.kind in "Mm":
        raise ValueError(f"{values.dtype} cannot be served, but a number of seconds can")
    if values.dtype.kind not in "fiub":
        raise ValueError(f"values of type {values.dtype} cannot be served")
    return values.astype("<f8")


def _normalise_list(values: Sequence[Any]) -> Values:
    kinds = set(map(type, values))
    if any(issubclass(kind, np.datetime64 | np.timedelta64) for kind in kinds):
        return _normalise_array(np.asarray(values))
    if any(issubclass(kind, np.generic) for kind in kinds):
        values = [v.item() if isinstance(v, np.generic) else v for v in values]
        kinds = set(map(type, values))
    if kinds == {bool}:
        return np.array(values, dtype="|b1")
    if kinds == {int}:
        return _integers(values)
    if kinds <= _NUMBERS or (float in kinds and kinds <= {int, float, type(None)}):
        return np.array(values, dtype="<f8")
    if str in kinds and kinds <= {str, type(None)}:
        return [v if v is None else as_text(v) for v in values]
    if kinds <= {bool, type(None)} or (kinds <= {int, type(None)} and _fit_64_bits(values)):
        return list(values)
    if bytes in kinds and kinds <= {bytes, type(None)}:
        return [v if v is None else v.decode("utf-8", "replace") for v in values]
    return _floats_from_anything(values, kinds)


def _fit_64_bits(values: Sequence[int | None]) -> bool:
    return all(v is None or -(1 << 63) <= v < 1 << 63 for v in values)


def _integers(values: Sequence[int]) -> np.ndarray:
    try:
        return np.array(values, dtype="<i8")
    except OverflowError:
        return np.array(values, dtype="<f8")


def _floats_from_anything(values: Sequence[Any], kinds: set[type]) -> np.ndarray:
    """Take mixed numbers (Decimal, Fraction, bool among floats); refuse strings among numbers."""
    names = ", ".join(sorted(kind.__name__ for kind in kinds))
    if str in kinds or bytes in kinds:
        raise ValueError(f"strings and other types are mixed in the values ({names})")
    try:
        return np.array([np.nan if v is None else float(v) for v in values], dtype="<f8")
    except (TypeError, ValueError):
        raise ValueError(f"values of type {names} cannot be served") from None


def to_list(values: Values) -> list[Any]:
    """Python values for the wire, None where a sample is missing, NaN or infinite."""
    if isinstance(values, list):
        return [None if isinstance(v, float) and not math.isfinite(v) else v for v in values]
    finite = np.isfinite(values) if values.dtype.kind == "f" else None
    if finite is None or finite.all():
        return values.tolist()
    holed = values.astype(object)
    holed[~finite] = None
    return holed.tolist()


def to_binary(values: Values) -> dict[str, Any] | list[Any]:
    """The array's own bytes with their type, or a list where PROTOCOL.md wants one."""
    if isinstance(values, list):
        return to_list(values)
    if values.dtype.kind == "f" and not (finite := np.isfinite(values)).all():
        values = np.where(finite, values, np.array(np.nan, dtype=values.dtype))
    return {"dtype": values.dtype.str, "values": values.tobytes()}


def from_wire(encoded: Any) -> np.ndarray:
    """Decode one array of a reply, whichever way it was sent.

    Returns
    -------
    ndarray, shape (n,)
        A read-only view for bytes. Missing samples are NaN among numbers, None in an object array.

    Raises
    ------
    ValueError
        If it is neither a list nor typed bytes.
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


def take(values: Values, indices: np.ndarray) -> Values:
    """The values at `indices`, shape (m,)."""
    if isinstance(values, list):
        return [values[i] for i in indices.tolist()]
    return values[indices]


def binary_size(values: Values) -> int:
    """Bytes that the values take on the wire in binary encoding."""
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


def largest_size(values: Values) -> int:
    """Upper bound, cheap, of the bytes that the values take as a list in any serializer."""
    if isinstance(values, np.ndarray):
        return len(values) * _JSON_NUMBER_BYTES
    # A character outside of ASCII or to be escaped takes at most six bytes.
    return sum(len(v) * 6 + 5 if isinstance(v, str) else _JSON_NUMBER_BYTES for v in values)


def json_size(values: Values) -> int:
    """Bytes that the values take as a list in JSON."""
    return len(json.dumps(to_list(values), separators=(",", ":"), ensure_ascii=False).encode())


def cbor_size(values: Values) -> int:
    """Bytes that the values take as a list in CBOR, where they may be more than in JSON.

    A float of few digits takes nine bytes, and is at most four in JSON; anything else never takes
    more than there.
    """
    is_float = isinstance(values, np.ndarray) and values.dtype.kind == "f"
    return len(values) * (_CBOR_NUMBER_BYTES if is_float else 1)
