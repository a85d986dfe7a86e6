"""Ask nodes for samples that a watch has missed."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping

import numpy as np

from sisock.client.data import Data
from sisock.client.fetch import fetch
from sisock.client.latest import fetch_latest
from sisock.client.merge import Batch, Merger, Passed
from sisock.client.site import Site
from sisock.errors import ReplyTooLarge
from sisock.wire.arrays import merge_timeline
from sisock.wire.fields import Field, KnownNode
from sisock.wire.protocol import LATEST, Interval

MAX_AHEAD = 3600.0  # seconds after now up to which to ask a node without live samples
MAX_VALUES = 100_000  # approximate number of values that one request should return
FIRST_SPAN = 10.0  # seconds of the first request if the spacing of the samples is unknown
MAX_GROWTH = 100  # maximum factor between the seconds of successive requests


async def fetch_missed(
    site: Site, node: KnownNode, line: Merger, fields: Mapping[str, Field], since: float
) -> Passed:
    """Ask for some seconds of the samples that a timeline has missed, and merge the reply.

    Begin at `since` if no sample is known yet. From a node without live samples, only final
    samples are used.
    """
    if not fields:
        line.ask()
        return line.answer(Batch(line.timeline, np.empty(0), {}))
    is_live = "live" in node.features
    if not is_live and line.last is None:
        latest = await fetch_latest(await site.session(), node, fields, since, site.timeout)
        line.last = max((float(s.t[-1]) for s in latest.values() if len(s)), default=None)
    asked = line.ask()
    start = since if asked is None else asked
    data, is_complete = await _fetch_some(site, node, line, fields, start, is_live)
    batch = _joined(data, line.timeline, fields)
    finals = [s.finalized_until for s in data.values() if s.finalized_until is not None]
    if finals and not is_live:
        # Keep the last known sample, as it shows that none is missing after it.
        is_known = batch.t <= (-math.inf if line.last is None else line.last)
        batch = batch.take(is_known | (batch.t < min(finals)))
        is_complete = is_complete or any((s.t >= min(finals)).any() for s in data.values())
    return line.answer(batch, is_complete)


async def _fetch_some(
    site: Site,
    node: KnownNode,
    line: Merger,
    fields: Mapping[str, Field],
    start: float,
    is_live: bool,
) -> tuple[Data, bool]:
    """Fetch some seconds from `start` on; return the samples, and whether they are the last."""
    interval = next(iter(fields.values())).interval
    usual = interval * MAX_VALUES / len(fields) if interval else FIRST_SPAN
    span, line.span = line.span or usual, None
    now = time.time()
    last = LATEST if is_live else max(start, now) + MAX_AHEAD
    while True:
        until = start + span if start + span < now else None
        asked = Interval(start, last if until is None else until)
        try:
            session = await site.session()
            data = await fetch(session, node, fields, asked, timeout=site.timeout)
        except ReplyTooLarge:
            if span < 1e-6:
                raise
            span, now = span / 4, math.inf
            continue
        if until is not None:
            growth = MAX_VALUES / (2 * sum(map(len, data.values())) + 1)
            line.span = span * min(max(growth, 0.5), MAX_GROWTH)
        return data, until is None


def _joined(data: Data, timeline: str, fields: Mapping[str, Field]) -> Batch:
    """Merge the series of a timeline into one batch; values are missing where one has no sample."""
    t, values = merge_timeline({name: (s.t, s.values) for name, s in data.items()})
    for name, column in values.items():
        if not len(column):
            is_number = fields[name].type == "number"
            values[name] = np.full(len(t), np.nan if is_number else None)
    return Batch(timeline, t, values).present()
