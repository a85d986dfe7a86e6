"""Data node of housekeeping archives: the `.g3` files that the aggregator of OCS writes."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import sisock
from sisock.sources.g3.archive import Archive
from sisock.sources.options import Described, add_path, given_path, require
from sisock.wire.grid import Wanted
from sisock.wire.protocol import check_interval
from sisock.wire.reply import Decimated


class G3(sisock.ArchiveNode):
    """Housekeeping archives of .g3 files, as the aggregator of OCS writes them.

        sisock node g3 /data/hk

    Serves all files of a folder and its subfolders, also while they are written. The field F of
    the feed FEED of the agent AGENT is named AGENT.FEED.F, as in ocs_feeds.py.
    """

    name = "g3"
    pyramid = False

    def __init__(self, path: str | Path | None, config: Path | None = None) -> None:
        self._archive = Archive(self, given_path(path), Described(config))

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Add the flags that name the archive and its settings."""
        add_path(parser, "folder of the archive")
        parser.add_argument(
            "--config", type=Path, metavar="FILE", help="TOML file of units and limits"
        )

    def prepare(self) -> None:
        """Check that so3g is installed; the folder may appear later."""
        require("so3g", "g3")

    def begin(self, service: Any) -> None:
        """Start to read the files, and to follow new ones."""
        self._archive.start()

    def end(self) -> None:
        """Stop following the folder."""
        self._archive.end()

    def list_fields(self, start: float, end: float) -> dict[str, dict[str, Any]]:
        """List the fields of all blocks."""
        return self._archive.entries()

    def read(self, field: str, start: float, end: float) -> tuple[Any, Any]:
        """Read the frames of an interval."""
        return self._archive.read(field, start, end)

    def check_prepared(self, field: str, entry: Mapping[str, Any]) -> None:
        """Raise NodeFailed, with the progress, if a field is still being prepared."""
        self._archive.check_prepared(field)

    def get_decimated(
        self,
        field: list[str],
        start: float,
        end: float,
        bucket: float | None = None,
        max_points: int | None = None,
    ) -> dict[str, Decimated]:
        """Decimate from the cached buckets, or else from the samples in the files."""
        interval, found = check_interval(start, end), {}
        wanted = Wanted(interval.start, interval.end, bucket, max_points)
        listed = self.list_fields(interval.start, interval.end)
        for name in (name for name in field if name in listed):
            kept = self._archive.decimate(name, wanted)
            if kept is not None:
                found[name] = kept
        others = [name for name in field if name not in found]
        return found | super().get_decimated(others, start, end, bucket, max_points)


if __name__ == "__main__":
    sisock.run(G3)
