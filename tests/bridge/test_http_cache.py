"""Tiles through nginx: few calls of the node for many viewers, and nothing stale."""

import itertools
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from sisock import Client
from sisock.testing import wait_until
from tests.bridge.model import NEVER_FINAL, Version
from tests.bridge.nginx import Nginx
from tests.bridge.tile_node import TILE, TileNode, tile_of, tile_path
from tests.conftest import wait_for_nodes

VIEWERS, AT_ONCE = 500, 50
SOON = 10
"""Seconds within which viewers get new samples; usually it is one or two."""

NUMBERS = itertools.count()


@pytest.fixture(scope="module")
def cache(bridge, tmp_path_factory):
    nginx = Nginx(tmp_path_factory.mktemp("nginx"), bridge.port)
    yield nginx
    nginx.end()


def walk(seed):
    """A value per second for ten minutes, up to the present."""
    chance, end = random.Random(seed), int(time.time())
    return {
        name: ([float(t) for t in range(end - 600, end)], [chance.gauss(0, 9) for _ in range(600)])
        for name in ("x", "y/z")
    }


@pytest.fixture
def node(router, bridge):
    """A node of its own for each test; its present tile of buckets of 1 s is not final."""
    version = Version(walk(0), "first", NEVER_FINAL)
    version.final_to = version.samples["x"][0][-1] // TILE * TILE
    node = TileNode(router, f"viewed_{next(NUMBERS)}", {"x": "number", "y/z": "number"}, version)
    with Client(router.settings()) as client:
        wait_for_nodes(client, node.name)
    bridge.wait_for_node(node.name)
    yield node
    node.close()


def present(node):
    """The number of the tile of buckets of 1 s that has the latest sample."""
    return int(node.version.samples["x"][0][-1]) // TILE


def pairs(answer):
    assert answer.status == 200, answer.body
    return list(zip(answer.json["t"], answer.json["values"], strict=True))


def test_five_hundred_viewers_cost_the_node_a_call_per_tile(cache, node):
    shown = [(field, present(node) - back) for field in ("x", "y/z") for back in (0, 2, 5)]
    gate, began = threading.Barrier(AT_ONCE), time.monotonic()

    def view(number):
        if number < AT_ONCE:
            gate.wait()
        connection = cache.connect()
        (entry,) = cache.ask(f"/nodes?node={node.name}", connection).json
        for field, index in shown:
            path = tile_path(node.name, entry["generation"], field, 0, index)
            assert pairs(cache.ask(path, connection)) == tile_of(node.version, field, 0, index)
        connection.close()

    with ThreadPoolExecutor(AT_ONCE) as pool:
        assert len(list(pool.map(view, range(VIEWERS)))) == VIEWERS
    calls = dict.fromkeys(shown, 0)
    for (field, end), count in node.calls.items():
        calls[field, int(end - 1) // TILE] += count
    opened = [calls.pop((field, present(node))) for field in ("x", "y/z")]
    assert set(calls.values()) == {1}, "final tiles"
    # They are kept for a second.
    most = max(VIEWERS / 10, 2 * (time.monotonic() - began))
    assert max(opened) < most, "tiles that are not final"


def test_a_new_sample_is_shown_to_viewers_soon(cache, node):
    for value in (1000.0, -1000.0):
        t = node.version.samples["x"][0][-1] + 0.5
        index = int(t) // (16 * TILE)
        path = node.path("x", 4, index)
        before = pairs(cache.ask(path))
        node.append("x", t, value)
        whole = tile_of(node.version, "x", 4, index)
        assert (t, value) in whole
        assert (t, value) not in before
        wait_until(lambda path=path, whole=whole: pairs(cache.ask(path)) == whole, SOON, "sample")


def test_a_new_generation_is_never_shown_as_it_was(cache, node):
    index, old = present(node), node.version
    paths = [node.path("x", 0, i) for i in (index - 1, index)]
    for path, i in zip(paths, (index - 1, index), strict=True):
        assert pairs(cache.ask(path)) == tile_of(old, "x", 0, i)
    node.version.final_to = NEVER_FINAL
    coming = tile_path(node.name, "second", "x", 0, index - 1)
    assert cache.ask(coming).status == 404
    node.renew("second", walk(1))

    def generation():
        (entry,) = cache.ask(f"/nodes?node={node.name}").json or [{"generation": None}]
        return entry["generation"]

    wait_until(lambda: generation() == "second", SOON, "the new generation")
    for i in (index - 1, index, index):
        assert pairs(cache.ask(node.path("x", 0, i))) == tile_of(node.version, "x", 0, i)
    assert pairs(cache.ask(coming)) == tile_of(node.version, "x", 0, index - 1)
    # What was final of the old one stays as it was, under its own path; the rest has gone.
    assert pairs(cache.ask(paths[0])) == tile_of(old, "x", 0, index - 1)
    wait_until(lambda: cache.ask(paths[1]).status == 404, SOON, "end of the old tile")


def test_what_differs_by_headers_or_path_is_kept_apart(cache, node):
    index = present(node) - 1
    path, origin = node.path("y/z", 0, index), "http://localhost:3000"
    forms = ["application/json", "application/octet-stream"] * 2
    for form in forms:
        answer = cache.ask(path, Accept=form)
        assert (answer.status, answer.headers["Content-Type"]) == (200, form)
    assert "Access-Control-Allow-Origin" not in cache.ask(path).headers
    for _ in range(2):
        allowed = cache.ask(path, Origin=origin).headers
        assert allowed["Access-Control-Allow-Origin"] == origin
        assert cache.ask(path, Origin="http://evil.example").status == 403
    assert cache.ask(path.replace("%2F", "/")).status == 400
    assert cache.ask(path).headers["X-Cache"] == "HIT"
    assert cache.ask(path, If_None_Match=cache.ask(path).headers["ETag"]).status == 304
    assert node.calls["y/z", (index + 1.0) * TILE] == 1


def test_other_names_and_other_routes_are_not_served(cache, node):
    assert cache.ask(node.path("x", 0, 1), Host="evil.example").status == 421
    for path in ("/search", "/query", "/nodesx", "/tiles"):
        assert cache.ask(path).status == 404


def test_nothing_is_kept_of_a_bridge_with_a_login(start_bridge, node, tmp_path):
    closed = start_bridge(SISOCK_HTTP_TOKEN="secret")
    cache, path = Nginx(tmp_path, closed.port), node.path("x", 0, present(node) - 1)
    try:
        for _ in range(2):
            assert cache.ask(path, Authorization="Bearer secret").headers["X-Cache"] == "MISS"
            assert cache.ask(path).status == 401
    finally:
        cache.end()
