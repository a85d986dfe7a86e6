"""What a node says of its fields: the answer to ``get_fields``, checked and described."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sisock.errors import NodeContractError
from sisock.wire.protocol import as_text, is_text

FIELD_TYPES = ("number", "string", "bool")

ENTRY_KEYS = ("description", "timeline", "type", "units", "interval")
"""What an author can say of a field."""


@dataclass(frozen=True)
class Field:
    """One field of a data node.

    Attributes
    ----------
    name : str
    description : str or None
    timeline : str
        Fields of one timeline are sampled at the same instants.
    type : {"number", "string", "bool"}
    units : str or None
    interval : float or None
        Mean spacing of the samples in seconds; None if aperiodic.
    """

    name: str
    description: str | None
    timeline: str
    type: str
    units: str | None
    interval: float | None


def check_entries(entries: Any, node: str) -> None:
    """Check what an author says of each field, before `describe`.

    Raises
    ------
    NodeContractError
        Naming node, field and rule.
    """
    if not isinstance(entries, Mapping):
        rule = f"its fields must be a dict, field name to a dict, not {type(entries).__name__}"
        raise NodeContractError(node, None, rule)
    for name, entry in entries.items():
        if not isinstance(entry, Mapping):
            rule = f"it must be described by a dict, not {type(entry).__name__}"
            raise NodeContractError(node, str(name), rule)
        for key in entry:
            if key not in ENTRY_KEYS:
                rule = f"{key!r} is not one of the keys {', '.join(ENTRY_KEYS)}"
                raise NodeContractError(node, str(name), rule)


def describe(entries: Mapping[str, Mapping[str, Any]], default_timeline: str | None = None) -> list:
    """Make the answer to ``get_fields`` out of one entry a field.

    Parameters
    ----------
    entries : mapping
        Field name to a mapping with any of ``description``, ``timeline``, ``type``, ``units`` and
        ``interval`` (of the field's timeline, in seconds).
    default_timeline : str, optional
        Timeline of a field that names none; the field's own name if not given.
    """
    fields: dict[str, dict[str, Any]] = {}
    timelines: dict[str, dict[str, Any]] = {}
    for name, entry in entries.items():
        timeline = entry.get("timeline") or default_timeline or name
        fields[name] = {
            "description": entry.get("description"),
            "timeline": timeline,
            "type": entry.get("type", "number"),
            "units": entry.get("units"),
        }
        line = timelines.setdefault(timeline, {"interval": None, "field": []})
        line["field"].append(name)
        if line["interval"] is None:
            line["interval"] = entry.get("interval")
    return [fields, timelines]


def check_fields(raw: Any, node: str) -> list[dict[str, dict[str, Any]]]:
    """Check what a node's ``get_fields`` returned and make it fit to travel.

    Returns
    -------
    list of two dicts
        ``[field, timeline]`` as in PROTOCOL.md.

    Raises
    ------
    NodeContractError
        Naming node, field and rule.
    """
    if (
        not isinstance(raw, list | tuple)
        or len(raw) != 2
        or not all(isinstance(part, Mapping) for part in raw)
    ):
        raise NodeContractError(node, None, "get_fields must return two dicts, field and timeline")
    fields = {name: _check_field(name, entry, node) for name, entry in raw[0].items()}
    timelines = {name: _check_timeline(name, entry, node) for name, entry in raw[1].items()}
    for name, entry in fields.items():
        line = timelines.get(entry["timeline"])
        if line is None or name not in line["field"]:
            raise NodeContractError(
                node, name, f"its timeline {entry['timeline']!r} does not list it"
            )
    return [fields, timelines]


def _check_field(name: Any, entry: Any, node: str) -> dict[str, Any]:
    if not isinstance(name, str) or not isinstance(entry, Mapping):
        raise NodeContractError(node, str(name), "a field is a name and a dict")
    timeline, kind = entry.get("timeline"), entry.get("type", "number")
    if not is_text(name):
        raise NodeContractError(node, name, "its name cannot be written in UTF-8")
    if not isinstance(timeline, str) or not is_text(timeline):
        raise NodeContractError(node, name, "timeline must be the name of its timeline")
    if kind not in FIELD_TYPES:
        raise NodeContractError(node, name, f"type must be one of {FIELD_TYPES}, not {kind!r}")
    for key in ("description", "units"):
        if not isinstance(entry.get(key), str | None):
            raise NodeContractError(node, name, f"{key} must be a string or None")
    description, units = entry.get("description"), entry.get("units")
    return {
        "description": None if description is None else as_text(description),
        "timeline": timeline,
        "type": kind,
        "units": None if units is None else as_text(units),
    }


def _check_timeline(name: Any, entry: Any, node: str) -> dict[str, Any]:
    if not isinstance(name, str) or not isinstance(entry, Mapping):
        raise NodeContractError(node, None, f"timeline {name!r} must be a name and a dict")
    names = listed_fields(entry)
    if names is None:
        raise NodeContractError(node, None, f'"field" of timeline {name!r} must list field names')
    interval = entry.get("interval")
    if interval is not None:
        try:
            interval = float(interval)
        except (TypeError, ValueError):
            interval = math.nan
        if not math.isfinite(interval):
            raise NodeContractError(
                node, None, f"interval of timeline {name!r} must be in seconds or None"
            )
    return {"interval": interval, "field": names}


def listed_fields(line: Mapping[str, Any]) -> list[str] | None:
    """Return the fields that a timeline's entry lists, or None if it lists none.

    Nodes of 2019 write a single name instead of a list, and ``fields`` in their replies.
    """
    names = line.get("field", line.get("fields"))
    if isinstance(names, str):
        return [names]
    if isinstance(names, list | tuple) and all(isinstance(name, str) for name in names):
        return list(names)
    return None


def parse_fields(raw: Any, node: str) -> dict[str, Field]:
    """Read a node's answer to ``get_fields`` on the consumer's side.

    Raises
    ------
    NodeContractError
        If it is not one.
    """
    fields, timelines = check_fields(raw, node)
    return {
        name: Field(name=name, interval=timelines[entry["timeline"]]["interval"], **entry)
        for name, entry in fields.items()
    }
