"""What people write for a Grafana target: ``node::field``, globs, and values of variables.

Grafana hands over the value of a template variable with backslashes before what a regular
expression would read as special, and several values as ``(a|b)``, or for Infinity as ``{a,b}``. A
person may also write ``*``, ``?`` and ``[…]`` as in file names.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product

from sisock.errors import InvalidArgument

SEPARATOR = "::"
LONGEST = 4096
"""Characters of a target; one of a few hundred names still fits."""

MOST_ALTERNATIVES = 1000
MOST_PER_REQUEST = 2000
_SPECIAL = re.compile(r"[*?\[\](){}|\\]")
_WILDCARDS = "*?["
_CLOSING = {"(": ")", "{": "}"}
_BETWEEN = {"(": "|", "{": ","}
_TOKEN = re.compile(r"\\(.)|(.)", re.DOTALL)


@dataclass(frozen=True)
class Pattern:
    """One alternative of a target.

    Attributes
    ----------
    node, field : str
        Shell patterns; what is literal is escaped.
    literal : tuple of str or None
        Node and field if there is no wildcard in either.
    """

    node: str
    field: str
    literal: tuple[str, str] | None

    def matches(self, node: str, field: str) -> bool:
        """Whether a field of a node is meant."""
        if self.literal is not None:
            return self.literal == (node, field)
        return fnmatch.fnmatchcase(node, self.node) and fnmatch.fnmatchcase(field, self.field)

    def matches_node(self, node: str) -> bool:
        """Whether fields of a node may be meant."""
        if self.literal is not None:
            return self.literal[0] == node
        return fnmatch.fnmatchcase(node, self.node)


class Budget:
    """How many alternatives all the texts of one request may still have.

    Parameters
    ----------
    most : int
        Alternatives.
    """

    def __init__(self, most: int = MOST_PER_REQUEST) -> None:
        self._most = most
        self._left = most

    def spend(self, count: int) -> None:
        """Take alternatives off.

        Raises
        ------
        InvalidArgument
            If there are not so many left.
        """
        self._left -= count
        if self._left < 0:
            raise InvalidArgument(f"a request stands for at most {self._most} series")


def as_it_stands(text: str) -> tuple[str, str] | None:
    """Node and field if a text is taken literally, but that may mean something else too."""
    node, separator, field = text.partition(SEPARATOR)
    if not (separator and node and field) or not _SPECIAL.search(text):
        return None
    return node, field


def parse_target(text: str, budget: Budget | None = None) -> list[Pattern]:
    """Read a target.

    Parameters
    ----------
    text : str
        As it was written.
    budget : Budget, optional
        Of the request.

    Returns
    -------
    list of Pattern
        Its alternatives; none if the text is not of the form ``node::field``.

    Raises
    ------
    InvalidArgument
        If it is too long, or has too many alternatives.
    """
    if len(text) > LONGEST:
        raise InvalidArgument(f"a target has at most {LONGEST} characters")
    patterns = []
    for shell in _alternatives(text, budget):
        node, separator, field = shell.partition(SEPARATOR)
        if separator and node and field:
            patterns.append(Pattern(node, field, _literal(node, field)))
    return patterns


def parse_words(text: str, budget: Budget | None = None) -> list[str]:
    """Read the alternatives of a text that is not a target, as shell patterns.

    Raises
    ------
    InvalidArgument
        As `parse_target`.
    """
    if len(text) > LONGEST:
        raise InvalidArgument(f"a value has at most {LONGEST} characters")
    return _alternatives(text, budget)


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


def _alternatives(text: str, budget: Budget | None = None) -> list[str]:
    """Undo Grafana's escapes, and multiply ``(a|b)`` and ``{a,b}`` out.

    What was escaped and would be a wildcard comes out as a class of one, ``[*]``.
    """
    # Most texts are plain names.
    parts = _parts(text) if _SPECIAL.search(text) else [[text]]
    count = 1
    for part in parts:
        count *= len(part)
    if count > MOST_ALTERNATIVES:
        raise InvalidArgument(f"a target stands for at most {MOST_ALTERNATIVES} series")
    if budget is not None:
        budget.spend(count)
    return list(dict.fromkeys("".join(chosen) for chosen in product(*parts)))


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


def _literal(node: str, field: str) -> tuple[str, str] | None:
    """The names that two shell patterns stand for, if they hold no wildcard."""
    if not (_SPECIAL.search(node) or _SPECIAL.search(field)):
        return node, field
    names = []
    for shell in (node, field):
        name = re.sub(r"\[([*?\[])\]", r"\1", shell)
        bare = re.sub(r"\[[*?\[]\]", "", shell)
        if "*" in bare or "?" in bare or re.search(r"\[[^\]]*\]", bare):
            return None
        names.append(name)
    return names[0], names[1]


def expand(
    patterns: Iterable[Pattern], catalogue: Iterable[tuple[str, str]]
) -> list[tuple[str, str]]:
    """Node and field of everything that a target stands for, each once, in its order.

    Parameters
    ----------
    patterns : iterable of Pattern
        Alternatives of the target. A literal one stands for itself, known or not.
    catalogue : iterable of (str, str)
        Nodes and fields that there are.
    """
    known = list(catalogue)
    found: dict[tuple[str, str], None] = {}
    for pattern in patterns:
        if pattern.literal is not None:
            found[pattern.literal] = None
        else:
            found.update((pair, None) for pair in known if pattern.matches(*pair))
    return list(found)
