"""Archives of `.g3` files, written by the code of OCS's aggregator, without a site."""

from __future__ import annotations

import queue
import time
from pathlib import Path
from typing import Any

import numpy as np
import so3g
from ocs.agents.aggregator.drivers import Aggregator
from spt3g import core

FEED = "observatory.fridge.feeds.temps"


class Writer:
    """The aggregator's own writer, with one file until `rotate`; what it is given comes at once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._aggregator = Aggregator(queue.Queue(), 1e9, str(folder))
        self._aggregator.writer.filename = self._next_name
        self._aggregator.writer.close_file()
        Path(self._aggregator.writer.current_file).unlink()
        self._count = 0

    def _next_name(self) -> str:
        self._count += 1
        path = self.folder / "17000" / f"{1_700_000_000 + self._count}.g3"
        path.parent.mkdir(parents=True, exist_ok=True)
        return str(path)

    def write(self, t: Any, fields: dict[str, Any], block: str = "cold", feed: str = FEED) -> None:
        """Write a frame."""
        agent, _, name = feed.partition(".feeds.")
        about = {
            **{"agent_address": agent, "feed_name": name, "address": feed, "record": True},
            **{"session_id": "1", "agg_params": {"frame_length": 0}, "agent_class": "Fridge"},
        }
        columns = {name: list(values) for name, values in fields.items()}
        message = {
            block: {"block_name": block, "timestamps": np.asarray(t).tolist(), "data": columns}
        }
        self._aggregator.incoming_data.put((message, about))
        self._aggregator.process_incoming_data()
        self._aggregator.write_to_disk(write_all=True)
        self._aggregator.writer.flush()

    def rotate(self) -> None:
        """End the file."""
        self._aggregator.writer.close_file()


def write_old(path: Path, version: int, t: list[float], values: list[float]) -> None:
    """Write a file of one of the first two versions, which know no names of blocks."""
    helper = so3g.hk.HKSessionHelper(hkagg_version=version, start_time=time.time())
    writer = core.G3Writer(str(path))
    writer(helper.session_frame())
    number = helper.add_provider(FEED)
    writer(helper.status_frame())
    frame = helper.data_frame(number)
    if version:
        block = core.G3TimesampleMap()
        block.times = core.G3VectorTime([core.G3Time(each * core.G3Units.s) for each in t])
        block["stage"] = core.G3VectorDouble(values)
    else:
        block = so3g.IrregBlockDouble()
        block.t, block.data["stage"] = t, values
    frame["blocks"].append(block)
    writer(frame)
