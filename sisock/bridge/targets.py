"""Read what people write for a Grafana target: ``node::field``, globs, and values of variables.

Grafana hands over the value of a template variable with backslashes before what a regular
expression would read as special, and several values as ``(a|b)``, or for Infinity as ``{a,b}``. A
person may also write ``*``, ``?`` and ``[…]`` as in file names.
"""

from __future__ import annotations

import fnmatch
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product
from typing import TypeAlias

from sisock.errors import InvalidArgument

Pair: TypeAlias = tuple[str, str]
"""Node and field."""

SEPARATOR = "::"
MAX_LENGTH = 4096
"""Characters of a target; one of a few hundred names still fits."""

MAX_ALTERNATIVES = 1000
MAX_PER_REQUEST = 2000
SPECIAL = re.compile(r"[*?\[\](){}|\\]")
"""What a text holds that may mean something else than itself."""

_WILDCARDS = "*?["
_CLOSING = {"(": ")", "{": "}"}
_BETWEEN = {"(": "|", "{": ","}
_TOKEN = re.compile(r"\\(.)|(.)", re.DOTALL)


@dataclass(frozen=True)
class Pattern:
    """One alternative of a target: shell patterns, and the names if there is no wildcard."""

    node: str
    field: str
    literal: Pair | None

    def matches_node(self, node: str) -> bool:
        """Return whether fields of a node may be meant."""
        return fnmatch.fnmatchcase(node, self.node)


class Budget:
    """Count the alternatives that all the texts of one request may still have."""

    def __init__(self) -> None:
        self._left = MAX_PER_REQUEST

    def spend(self, count: int) -> None:
        """Take alternatives off; raises InvalidArgument if there are not so many left."""
        self._left -= count
        if self._left < 0:
            raise InvalidArgument(f"a request stands for at most {MAX_PER_REQUEST} series")


def as_it_stands(text: str) -> Pair | None:
    """Return node and field of a text taken literally, whatever else it may mean."""
    node, _, field = text.partition(SEPARATOR)
    return (node, field) if node and field else None


def parse_target(text: str, budget: Budget | None = None) -> list[Pattern]:
    """Return the alternatives of a target; none if it is not of the form ``node::field``."""
    patterns = []
    for shell in parse_words(text, budget):
        node, separator, field = shell.partition(SEPARATOR)
        if separator and node and field:
            patterns.append(Pattern(node, field, _literal(node, field)))
    return patterns


def parse_words(text: str, budget: Budget | None = None) -> list[str]:
    """Undo Grafana's escapes, and multiply ``(a|b)`` and ``{a,b}`` out, as shell patterns.

    What was escaped and would be a wildcard is a class of one, ``[*]``. Raises InvalidArgument if
    the text is too long, or has too many alternatives.
    """
    if len(text) > MAX_LENGTH:
        raise InvalidArgument(f"a target or value has at most {MAX_LENGTH} characters")
    parts = _parts(text)
    count = math.prod(map(len, parts))
    if count > MAX_ALTERNATIVES:
        raise InvalidArgument(f"a target stands for at most {MAX_ALTERNATIVES} series")
    if budget is not None:
        budget.spend(count)
    return list(dict.fromkeys("".join(chosen) for chosen in product(*parts)))


def split_top(text: str) -> list[str]:
    """Split a regular expression at each ``|`` that is neither escaped nor in parentheses."""
    parts, depth = [""], 0
    for escaped, plain in _TOKEN.findall(text):
        depth = max(depth + (plain == "(") - (plain == ")"), 0)
        if plain == "|" and depth == 0:
            parts.append("")
        else:
            parts[-1] += f"\\{escaped}" if escaped else plain
    return parts


def _parts(text: str) -> list[list[str]]:
    """Cut a text into parts, each with its alternatives."""
    parts: list[list[str]] = [[""]]
    group: list[str] | None = None
    opened = ""
    for escaped, plain in _TOKEN.findall(text):
        if escaped:
            literal = f"[{escaped}]" if escaped in _WILDCARDS else escaped
        elif plain in _CLOSING and group is None:
            group, opened = [""], plain
            continue
        elif group is not None and plain == _CLOSING[opened]:
            # One value alone comes without parentheses: these are part of a name.
            parts += [group if len(group) > 1 else [f"{opened}{group[0]}{plain}"], [""]]
            group = None
            continue
        elif group is not None and plain == _BETWEEN[opened]:
            group.append("")
            continue
        else:
            literal = plain
        last = parts[-1] if group is None else group
        last[-1] += literal
    if group is not None:
        parts.append([opened + _BETWEEN[opened].join(group)])
    return parts


def _literal(node: str, field: str) -> Pair | None:
    """Return the names that two shell patterns stand for, if they hold no wildcard."""
    if not SPECIAL.search(node + field):
        return node, field
    for shell in (node, field):
        bare = re.sub(r"\[[*?\[]\]", "", shell)
        if re.search(r"[*?]|\[[^\]]*\]", bare):
            return None
    names = [re.sub(r"\[([*?\[])\]", r"\1", shell) for shell in (node, field)]
    return names[0], names[1]


def expand(patterns: Iterable[Pattern], known: Iterable[Pair]) -> list[Pair]:
    """Return what a target stands for; a literal alternative is itself, known or not."""
    found: dict[Pair, None] = {}
    for each in patterns:
        if each.literal is not None:
            found[each.literal] = None
            continue
        for node, field in known:
            if each.matches_node(node) and fnmatch.fnmatchcase(field, each.field):
                found[node, field] = None
    return list(found)
