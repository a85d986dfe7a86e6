"""Check what the methods of a node's author return, and the attributes that are set."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from sisock.errors import NodeContractError
from sisock.wire import arrays
from sisock.wire.protocol import NEVER_FINAL, check_number, contract
from sisock.wire.reply import Decimated, Reply, no_samples, read_timeline


def check_reply(
    raw: Any, fields: list[str], node: str, timeline_of: Mapping[str, str] | None = None
) -> Reply:
    """Return the checked `Reply` of what a node's ``get_data`` returned.

    Raises NodeContractError, which names node, field and rule. If there are several timelines,
    ``follows`` of the dict, or else `timeline_of`, says which field has which. A `Reply` is
    returned as it is.
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
    """Return whether a reply leaves open which field follows which timeline."""
    lines = raw.get("timeline") if isinstance(raw, Mapping) else None
    if not isinstance(lines, Mapping) or len(lines) < 2 or "follows" in raw:
        return False
    return not all(timeline_of.get(name) in lines for name in fields)


def check_decimated(raw: Any, fields: list[str], node: str) -> Reply:
    """Check what a node's ``get_decimated`` returned, as `check_reply` does for ``get_data``.

    A field that it leaves out has no samples.
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
    """Raise NodeContractError if an attribute of a live node is no positive number of seconds.

    `lateness` may be 0, and `interval` and `stale_after` may be None.
    """
    unset = {"interval": None, "history": math.nan, "lateness": 0, "stale_after": None}
    for attribute, none in unset.items():
        value = getattr(node, attribute)
        if value != none and not (isinstance(value, int | float) and 0 < value < math.inf):
            rule = f"the attribute {attribute} must be a positive number of seconds"
            raise NodeContractError(node.name, None, rule)
