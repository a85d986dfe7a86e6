"""Parse Grafana targets, ``node::field`` with wildcards and template variables, and match them.

Grafana escapes a template variable's value as in a regular expression, with backslashes, and
sends several values as ``(a|b)``, or for Infinity as ``{a,b}``. Users may also write ``*``, ``?``
and ``[…]`` as in file names.
"""

from __future__ import annotations

import fnmatch
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import product
from typing import Any, TypeAlias

from sisock.errors import InvalidArgument
from sisock.wire.fields import Field

Pair: TypeAlias = tuple[str, str]
"""Node and field."""

Pattern: TypeAlias = Pair | str
"""An alternative of a target: node and field, or if it has wildcards, a shell pattern of both."""

SEPARATOR = "::"
MAX_LENGTH = 4096
"""Characters of a target; one with a few hundred names still fits."""

MAX_PER_REQUEST, MAX_CHARACTERS = 2000, 250_000
"""Alternatives of all targets of a request, and characters of these: compiling more patterns would
keep other requests waiting."""

SPECIAL = re.compile(r"[*?\[\](){}|\\]")  # characters with a special meaning in a target

MAX_COMPARISONS = 2_000_000
"""Comparisons of patterns with names for one request; they take about a second."""

_WILDCARDS = "*?["
_WILD, _ESCAPED = re.compile(r"[*?]|\[[^\]]*\]"), re.compile(r"\[([*?\[])\]")
_CLOSING = {"(": ")", "{": "}"}
_DELIMITER = {"(": "|", "{": ","}
_TOKEN = re.compile(r"\\(.)|(.)", re.DOTALL)


class Budget:
    """Limit the number of alternatives of all targets of one request, and their length."""

    def __init__(self) -> None:
        self._remaining, self._characters = MAX_PER_REQUEST, MAX_CHARACTERS

    def spend(self, count: int, characters: int = 0) -> None:
        """Count more alternatives; raises InvalidArgument if they are too many or too long."""
        self._remaining -= count
        self._characters -= characters
        if self._remaining < 0:
            raise InvalidArgument(f"a request may name at most {MAX_PER_REQUEST} series")
        if self._characters < 0:
            what = f"{MAX_CHARACTERS} characters when all alternatives are written out"
            raise InvalidArgument(f"the targets of a request may have at most {what}")


def matches(name: str, *shells: str) -> bool:
    """Return whether a name matches one of these shell patterns."""
    return any(compile_shell(shell)(name) for shell in shells)


@lru_cache(MAX_PER_REQUEST)  # that of `fnmatch` keeps sixteen times as many
def compile_shell(shell: str) -> Callable[[str], Any]:
    """Return a function that finds whether a name matches a shell pattern."""
    return re.compile(fnmatch.translate(shell)).match


def parse_target(text: str, budget: Budget | None = None) -> list[Pattern]:
    """Return the alternatives of a target; empty if it does not have the form ``node::field``."""
    node, _, field = text.partition(SEPARATOR)
    is_plain = SEPARATOR not in field and len(text) <= MAX_LENGTH and not SPECIAL.search(text)
    if node and field and is_plain:
        return [(node, field)]  # as most are: this is faster
    shells = parse_words(text, budget)
    return [_literal(shell) or shell for shell in shells if all(shell.partition(SEPARATOR))]


def parse_words(text: str, budget: Budget | None = None) -> list[str]:
    """Return a text as shell patterns: remove Grafana's escapes, expand ``(a|b)`` and ``{a,b}``.

    An escaped wildcard becomes a character class, like ``[*]``. Raises InvalidArgument if the text
    is too long or has too many alternatives.
    """
    if len(text) > MAX_LENGTH:
        raise InvalidArgument(f"a target or value may have at most {MAX_LENGTH} characters")
    parts = _parse_parts(text)
    count = math.prod(map(len, parts))
    # Each alternative of a part occurs equally often.
    characters = sum(count // len(part) * sum(map(len, part)) for part in parts)
    (budget or Budget()).spend(count, characters)
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


def _parse_parts(text: str) -> list[list[str]]:
    """Split a text into parts that follow each other; return the alternatives of each."""
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
            # Grafana sends a single value without parentheses: these are part of a name.
            parts += [group if len(group) > 1 else [f"{opened}{group[0]}{plain}"], [""]]
            group = None
            continue
        elif group is not None and plain == _DELIMITER[opened]:
            group.append("")
            continue
        else:
            literal = plain
        last = parts[-1] if group is None else group
        last[-1] += literal
    if group is not None:
        parts.append([opened + _DELIMITER[opened].join(group)])
    return parts


def _literal(shell: str) -> Pair | None:
    """Return the node and field that a shell pattern matches, or None if it has a wildcard."""
    if _WILD.search(_ESCAPED.sub("", shell)):
        return None
    node, _, field = _ESCAPED.sub(r"\1", shell).partition(SEPARATOR)
    return node, field


class Search:
    """Find the fields that targets match; `targets` maps each text to its patterns.

    As names may contain special characters, a text may also be the name of a field itself.
    """

    def __init__(self, targets: Mapping[str, Sequence[Pattern]]) -> None:
        self._targets = targets
        self._wild = [p for patterns in targets.values() for p in patterns if isinstance(p, str)]
        self._wild_nodes = {shell.partition(SEPARATOR)[0] for shell in self._wild}
        self._special: dict[str, Pair] = {}
        for text in filter(SPECIAL.search, targets):
            node, _, field = text.partition(SEPARATOR)
            if node and field:
                self._special[text] = node, field
        self._nodes = {node for node, _ in self._special.values()}

    @property
    def needs_fields(self) -> bool:
        """Whether the fields of nodes must be known."""
        return bool(self._wild or self._special)

    def concerns_node(self, name: str) -> bool:
        """Return whether a node may have fields that match."""
        return name in self._nodes or matches(name, *self._wild_nodes)

    def concerns_site(self, site: str) -> bool:
        """Return whether nodes of a site may have fields that match."""
        prefix = f"{site}/"
        begins = [re.split(r"[*?[]", shell, maxsplit=1)[0] for shell in self._wild_nodes]
        is_wild = any(begin.startswith(prefix) or prefix.startswith(begin) for begin in begins)
        return is_wild or any(name.startswith(prefix) for name in self._nodes)

    def match(
        self,
        fields: Mapping[str, Mapping[str, Field]],
        accepts: Callable[[str, Field], bool] = lambda node, field: True,
    ) -> dict[str, list[Pair]]:
        """Return the fields that each target matches, given those of all nodes that it concerns.

        `accepts` filters what wildcards match. Names without wildcards match, known or not.
        """
        check_wildcards(len(self._wild), sum(map(len, fields.values())))
        known = {
            f"{node}{SEPARATOR}{name}": (node, name)
            for node, fields_of_node in fields.items()
            for name, field in fields_of_node.items()
            if accepts(node, field)
        }
        found = {text: _expand(patterns, known) for text, patterns in self._targets.items()}
        for text, (node, name) in self._special.items():
            if name in fields.get(node, ()):
                found[text] = [(node, name)]
        return found


def check_wildcards(wildcards: int, names: int) -> None:
    """Raise InvalidArgument if comparing patterns with names would keep other requests waiting."""
    if wildcards * names > MAX_COMPARISONS:
        what = f"{wildcards} targets with wildcards are compared with {names} fields"
        raise InvalidArgument(f"{what}, which takes too long: use fewer, or name the fields")


def _expand(patterns: Iterable[Pattern], known: Mapping[str, Pair]) -> list[Pair]:
    """Return the known fields that patterns match, and the literal ones, known or not."""
    found: dict[Pair, None] = {}
    for pattern in patterns:
        if isinstance(pattern, str):
            is_match = compile_shell(pattern)
            found |= dict.fromkeys(pair for name, pair in known.items() if is_match(name))
        else:
            found[pattern] = None
    return list(found)
