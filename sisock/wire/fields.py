"""Make, check and parse the descriptions of nodes and their fields."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any
from uuid import uuid4

from sisock.errors import InvalidNodeName, NodeContractError
from sisock.wire.protocol import (
    MAX_DESCRIPTION,
    as_line,
    as_text,
    check_field_name,
    check_node_name,
    check_number,
    contract,
    is_text,
    node_uri,
)

FIELD_TYPES = ("number", "string", "bool")

_TEXTS = {"description": str, "units": str}
_EXTRAS: dict[str, type] = {"limits": Mapping, "precision": int, "labels": Mapping}
"""Optional keys of a field's description, with the types of their values."""

_OF_TIMELINE: dict[str, Callable[[list], Any]] = {
    "interval": itemgetter(0),
    "first": min,
    "last": max,
    "stale_after": itemgetter(0),
}
"""Keys of a timeline, and how to choose one value if its fields give different ones."""

ENTRY_KEYS = (*_TEXTS, "timeline", "type", *_EXTRAS, *_OF_TIMELINE)
"""All keys that an author can give for a field."""


@dataclass(frozen=True)
class Field:
    """Describe one field of a data node, as ``get_fields`` of the protocol does.

    Fields of one timeline are sampled at the same instants, every `interval` seconds on average
    (None: aperiodic).
    """

    name: str
    description: str | None
    timeline: str
    type: str
    units: str | None
    interval: float | None
    limits: Mapping[str, Any] | None = None
    precision: int | None = None
    labels: Mapping[str, str] | None = None
    first: float | None = None
    last: float | None = None
    stale_after: float | None = None


MAX_TROUBLE = 300  # maximum number of characters of a node's trouble in the hub's list
_TROUBLE = re.compile(r" \[problem: (.*)\]$")


@dataclass(frozen=True)
class KnownNode:
    """A data node as the hub lists it.

    Attributes
    ----------
    name : str
        The node's name; with several sites, ``site/node``.
    features : frozenset of str
        Optional parts of the protocol that the node supports.
    generation : str
        Identifies the node's data: a cached reply is valid for one generation only. If the node
        announces none, the consumer makes one up.
    replicas : int or None
        Number of sessions that serve under this name, if the node has replicas.
    entry : mapping
        The node's entry in the hub's list.
    site : str
        The name of the node's site, or empty.
    """

    name: str
    description: str = ""
    features: frozenset[str] = frozenset()
    generation: str = ""
    replicas: int | None = None
    entry: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
    site: str = ""

    @property
    def own_name(self) -> str:
        """The node's name within its site."""
        return self.name.removeprefix(f"{self.site}/") if self.site else self.name

    @property
    def trouble(self) -> str | None:
        """What keeps the node from serving, which `with_trouble` has put into its description."""
        found = _TROUBLE.search(self.description)
        return found[1] if found else None

    def uri(self, verb: str) -> str:
        """Return the URI of one of the node's procedures, see `node_uri`."""
        return node_uri(self.own_name, verb)


def with_trouble(description: str, trouble: str | None) -> str:
    """Return a node's description with what keeps the node from serving, if anything does."""
    return description if trouble is None else f"{description} [problem: {trouble[:MAX_TROUBLE]}]"


def parse_node(
    entry: Any, site: str, current: Callable[[str], KnownNode | None]
) -> KnownNode | None:
    """Parse an entry of the hub's list; return None if it does not describe a node.

    `current` finds the node that was known by a name. An entry without a generation gets the one
    that the current node had, or a new one.
    """
    try:
        own = check_node_name(entry["name"])
    except (InvalidNodeName, LookupError, TypeError):
        return None
    if as_line(own) != own:
        return None
    name = f"{site}/{own}" if site else own
    before, generation = current(name), entry.get("generation")
    if not isinstance(generation, str):
        is_same = before is not None and "generation" not in before.entry
        generation = before.generation if before is not None and is_same else uuid4().hex
    description, features = entry.get("description"), entry.get("features")
    replicas = entry.get("replicas")
    return KnownNode(
        name,
        as_line(description, MAX_DESCRIPTION) if isinstance(description, str) else "",
        frozenset(filter(is_text, features if isinstance(features, list | tuple) else ())),
        generation,
        replicas if isinstance(replicas, int) else None,
        entry,
        site,
    )


def suggest(name: str, known: Iterable[str]) -> str:
    """Return the known name that is most like a wrong one, to add to a message; or nothing."""
    from difflib import get_close_matches  # imported here, because it is slow

    similar = get_close_matches(name, known, 1)
    return f" (did you mean {similar[0]!r}?)" if similar else ""


def check_entries(entries: Any, node: str) -> None:
    """Check the author's entries before `describe`; raises NodeContractError."""
    if not isinstance(entries, Mapping):
        rule = f"its fields must be a dict, field name to a dict, not {type(entries).__name__}"
        raise NodeContractError(node, None, rule)
    for name, entry in entries.items():
        with contract(node, str(name)):
            if not isinstance(entry, Mapping):
                raise ValueError(f"it must be described by a dict, not {type(entry).__name__}")
            if unknown := [key for key in entry if key not in ENTRY_KEYS]:
                raise ValueError(f"{unknown[0]!r} is not one of the keys {', '.join(ENTRY_KEYS)}")


def describe(entries: Mapping[str, Mapping[str, Any]]) -> list:
    """Build the answer to ``get_fields`` from one entry per field, with any of `ENTRY_KEYS`.

    ``timeline`` defaults to the name of the field. ``interval``, ``first``, ``last`` and
    ``stale_after``, in seconds, become properties of the timeline.
    """
    fields: dict[str, dict[str, Any]] = {}
    timelines: dict[str, dict[str, Any]] = {}
    for name, entry in entries.items():
        timeline = entry.get("timeline") or name
        fields[name] = {
            "description": entry.get("description"),
            "timeline": timeline,
            "type": entry.get("type", "number"),
            "units": entry.get("units"),
            **{key: entry[key] for key in _EXTRAS if key in entry},
        }
        line = timelines.setdefault(timeline, {"interval": None, "field": []})
        line["field"].append(name)
        for key, choose in _OF_TIMELINE.items():
            if given := [v for v in (line.get(key), entry.get(key)) if v is not None]:
                line[key] = choose(given)
    return [fields, timelines]


def check_fields(raw: Any, node: str) -> list[dict[str, dict[str, Any]]]:
    """Check the result of ``get_fields``, and return it as ``[field, timeline]`` for the wire.

    Raises NodeContractError, which names the node, the field and the broken rule.
    """
    is_pair = isinstance(raw, list | tuple) and len(raw) == 2
    if not is_pair or not all(isinstance(part, Mapping) for part in raw):
        raise NodeContractError(node, None, "get_fields must return two dicts, field and timeline")
    fields: dict[str, dict[str, Any]] = {}
    timelines: dict[str, dict[str, Any]] = {}
    for name, line in raw[1].items():
        with contract(node):
            timelines[name] = _check_timeline(name, line)
    for name, entry in raw[0].items():
        with contract(node, str(name)):
            fields[name] = _check_field(name, entry)
            timeline = fields[name]["timeline"]
            if name not in timelines.get(timeline, {"field": ()})["field"]:
                raise ValueError(f"its timeline {timeline!r} does not list it")
    return [fields, timelines]


def _check_field(name: Any, entry: Any) -> dict[str, Any]:
    check_field_name(name)
    if not isinstance(entry, Mapping):
        raise ValueError(f"it must be described by a dict, not {type(entry).__name__}")
    if not is_text(entry.get("timeline")):
        raise ValueError("timeline must be the name of its timeline")
    if entry.get("type", "number") not in FIELD_TYPES:
        raise ValueError(f"type must be one of {FIELD_TYPES}, not {entry['type']!r}")
    for key, kind in {**_TEXTS, **_EXTRAS}.items():
        if not isinstance(entry.get(key), kind | None):
            expected = {str: "a string", int: "a whole number"}.get(kind, "a dict")
            raise ValueError(f"{key} must be {expected} or None")
    texts = {key: entry.get(key) for key in _TEXTS}
    return {
        "timeline": entry["timeline"],
        "type": entry.get("type", "number"),
        **{key: None if text is None else as_text(text) for key, text in texts.items()},
        **{key: _check_extra(key, entry[key]) for key in _EXTRAS if entry.get(key) is not None},
    }


def _check_extra(key: str, value: Any) -> Any:
    if key == "limits":
        return {name: _check_limit(name, ends) for name, ends in value.items()}
    if key == "labels":
        if not all(type(number) in (str, int) and is_text(text) for number, text in value.items()):
            raise ValueError("labels must be a dict that maps values to texts")
        return {str(number): text for number, text in value.items()}
    if type(value) is not int or value < 0:
        raise ValueError(f"{key} must be a number of digits")
    return value


def _check_limit(name: Any, ends: Any) -> list[float | None]:
    if name not in ("warning", "alarm") or not isinstance(ends, list | tuple) or len(ends) != 2:
        raise ValueError('limits must be {"warning": [low, high], "alarm": [low, high]}')
    return [None if end is None else check_number(f"{name} of limits", end) for end in ends]


def _check_timeline(name: Any, entry: Any) -> dict[str, Any]:
    names = listed_fields(entry) if isinstance(entry, Mapping) else None
    if not isinstance(name, str) or names is None:
        raise ValueError(f'"field" of timeline {name!r} must list field names')
    checked: dict[str, Any] = {"interval": None, "field": names}
    for key in _OF_TIMELINE:
        if entry.get(key) is not None:
            try:
                checked[key] = check_number(key, float(entry[key]))
            except (TypeError, ValueError):
                raise ValueError(f"{key} of timeline {name!r} must be in seconds or None") from None
    return checked


def listed_fields(line: Mapping[str, Any]) -> list[str] | None:
    """Return the fields listed by a timeline's entry, or None if the list is invalid.

    Nodes of 2019 write a single name instead of a list, and ``fields`` in their replies.
    """
    names = line.get("field", line.get("fields"))
    if isinstance(names, str):
        return [names]
    if isinstance(names, list | tuple) and all(isinstance(name, str) for name in names):
        return list(names)
    return None


def parse_fields(raw: Any, node: str) -> dict[str, Field]:
    """Parse a node's answer to ``get_fields``; raises NodeContractError."""
    fields, timelines = check_fields(raw, node)
    return {
        name: Field(
            name=name,
            **entry,
            **{key: v for key, v in timelines[entry["timeline"]].items() if key != "field"},
        )
        for name, entry in fields.items()
    }
