"""A node with given samples, which notes each call, and tiles by brute force."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from sisock.testing import RouterProcess
from sisock.wire.protocol import uri
from tests import grid_oracle as oracle
from tests.bridge.model import Samples, Version, reply
from tests.integration.peers import Member

TILE = 64
OPTIONAL = {
    "integer": {
        "limits": {"warning": [None, 4], "alarm": [0, 5]},
        "labels": {"3": "open"},
        "precision": 0,
    }
}
"""Optional metadata by the field's name."""


def tile_path(node: str, generation: str, field: str, k: Any, index: Any) -> str:
    """Return the path of a tile."""
    names = [quote(name, safe="") for name in (node, generation, field)]
    return "/tiles/" + "/".join([*names, str(k), str(index)])


def tile_of(version: Version, field: str, k: int, index: int) -> list[tuple[float, Any]]:
    """Return the samples of a tile, by brute force."""
    w = 2.0**k
    t, values = version.cut(field, index * TILE * w, (index + 1) * TILE * w)
    return [(t[i], values[i]) for i in oracle.decimate(t, values, w)]


class TileNode:
    """A bare session that serves the samples of a version, each field with the given type.

    Its calls fail while `is_broken`.
    """

    def __init__(
        self, router: RouterProcess, name: str, types: dict[str, str], version: Version
    ) -> None:
        self.name, self.version = name, version
        self.is_broken = False
        self.calls: Counter[tuple[str, float]] = Counter()
        self._types = types
        self._lock = threading.Lock()
        self._member = Member(router)
        for verb, procedure in (("get_fields", self._get_fields), ("get_data", self._get_data)):
            self._member.do("register", procedure, uri(f"consumer.{name}.{verb}"))
        self._add()

    def _add(self) -> None:
        given = {"features": ["bucket"], "generation": self.version.generation}
        assert self._member.add(self.name, **given)

    def path(self, field: str, k: Any, index: Any) -> str:
        """Return the path of a tile of the present generation."""
        return tile_path(self.name, self.version.generation, field, k, index)

    def append(self, field: str, t: float, value: Any) -> None:
        """Add a sample."""
        samples = {name: (list(ts), list(vs)) for name, (ts, vs) in self.version.samples.items()}
        samples[field][0].append(t)
        samples[field][1].append(value)
        with self._lock:
            self.version = replace(self.version, samples=samples)

    def renew(self, generation: str, samples: dict[str, Samples]) -> None:
        """Announce a new generation, with other samples."""
        with self._lock:
            self.version = replace(self.version, samples=samples, generation=generation)
        self._add()

    def close(self) -> None:
        """Leave."""
        self._member.close()

    def _get_fields(self, start: float, end: float) -> tuple[dict[str, Any], dict[str, Any]]:
        fields = {
            name: {"description": None, "timeline": name, "type": kind, "units": "K"}
            | OPTIONAL.get(name, {})
            for name, kind in self._types.items()
        }
        return fields, {name: {"interval": 1.0, "field": [name]} for name in self._types}

    def _get_data(self, names: list[str], start: float, end: float, *_: Any, **asked: Any) -> Any:
        with self._lock:
            self.calls.update((name, end) for name in names)
            if self.is_broken:
                raise RuntimeError("broken")
            return reply(self.version, names, start, end, asked)
