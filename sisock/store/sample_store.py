"""`SampleStore`: the samples of one field in files, and overviews of them in little time."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from sisock.store.series_files import SeriesFiles
from sisock.store.store_files import (
    DATA_SUFFIX,
    MANIFEST,
    Manifest,
    StoreDamaged,
    lock_folder,
    read_manifest,
    replace_manifest,
    sync_folder,
    write_manifest_aside,
)

STORED_DTYPES = frozenset({"<f8", "<f4", "<i8", "<i4", "<i2", "|i1", "<u8", "<u4", "<u2", "|u1"})
"""Types of values that can be stored, in numpy's notation."""


class SampleStore:
    """The samples of one field, in a folder; made by `SampleStore.open`.

    Samples are appended, then committed: that makes them visible and durable. Whenever the
    process is killed or the power fails, either the old or the new state is there afterwards.

    One thread at a time may append, commit, clear and close. Others may read meanwhile: what they
    were given stays valid, also after `clear` and `close`.

    Attributes
    ----------
    was_damaged : bool
        Whether `open` found files that failed their checks, and removed them.

    Notes
    -----
    Beside the samples there are the levels of a pyramid (`store.pyramid`), complete entries only,
    and the gaps, so that all data files only grow. They are written and synchronised before the
    manifest, which is replaced as a whole and says how much of each file counts. Checksums are of
    everything but the samples, of which they cover the first and the last 64 KiB of either file:
    to read many gigabytes at each start would take too long. Damage in between goes unnoticed.
    """

    def __init__(self, folder: Path, lock: IO[bytes]) -> None:
        self.was_damaged = False
        self._folder = folder
        self._lock = lock
        self._manifest = Manifest()
        self._series = SeriesFiles(folder, self._manifest)
        self._pyramid = self._series.view()
        self._last_t = -np.inf

    @classmethod
    def open(cls, folder: Path) -> SampleStore:
        """Open what was committed to a folder; make the folder if there is none.

        If anything fails its checks, all is removed: the store is empty then, and `was_damaged`
        says so.

        Raises
        ------
        SettingsError
            If the folder is open already, here or in another process.
        OSError
            If the folder cannot be read or written.
        """
        folder.mkdir(parents=True, exist_ok=True)
        store = cls(folder, lock_folder(folder))
        try:
            store._load()
        except BaseException:
            store.close()
            raise
        return store

    def close(self) -> None:
        """Forget what was not committed, and let others open the folder."""
        self._series.close()
        self._lock.close()

    @property
    def identity(self) -> dict[str, Any]:
        """What was given with the last commit; empty if there was none."""
        return self._manifest.identity

    @property
    def t(self) -> np.ndarray:
        """UNIX seconds of the committed samples, shape (n,); read-only."""
        return self._pyramid.t

    @property
    def values(self) -> np.ndarray:
        """Values of the committed samples, shape (n,); read-only."""
        return self._pyramid.values

    def __len__(self) -> int:
        return len(self._pyramid.t)

    def read(self, start: float, end: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the committed samples of an interval.

        Parameters
        ----------
        start, end : float
            UNIX seconds, half-open.

        Returns
        -------
        t, values : ndarray, shape (n,)
            Read-only views of the files.
        """
        pyramid = self._pyramid
        first, stop = np.searchsorted(pyramid.t, [start, end])
        return pyramid.t[first:stop], pyramid.values[first:stop]

    def overview(self, start: float, end: float, max_points: int) -> tuple[np.ndarray, np.ndarray]:
        """Return committed samples of an interval that keep the picture: see `Pyramid.overview`.

        Parameters
        ----------
        start, end : float
            UNIX seconds, half-open.
        max_points : int
            At least 8.

        Returns
        -------
        t, values : ndarray, shape (m,)
            m is at most `max_points`.

        Raises
        ------
        ValueError
            If `max_points` is too small.
        """
        pyramid = self._pyramid
        first, stop = np.searchsorted(pyramid.t, [start, end]).tolist()
        return pyramid.overview(first, stop, max_points)

    def append(self, t: np.ndarray, values: np.ndarray) -> None:
        """Add samples behind the last ones; `commit` makes them visible and durable.

        Parameters
        ----------
        t : ndarray, shape (n,)
            UNIX seconds, ascending, not before the last one appended.
        values : ndarray, shape (n,)
            Of one of `STORED_DTYPES`. The first ones settle the type; later ones may be of any
            type of which all values fit into it exactly.

        Raises
        ------
        ValueError
            If times go back or are not finite, or the values' type does not fit; nothing of these
            samples is added then.
        OSError
            If they cannot be written. Everything that was not committed is dropped then; what was
            stays usable.
        """
        self._check_open()
        t, values = np.asarray(t, dtype="<f8"), np.asarray(values)
        if t.ndim != 1 or t.shape != values.shape:
            raise ValueError(f"times of shape {t.shape}, but values of shape {values.shape}")
        if not len(t):
            return
        _check_dtype(values.dtype, self._series.dtype)
        _check_times(t, self._last_t)
        with self._rolled_back_on_error():
            self._series.append(t, values)
            self._last_t = float(t[-1])

    def commit(self, identity: dict[str, Any]) -> None:
        """Make visible and durable what was appended.

        Parameters
        ----------
        identity : dict
            Of what the samples come from, for the store's user; must be possible in JSON.

        Raises
        ------
        TypeError, ValueError
            If `identity` is not possible in JSON; nothing happens then.
        OSError
            As of `append`.
        """
        self._check_open()
        identity = json.loads(json.dumps(identity, allow_nan=False))
        with self._rolled_back_on_error():
            self._series.complete()
            manifest = self._series.manifest(identity)
            if manifest == self._manifest:
                return
            pyramid = self._series.view()
            write_manifest_aside(self._folder, manifest)
            replace_manifest(self._folder)
            self._manifest, self._pyramid = manifest, pyramid
        # The new state is in force from here on, so that an error must not roll it back.
        sync_folder(self._folder)

    def clear(self) -> None:
        """Remove all samples, on disk too.

        Raises
        ------
        OSError
            If the folder cannot be written.
        """
        self._check_open()
        write_manifest_aside(self._folder, Manifest())
        replace_manifest(self._folder)
        sync_folder(self._folder)
        self._series.close()
        self._take(Manifest())
        self._series.cut()

    def _load(self) -> None:
        """Take what is committed on disk."""
        names = {path.name for path in self._folder.iterdir()}
        try:
            manifest = read_manifest(self._folder)
            series = SeriesFiles(self._folder, manifest)
            series.check()
        except StoreDamaged:
            # A store has a manifest before it has data, so that a folder without either is new.
            self.was_damaged = any(n == MANIFEST or n.endswith(DATA_SUFFIX) for n in names)
            self.clear()
        else:
            series.cut()
            self._take(manifest)

    def _take(self, manifest: Manifest) -> None:
        """Start from a committed state."""
        self._manifest = manifest
        self._series = SeriesFiles(self._folder, manifest)
        self._pyramid = self._series.view()
        self._last_t = float(self.t[-1]) if len(self) else -np.inf

    @contextlib.contextmanager
    def _rolled_back_on_error(self) -> Iterator[None]:
        """Return to the committed state if writing fails."""
        try:
            yield
        except BaseException:
            self._series.close()
            with contextlib.suppress(OSError):
                self._take(self._manifest)
                self._series.cut()
            raise

    def _check_open(self) -> None:
        if self._lock.closed:
            raise ValueError(f"the store in {self._folder} is closed")


def _check_dtype(dtype: np.dtype, stored: np.dtype | None) -> None:
    if dtype.str not in STORED_DTYPES:
        raise ValueError(f"values of type {dtype} cannot be stored")
    if stored is None:
        return
    # numpy lets integers of 64 bits pass as floats, which do not hold all of them.
    is_rounded = stored.kind == "f" and dtype.kind in "iu" and dtype.itemsize == 8
    if is_rounded or not np.can_cast(dtype, stored):
        raise ValueError(
            f"values of type {dtype} do not fit exactly into a store of {stored}: clear it, and"
            " append all samples in a type that holds both"
        )


def _check_times(t: np.ndarray, last: float) -> None:
    """Raise ValueError unless the times ascend from the last one; NaN does not either."""
    if not (t[0] >= last and np.isfinite(t[0]) and np.isfinite(t[-1])):
        raise ValueError(f"the times begin with {t[0]} and end with {t[-1]}, after {last}")
    for first in range(0, len(t), _CHECKED_AT_ONCE):
        part = t[first : first + _CHECKED_AT_ONCE + 1]
        if not (part[1:] >= part[:-1]).all():
            raise ValueError("the times go back, or one is not a number")


_CHECKED_AT_ONCE = 1 << 16
