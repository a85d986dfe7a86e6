"""The hub's memory: which data nodes are there, and who may add and remove them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from sisock.protocol import as_text, check_node_name, is_text


@dataclass(frozen=True)
class NodeEntry:
    """A data node as the hub knows it."""

    name: str
    description: str
    session: int
    features: tuple[str, ...] = ()

    def to_wire(self) -> dict[str, Any]:
        """The dictionary that consumers get."""
        return {
            "name": self.name,
            "description": self.description,
            "features": list(self.features),
        }


@dataclass
class NodeRegistry:
    """Data nodes by name, each owned by the session that added it.

    Parameters
    ----------
    on_added, on_subtracted : callable
        Called with the `NodeEntry` after each change.
    """

    on_added: Callable[[NodeEntry], Any]
    on_subtracted: Callable[[NodeEntry], Any]
    _entries: dict[str, NodeEntry] = field(default_factory=dict)

    def add(
        self, name: str, description: str, session: int, features: Iterable[str] | None = None
    ) -> bool:
        """Add a node.

        Returns
        -------
        bool
            True if it is added, or was by the same session before; False if the name is taken.

        Raises
        ------
        InvalidNodeName
            If the name is not one that a node can have.
        """
        check_node_name(name)
        entry = NodeEntry(name, _clean_description(description), session, _strings(features))
        present = self._entries.get(name)
        if present is not None:
            if present.session == session:
                self._entries[name] = entry  # its description or features may be new
            return present.session == session
        self._entries[name] = entry
        self.on_added(entry)
        return True

    def subtract(self, name: str, session: int) -> None:
        """Remove a node, if this session added it; otherwise nothing changes."""
        present = self._entries.get(name) if isinstance(name, str) else None
        if present is not None and present.session == session:
            del self._entries[name]
            self.on_subtracted(present)

    def session_left(self, session: int, *_: Any) -> None:
        """Remove all that a session added."""
        for entry in [e for e in self._entries.values() if e.session == session]:
            self.subtract(entry.name, session)

    def nodes(self) -> list[dict[str, Any]]:
        """All nodes, as consumers get them, in the order in which they came."""
        return [entry.to_wire() for entry in self._entries.values()]


def _clean_description(description: Any) -> str:
    return as_text(description) if isinstance(description, str) else ""


def _strings(features: Iterable[str] | None) -> tuple[str, ...]:
    """The announced features, each once; ones of a later protocol are handed on as they are."""
    if not isinstance(features, list | tuple):
        return ()
    return tuple(dict.fromkeys(f for f in features if isinstance(f, str) and is_text(f)))
