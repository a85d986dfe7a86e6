"""Keep the hub's list of data nodes, and the sessions that may add and remove them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sisock.errors import InvalidArgument
from sisock.wire.protocol import MAX_DESCRIPTION, MAX_NAME, as_text, check_node_name, is_text

MAX_FEATURES = 100  # largest number of features of a node: every consumer gets them with each list


@dataclass
class _Entry:
    """A node as described by its last session, and its sessions: several only if replicas."""

    node: dict[str, Any]
    is_replica: bool
    sessions: set[int]

    def listed(self) -> dict[str, Any]:
        """Return the node as sent to consumers."""
        return {**self.node, "replicas": len(self.sessions)} if self.is_replica else self.node


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
        }
        _check_replica(replica, generation)
        present = self._nodes.get(name)
        if present is not None and (replica or session in present.sessions):
            before = present.node.get("generation"), present.is_replica
            if before == (generation, replica):
                present.sessions.add(session)
                present.node = node
                return True
        self.subtract(name, session)  # consumers then drop what they cached of this node
        if name in self._nodes:
            return False
        self._nodes[name] = entry = _Entry(node, replica, {session})
        self._on_added(entry.listed(), session)
        return True

    def subtract(self, name: Any, session: int) -> None:
        """Remove a session's node; if other replicas are left, only this replica."""
        entry = self._nodes.get(name) if isinstance(name, str) else None
        if entry is None or session not in entry.sessions:
            return
        if len(entry.sessions) > 1:
            entry.sessions.remove(session)
            return
        del self._nodes[name]
        self._on_subtracted(entry.listed(), session)

    def session_left(self, session: int, *_: Any) -> None:
        """Remove all nodes that a session added."""
        for name in [name for name, entry in self._nodes.items() if session in entry.sessions]:
            self.subtract(name, session)

    def nodes(self) -> list[dict[str, Any]]:
        """Return all nodes as sent to consumers, in the order in which they were added."""
        return [entry.listed() for entry in self._nodes.values()]


def _check_replica(replica: Any, generation: Any) -> None:
    if not isinstance(replica, bool):
        raise InvalidArgument("replica must be True or False")
    if replica and generation is None:
        raise InvalidArgument("a replica needs a generation, which all replicas share")


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
