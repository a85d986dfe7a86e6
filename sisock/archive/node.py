"""`ArchiveNode`: a data node over samples that are already there, in files or a database."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np

from sisock.archive.cache import CacheFolder, explain, find_cache_folder
from sisock.archive.overview import ArchivePyramid
from sisock.errors import NodeContractError, SettingsError
from sisock.node.data_node import DataNodeServer, NodeService
from sisock.node.validation import check_times
from sisock.wire import arrays as values
from sisock.wire.align import merge_timeline
from sisock.wire.arrays import Values
from sisock.wire.fields import check_entries, describe
from sisock.wire.protocol import Interval, check_interval
from sisock.wire.reply import overview_timeline


class ArchiveNode(DataNodeServer):
    """A data node that reads one field at a time.

    Override `list_fields` and `read`. For fields of numbers, overviews are prepared in the
    background, from what `read` gives, in the folder ``SISOCK_CACHE``.

    Attributes
    ----------
    pyramid : bool
        Whether that is done.
    """

    pyramid: bool = True

    _pyramid: ArchivePyramid | None = None

    @abstractmethod
    def list_fields(self, start: float, end: float) -> Mapping[str, Mapping[str, Any]]:
        """Say which fields there are.

        Parameters
        ----------
        start, end : float
            UNIX seconds. A field with samples in between must be listed; others may be.

        Returns
        -------
        dict
            Field name to a dict with any of ``description``, ``timeline`` (fields that name the
            same one share their times; the field's own name if not given), ``type`` ("number",
            "string" or "bool"), ``units``, ``interval`` (mean spacing in seconds).
        """
        raise NotImplementedError

    @abstractmethod
    def read(self, field: str, start: float, end: float) -> tuple[Any, Any]:
        """Return the samples of one field.

        Parameters
        ----------
        field : str
            A name that `list_fields` gave.
        start, end : float
            UNIX seconds, half-open; what is returned beyond them is cut off.

        Returns
        -------
        t : array_like, shape (n,)
            UNIX seconds, ascending.
        values : array_like, shape (n,)
            Numbers, booleans or strings; NaN or None where one is missing.
        """
        raise NotImplementedError

    def get_fields(self, start: float, end: float) -> Any:
        """Answer from `list_fields`."""
        interval = check_interval(start, end)
        listed = self.list_fields(interval.start, interval.end)
        check_entries(listed, self.name)
        return describe(listed)

    def get_data(
        self, field: list[str], start: float, end: float, min_stride: float | None = None
    ) -> Any:
        """Answer from `read`, one field after the other.

        All samples are final, but where one field of a timeline has none yet and others have.
        """
        interval = check_interval(start, end)
        reply: dict[str, Any] = {"data": {}, "timeline": {}, "follows": {}}
        for line, names in self._by_timeline(field, interval).items():
            samples_of = {
                name: self._read_checked(name, interval.start, interval.end) for name in names
            }
            t, merged = merge_timeline(samples_of)
            reply["timeline"][line] = {"t": t, "finalized_until": _final_until(samples_of)}
            reply["data"].update(merged)
            reply["follows"].update(dict.fromkeys(merged, line))
        return reply

    def get_overview(self, field: list[str], start: float, end: float, max_points: int) -> Any:
        """Answer from what was prepared, if it is ready for all these fields."""
        interval = check_interval(start, end)
        if not self._has_overviews():
            return None
        reply: dict[str, Any] = {"data": {}, "timeline": {}, "follows": {}}
        for line, names in self._by_timeline(field, interval).items():
            samples_of = {}
            for name in names:
                samples = self._overview(name, interval, max_points)
                if samples is None:
                    return None
                samples_of[name] = samples
            until = _final_until(samples_of)
            for name, (t, field_values) in samples_of.items():
                own = overview_timeline(line, name)
                reply["timeline"][own] = {"t": t, "finalized_until": until}
                reply["data"][name] = field_values
                reply["follows"][name] = own
        return reply

    def _by_timeline(self, fields: list[str], interval: Interval) -> dict[str, list[str]]:
        """Those of the fields that there are, by the timeline that they follow."""
        listed = self.list_fields(interval.start, interval.end)
        lines: dict[str, list[str]] = {}
        for name in fields:
            if name in listed:
                lines.setdefault(listed[name].get("timeline") or name, []).append(name)
        return lines

    def _has_overviews(self) -> bool:
        return self._pyramid is not None

    def _overview(
        self, name: str, interval: Interval, max_points: int
    ) -> tuple[np.ndarray, Values] | None:
        """Few samples of one field, the first and the last among them; None if they take long."""
        if self._pyramid is None:
            return None
        return self._pyramid.overview(name, interval, max_points)

    def begin(self, service: NodeService) -> None:
        """Start to prepare the overviews."""
        if not self.pyramid:
            return
        try:
            folder = CacheFolder(find_cache_folder(self.name))
        except (OSError, SettingsError) as error:
            self.log.warn("{text}", text=explain(error, "each overview is made of all samples"))
            return
        self._pyramid = ArchivePyramid(self, self._read_interval, folder)
        self._pyramid.build()

    def samples_changed(self) -> None:
        """Say that samples which were called final have changed; see `DataNodeServer`."""
        if self._pyramid is not None:
            self._pyramid.forget()
        super().samples_changed()
        if self._pyramid is not None:
            self._pyramid.build()

    def _read_interval(self, name: str, start: float, end: float) -> tuple[np.ndarray, Values]:
        t, field_values = self._read_checked(name, start, end)
        low, high = np.searchsorted(t, [start, end]).tolist()
        return t[low:high], field_values[low:high]

    def _read_checked(self, name: str, start: float, end: float) -> tuple[np.ndarray, Values]:
        samples = self.read(name, start, end)
        if not isinstance(samples, tuple | list) or len(samples) != 2:
            raise NodeContractError(self.name, name, "read must return the pair (t, values)")
        t = check_times(samples[0], self.name, f"field {name!r}")
        try:
            field_values = values.normalise(samples[1])
        except ValueError as error:
            raise NodeContractError(self.name, name, str(error)) from None
        if len(t) != len(field_values):
            raise NodeContractError(
                self.name, name, f"read returned {len(t)} times, but {len(field_values)} values"
            )
        return t, field_values


def _final_until(samples_of: Mapping[str, tuple[np.ndarray, Values]]) -> float | None:
    """Until when a missing sample stays missing: files of one timeline grow one after the other."""
    times = [t for t, _ in samples_of.values()]
    filled = [t for t in times if len(t)]
    if not filled or (len(filled) == len(times) and len({float(t[-1]) for t in times}) == 1):
        return None
    if len(filled) < len(times):
        return float(min(t[0] for t in filled))
    return math.nextafter(float(min(t[-1] for t in filled)), math.inf)
