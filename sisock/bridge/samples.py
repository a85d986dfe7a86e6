"""Samples of one node for the Grafana bridge, in the way that the node and the request allow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from sisock.bridge.nodes import KnownNode
from sisock.bridge.query import NodeQuery, SampleRequest, Samples, ask_node
from sisock.bridge.sample_cache import SampleCache
from sisock.bridge.tile_query import TileQuery
from sisock.client.data import Data, Series
from sisock.connection.session import Session
from sisock.errors import ReplyTooLarge
from sisock.wire.fields import Field

MOST_POINTS = 10_000
"""Points of a picture that nodes make, in one message: no screen is wider. For more, all samples
are asked for in windows, and thinned here."""


async def samples_of_node(
    session: Session,
    known: KnownNode,
    fields: Mapping[str, Field],
    request: SampleRequest,
    cache: SampleCache,
    timeout: float,
    found: Samples,
) -> Mapping[str, Series]:
    """Get samples from memory and from the node.

    Parameters
    ----------
    known : KnownNode
        The node.
    fields : mapping
        Those that are asked for.
    request : SampleRequest
    cache : SampleCache
    timeout : float
        Seconds without any piece of a reply after which the node is given up.
    found : Samples
        Takes counts and notices.

    Raises
    ------
    SisockError
    """
    points = request.max_points
    if points is not None and points <= MOST_POINTS and "max_points" in known.node.features:
        tiles = TileQuery(known, fields, request.interval, points, cache)
        _count(tiles, found)
        pictures = await tiles.run(session, timeout, found)
        found.may_change |= not all(map(known.is_final, pictures.values()))
        return pictures
    found.may_change = True
    whole = replace(request, max_points=None)
    if "progressive" in known.node.features:
        query = NodeQuery(known, fields, whole, cache)
        _count(query, found)
        series: Mapping[str, Series] = await query.run(session, timeout, found)
        return series if points is None else Data(series).overview(points)
    # The fields of a timeline may differ in their times here, so nothing tells what is complete.
    found.cache_misses += len(fields)
    try:
        series = await ask_node(session, known, fields, whole, timeout, found)
    except ReplyTooLarge:
        if points is None:
            raise
        # It can neither thin for a picture nor answer in windows.
        spacing = (request.interval.end - request.interval.start) / points
        spaced = replace(whole, min_stride=spacing)
        series = await ask_node(session, known, fields, spaced, timeout, found)
        found.notices.append(
            f"{known.node.name!r} has too many samples for one reply: of each {spacing:g} s there"
            " is one, whatever lies between"
        )
    return series if points is None else Data(series).overview(points)


def _count(query: NodeQuery | TileQuery, found: Samples) -> None:
    found.cache_hits += query.hits
    found.cache_misses += query.misses
