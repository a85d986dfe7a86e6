"""Compare the data of a new replica with the data that the present replicas serve."""

from __future__ import annotations

import math
from typing import Any

from autobahn.wamp.exception import ApplicationError
from twisted.internet import defer

from sisock.connection.session import Session
from sisock.errors import SisockError
from sisock.node.requests import RequestHandler
from sisock.wire.grid import bucket_size_for
from sisock.wire.protocol import EARLIEST, node_uri

FIELDS_AT_ONCE = 50

POINTS = 1000  # approximate number of samples of each field to compare: extremes of buckets
TIMEOUT = 60  # seconds to wait for each answer of the present replicas

_REFUSALS = ApplicationError, SisockError, defer.TimeoutError, LookupError, TypeError, ValueError
"""Errors if a replica fails to answer, or its answer is malformed."""


async def serves_the_same(session: Session, name: str, requests: RequestHandler) -> bool:
    """Return whether this node and the replicas listed under its name serve the same data.

    Compares fields, and samples that are final for both. Returns False if a replica fails.
    """
    try:
        return await _compare(session, name, requests)
    except _REFUSALS as error:
        requests.warn(f"the other replicas cannot be compared: {error}")
        return False


async def _compare(session: Session, name: str, requests: RequestHandler) -> bool:
    theirs = await session.request(node_uri(name, "get_fields"), 1, 0, timeout=TIMEOUT)
    ours = await requests.answer_fields((1, 0), {})
    if _types(theirs) != _types(ours):
        return False
    names = sorted(ours[0])
    for first in range(0, len(names), FIELDS_AT_ONCE):
        if not await _have_same_samples(session, name, requests, names[first:][:FIELDS_AT_ONCE]):
            return False
    return True


async def _have_same_samples(
    session: Session, name: str, requests: RequestHandler, fields: list[str]
) -> bool:
    few = await requests.answer_data((fields, 1, 0), {"max_points": POINTS}, None)
    times = [t for line in few["timeline"].values() for t in (line["t"][0], line["t"][-1])]
    if not times:
        return True
    start, end = min(times), math.nextafter(max(times), math.inf)
    w = bucket_size_for(start, end, POINTS)
    asked = fields, max(math.floor(start / w) * w, EARLIEST), end
    procedure = node_uri(name, "get_data")
    theirs = await session.request(procedure, *asked, timeout=TIMEOUT, bucket=w)
    ours = await requests.answer_data(asked, {"bucket": w}, None)
    return all(
        _samples(theirs, ours, each, w) == _samples(ours, theirs, each, w) for each in fields
    )


def _types(answer: Any) -> dict[str, Any]:
    return {name: entry.get("type") for name, entry in answer[0].items()}


def _samples(reply: Any, other: Any, field: str, w: float) -> list[tuple[float, Any]]:
    """Return the samples of the buckets that are final in both replies."""
    end = min(math.floor(each["final_to"][field] / w) * w for each in (reply, other))
    values = reply["data"].get(field) or []
    t = reply["timeline"][reply["follows"][field]]["t"] if values else []
    return [(time, value) for time, value in zip(t, values, strict=True) if time < end]
