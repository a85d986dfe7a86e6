"""What the targets of a request stand for, among the fields of all nodes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from sisock.bridge.bridge import Bridge
from sisock.bridge.targets import Pattern, as_it_stands, expand
from sisock.wire.fields import Field

Pair: TypeAlias = tuple[str, str]
"""Node and field."""


async def find(
    bridge: Bridge,
    targets: Mapping[str, Sequence[Pattern]],
    accepts: Callable[[str, Field], bool] = lambda node, field: True,
) -> tuple[dict[str, list[Pair]], list[str]]:
    """Look up which fields of which nodes targets stand for.

    Parameters
    ----------
    bridge : Bridge
        Knows the nodes.
    targets : mapping
        Text to what it was parsed to.
    accepts : callable, optional
        Restricts what wildcards find, by node and field.

    Returns
    -------
    dict
        Text to nodes and fields.
    list of str
        A notice for each node that did not answer.
    """
    bare = {text: pair for text in targets if (pair := as_it_stands(text))}
    wild = [p for each in targets.values() for p in each if p.literal is None]
    holders = {node for node, _ in bare.values()}
    fields: dict[str, dict[str, Field]] = {}
    notices: list[str] = []
    if wild or bare:
        await bridge.refresh_nodes()
        fields, notices = await bridge.fields_of(
            lambda name: name in holders or any(p.matches_node(name) for p in wild)
        )
    # Any character may be part of a name: what is there as it stands is meant.
    found = {text: [pair] for text, pair in bare.items() if pair[1] in fields.get(pair[0], ())}
    if len(found) < len(targets):
        passed = [
            (node, name)
            for node, all_fields in fields.items()
            for name, field in all_fields.items()
            if accepts(node, field)
        ]
        found |= {
            text: expand(patterns, passed)
            for text, patterns in targets.items()
            if text not in found
        }
    return found, notices
