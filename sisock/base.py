"""Keep the names of 2018 and 2019, so that `sisock.run` runs node classes of that time unchanged.

Write new nodes as a `sisock.LiveNode`, `sisock.ArchiveNode` or `sisock.DataNodeServer`.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Mapping
from functools import partialmethod
from typing import Any

from autobahn.twisted.wamp import ApplicationSession
from autobahn.wamp.exception import TransportLost
from autobahn.wamp.types import SessionDetails
from twisted.internet import defer

from sisock.connection.session import Session
from sisock.node import api
from sisock.node.validation import check_reply
from sisock.wire import protocol
from sisock.wire.arrays import Samples
from sisock.wire.fields import check_fields, listed_fields
from sisock.wire.protocol import sisock_to_unix_time, uri
from sisock.wire.reply import Reply

__all__ = ["BASE_URI", "REALM", "DataNodeServer", "sisock_to_unix_time", "uri"]

BASE_URI = protocol.PREFIX.removesuffix(".")

REALM = os.environ.get("WAMP_REALM") or protocol.REALM


class DataNodeServer(api.DataNodeServer, ApplicationSession):
    """The parent of node classes of 2018 and 2019.

    Override `get_fields` and `get_data`, which run in the reactor and may return a Deferred, or
    `_get_fields_blocking` and `_get_data_blocking`, which run in threads. `call`, `publish`,
    `register` and `subscribe` use the node's present session, and end with it: use them in
    `after_onJoin`, which is called for each session.
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
        assert self.service is not None
        return self.service.requests.in_thread(method, *args)

    def answering(self) -> api.DataNodeServer:
        """Return a node that converts the answers of this one."""
        return _Answers(self)

    def joined(self, session: Session) -> None:
        """Call `after_onJoin`."""
        self._session = session
        done = defer.maybeDeferred(self.after_onJoin, session.session_details)
        done.addErrback(lambda why: self.log.error("after_onJoin: {t}", t=why.getTraceback()))

    def _ask_session(self, name: str, *args: Any, **kwargs: Any) -> Any:
        if self._session is None or not self._session.is_attached():
            raise TransportLost
        return getattr(self._session, name)(*args, **kwargs)

    call = partialmethod(_ask_session, "call")
    publish = partialmethod(_ask_session, "publish")
    register = partialmethod(_ask_session, "register")
    subscribe = partialmethod(_ask_session, "subscribe")


data_node_server = DataNodeServer


class _Answers(api.DataNodeServer):
    """Convert the answers of a node of 2018 or 2019 to today's protocol.

    Asks for fields that share a timeline one by one, and merges their times: a reply of that time
    has the times of one of its fields only, even if the others have different ones.
    """

    def __init__(self, node: DataNodeServer) -> None:
        self._node = node
        self._timeline_of: dict[str, str] = {}
        self.name, self.allowance = node.name, node.allowance

    async def get_fields(self, start: float, end: float) -> Any:
        """Return the node's fields."""
        raw = await defer.maybeDeferred(self._node.get_fields, start, end)
        fields, timelines = check_fields(raw, self.name)
        self._timeline_of.update({name: about["timeline"] for name, about in fields.items()})
        return fields, timelines

    async def get_data(
        self, field: list[str], start: float, end: float, min_stride: float | None = None
    ) -> Any:
        """Return the node's samples."""
        if not self._timeline_of.keys() >= set(field):
            await self.get_fields(1, 0)
        waiting: dict[str, list[str]] = {}
        for name in field:
            waiting.setdefault(self._timeline_of.get(name, name), []).append(name)
        found: dict[str, tuple[str, Samples]] = {}
        untils: defaultdict[str, list[float]] = defaultdict(list)
        while any(waiting.values()):
            names = {line: left.pop(0) for line, left in waiting.items() if left}
            wanted = list(names.values())
            raw = await defer.maybeDeferred(self._node.get_data, wanted, start, end, min_stride)
            if raw is False:
                return False
            timeline_of = {**self._timeline_of, **_follows(raw)}
            for line, name in names.items():
                reply = check_reply(raw, [name], self.name, timeline_of)
                if name in reply.follows:
                    followed = reply.timelines[reply.follows[name]]
                    found[name] = line, (followed.t, reply.data[name])
                    if followed.finalized_until is not None:
                        untils[line].append(followed.finalized_until)
        merged = Reply.merged(found, field)
        for line, timeline in merged.timelines.items():
            timeline.finalized_until = min(untils[line], default=None)
        return merged


def _follows(raw: Any) -> dict[str, str]:
    """Return the timeline of each field that the reply itself lists."""
    lines = raw.get("timeline") if isinstance(raw, Mapping) else None
    entries = lines.items() if isinstance(lines, Mapping) else ()
    return {name: line for line, entry in entries for name in listed_fields(entry) or ()}
