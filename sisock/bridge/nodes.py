"""The data nodes that the Grafana bridge knows, and their comings and goings."""

from __future__ import annotations

import itertools
import math
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from sisock.bridge.sample_cache import SampleCache
from sisock.client.data import Series
from sisock.client.events import Node
from sisock.wire.fields import Field

EVENTS_KEPT = 1000
"""Comings and goings of nodes that annotations can show."""

COMES_ANEW_WITHIN = 1.0
"""Seconds: a node that vanished and is back so soon has only said that its samples changed."""

LOOK_AGAIN_AFTER = 3.0
"""Seconds after which a node is asked anew which fields it has, if that matters: new ones are found
within 5 s."""


@dataclass(frozen=True)
class NodeChange:
    """A node that came or went, at a UNIX time."""

    t: float
    node: str
    present: bool


@dataclass
class KnownNode:
    """A node in the hub's list.

    A node that went and came is another one, by `incarnation`: nothing kept of it holds any more.
    For each field `final_until` is the latest UNIX time before which samples were called final.
    """

    node: Node
    incarnation: int
    fields: dict[str, Field] | None = None
    looked_up: float = -math.inf
    final_until: dict[str, float] = field(default_factory=dict)

    @property
    def is_stale(self) -> bool:
        """Whether its fields are to be looked up."""
        return self.fields is None or time.monotonic() - self.looked_up > LOOK_AGAIN_AFTER

    def is_final(self, series: Series) -> bool:
        """Whether all samples of a series were called final."""
        until = self.final_until.get(series.field.name, -math.inf)
        return not len(series) or float(series.t[-1]) < until

    @property
    def key(self) -> tuple[str, int]:
        """What the keys of all begin with that is kept of it."""
        return self.node.name, self.incarnation


class NodeList:
    """Nodes by name, as the hub last said, and what changed.

    Parameters
    ----------
    cache : SampleCache
        From which the samples of a node that goes are dropped; keys begin with its name.

    Attributes
    ----------
    version : int
        Another one after each change.
    """

    def __init__(self, cache: SampleCache) -> None:
        self.known: dict[str, KnownNode] = {}
        self.version = 0
        self.changes: deque[NodeChange] = deque(maxlen=EVENTS_KEPT)
        # Of the last list or event, for annotations; None before the first.
        self._present: set[str] | None = None
        self._incarnations = itertools.count()
        self._cache = cache

    def clear(self) -> None:
        """Forget the nodes and what was kept of them, but not what annotations show."""
        self.version += 1
        self.known.clear()
        self._cache.clear()

    def lose(self) -> None:
        """Forget the nodes as the router is lost: they may come back with other samples."""
        self.clear()
        for name in sorted(self._present or ()):
            self._record(name, False)

    def add(self, node: Node) -> None:
        """Take a node that came, also if one of its name is known: it came anew."""
        self._forget(node.name)
        self._know(node)
        self._record(node.name, True)

    def remove(self, name: str) -> None:
        """Forget a node that went."""
        self._forget(name)
        self._record(name, False)

    def replace(self, listed: Iterable[Node]) -> None:
        """Bring the nodes up to the hub's list; those that stay are as they were."""
        nodes = {node.name: node for node in listed}
        if self._present is None:
            # These were here before the bridge.
            self._present = set(nodes)
        for name in self.known.keys() - nodes.keys():
            self._forget(name)
        for name in nodes.keys() - self.known.keys():
            self._know(nodes[name])
        for name in sorted(self._present ^ nodes.keys()):
            self._record(name, name in nodes)

    def _know(self, node: Node) -> None:
        self.version += 1
        self.known[node.name] = KnownNode(node, next(self._incarnations))

    def _forget(self, name: str) -> None:
        self.version += 1
        if self.known.pop(name, None) is not None:
            self._cache.drop_all(lambda key: key[0] == name)

    def _record(self, name: str, present: bool) -> None:
        known = self._present = set() if self._present is None else self._present
        if (name in known) == present:
            return
        (known.add if present else known.discard)(name)
        vanished = self.just_vanished(name)
        if present and vanished is not None:
            self.changes.remove(vanished)
        else:
            self.changes.append(NodeChange(time.time(), name, present))

    def just_vanished(self, name: str) -> NodeChange | None:
        """The node's going, if it went so shortly ago that it may only come anew."""
        last = next((each for each in reversed(self.changes) if each.node == name), None)
        if last is None or last.present or time.time() - last.t > COMES_ANEW_WITHIN:
            return None
        return last
