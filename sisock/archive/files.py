"""All files of an archive: which there are, and who has them parsed when."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from sisock.archive.cache import CacheFolder, TemporaryCacheFolder, explain, find_cache_folder
from sisock.archive.ingest import ArchiveFile, Samples
from sisock.connection.logs import RepeatedWarning
from sisock.errors import SettingsError
from sisock.store.background import Jobs
from sisock.store.sample_store import SampleStore

if TYPE_CHECKING:
    from sisock.archive.file_archive import FileArchive


class ArchiveFiles:
    """The files of an archive, each parsed when it is needed and otherwise when there is time.

    Parameters
    ----------
    archive : FileArchive
        Its author's methods are asked.
    """

    def __init__(self, archive: FileArchive) -> None:
        self.warn = RepeatedWarning(archive.log)
        self._archive = archive
        self._jobs = Jobs(archive.name, self.warn)
        self._folder: CacheFolder | None = None
        # Also those that are gone: they may come back as they were.
        self._known: dict[str, ArchiveFile] = {}
        self._present: dict[str, ArchiveFile] = {}
        self._lock = threading.Lock()

    def look_in_background(self) -> None:
        """Have all files parsed, beside the requests."""
        self._jobs.start("list_files", self._look_once)

    def _look_once(self) -> Iterator[None]:
        self.look()
        yield

    def look(self) -> dict[str, ArchiveFile]:
        """Take note of files that are new, changed or gone; field name to file."""
        with self._lock:
            present = {}
            for field, path in self._archive.list_files().items():
                if field not in self._known:
                    self._known[field] = ArchiveFile(field, self._archive, self)
                file = self._known[field]
                try:
                    file.look(path)
                    is_parsed = file.is_parsed()
                except Exception as error:
                    self.warn(f"{path} is left out: {type(error).__name__}: {error}")
                    continue
                present[field] = file
                if not is_parsed:
                    self._jobs.start(field, file.steps)
            gone = [file for field, file in self._present.items() if field not in present]
            self._present = present
        # Not while the lock is held: it waits for the hub.
        if any(file.was_served for file in gone):
            self._archive.samples_changed()
        return present

    def ask(self, field: str, question: Callable[[SampleStore], Samples]) -> Samples:
        """Ask the store of a field when it is as the file is now, which may take time.

        Parameters
        ----------
        field : str
            If its file is gone the answer has no samples.
        question : callable
            May be called again, if the store was emptied meanwhile.

        Raises
        ------
        NodeFailed
            If it takes too long.
        Exception
            What the author's `parse` raised.
        """
        while (file := self._present.get(field)) is not None:
            times_emptied = file.times_emptied
            try:
                self._have_parsed(field, file)
            except FileNotFoundError:
                break
            store = file.store
            answer = None if store is None else question(store)
            if answer is not None and file.times_emptied == times_emptied:
                return answer
        return np.empty(0), np.empty(0)

    def _have_parsed(self, field: str, file: ArchiveFile) -> None:
        # A job that is under way may have begun before the file was as it is now; a next one not.
        for _ in range(2):
            if file.is_parsed():
                return
            self._jobs.start(field, file.steps)
            self._jobs.wait(field)

    def has_store(self, field: str) -> bool:
        """Whether the field's folder in the cache is still there."""
        return self._folder is not None and self._folder.has_store(field)

    def open_store(self, field: str) -> SampleStore:
        """Open the field's store, in a temporary folder if there can be no other."""
        try:
            if self._folder is None:
                self._folder = CacheFolder(find_cache_folder(self._archive.name))
            return self._folder.open_store(field)
        except (OSError, SettingsError) as error:
            if isinstance(self._folder, TemporaryCacheFolder):
                raise
            instead = "a temporary folder serves, and files are parsed again at the next start"
            self.warn(explain(error, instead))
            self._folder = TemporaryCacheFolder()
            self._jobs.at_end(self._folder.remove)
            return self._folder.open_store(field)
