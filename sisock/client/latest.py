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

MIN_SPAN = 1e-3  # seconds of an interval that is not divided if its reply is too large
MAX_HALVINGS = 40  # without finding a value: enough to find one millisecond in ten years


async def fetch_latest(
    session: Session, node: KnownNode, fields: Mapping[str, Field], end: float, timeout: float
) -> Data:
    """Fetch the last sample of each field before `end` that has a value; raises as `fetch`.

    A node without the feature `latest` is asked for earlier and earlier intervals, each ten times
    as long as the one before. If a reply would be too large, both halves are asked for, as long as
    that soon finds values: a field may have none for years.
    """
    ask = partial(fetch, session, node, timeout=timeout)
    if "latest" in node.features:
        return (await ask(fields, Interval(EARLIEST, end), latest=True)).last()
    few = MIN_POINTS if "max_points" in node.features else None
    found, missing, halvings = Data(), dict(fields), 0
    intervals = [*widening(end)][::-1]
    while missing and intervals and halvings < MAX_HALVINGS:
        interval = intervals.pop()
        try:
            answer = await _last(ask, missing, interval, few)
            found |= answer
            halvings = 0 if any(map(len, answer.values())) else halvings
        except ReplyTooLarge:
            start, end = interval.start, interval.end
            if end - start < MIN_SPAN:
                raise
            middle = (start + end) / 2
            intervals += [Interval(start, middle), Interval(middle, end)]
            halvings += 1
        missing = {name: each for name, each in fields.items() if not len(found.get(name, ()))}
    return Data({name: found[name] for name in fields})


async def _last(
    ask: Callable[..., Awaitable[Data]],
    fields: Mapping[str, Field],
    interval: Interval,
    max_points: int | None,
) -> Data:
    """Fetch the last values in an interval.

    If decimated samples end with missing ones, the last value is in the same bucket as the last one
    that is kept: ask for the rest of that bucket, until all samples of it are few enough.
    """
    data = await ask(fields, interval, max_points=max_points)
    found = data.last()
    for name, series in found.items():
        size = data[name].bucket
        if size and len(series) and series.t[0] < data[name].t[-1]:
            start = float(series.t[0])
            rest = Interval(start, min((start // size + 1) * size, interval.end))
            if rest.end - rest.start < interval.end - interval.start:
                found |= await _last(ask, {name: fields[name]}, rest, max_points)
    return found
