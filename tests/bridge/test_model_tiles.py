"""Tiles of a node that changes: none is stale, and what may be kept for long never changes."""

from __future__ import annotations

import math
import random
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from sisock import Client
from tests.bridge.conftest import Answer
from tests.bridge.model import TYPES, ModelNode
from tests.bridge.test_model import SEED, Trial
from tests.bridge.tile_node import TILE, tile_of, tile_path
from tests.conftest import wait_for_nodes

SECONDS = 3


@dataclass
class TileRead:
    """A request for a tile, of the generation that the node had."""

    generation: str
    field: str
    k: int
    index: int

    @property
    def tile(self) -> tuple[str, int, int]:
        """What is asked for, of any generation."""
        return self.field, self.k, self.index


class TileTrial(Trial):
    """The same steps, with requests for tiles; `final` are those that caches may keep for long."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.final: list[tuple[TileRead, list[Any], float]] = []
        self.counts = dict.fromkeys(["final", "open", "gone"], 0)

    def view(self) -> TileRead:  # type: ignore[override]
        """Choose a tile, mostly one of the latest."""
        chance, node = self.chance, self.node
        name, k = chance.choice(list(TYPES)), chance.choice([-3, 0, 0, 2, 5])
        latest = math.floor(node.clock / (TILE * 2.0**k))
        return TileRead(node.present.generation, name, k, latest - chance.choice([-1, 0, 0, 1, 3]))

    def send(self, read: TileRead) -> tuple[float, Answer, float]:  # type: ignore[override]
        """Ask the bridge; gives the times before and after too."""
        asked = time.monotonic()
        answer = self.bridge.ask(tile_path(self.node.name, read.generation, *read.tile))
        return asked, answer, time.monotonic()

    def judge(self, read: TileRead, asked: float, answer: Answer, answered: float) -> None:  # type: ignore[override]
        """Compare an answer with what may have been answered."""
        versions = self.node.valid(asked, answered)
        right = [v for v in versions if v.generation == read.generation]
        if answer.status != 200:
            assert answer.headers["Cache-Control"] == "no-store"
            assert self.node.was_absent(asked, answered) or len(right) < len(versions), answer.body
            self.counts["gone"] += 1
            return
        shown = list(zip(answer.json["t"], answer.json["values"], strict=True))
        assert shown in [tile_of(v, *read.tile) for v in right], (read, shown, SEED, self.steps)
        is_final = "immutable" in answer.headers["Cache-Control"]
        self.counts["final" if is_final else "open"] += 1
        if is_final:
            self.final.append((read, shown, answered))

    def judge_final(self) -> None:
        """Compare what may be kept with all later samples of the same generation."""
        for read, shown, answered in self.final:
            for version in self.node.versions:
                if version.generation == read.generation and version.end > answered:
                    assert shown == tile_of(version, *read.tile), (read, SEED)


def test_no_tile_is_stale_and_final_ones_never_change(router, bridge):
    node = ModelNode(router, "model_tiles", random.Random(SEED), bridge.known)
    try:
        with Client(router.settings()) as client:
            wait_for_nodes(client, "model_tiles")
        with ThreadPoolExecutor(8) as pool:
            trial = TileTrial(bridge, node, pool)
            began = time.monotonic()
            while (lasted := time.monotonic() - began) < SECONDS or (
                lasted < 60 and min(trial.counts.values()) == 0
            ):
                trial.step()
            trial.drain()
        trial.judge_final()
    finally:
        node.close()
    assert min(trial.counts.values()) > 0, trial.counts
