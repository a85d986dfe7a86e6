"""The hub's memory: which data nodes are there, and who may add and remove them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from sisock.errors import InvalidArgument
from sisock.wire.protocol import MAX_DESCRIPTION, MAX_NAME, as_text, check_node_name, is_text


@dataclass(frozen=True)
class NodeEntry:
    """A data node as the hub knows it."""

    name: str
    description: str
    session: int
    features: tuple[str, ...] = ()
    generation: str | None = None

    def to_wire(self) -> dict[str, Any]:
        """Return the dictionary that consumers get."""
        return {
            "name": self.name,
            "description": self.description,
            "features": list(self.features),
            **({} if self.generation is None else {"generation": self.generation}),
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
        self,
        name: str,
        description: str,
        session: int,
        features: Iterable[str] | None = None,
        generation: str | None = None,
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
        InvalidArgument
            If the description is too long, or the generation is no short string.
        """
        check_node_name(name)
        entry = NodeEntry(
            name,
            _clean_description(description),
            session,
            _strings(features),
            _check_generation(generation),
        )
        present = self._entries.get(name)
        if present is not None and present.session != session:
            return False
        if present is not None and present.generation == entry.generation:
            self._entries[name] = entry  # its description or features may be new
            return True
        if present is not None:
            self.subtract(name, session)  # what consumers keep of it holds no more
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
    text = as_text(description) if isinstance(description, str) else ""
    if len(text) > MAX_DESCRIPTION:
        raise InvalidArgument(
            f"a description has at most {MAX_DESCRIPTION} characters, not {len(text)}"
        )
    return text


def _check_generation(generation: Any) -> str | None:
    if generation is None:
        return None
    if isinstance(generation, str) and len(generation) <= MAX_NAME and is_text(generation):
        return generation
    raise InvalidArgument(f"generation must be a string of at most {MAX_NAME} characters")


def _strings(features: Iterable[str] | None) -> tuple[str, ...]:
    """The announced features, each once; ones of a later protocol are handed on as they are."""
    if not isinstance(features, list | tuple):
        return ()
    return tuple(dict.fromkeys(f for f in features if isinstance(f, str) and is_text(f)))
