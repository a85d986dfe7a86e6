"""`FileArchive`: a data node over files, one a field, each parsed once and kept as arrays."""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sisock.archive.files import ArchiveFiles
from sisock.archive.node import ArchiveNode
from sisock.node.data_node import NodeService
from sisock.wire.arrays import Values
from sisock.wire.protocol import Interval

_making = threading.Lock()


class FileArchive(ArchiveNode):
    """A data node that serves files, each the samples of one field.

    Override `list_files`, `describe_file` and `parse`. A file is parsed once; what it gave is kept
    in the folder ``SISOCK_CACHE``, and read from there at the next start if the file is the same.
    Files that appear, grow, change or go are noticed at the next request. One that grows is parsed
    from where it ended before, so only its end may change for it to be taken as grown.

    Attributes
    ----------
    version : int
        Raise it when `parse` comes to give something else of the same file.
    """

    version: int = 1

    _files: ArchiveFiles | None = None

    @abstractmethod
    def list_files(self) -> Mapping[str, Path]:
        """Say which files there are: field name to path."""
        raise NotImplementedError

    @abstractmethod
    def describe_file(self, path: Path) -> Mapping[str, Any]:
        """Say what is in a file, from its beginning or its name.

        Returns
        -------
        dict
            As an entry of `list_fields`; ``interval`` is found out if it is not given.
        """
        raise NotImplementedError

    @abstractmethod
    def parse(self, path: Path, offset: int) -> Iterator[tuple[Any, Any, int]]:
        """Parse a file from a byte on, in chunks of about a megabyte.

        Requests are answered between the chunks. Leave out what is malformed.

        Parameters
        ----------
        path : Path
            The file.
        offset : int
            Zero, or where parsing ended before.

        Yields
        ------
        t : array_like, shape (n,)
            Finite UNIX seconds.
        values : array_like, shape (n,)
            Numbers; NaN where one is missing.
        offset : int
            The byte behind the last whole line or record that is in these or earlier arrays: what
            is half written now is parsed next time.
        """
        raise NotImplementedError

    def list_fields(self, start: float, end: float) -> dict[str, dict[str, Any]]:
        """List every file, whether or not it has samples in the interval."""
        return {name: file.entry() for name, file in self._archive_files().look().items()}

    def read(self, field: str, start: float, end: float) -> tuple[np.ndarray, np.ndarray]:
        """Return views of what was parsed; waits until all there is has been."""
        return self._archive_files().ask(field, lambda store: store.read(start, end))

    def begin(self, service: NodeService) -> None:
        """Start to parse the files that are new or have changed."""
        self._archive_files().look_in_background()

    def _has_overviews(self) -> bool:
        return self.pyramid

    def _overview(
        self, name: str, interval: Interval, max_points: int
    ) -> tuple[np.ndarray, Values] | None:
        start, end = interval.start, interval.end
        return self._archive_files().ask(name, lambda store: store.overview(start, end, max_points))

    def _archive_files(self) -> ArchiveFiles:
        # Made here, as the author's __init__ need not call ours.
        with _making:
            if self._files is None:
                self._files = ArchiveFiles(self)
            return self._files
