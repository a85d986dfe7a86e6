"""Fetch the last sample of each field."""

from __future__ import annotations

from collections.abc import Mapping
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
            answer = (await ask(missing, interval, max_points=few)).last()
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
