"""Data node that records fields of other data nodes, and serves what it has recorded.

It subscribes to live nodes, and asks all others every few seconds for new samples. After a break,
also one of the recorder, it continues after its own last sample, as far back as a node can serve.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from functools import partial
from typing import Any

from twisted.internet import defer, task, threads

import sisock
from sisock.client.merge import Batch
from sisock.connection.settings import find_sites
from sisock.history.disk import history_folder
from sisock.wire.fields import KnownNode, check_fields
from sisock.wire.protocol import EARLIEST, LATEST, MIN_POINTS, check_number
from sisock.wire.times import format_time

PRESENCE = "nodes"
"""Prefix of the fields that tell which nodes are available."""

RETRY = 5.0
"""Seconds before the router, or a node that did not answer, is tried again."""

MAX_AHEAD = 86400.0
"""Seconds; samples further in the future are not recorded, as no earlier ones could follow."""

MANY = 10_000
"""Samples; after a larger batch the node waits until it is on disk."""

DESCRIBED = (
    *("description", "units", "type", "interval"),
    *("limits", "precision", "labels", "stale_after"),
)
"""Metadata that a recorded field takes over from its source."""


class Recorder(sisock.LiveNode):
    """Records fields of other data nodes.

    The field `f` of the node `n` is recorded as `n.f`, its timeline `t` as `n.t`. The field
    `nodes.n` tells when the node `n` was available.
    """

    name = "recorder"
    interval = None

    def __init__(self, sources: Iterable[str], record: Iterable[str], keep: str) -> None:
        self.keep = keep
        self.fields = {}
        self._patterns: dict[str, set[str]] = {}
        for source in [*sources, *record]:
            node, _, field = source.partition("::")
            self._patterns.setdefault(node, set()).add(field or "*")
        self._client: sisock.TwistedClient | None = None
        self._following: dict[str, Any] = {}
        self._since: dict[str, float] = {}
        self._present: dict[str, bool] = {}
        self._describing: set[str] = set()
        self._listed: dict[str, Any] = {}
        self._recording: Any = None

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Add the flags that say what to record, and for how long."""
        parser.add_argument(
            "sources",
            nargs="*",
            metavar="NODE[::FIELD]",
            help="what to record, with wildcards * and ?; without FIELD, all fields of a node",
        )
        parser.add_argument(
            "--record",
            action="append",
            default=[],
            metavar="NODE[::FIELD]",
            help="the same as a flag, for the file of `sisock serve`",
        )
        parser.add_argument(
            "--keep",
            default="1y",
            help='how long to keep samples, like "30d" or "1y" (default: %(default)s)',
        )

    def prepare(self) -> None:
        """Check that there are nodes to record."""
        # With several sites, this recorder may appear as site/recorder.
        named = {name for each in self._patterns for name in (each, _within_site(each))}
        if not named or named & {PRESENCE, self.name}:
            others = f"but not {PRESENCE!r}, nor {self.name!r} itself"
            raise sisock.SisockError(f"name the nodes to record, {others}")
        # This field tells other recorders that this node is one.
        own = f"{PRESENCE}.{self.name}"
        self.fields[own] = {"type": "bool", "timeline": own}
        super().prepare()

    async def take_sample(self, reactor: Any) -> list[str]:
        """Take no sample for a check: without a router there is nothing to record."""
        return []

    def open(self) -> str | None:
        """Read the earlier samples, the fields' metadata, and since when each node is recorded."""
        try:
            kept = json.loads(self._path.read_text())
            check_fields(sisock.describe(kept["fields"]), self.name)
            self._since = {node: check_number("since", t) for node, t in kept["since"].items()}
            self.fields.update(kept["fields"])
        except FileNotFoundError:
            pass
        except (OSError, ValueError, AttributeError, LookupError, TypeError) as error:
            why = f"{self._path} cannot be read: {error}"
            self.log.warn("{why}: the nodes are asked for their fields again", why=why)
        return super().open()

    @property
    def _path(self) -> Any:
        folder = history_folder(self.name)
        return folder.with_name(f"{folder.name}.fields.json")

    def _save(self) -> None:
        """Write what `open` reads."""
        new = self._path.with_suffix(".new")
        new.write_text(json.dumps({"fields": self.fields, "since": self._since}))
        new.replace(self._path)

    def joined(self, session: Any) -> None:
        """Keep the session, for the settings of the router."""
        self._session = session

    def begin(self, service: Any) -> None:
        """Start to record."""
        super().begin(service)
        self._recording = defer.ensureDeferred(self._record())
        # Close the client before the reactor stops: otherwise it would see a lost connection.
        service.reactor.addSystemEventTrigger("before", "shutdown", self._leave)

    def end(self) -> None:
        """Stop recording."""
        self._leave()
        super().end()

    def _leave(self) -> defer.Deferred | None:
        if self._recording is not None:
            self._recording.addErrback(lambda _: None)
            self._recording.cancel()
        return None if self._client is None else defer.ensureDeferred(self._client.close())

    async def _record(self) -> None:
        """Begin to record once the router answers; the client reconnects from then on."""
        settings, reactor = self._session.settings, self._session.reactor
        while True:
            try:
                self._client = sisock.TwistedClient(
                    None if find_sites() else settings, reactor=reactor
                )
                await self._client.connect()
                await self._begin_all(self._client)
                return
            except sisock.SisockError as error:
                self.log.warn("nothing is recorded yet: {error}", error=error)
            if self._client is not None:
                await self._client.close()
            self._following.clear()
            await task.deferLater(reactor, RETRY)

    async def _begin_all(self, client: sisock.TwistedClient) -> None:
        named = [pattern for pattern in self._patterns if not set("*?[") & set(pattern)]
        for node in named:
            await self._follow(node)
        await self._resume_presence()
        await client.watch_nodes(lambda event: self._note(event.node, event.present))
        listed = await client.nodes()
        for node in listed:
            self._note(node, True)
        there = {node.name for node in listed}
        for name in self._present.keys() - there:
            if name.partition("/")[0] not in listed.unreachable:
                self._note(KnownNode(name), False)
        for name in named:
            if name not in there:
                self.log.info("node {name} is not available yet", name=name)

    async def _resume_presence(self) -> None:
        fields, _ = await self.get_fields(1, 0)
        names = [name for name in fields if name.startswith(f"{PRESENCE}.")]
        reply = self.get_decimated(names, EARLIEST, LATEST, max_points=MIN_POINTS)
        for name in names:
            for is_present in reply.data[name][-1:]:
                self._present[name.partition(".")[2]] = bool(is_present)

    def _note(self, node: KnownNode, is_present: bool) -> None:
        """Record that a node came or went; begin to record its fields if they are wanted."""
        if node.name == self.name:
            return
        if self._present.get(node.name) is not is_present:
            self._present[node.name] = is_present
            field = f"{PRESENCE}.{node.name}"
            self.push({field: is_present}, time.time(), field)
        if is_present:
            defer.ensureDeferred(self._welcome(node.name)).addErrback(self._tell)

    def _tell(self, failure: Any) -> None:
        self.log.warn("not recorded: {why}", why=failure.getErrorMessage())

    async def _welcome(self, node: str) -> None:
        """Begin to record a node that has come, and log which of its fields are recorded."""
        await self._follow(node)
        if node in self._following:
            await self._describe(node)

    async def _follow(self, node: str) -> None:
        """Begin to record a node, after the samples already recorded."""
        wanted = Patterns(self._patterns, node)
        if not wanted.fields or node in self._following:
            return
        if node == PRESENCE:
            self.log.warn("the node {node} cannot be recorded: its name is taken", node=node)
            return
        self._following[node] = wanted
        if node not in self._since:
            self._since[node] = time.time()
            self._save()
        try:
            # A wildcard does not match other recorders: their samples would be recorded twice.
            if node not in self._patterns and await self._is_recorder(node, wanted):
                if self._following.get(node) is wanted:
                    del self._following[node]  # it may come back as another node
                return
            _, lines = await self.get_fields(1, 0)
            after = {
                name.removeprefix(f"{node}."): about["last"]
                for name, about in lines.items()
                if name.startswith(f"{node}.") and about.get("last") is not None
            }
            take = partial(self._take, node)
            await self._client.resume(node, take, wanted, after, self._since[node])
        except sisock.SisockError:
            self._following.pop(node, None)
            raise

    async def _is_recorder(self, node: str, wanted: Patterns) -> bool:
        """Ask a node until it answers; raises SisockError if it has gone."""
        while self._following.get(node) is wanted:
            try:
                fields = await self._client.fields(node)
                return any(f"{PRESENCE}.{name}" in fields for name in (node, _within_site(node)))
            except sisock.SisockError as error:
                if not self._present.get(node):
                    raise
                self._warn(f"node {node} is not recorded yet: {error}")
            await task.deferLater(self._session.reactor, RETRY)
        return True

    def _take(self, node: str, passed: Batch | sisock.Gap) -> defer.Deferred | None:
        line = f"{node}.{passed.timeline}"
        if isinstance(passed, sisock.Gap):
            start, end = format_time(passed.start), format_time(passed.end)
            self.log.warn(f"samples of {line} between {start} and {end} are lost")
            return None
        good = passed.t <= time.time() + MAX_AHEAD
        if not good.all():
            self._warn(f"samples of {line} are not recorded: their times are in the future")
            passed = passed.take(good)
        values = {f"{node}.{name}": column for name, column in passed.values.items()}
        if values.keys() - self.fields.keys():
            defer.ensureDeferred(self._describe(node)).addErrback(self._tell)
        # Leave out a field that has moved to another timeline: its times would be out of order.
        fitting = {
            name: column
            for name, column in values.items()
            if self.fields.get(name, {}).get("timeline", line) == line
        }
        self.push(fitting, passed.t, line)
        if len(passed) > MANY:
            return threads.deferToThread(self.get_data, [], -1.0, 0.0)
        return None

    async def _describe(self, node: str) -> None:
        """Ask a node for its fields' metadata, and save it."""
        if node in self._describing:
            return
        self._describing.add(node)
        try:
            known = await self._client.fields(node)
        finally:
            self._describing.discard(node)
        patterns = self._following.get(node)
        if patterns is None:
            return
        wanted = {name: about for name, about in known.items() if name in patterns}
        if wanted and self._listed.get(node) != wanted.keys():
            self._listed[node] = wanted.keys()
            self.log.info("recording of node {node}: {names}", node=node, names=", ".join(wanted))
        for field in patterns.without_match(known):
            self.log.warn("node {node} has no field {field!r} yet", node=node, field=field)
        described = {}
        for name, about in wanted.items():
            entry = {key: getattr(about, key) for key in DESCRIBED}
            entry = {key: value for key, value in entry.items() if value is not None}
            # Recorded samples keep their type and timeline.
            stored = self.fields.get(f"{node}.{name}", {"timeline": f"{node}.{about.timeline}"})
            kept = {key: stored[key] for key in ("type", "timeline") if key in stored}
            described[f"{node}.{name}"] = {**entry, **kept}
        if any(self.fields.get(name) != entry for name, entry in described.items()):
            self.fields.update(described)
            self._save()


def _within_site(node: str) -> str:
    return node.partition("/")[2]


class Patterns:
    """Match the names of a node's fields against the requested patterns."""

    def __init__(self, asked: Mapping[str, set[str]], node: str) -> None:
        matching = (fields for pattern, fields in asked.items() if fnmatchcase(node, pattern))
        self.fields = set().union(*matching)

    def __contains__(self, name: object) -> bool:
        return any(fnmatchcase(str(name), pattern) for pattern in self.fields)

    def without_match(self, names: Iterable[str]) -> list[str]:
        """Return the patterns that match none of these names."""
        found = list(names)
        return sorted(
            each for each in self.fields if not any(fnmatchcase(name, each) for name in found)
        )


if __name__ == "__main__":
    sisock.run(Recorder)
