"""Fetch the last sample of each field."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial

from sisock.client.data import Data
from sisock.client.fetch import fetch
from sisock.connection.session import Session
from sisock.errors import ReplyTooLarge
from sisock.wire.fields import Field, KnownNode
from sisock.wire.protocol import EARLIEST, MIN_POINTS, Interval, widening

ROUGHLY = 1000, 100, 10  # spaced samples of an interval that is too large: tried in this order


async def fetch_latest(
    session: Session, node: KnownNode, fields: Mapping[str, Field], end: float, timeout: float
) -> Data:
    """Fetch the last sample of each field before `end` that has a value; raises as `fetch`.

    A node without the feature `latest` is asked for earlier and earlier intervals, each ten times
    as long as the one before.
    """
    ask = partial(fetch, session, node, timeout=timeout)
    if "latest" in node.features:
        return (await ask(fields, Interval(EARLIEST, end), latest=True)).last()
    max_points = MIN_POINTS if "max_points" in node.features else None
    found = Data()
    for interval in widening(end):
        missing = {name: each for name, each in fields.items() if not len(found.get(name, ()))}
        if missing:
            found |= await _last_within(ask, missing, interval, max_points)
    return Data({name: found[name] for name in fields})


async def _last_within(
    ask: Callable[..., Awaitable[Data]],
    fields: Mapping[str, Field],
    interval: Interval,
    max_points: int | None,
) -> Data:
    """Fetch the last sample of each field in an interval; search it in steps if it is too large."""
    try:
        return (await ask(fields, interval, max_points=max_points)).last()
    except ReplyTooLarge as error:
        too_large = error
    if len(fields) > 1:
        apart = Data()
        for name, each in fields.items():
            apart |= await _last_within(ask, {name: each}, interval, max_points)
        return apart
    span = interval.end - interval.start
    for count in ROUGHLY if span > 1e-3 else ():
        try:
            rough = await ask(fields, interval, min_stride=span / count)
        except ReplyTooLarge:
            continue
        (series,) = rough.values()
        if not len(series):
            return rough
        # The reply would contain any sample that is a stride or more after this one.
        last = float(series.t[-1])
        rest = Interval(last, min(last + 2 * span / count, interval.end))
        return await _last_within(ask, fields, rest, max_points)
    raise too_large
