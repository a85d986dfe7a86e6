"""Grafana's ad hoc filters: key, operator and value."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sisock.bridge.targets import Budget, parse_words, split_top
from sisock.errors import InvalidArgument
from sisock.wire.fields import Field

TAG_KEYS = ("node", "timeline", "units")

MOST_FILTERS = 1000

OPERATORS = ("=", "!=", "=~", "!~", "<", ">")


@dataclass(frozen=True)
class Filter:
    """An ad hoc filter: key, operator and values, which are shell patterns but for < and >."""

    key: str
    operator: str
    values: list[str]

    def accepts(self, node: str, about: Field) -> bool:
        """Whether a field passes."""
        have = {"node": node, "timeline": about.timeline, "units": about.units or ""}.get(self.key)
        if have is None:
            return True
        if self.operator == "<":
            return have < self.values[0]
        if self.operator == ">":
            return have > self.values[0]
        equal = any(fnmatch.fnmatchcase(have, value) for value in self.values)
        return equal if self.operator in ("=", "=~") else not equal


def parse_filters(body: Mapping[str, Any], budget: Budget) -> list[Filter]:
    """Read ad hoc filters: SimpleJSON's ``adhocFilters``, simPod's ``filters`` too.

    Raises
    ------
    InvalidArgument
        If they are no list of objects, or an operator is unknown.
    """
    filters = []
    for name in ("adhocFilters", "filters"):
        entries = body.get(name)
        if entries is None:
            continue
        if not isinstance(entries, list) or len(entries) > MOST_FILTERS:
            raise InvalidArgument(f"{name} must be a list of at most {MOST_FILTERS}")
        filters += [_parse_filter(entry, name, budget) for entry in entries]
    return filters


def _parse_filter(entry: Any, name: str, budget: Budget) -> Filter:
    if not isinstance(entry, Mapping):
        raise InvalidArgument(f"each of {name} must be an object")
    key, operator, value = entry.get("key"), entry.get("operator", "="), entry.get("value")
    if not isinstance(key, str) or not isinstance(value, str):
        raise InvalidArgument(f"each of {name} must have a key and a value")
    if operator not in OPERATORS:
        raise InvalidArgument(
            f"the operator of a filter must be {', '.join(OPERATORS)}, not {operator!r}"
        )
    if operator in ("=~", "!~"):
        words = [word for part in split_top(value) for word in _parse_expression(part, budget)]
        return Filter(key, operator, words)
    budget.spend(1)
    return Filter(key, operator, [value if operator in ("<", ">") else _as_literal(value)])


def _parse_expression(text: str, budget: Budget) -> list[str]:
    """Of regular expressions what variables make, and .* : no pattern can take for ever."""
    plain = text.removeprefix("^").removesuffix("$")
    return parse_words(plain.replace(".*", "*").replace(".+", "?*"), budget)


def _as_literal(text: str) -> str:
    return re.sub(r"([*?\[])", r"[\1]", text)
