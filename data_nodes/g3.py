"""Data node of housekeeping archives: the `.g3` files that the aggregator of OCS writes."""

from __future__ import annotations

import argparse
from pathlib import Path

import sisock
from sisock.connection.settings import require
from sisock.sources.g3.archive import G3Archive
from sisock.sources.options import Described, add_path, given_path


class G3(G3Archive):
    """Housekeeping archives of .g3 files, as the aggregator of OCS writes them.

        sisock node g3 /data/hk

    Serves all files of a folder and its subfolders, also while they are written. The field F of
    the feed FEED of the agent AGENT is named AGENT.FEED.F, as in ocs_feeds.py.
    """

    name = "g3"

    def __init__(self, path: str | Path | None, config: Path | None = None) -> None:
        super().__init__(given_path(path), Described(config))

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


if __name__ == "__main__":
    sisock.run(G3)
