"""Read or receive the samples of an instrument, keep and publish them: `LiveNode`."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet import defer, task, threads

from sisock.connection.runtime import RepeatedWarning, is_asynchronous, make_pool, stop_pool
from sisock.errors import NodeContractError
from sisock.history.columns import type_of
from sisock.history.disk import History, history_folder, parse_keep
from sisock.history.memory import Memory, MemoryTimeline
from sisock.node.api import DataNodeServer
from sisock.node.events import PAUSE, Events, add_samples
from sisock.node.intake import Intake
from sisock.node.validation import check_seconds
from sisock.wire.arrays import Samples
from sisock.wire.fields import check_entries, check_fields, describe
from sisock.wire.protocol import check_interval, contract
from sisock.wire.reply import Reply, no_samples
from sisock.wire.times import counted

_NO_SAMPLES = MemoryTimeline("")

CHECK_FOR = 5.0  # seconds that `--check` waits for a sample


class LiveNode(DataNodeServer):
    """A data node for an instrument that measures now: override `read`, or call `push`.

    `read` is called every `interval` seconds, from when the node first holds its name, even while
    the router is down. Samples are kept and published. The times of a timeline ascend, and
    published samples are final: a sample that is not later than these is dropped.

    Attributes
    ----------
    interval : float or None
        Seconds between two readings; None: all samples are pushed, and `read` is never called.
    fields : dict
        Field name to a dict with any of the keys of `sisock.describe`. Fields without a timeline
        share the one with the node's name. Pushed fields need not be listed.
    history : float
        Seconds for which samples are kept in memory, as long as a timeline takes less than 128 MB.
    history_samples : int or None
        Number of samples to keep of a timeline, if these are fewer. A few older ones stay, too.
    keep : str, float or dict, optional
        Keep samples on disk instead, even over restarts: for a time such as ``"30d"`` or a number
        of seconds, or ``{"time": "1y", "bytes": "20GB"}``.
    lateness : float
        Seconds for which samples are held, so that late ones can be sorted in.
    stale_after : float or None
        Seconds without a sample after which a field is stale; if None, `read_limit` if it is read.
    read_timeout : float or None
        Seconds after which the sample of a reading is lost; if None, ten intervals, at least 10 s.
    """

    interval: float | None = 1.0
    fields: Mapping[str, Mapping[str, Any]] = {}
    history: float = 3600.0
    history_samples: int | None = None
    keep: str | float | Mapping[str, Any] | None = None
    lateness: float = 0.0
    stale_after: float | None = None
    read_timeout: float | None = None

    features = (*DataNodeServer.features, "live")

    _intake: Intake
    _is_early = False  # open but not begun: `push` flushes, as no thread does yet

    def read(self) -> Mapping[str, Any]:
        """Read the instrument once; return field name to value. Fields left out are missing.

        A plain method may block, as it runs in its own thread; a coroutine function must not. An
        error costs only this sample, and is logged as a warning.
        """
        raise NotImplementedError

    def push(self, values: Mapping[str, Any], t: Any = None, timeline: str | None = None) -> None:
        """Accept one sample or many, from any thread or coroutine, once the node runs.

        Start the code that calls this in `begin`, or in `open` to store samples even while the
        router is down. A value of a wrong type is lost, and logged as a warning. Raises TypeError
        or ValueError if nothing was accepted.

        Parameters
        ----------
        values : dict
            Field name to a number, boolean or string (None if missing), or to an array of these. A
            new field gets the type of its first value.
        t : float or array_like, optional
            UNIX seconds, in any order; by default now. An array if the values are arrays.
        timeline : str, optional
            The timeline of new fields that are not in `fields`; by default the node's own.
        """
        if not hasattr(self, "_intake"):
            advice = "start its callers in begin, not in __init__: see docs/how-to/live-nodes.md"
            raise RuntimeError(f"push was called before the node runs: {advice}")
        for fault in self._intake.push(values, t, timeline):
            self._warn(f"push was given {fault}: the value is lost")
        # Logging a warning of the flush may call `push`, which must not wait for that flush.
        if self._is_early and not self._flushing.locked():
            self._flush()

    @property
    def read_limit(self) -> float:
        """Seconds that one reading may take."""
        return self.read_timeout or max(10 * (self.interval or 0), 10.0)

    def prepare(self) -> None:
        """Prepare for samples; raises NodeContractError if an attribute is wrong."""
        check_entries(self.fields, self.name)
        if self.interval is not None:
            if type(self).read is LiveNode.read:
                where = "see docs/how-to/live-nodes.md"
                rule = f"the class {type(self).__name__} has no method read: {where}"
                raise NodeContractError(self.name, None, rule)
            if not self.fields:
                raise NodeContractError(self.name, None, "the attribute fields names no field")
        check_seconds(self)
        with contract(self.name):
            self._keep = None if self.keep is None else parse_keep(self.keep)
        entries = {name: {"timeline": self.name, **entry} for name, entry in self.fields.items()}
        described, _ = check_fields(describe(entries), self.name)
        declared = {name: (about["type"], about["timeline"]) for name, about in described.items()}
        self._intake = Intake(self.name, self.lateness, declared)
        self._store = Memory(self.history, self.history_samples)
        self._events = Events(self._intake.kinds, self.allowance)
        self._taken = self._dropped = 0
        self._flushing = threading.Lock()
        self._has_ended = threading.Event()
        self._warn = RepeatedWarning(self.log)
        self._pool = make_pool(f"{self.name}-read", 1)

    def open(self) -> str | None:
        """Open the samples on disk; new samples must be later."""
        if self._keep is not None:
            self._store = History(history_folder(self.name), *self._keep, self._warn)
        for line, kept in self._store.lines.items():
            for name, dtype in kept.dtypes.items():
                with contract(self.name, name):
                    self._intake.add_field(name, type_of(dtype), line)
            self._intake.line(line).newest = kept.last
        self._is_early = True
        return self._store.generation

    def begin(self, service: Any) -> None:
        """Start reading and publishing."""
        self._is_early = False
        name = f"sisock-{self.name}-live"
        threading.Thread(target=self._work, args=(service,), name=name, daemon=True).start()
        if self.interval is not None:
            service.repeat(self.interval, self._read_and_warn)

    def end(self) -> None:
        """Stop reading and publishing; store the samples that are still held."""
        stop_pool(self._pool)
        self._has_ended.set()
        self._intake.is_closed = True
        self._intake.wake.set()
        self._flush(is_last=True)
        self._store.close()

    def status(self) -> dict[str, Any]:
        """Return the number of values taken, the time of the newest, and the last warning."""
        last = max((line.last for line in self._store.lines.copy().values()), default=None)
        error = self._warn.last
        if self._dropped:
            told = f"{counted(self._dropped, 'sample')} dropped since the start"
            error = f"{error} ({told})" if error else told
        return {"samples": self._taken, "last": last, "error": error}

    async def _read_and_warn(self) -> None:
        """Read a sample; log errors, and when reading takes too long."""
        limit, reactor = self.read_limit, self.service.reactor
        late = task.LoopingCall(
            self._warn, f"read has not returned for {limit:g} s: its sample is lost"
        )
        late.clock = reactor
        late.start(limit, now=False)
        try:
            for fault in await self.take_sample(reactor):
                self._warn(f"{fault}: the value is lost")
        except Exception as error:
            self._warn(f"read failed, a sample is lost: {type(error).__name__}: {error}")
        finally:
            late.stop()

    async def take_sample(self, reactor: Any) -> list[str]:
        """Read one sample, or wait for a pushed one; return a message for each rejected value.

        Raises the error of `read`, or TypeError if it did not return a dict.
        """
        if self.interval is None:
            self.begin(self.service)
            await wait_for(lambda: self._taken, reactor)
            return []
        began, clock = time.time(), time.monotonic()
        if is_asynchronous(self.read):
            values = await defer.maybeDeferred(self.read).addTimeout(self.read_limit, reactor)
        else:
            # A thread cannot be stopped: the next reading waits until this one returns.
            values = await threads.deferToThreadPool(reactor, self._pool, self.read)
        if time.monotonic() - clock > self.read_limit:
            return []
        if not isinstance(values, Mapping):
            raise TypeError(f"it returned {type(values).__name__}, not a dict of field to value")
        known = {name: value for name, value in values.items() if name in self.fields}
        unknown = [f"the field {name!r}, which is not in fields" for name in values.keys() - known]
        return [
            f"read returned {fault}" for fault in unknown + self._intake.push(known, began, None)
        ]

    def _work(self, service: Any) -> None:
        """Store and publish new samples until the node ends; runs in a thread."""
        wake, lines = self._intake.wake, self._intake.lines
        while not self._has_ended.is_set():
            is_holding = any(line.is_holding for line in list(lines.values()))
            wake.wait(PAUSE if is_holding else None)
            wake.clear()
            try:
                self._flush()
                with self._flushing:
                    events = self._events.make(self._intake.fields_of(), time.monotonic())
                for event in events:
                    service.reactor.callFromThread(service.publish, event)
            except Exception as error:
                self._warn(f"samples are lost: {type(error).__name__}: {error}")
            self._has_ended.wait(PAUSE)

    def _flush(self, is_last: bool = False) -> None:
        """Store the samples that are final now."""
        with self._flushing:
            if self._has_ended.is_set() and not is_last:
                return
            for line in list(self._intake.lines.values()):
                rows, dropped = line.release(time.monotonic(), is_last)
                if dropped:
                    self._dropped += dropped
                    self._warn(line.why_dropped(), dropped)
                if len(rows[0]):
                    self._store.put(line.name, rows)
                    if not self._is_early:
                        self._events.add(line.name, rows)
                    self._taken += len(rows[0]) * len(rows[1])

    async def get_fields(self, start: float, end: float) -> Any:
        """List all fields, whether or not they have samples in the interval."""
        known, kept = dict(self._intake.line_of), self._store.lines.copy()
        entries: dict[str, dict[str, Any]] = {}
        for name in [*self.fields, *(name for name in known if name not in self.fields)]:
            entry = {"stale_after": self.stale_after, **self.fields.get(name, {})}
            if name in known:
                entry |= {"timeline": known[name].name, "type": self._intake.kinds[name]}
            elif "timeline" not in entry:
                continue  # described while the node runs: its first sample says which
            if self.interval is not None and entry["timeline"] == self.name:
                entry.setdefault("interval", self.interval)
                entry["stale_after"] = entry["stale_after"] or self.read_limit
            line = kept.get(entry["timeline"], _NO_SAMPLES)
            if line.first is not None:
                entry |= {"first": line.first, "last": line.last}
            entries[name] = entry
        return describe(entries)

    def get_data(
        self, field: list[str], start: float, end: float, min_stride: float | None = None
    ) -> Any:
        """Return stored samples; those before the newest one never change."""
        interval = check_interval(start, end)
        self._flush()
        reply, wanted = Reply(no_samples(field)), defaultdict[MemoryTimeline, list[str]](list)
        for name in field:
            wanted[self._line_of(name)].append(name)
        for line, names in wanted.items():
            last, samples = line.last, line.samples(names, interval.start, interval.end)
            if len(samples[0]):
                add_samples(reply, line.name, last, names, samples, self._intake.kinds)
        return reply

    def get_decimated(
        self,
        field: list[str],
        start: float,
        end: float,
        bucket: float | None = None,
        max_points: int | None = None,
    ) -> Any:
        """Decimate stored samples; none is ever added before a timeline's newest one."""
        interval = check_interval(start, end)
        self._flush()
        reply = Reply(bucket={})
        for name in field:
            asked = name, interval.start, interval.end, bucket, max_points
            reply.add_field(name, self._line_of(name).decimate(*asked))
        return reply

    def get_latest(self, field: list[str], end: float) -> Any:
        """Return the last stored sample of each field, however old it is."""
        self._flush()
        found: dict[str, tuple[str, Samples]] = {}
        for name in field:
            line = self._line_of(name)
            if last := line.latest(name, end):
                found[name] = line.name, last
        return Reply.merged(found, field)

    def _line_of(self, field: str) -> MemoryTimeline:
        """Return the stored timeline of a field, or one without samples."""
        line = self._intake.line_of.get(field)
        return self._store.lines.get(line.name, _NO_SAMPLES) if line else _NO_SAMPLES


async def wait_for(condition: Callable[[], Any], reactor: Any) -> None:
    """Wait until a condition holds, at most for `CHECK_FOR` seconds."""
    end = time.monotonic() + CHECK_FOR
    while not condition() and time.monotonic() < end:
        await task.deferLater(reactor, PAUSE)
