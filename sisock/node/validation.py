"""Check the values that an author's methods return, and the attributes that the author sets."""

from __future__ import annotations

import math
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from sisock.errors import NodeContractError
from sisock.node.api import DataNodeServer
from sisock.wire import arrays
from sisock.wire.fields import ENTRY_KEYS, suggest
from sisock.wire.protocol import NEVER_FINAL, check_number, contract
from sisock.wire.reply import Decimated, Reply, no_samples, read_timeline


def check_reply(
    raw: Any, fields: list[str], node: str, timeline_of: Mapping[str, str] | None = None
) -> Reply:
    """Check the return value of a node's ``get_data``, and convert it to a `Reply`.

    Raises NodeContractError, which names node, field and rule. If there are several timelines, the
    dict's ``follows``, or else `timeline_of`, has the timeline of each field. A `Reply` is returned
    unchanged.
    """
    if isinstance(raw, Reply):
        return raw
    if not isinstance(raw, Mapping) or not all(
        isinstance(raw.get(key), Mapping) for key in ("data", "timeline")
    ):
        raise NodeContractError(
            node, None, 'get_data must return a dict with the dicts "data" and "timeline"'
        )
    with contract(node):
        lines = {str(name): read_timeline(name, line) for name, line in raw["timeline"].items()}
    timeline_of = raw.get("follows") or timeline_of or {}
    reply = Reply(no_samples(fields))
    for name in fields:
        given = raw["data"].get(name)
        with contract(node, name):
            if given is None or not len(values := arrays.normalise(given)):
                continue
            followed = next(iter(lines)) if len(lines) == 1 else timeline_of.get(name)
            if followed is None:
                raise ValueError("it has data, but get_fields gives it no timeline")
            if followed not in lines:
                raise ValueError(f"its timeline {followed!r} is not in the reply")
            arrays.check_length(lines[followed].t, values)
            reply.data[name], reply.follows[name] = values, followed
            reply.timelines[followed] = lines[followed]
    return reply


def needs_timelines(raw: Any, fields: list[str], timeline_of: Mapping[str, str]) -> bool:
    """Return whether the timelines of some fields are unknown from a reply and `timeline_of`."""
    lines = raw.get("timeline") if isinstance(raw, Mapping) else None
    if not isinstance(lines, Mapping) or len(lines) < 2 or "follows" in raw:
        return False
    return not all(timeline_of.get(name) in lines for name in fields)


def check_decimated(raw: Any, fields: list[str], node: str) -> Reply:
    """Check the return value of a node's ``get_decimated``, as `check_reply` for ``get_data``.

    Fields that it leaves out get no samples.
    """
    if isinstance(raw, Reply):
        return raw
    if not isinstance(raw, Mapping) or not all(isinstance(v, Decimated) for v in raw.values()):
        raise NodeContractError(node, None, "get_decimated must return a dict of Decimated")
    reply = Reply(bucket={})
    for name in fields:
        own = raw.get(name) or Decimated((), (), None, NEVER_FINAL)
        with contract(node, name):
            final_to = check_number("final_to", own.final_to)
            t, values = arrays.as_samples(own.t, own.values)
        reply.add_field(name, Decimated(t, values, own.bucket, final_to, own.is_placed))
    return reply


def check_seconds(node: Any) -> None:
    """Raise NodeContractError if a live node's attribute is not a positive number of seconds.

    `lateness` may be 0, and `interval` and `stale_after` may be None.
    """
    unset = {"interval": None, "history": math.nan, "lateness": 0, "stale_after": None}
    for attribute, none in unset.items():
        value = getattr(node, attribute)
        if value != none and not (isinstance(value, int | float) and 0 < value < math.inf):
            rule = f"the attribute {attribute} must be a positive number of seconds"
            raise NodeContractError(node.name, None, rule)


def find_misspelt(node: DataNodeServer) -> list[str]:
    """Return a sentence for each attribute of the author's class that looks like a misspelt one.

    An attribute that the author has also set is not meant.
    """
    given: set[str] = set()
    known: set[str] = set()
    for cls in type(node).__mro__:
        if issubclass(cls, DataNodeServer):
            names = known if cls.__module__.startswith("sisock.") else given
            names |= {name for name, value in vars(cls).items() if _is_setting(name, value)}
    unset = known - given - vars(node).keys()
    likely = {name: get_close_matches(name.lower(), unset, 1, 0.75) for name in given - known}
    return [
        f"{type(node).__name__}.{name} is not an attribute that sisock reads: did you mean"
        f" {meant[0]!r}? If not, call it _{name}"
        for name, meant in sorted(likely.items())
        if meant
    ]


def find_misspelt_key(fields: Mapping[str, Mapping[str, Any]]) -> str | None:
    """Return a sentence about the first key of a field that looks like a misspelt one, if any."""
    for name, entry in fields.items():
        for key in entry:
            if key not in ENTRY_KEYS and (hint := suggest(str(key).lower(), ENTRY_KEYS)):
                return f"the key {key!r} of field {name!r} has no effect{hint}"
    return None


def _is_setting(name: str, value: Any) -> bool:
    is_method = callable(value) or hasattr(type(value), "__get__")
    return not (name.startswith("_") or is_method or name == "service")
