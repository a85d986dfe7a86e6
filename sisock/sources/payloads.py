"""Read the values in the payload of a message: a number, a text, or nested JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

MAX_PAYLOAD = 1_000_000


def read_payload(name: str, payload: bytes) -> dict[str, Any]:
    """Return the values of a payload: the key ``a`` of JSON is named ``name.a``.

    ValueError or RecursionError says that it has none.
    """
    if len(payload) > MAX_PAYLOAD:
        raise ValueError(f"it has more than {MAX_PAYLOAD} bytes")
    found: Any = payload.decode()
    with suppress(json.JSONDecodeError):
        found = json.loads(found)
    return dict(flatten(name, found))


def flatten(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the values of nested dicts and lists with their names."""
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from flatten(f"{name}.{key}", inner)
    else:
        yield name, value


def fit(value: Any, kind: str | None) -> Any:
    """Return a value as one of the type of its field, if that is declared; None if it is none."""
    if value is None:
        return None
    if kind == "string":
        return str(value)
    if kind == "number":
        return float(value) if isinstance(value, int | float) else None
    return value if kind is None or isinstance(value, bool) else None
