"""The hub's memory: which data nodes are there, and who may add and remove them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sisock.errors import InvalidArgument
from sisock.wire.protocol import MAX_DESCRIPTION, MAX_NAME, as_text, check_node_name, is_text


class NodeRegistry:
    """Keep data nodes by name, each owned by the session that added it.

    `on_added` and `on_subtracted` get each node, as consumers get it, and its session.
    """

    def __init__(
        self, on_added: Callable[..., object], on_subtracted: Callable[..., object]
    ) -> None:
        self._on_added = on_added
        self._on_subtracted = on_subtracted
        self._nodes: dict[str, tuple[dict[str, Any], int]] = {}

    def add(
        self,
        name: Any,
        description: Any,
        session: int,
        features: Any = None,
        generation: Any = None,
    ) -> bool:
        """Add a node, or renew what its session said of it; False if the name is another's.

        InvalidNodeName and InvalidArgument say what is wrong with the node.
        """
        check_node_name(name)
        node = {
            "name": name,
            "description": _check_description(description),
            "features": _strings(features),
            **({} if generation is None else {"generation": _check_generation(generation)}),
        }
        present, owner = self._nodes.get(name, (None, session))
        if owner != session:
            return False
        is_same = present is not None and present.get("generation") == generation
        if not is_same:
            self.subtract(name, session)  # what consumers keep of it holds no more
        self._nodes[name] = node, session
        if not is_same:
            self._on_added(node, session)
        return True

    def subtract(self, name: Any, session: int) -> None:
        """Remove a node, if this session added it; otherwise nothing changes."""
        if isinstance(name, str) and name in self._nodes and self._nodes[name][1] == session:
            node, _ = self._nodes.pop(name)
            self._on_subtracted(node, session)

    def session_left(self, session: int, *_: Any) -> None:
        """Remove all that a session added."""
        for name in [name for name, (_, owner) in self._nodes.items() if owner == session]:
            self.subtract(name, session)

    def nodes(self) -> list[dict[str, Any]]:
        """Return all nodes, as consumers get them, in the order in which they came."""
        return [node for node, _ in self._nodes.values()]


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
    """Return the announced features, each once, also those of a later protocol."""
    if not isinstance(features, list | tuple):
        return []
    return list(dict.fromkeys(f for f in features if isinstance(f, str) and is_text(f)))
