"""Keep the samples of a live node on disk and in memory, as one series per timeline."""

from __future__ import annotations

import math
import os
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from sisock.connection.runtime import allow_open_files
from sisock.connection.settings import find_setting
from sisock.errors import SettingsError
from sisock.history.memory import Memory
from sisock.history.timeline import StoredTimeline
from sisock.store.files import file_name, lock_folder
from sisock.wire.times import parse_duration, parse_size

EVERY = 1.0  # seconds between two syncs: a power failure loses no more
_PARTS = 8  # minimum number of files of a full history: only whole files are removed
_MAX_FILE = 1 << 27  # bytes of a file: `close` waits while one is written

_STATE, _CLOSED = "generation", "closed"
_BOOT = Path("/proc/sys/kernel/random/boot_id")


def history_folder(node: str, environ: Mapping[str, str] = os.environ) -> Path:
    """Return a node's folder below ``SISOCK_DATA``."""
    base = Path(find_setting("SISOCK_DATA", environ))
    try:
        return base.expanduser() / file_name(node)
    except RuntimeError as error:
        raise SettingsError(f"SISOCK_DATA must name a folder: {error}") from None


def parse_keep(keep: Any) -> tuple[float | None, float | None]:
    """Return the limits in `keep`, in seconds and bytes (None: no limit); raises ValueError."""
    asked = keep if isinstance(keep, Mapping) else {"time": keep}
    if not asked or asked.keys() - {"time", "bytes"}:
        raise ValueError('the attribute keep must have "time" or "bytes" or both')
    return _bound(asked.get("time"), parse_duration), _bound(asked.get("bytes"), parse_size)


def _bound(given: Any, parse: Callable[[str], float]) -> float | None:
    bound = parse(given) if isinstance(given, str) else given
    if bound is not None and not (isinstance(bound, int | float) and 0 < bound < math.inf):
        raise ValueError(f"the attribute keep has {given!r}, which is not a limit")
    return bound


class History(Memory):
    """Samples of a node's timelines, kept on disk. Any thread may use it.

    When `put` returns, the operating system has the samples; within a second they are on the
    disk. While the disk cannot be written, samples stay in memory, up to a limit.

    Parameters
    ----------
    folder : Path
        Created if missing. Raises SettingsError if it cannot be used, for example because another
        process uses it.
    keep_seconds, keep_bytes : float or None
        Older samples, and the oldest ones beyond this size, are removed file by file.
    warn : callable
        Logs a sentence about damage or a failed write.
    clock : callable
        Returns UNIX seconds.

    Attributes
    ----------
    generation : str
        The same after a restart, unless samples that were served may be gone.
    """

    def __init__(
        self,
        folder: Path,
        keep_seconds: float | None,
        keep_bytes: float | None,
        warn: Callable[[str], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(math.inf, None)
        self._folder = folder
        self._clock = clock
        self._warn = warn
        self._seconds, self._bytes = keep_seconds or math.inf, keep_bytes or math.inf
        self._tidying = threading.Lock()
        self.lines: dict[str, StoredTimeline] = {}
        self._stopping = threading.Event()
        allow_open_files()  # each timeline keeps one open
        # If the computer has restarted, the last second of samples may be lost.
        boot = _BOOT.read_text().strip() if _BOOT.exists() else secrets.token_hex(8)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._locked = lock_folder(folder)
            state, is_sound = self._read_state(), self._load()
        except BlockingIOError:
            advice = "end it, or give this node another --name"
            raise SettingsError(
                f"the history in {folder} is in use by another process: {advice}"
            ) from None
        except OSError as error:
            raise SettingsError(f"the history in {folder} cannot be used: {error}") from None
        is_whole = is_sound and len(state) == 2 and state[1] in (_CLOSED, boot)
        self.generation = state[0] if is_whole else secrets.token_hex(8)
        self._write_state(boot)
        self._threads = [
            threading.Thread(target=self._repeat, args=[do], name="sisock-history", daemon=True)
            for do in (self.sync, self.tidy)
        ]
        for thread in self._threads:
            thread.start()

    def _begin(self, timeline: str) -> StoredTimeline:
        return StoredTimeline(self._folder / f"t-{file_name(timeline)}", timeline, self._warn)

    def sync(self) -> None:
        """Sync all samples, so that they survive a power failure."""
        for line in list(self.lines.values()):
            line.sync()

    def tidy(self) -> None:
        """Write full tables to files, and remove files that are too old or exceed the size."""
        with self._tidying:
            lines = list(self.lines.values())
            for line in lines:
                if not self._stopping.is_set():
                    line.tidy(self._seconds / _PARTS, min(self._bytes / _PARTS, _MAX_FILE))
            # A clock that is ahead must not remove anything.
            newest = max((line.last for line in lines), default=-math.inf)
            oldest = min(self._clock(), newest) - self._seconds
            size = sum(line.size() for line in lines)
            while found := [(line.oldest.last, line.name) for line in lines if line.oldest]:
                last, name = min(found)
                if last >= oldest and size <= self._bytes:
                    break
                size -= self.lines[name].drop_oldest()

    def close(self) -> None:
        """Write all samples, and release the folder."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()
        self.sync()
        for line in self.lines.values():
            line.close()
        if all(line.is_written for line in self.lines.values()):
            self._write_state(_CLOSED)
        self._locked.close()

    def _load(self) -> bool:
        """Load all timelines; return whether all are undamaged."""
        is_sound = True

        def report(text: str) -> None:
            nonlocal is_sound
            is_sound = False
            self._warn(text)

        for folder in sorted(self._folder.glob("t-*")):
            line = StoredTimeline.load(folder, report)
            if line is not None:
                self.lines[line.name] = line
        return is_sound

    def _repeat(self, do: Callable[[], None]) -> None:
        while not self._stopping.wait(EVERY):
            try:
                do()
            except Exception as error:
                self._warn(f"the history in {self._folder}: {type(error).__name__}: {error}")

    def _read_state(self) -> list[str]:
        """Return the two words that `_write_state` wrote last, or fewer if the file is damaged."""
        with suppress(OSError, ValueError):
            return (self._folder / _STATE).read_text().split()
        return []

    def _write_state(self, holds: str) -> None:
        """Write the generation and when it is valid: until the computer restarts, or always."""
        path = self._folder / _STATE
        try:
            with open(path.with_suffix(".part"), "w") as file:
                file.write(f"{self.generation} {holds}\n")
                file.flush()
                os.fsync(file.fileno())
            os.replace(file.name, path)
        except OSError as error:
            # The next process then begins a new generation.
            self._warn(f"{path} cannot be written: {error}")
