"""The names of 2018 and 2019: node classes of that time run with `sisock.run` as they are.

New nodes are `sisock.LiveNode`, `sisock.ArchiveNode` or `sisock.DataNodeServer`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from autobahn.twisted.wamp import ApplicationSession
from autobahn.wamp.exception import TransportLost
from autobahn.wamp.types import SessionDetails
from twisted.internet import defer
from twisted.python.failure import Failure

from sisock.connection.session import Session
from sisock.node import data_node
from sisock.node.validation import check_reply
from sisock.wire import protocol
from sisock.wire.align import merge_timeline
from sisock.wire.protocol import sisock_to_unix_time, uri
from sisock.wire.reply import Reply

__all__ = ["BASE_URI", "REALM", "DataNodeServer", "sisock_to_unix_time", "uri"]

BASE_URI = protocol.PREFIX.removesuffix(".")

REALM = os.environ.get("WAMP_REALM") or protocol.REALM


class DataNodeServer(data_node.DataNodeServer, ApplicationSession):
    """The parent of node classes of 2018 and 2019.

    Override `get_fields` and `get_data`, which run in the reactor and may return a Deferred, or
    `_get_fields_blocking` and `_get_data_blocking`, which run in threads. `call`, `publish`,
    `register` and `subscribe` use the node's present session, but are lost with it: call them in
    `after_onJoin`.
    """

    _session: Session | None = None

    def after_onJoin(self, details: SessionDetails) -> Any:
        """Do what needs the session, each time that the node has joined."""

    def get_fields(self, start: float, end: float) -> Any:
        """Return the fields; see `_get_fields_blocking`."""
        return self._in_thread(self._get_fields_blocking, start, end)

    def get_data(
        self, field: list[str], start: float, end: float, min_stride: float | None = None
    ) -> Any:
        """Return samples; see `_get_data_blocking`."""
        return self._in_thread(self._get_data_blocking, field, start, end, min_stride)

    def _get_fields_blocking(self, start: float, end: float) -> Any:
        raise NotImplementedError(f"{type(self).__name__} must override get_fields")

    def _get_data_blocking(
        self, field: list[str], start: float, end: float, min_stride: float | None = None
    ) -> Any:
        raise NotImplementedError(f"{type(self).__name__} must override get_data")

    def _in_thread(self, method: Any, *args: Any) -> defer.Deferred:
        assert self._service is not None
        return self._service.serving.in_thread(method, *args)

    def answering(self) -> data_node.DataNodeServer:
        """Return the node whose answers are made of this one's."""
        return _Answers(self)

    def joined(self, session: Session) -> None:
        """Call `after_onJoin`."""
        self._session = session

        def failed(failure: Failure) -> None:
            self.log.error("after_onJoin failed: {text}", text=failure.getTraceback())

        defer.maybeDeferred(self.after_onJoin, session.session_details).addErrback(failed)

    def _present(self) -> Session:
        if self._session is None or not self._session.is_attached():
            raise TransportLost
        return self._session

    def call(self, *args: Any, **kwargs: Any) -> Any:
        """Call a procedure, as of autobahn's sessions."""
        return self._present().call(*args, **kwargs)

    def publish(self, *args: Any, **kwargs: Any) -> Any:
        """Publish an event, as of autobahn's sessions."""
        return self._present().publish(*args, **kwargs)

    def register(self, *args: Any, **kwargs: Any) -> Any:
        """Register a procedure, as of autobahn's sessions."""
        return self._present().register(*args, **kwargs)

    def subscribe(self, *args: Any, **kwargs: Any) -> Any:
        """Subscribe to a topic, as of autobahn's sessions."""
        return self._present().subscribe(*args, **kwargs)


data_node_server = DataNodeServer


class _Answers(data_node.DataNodeServer):
    """Answers of a node of 2018 or 2019, as the protocol wants them.

    Fields that share a timeline are asked for one by one and brought to common times: the replies
    of that time have the times of one of them, whether or not those of the others are the same.
    """

    def __init__(self, node: DataNodeServer) -> None:
        self._node = node
        self._timeline_of: dict[str, str] = {}
        self.name, self.allowance = node.name, node.allowance

    async def get_fields(self, start: float, end: float) -> Any:
        """Return the node's fields; a timeline's fields may be the name of one."""
        raw = await defer.maybeDeferred(self._node.get_fields, start, end)
        if not isinstance(raw, tuple | list) or not all(isinstance(p, Mapping) for p in raw):
            return raw  # for the caller to complain of
        fields, timelines = raw
        self._timeline_of.update({name: about["timeline"] for name, about in fields.items()})
        return fields, {
            name: {**line, "field": _names(line.get("field"))} for name, line in timelines.items()
        }

    async def get_data(
        self, field: list[str], start: float, end: float, min_stride: float | None = None
    ) -> Any:
        """Return the node's samples."""
        if not self._timeline_of.keys() >= set(field):
            await self.get_fields(1, 0)
        waiting: dict[str, list[str]] = {}
        for name in field:
            waiting.setdefault(self._timeline_of.get(name, name), []).append(name)
        parts: dict[str, dict[str, Reply]] = {line: {} for line in waiting}
        while any(waiting.values()):
            names = {line: left.pop(0) for line, left in waiting.items() if left}
            wanted = list(names.values())
            raw = await defer.maybeDeferred(self._node.get_data, wanted, start, end, min_stride)
            if raw is False:
                return False
            timeline_of = {**self._timeline_of, **_follows(raw)}
            for line, name in names.items():
                parts[line][name] = check_reply(raw, [name], self.name, timeline_of)
        return _combine(parts)


def _names(field: Any) -> list[str]:
    return [field] if isinstance(field, str) else field


def _follows(raw: Any) -> dict[str, str]:
    """Which field has which timeline, where the reply itself says so."""
    lines = raw.get("timeline") if isinstance(raw, Mapping) else None
    if not isinstance(lines, Mapping):
        return {}
    return {
        name: line
        for line, entry in lines.items()
        for name in _names(entry.get("fields") or entry.get("field") or [])
    }


def _combine(parts: Mapping[str, Mapping[str, Reply]]) -> dict[str, Any]:
    """Make one reply of replies for one field each, by timeline."""
    reply: dict[str, Any] = {"data": {}, "timeline": {}, "follows": {}}
    for line, replies in parts.items():
        followed = {n: r.timelines[r.follows[n]] for n, r in replies.items() if n in r.follows}
        t, merged = merge_timeline({n: (f.t, replies[n].data[n]) for n, f in followed.items()})
        ends = [f.finalized_until for f in followed.values() if f.finalized_until is not None]
        reply["data"].update({name: [] for name in replies} | merged)
        if followed:
            reply["timeline"][line] = {"t": t, "finalized_until": min(ends, default=None)}
            reply["follows"].update(dict.fromkeys(followed, line))
    return reply
