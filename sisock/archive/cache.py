"""Where an archive keeps what it computed: a folder of the node's own, a `SampleStore` a field."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from pathlib import Path
from urllib.parse import quote

from sisock.errors import SettingsError
from sisock.store.sample_store import SampleStore
from sisock.store.store_files import lock_folder

LONGEST_NAME = 100
"""Characters of a folder's name; file systems take 255 bytes."""


def folder_name(name: str) -> str:
    """Make a name of a node or a field into that of a folder: a safe one, for each name its own."""
    quoted = quote(name, safe="", errors="surrogatepass").replace(".", "%2E")
    if 0 < len(quoted) <= LONGEST_NAME:
        return quoted
    digest = hashlib.blake2b(quoted.encode(), digest_size=16).hexdigest()
    # No quoted name has an equals sign.
    return f"{quoted[:LONGEST_NAME]}={digest}"


def find_cache_folder(node: str) -> Path:
    """Say where a node's cache is: in the folder ``SISOCK_CACHE``, or in ``~/.cache/sisock``.

    Raises
    ------
    SettingsError
        If there is no home folder.
    """
    base = Path(os.environ.get("SISOCK_CACHE") or "~/.cache/sisock")
    try:
        return base.expanduser() / folder_name(node)
    except RuntimeError as error:
        raise SettingsError(f"{base}: {error}") from None


class CacheFolder:
    """A node's cache, for one process at a time.

    Parameters
    ----------
    path : Path
        Made if it is not there. It may be removed at any time: what was in it is computed again.

    Raises
    ------
    OSError
        If it cannot be made or written.
    SettingsError
        If another process has it.
    """

    def __init__(self, path: Path) -> None:
        path.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._lock = lock_folder(path)

    def has_store(self, field: str) -> bool:
        """Whether the field's folder is there."""
        return self._store_folder(field).is_dir()

    def open_store(self, field: str) -> SampleStore:
        """Open the field's store; raises as `SampleStore.open`."""
        return SampleStore.open(self._store_folder(field))

    def _store_folder(self, field: str) -> Path:
        # Not beside the lock, as a field may have that name.
        return self.path / "fields" / folder_name(field)


class TemporaryCacheFolder(CacheFolder):
    """A cache that goes with the process, for a node that can have no other."""

    def __init__(self) -> None:
        super().__init__(Path(tempfile.mkdtemp(prefix="sisock-cache-")))

    def remove(self) -> None:
        """Remove it; nobody may be writing to it any more."""
        shutil.rmtree(self.path, ignore_errors=True)


def explain(error: Exception, instead: str) -> str:
    """Say in a sentence that the cache cannot be used, what happens instead and what to do."""
    return (
        f"the cache cannot be used ({error}): {instead}; set SISOCK_CACHE to a folder that this"
        " node can write and no other program of its name uses"
    )
