"""Asking a data node for samples, in the best way that it announces."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from twisted.internet import defer

from sisock.client.data import Data
from sisock.client.joining import join
from sisock.client.progress import Progress
from sisock.client.windows import Stream, not_false
from sisock.connection.session import Session
from sisock.wire.fields import Field
from sisock.wire.protocol import Interval, node_uri

CALLS_AT_ONCE = 4
"""Calls under way to a node that is asked for each field of a timeline by itself."""


async def fetch(
    session: Session,
    node: str,
    features: Iterable[str],
    fields: Mapping[str, Field],
    interval: Interval,
    min_stride: float | None,
    timeout: float,
    max_points: int | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    on_piece: Callable[[Any], None] | None = None,
) -> Data:
    """Ask a node for samples, in the best way that it announces.

    Parameters
    ----------
    session : Session
        A joined session.
    node : str
        The node's name.
    features : iterable of str
        What the hub says that the node can do.
    fields : mapping
        Those that are asked for.
    interval : Interval
        UNIX seconds. What a node sends beside it is left out.
    min_stride : float or None
        Seconds between samples, at least.
    timeout : float
        Seconds without any piece of the reply after which the node is given up.
    max_points : int, optional
        Samples of each field, at most; sent only to a node that knows it.
    on_progress : callable, optional
        Called with a `Progress` after each window of a long reply.
    on_piece : callable, optional
        Called with each piece of a reply as it comes, undecoded; an error that it raises ends all.

    Returns
    -------
    Data

    Raises
    ------
    ReplyTooLarge
        If the node answers False.
    NodeContractError
        If its reply is none.
    """
    features = set(features)
    keywords: dict[str, Any] = {"encoding": "binary"} if "binary" in features else {}
    if max_points is not None and "max_points" in features:
        keywords["max_points"] = max_points
    if "progressive" in features:
        stream = Stream(session, node, fields, min_stride, keywords, timeout, on_progress, on_piece)
        return (await stream.run(interval)).clip(interval.start, interval.end)

    async def ask(some: Mapping[str, Field]) -> Data:
        arguments = list(some), interval.start, interval.end
        stride = () if min_stride is None else (min_stride,)
        uri = node_uri(node, "get_data")
        reply = await session.request(uri, *arguments, *stride, timeout=timeout, **keywords)
        if on_piece is not None:
            on_piece(reply)
        joined = join([not_false(reply, node)], some, node)
        return joined.clip(interval.start, interval.end)

    turns = defer.DeferredSemaphore(CALLS_AT_ONCE)
    calls = [
        turns.run(lambda some=some: defer.ensureDeferred(ask(some))) for some in _apart(fields)
    ]
    found = {name: series for data in await gather(calls) for name, series in data.items()}
    return Data({name: found[name] for name in fields})


def _apart(fields: Mapping[str, Field]) -> list[dict[str, Field]]:
    """Group fields so that no two of a group share a timeline.

    Nodes of 2018 read each field from a file of its own and give the times of one of them for all:
    where a file lacks a sample, nothing in a common reply tells which.
    """
    groups: list[dict[str, Field]] = []
    lines: Counter[str] = Counter()
    for name, field in fields.items():
        if lines[field.timeline] == len(groups):
            groups.append({})
        groups[lines[field.timeline]][name] = field
        lines[field.timeline] += 1
    return groups


async def gather(calls: list[defer.Deferred]) -> list[Any]:
    """Wait for all calls; if one fails, cancel the others and raise its error."""
    try:
        return await defer.gatherResults(calls, consumeErrors=True)
    except defer.FirstError as error:
        for call in calls:
            call.cancel()
        raise error.subFailure.value from None
