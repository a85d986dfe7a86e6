"""Find in the arguments of a call or an event what would harm its receiver."""

from __future__ import annotations

from typing import Any

from cbor2 import CBORTag

MAX_DEPTH = 200
"""Levels of nesting in arguments: CBOR's decoder takes 400, with those of the message."""

HARMFUL_KEYWORDS = {"self", "fun", "f"}
"""Names of arguments of autobahn's own functions: with these, the receiver's session ends."""

PLAIN = {float, int, bool, bytes, type(None)}


def find_fault(args: Any, kwargs: Any) -> str | None:
    """Find what in a message's arguments would harm its receiver, or could not reach it."""
    for name in kwargs or ():
        if name in HARMFUL_KEYWORDS:
            return f"there is no keyword argument {name!r}"
    level: list[Any] = [args, kwargs]
    seen: set[int] = set()
    for _ in range(MAX_DEPTH):
        below: list[Any] = []
        for value in level:
            if isinstance(value, str):
                if not value.isascii() and not is_unicode(value):
                    return "text must not hold half a surrogate pair"
                continue
            children = children_of(value)
            if children and id(value) in seen:  # CBOR can write references
                return "arguments must not hold themselves, or one value twice"
            seen.add(id(value))
            below += [child for child in children if type(child) not in PLAIN]
        if not below:
            return None
        level = below
    return f"arguments must not be nested deeper than {MAX_DEPTH} levels"


def children_of(value: Any) -> list[Any]:
    """Return what a value of a message consists of."""
    if isinstance(value, dict):
        return [*value, *value.values()]
    if isinstance(value, CBORTag):
        return [value.value]
    return list(value) if isinstance(value, list | tuple | set | frozenset) else []


def is_unicode(text: str) -> bool:
    """Whether a text can be written as UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
