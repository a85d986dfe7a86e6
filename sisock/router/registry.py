"""Keep the hub's list of data nodes, and the sessions that may add and remove them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sisock.errors import InvalidArgument
from sisock.wire.protocol import MAX_DESCRIPTION, MAX_NAME, as_text, check_node_name, is_text

MAX_FEATURES = 100
"""Largest number of features of a node: every consumer gets them with each list."""


@dataclass
class _Entry:
    """A node as sent to consumers, and its sessions: several if the node has replicas."""

    node: dict[str, Any]
    sessions: set[int]

    @property
    def has_replicas(self) -> bool:
        return "replicas" in self.node

    def update(self, node: dict[str, Any]) -> None:
        """Replace the description of the node, and count its replicas."""
        self.node = {**node, "replicas": len(self.sessions)} if "replicas" in node else node


class NodeRegistry:
    """Keep data nodes by name; a node belongs to the sessions that added it, several if replicas.

    `on_added` and `on_subtracted` are called with the node as sent to consumers and the session.
    """

    def __init__(
        self, on_added: Callable[..., object], on_subtracted: Callable[..., object]
    ) -> None:
        self._on_added = on_added
        self._on_subtracted = on_subtracted
        self._nodes: dict[str, _Entry] = {}

    def add(
        self,
        name: Any,
        description: Any,
        session: int,
        features: Any = None,
        generation: Any = None,
        replica: Any = False,
    ) -> bool:
        """Add or update a node; return False if its name belongs to another session.

        Replicas of one generation share their name. Raises InvalidNodeName and InvalidArgument.
        """
        check_node_name(name)
        node = {
            "name": name,
            "description": _check_description(description),
            "features": _strings(features),
            **({} if generation is None else {"generation": _check_generation(generation)}),
            **({"replicas": 1} if _check_replica(replica, generation) else {}),
        }
        present = self._nodes.get(name)
        is_same = (
            present is not None
            and present.node.get("generation") == generation
            and present.has_replicas == replica
        )
        if present is not None and is_same and (replica or session in present.sessions):
            present.sessions.add(session)
            present.update(node)
            return True
        self.subtract(name, session)  # consumers then drop what they cached of this node
        if name in self._nodes:
            return False
        self._nodes[name] = _Entry(node, {session})
        self._on_added(node, session)
        return True

    def subtract(self, name: Any, session: int) -> None:
        """Remove a session's node; if other replicas are left, only this replica."""
        entry = self._nodes.get(name) if isinstance(name, str) else None
        if entry is None or session not in entry.sessions:
            return
        entry.sessions.remove(session)
        if entry.sessions:
            entry.update(entry.node)
            return
        del self._nodes[name]
        self._on_subtracted(entry.node, session)

    def session_left(self, session: int, *_: Any) -> None:
        """Remove all nodes that a session added."""
        for name in [name for name, entry in self._nodes.items() if session in entry.sessions]:
            self.subtract(name, session)

    def nodes(self) -> list[dict[str, Any]]:
        """Return all nodes as sent to consumers, in the order in which they were added."""
        return [entry.node for entry in self._nodes.values()]


def _check_replica(replica: Any, generation: Any) -> bool:
    if not isinstance(replica, bool):
        raise InvalidArgument("replica must be True or False")
    if replica and generation is None:
        raise InvalidArgument("a replica needs a generation, which all replicas share")
    return replica


def _check_description(description: Any) -> str:
    text = as_text(description) if isinstance(description, str) else ""
    if len(text) > MAX_DESCRIPTION:
        why = f"a description has at most {MAX_DESCRIPTION} characters, not {len(text)}"
        raise InvalidArgument(why)
    return text


def _check_generation(generation: Any) -> str:
    if isinstance(generation, str) and len(generation) <= MAX_NAME and is_text(generation):
        return generation
    raise InvalidArgument(f"generation must be a string of at most {MAX_NAME} characters")


def _strings(features: Any) -> list[str]:
    """Return the announced features without duplicates, including unknown ones."""
    if not isinstance(features, list | tuple):
        return []
    named = dict.fromkeys(f for f in features if is_text(f) and len(f) <= MAX_NAME)
    return list(named)[:MAX_FEATURES]
