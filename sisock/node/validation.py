"""What a node's author returns from ``get_data``, checked: here, for every node."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from sisock.errors import NodeContractError
from sisock.wire import arrays as values
from sisock.wire.arrays import Values
from sisock.wire.reply import Reply, Timeline

_BLOCK = 1 << 18
"""Times that are checked at once."""


def check_reply(
    raw: Any, fields: list[str], node: str, timeline_of: Mapping[str, str] | None = None
) -> Reply:
    """Check what a node's ``get_data`` returned and bring it into the form used inside.

    Parameters
    ----------
    raw : dict
        Of the shape of a reply (PROTOCOL.md, get_data), lists or arrays; ``follows`` may say
        which field has which timeline.
    fields : list of str
        The names that were asked for.
    node : str
        The node's name, for the messages.
    timeline_of : mapping, optional
        Field name to timeline name, needed if the reply has several timelines.

    Raises
    ------
    NodeContractError
        Naming node, field and rule.
    """
    if not isinstance(raw, Mapping) or not all(
        isinstance(raw.get(key), Mapping) for key in ("data", "timeline")
    ):
        raise NodeContractError(
            node, None, 'get_data must return a dict with the dicts "data" and "timeline"'
        )
    lines = {str(name): _check_timeline(line, name, node) for name, line in raw["timeline"].items()}
    timeline_of = raw.get("follows") or timeline_of or {}
    reply = Reply()
    for name in fields:
        reply.data[name] = _check_values(raw["data"].get(name), name, node)
        if len(reply.data[name]):
            followed = _find_timeline(name, lines, node, timeline_of)
            _check_length(reply.data[name], lines[followed], name, followed, node)
            reply.follows[name] = followed
            reply.timelines[followed] = lines[followed]
    return reply


def _check_timeline(line: Any, name: Any, node: str) -> Timeline:
    if not isinstance(line, Mapping) or "t" not in line:
        raise NodeContractError(node, None, f'timeline {name!r} must be a dict with "t"')
    t = check_times(line["t"], node, f"timeline {name!r}")
    until = line.get("finalized_until")
    if until is not None and (isinstance(until, bool) or not isinstance(until, int | float)):
        raise NodeContractError(
            node, None, f"finalized_until of timeline {name!r} must be a UNIX time or None"
        )
    if until is not None and not math.isfinite(until):
        raise NodeContractError(node, None, f"finalized_until of timeline {name!r} is {until}")
    return Timeline(t, None if until is None else float(until))


def check_times(times: Any, node: str, what: str) -> np.ndarray:
    """Check sample times and make them an array of UNIX seconds.

    Raises
    ------
    NodeContractError
        If they are not finite numbers in ascending order; `what` names their owner.
    """
    try:
        t = values.normalise(times)
    except ValueError as error:
        rule = f"the times of {what} must be UNIX seconds: {error}"
        raise NodeContractError(node, None, rule) from None
    if not len(t):
        return np.empty(0)
    if isinstance(t, list) or t.dtype.kind not in "fiu":
        raise NodeContractError(node, None, f"the times of {what} must all be UNIX seconds")
    t = np.asarray(t, dtype="<f8")
    # In blocks: what is compared with a mapped file of gigabytes must not be as large.
    for start in range(0, len(t), _BLOCK):
        block = t[max(start - 1, 0) : start + _BLOCK]
        if not np.isfinite(block).all():
            raise NodeContractError(node, None, f"the times of {what} must be finite")
        if (backward := np.flatnonzero(block[1:] < block[:-1])).size:
            index = max(start - 1, 0) + int(backward[0]) + 1
            raise NodeContractError(
                node, None, f"the times of {what} must ascend: t[{index}] goes back"
            )
    return t


def _check_values(raw: Any, name: str, node: str) -> Values:
    if raw is None:
        return []
    try:
        return values.normalise(raw)
    except ValueError as error:
        raise NodeContractError(node, name, str(error)) from None


def _find_timeline(
    name: str, lines: dict[str, Timeline], node: str, timeline_of: Mapping[str, str]
) -> str:
    if len(lines) == 1:
        return next(iter(lines))
    followed = timeline_of.get(name)
    if followed is None:
        raise NodeContractError(node, name, "it has data, but get_fields gives it no timeline")
    if followed not in lines:
        raise NodeContractError(node, name, f"its timeline {followed!r} is not in the reply")
    return followed


def _check_length(
    field_values: Values, line: Timeline, name: str, followed: str, node: str
) -> None:
    if len(field_values) != len(line.t):
        raise NodeContractError(
            node,
            name,
            f"it has {len(field_values)} values, but its timeline {followed!r} {len(line.t)} times",
        )
