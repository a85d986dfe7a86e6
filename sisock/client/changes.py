"""Remember which nodes of a site appeared and vanished."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import takewhile

from sisock.wire.fields import KnownNode

MAX_CHANGES = 1000  # most recent changes of a site's list of nodes that are kept for annotations
BACK_WITHIN = 1.0  # seconds; a node that re-registers this soon has only announced a new generation


@dataclass(frozen=True)
class NodeChange:
    """Record that a node appeared or vanished, at a UNIX time."""

    t: float
    node: str
    is_present: bool


class Changes(deque[NodeChange]):
    """Keep the most recent changes of a site; `now` returns the UNIX time."""

    def __init__(self, now: Callable[[], float]) -> None:
        super().__init__(maxlen=MAX_CHANGES)
        self._now = now

    def note(self, node: KnownNode, is_present: bool) -> None:
        """Note that a node appeared or vanished, unless it only has a new generation."""
        vanished = self.just_vanished().get(node.name)
        if is_present and vanished is not None:
            self.remove(vanished)
        else:
            self.append(NodeChange(self._now(), node.name, is_present))

    def just_vanished(self) -> dict[str, NodeChange]:
        """Return the nodes that vanished within `BACK_WITHIN`: they may just be re-registering."""
        since = self._now() - BACK_WITHIN
        recent = takewhile(lambda change: change.t >= since, reversed(self))
        return {change.node: change for change in recent if not change.is_present}
