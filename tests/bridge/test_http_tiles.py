"""Tiles over HTTP: what they hold, how long caches may keep them, and paths that name none."""

import math
import random
from urllib.parse import quote

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sisock import Client
from sisock.testing import free_port
from tests import grid_oracle as oracle
from tests import sites
from tests.bridge.model import VALUES, Version
from tests.bridge.tile_node import OPTIONAL, TILE, TileNode, tile_of, tile_path
from tests.conftest import wait_for_nodes

START = 1_500_000_000
SECONDS = 1000
FIELDS = {"number": "number", "flag": "bool", "word": "string", "integer": "number"}
NAMES = ["a/b", "%2F", "ü € 🙂", "a?b#c&d=+", "a%", "...", "a\\b\"'<>", " ", "*", "::"]
JSON, BINARY = "application/json", "application/octet-stream"


def made():
    """Samples of all fields: final up to the last 100 s; in eighths of a second, some twice."""
    chance, samples = random.Random(1), {}
    for name in [*FIELDS, *NAMES]:
        kind = FIELDS.get(name, "number")
        t = sorted(START + chance.randrange(SECONDS * 8) / 8 for _ in range(2 * SECONDS))
        values = [chance.choice(VALUES[kind]) for _ in t]
        samples[name] = (
            t,
            [3 if v is None else int(v) for v in values] if name == "integer" else values,
        )
    return Version(samples, "g/1", START + SECONDS - 100.0)


@pytest.fixture(scope="module")
def node(router, bridge):
    kinds = {**dict.fromkeys(NAMES, "number"), **FIELDS}
    node = TileNode(router, "tiled", kinds, made())
    with Client(router.settings()) as client:
        wait_for_nodes(client, "tiled")
    bridge.wait_for_node("tiled")
    yield node
    node.close()


@pytest.fixture(scope="module")
def indices():
    """Numbers of the tiles of w = 1: all that have samples, and one to each side."""
    return range(START // TILE - 1, (START + SECONDS) // TILE + 2)


def pairs(answer):
    assert answer.status == 200, answer.body
    content = answer.json
    assert set(content) == {"t", "values"}
    return list(zip(content["t"], content["values"], strict=True))


@pytest.mark.parametrize("k", [-3, 0, 1, 4, 40])
@pytest.mark.parametrize("field", FIELDS)
def test_tiles_joined_are_the_decimated_samples(bridge, node, field, k):
    t, values = node.version.samples[field]
    first, last = int(t[0] / 2.0**k) // TILE, int(t[-1] / 2.0**k) // TILE
    if k == -3:
        last = first + 9
        t = t[: sum(each < (last + 1) * TILE * 2.0**k for each in t)]
    joined = []
    for index in range(first, last + 1):
        joined += pairs(bridge.ask(node.path(field, k, index)))
    kept = oracle.decimate(t, values[: len(t)], 2.0**k)
    assert joined == [(t[i], values[i]) for i in kept]


@pytest.mark.parametrize("field", ["number", "integer"])
def test_a_tile_as_bytes_has_the_same_samples(bridge, node, indices, field):
    for index in indices:
        path = node.path(field, 0, index)
        answer = bridge.ask(path, headers={"Accept": BINARY})
        assert (answer.status, answer.headers["Content-Type"]) == (200, BINARY)
        t, values = np.frombuffer(answer.body, "<f8").reshape(2, -1).tolist()
        expected = [(a, math.nan if v is None else v) for a, v in pairs(bridge.ask(path))]
        np.testing.assert_equal(list(zip(t, values, strict=True)), expected)


@pytest.mark.parametrize("name", NAMES)
def test_any_name_can_be_asked_for(bridge, node, indices, name):
    index = indices[4]
    assert pairs(bridge.ask(node.path(name, 0, index))) == tile_of(node.version, name, 0, index)


@pytest.mark.parametrize(
    ("accept", "field", "expected"),
    [
        ("*/*", "number", JSON),
        ("text/html, */*;q=0.8", "number", JSON),
        (f"{JSON};q=0.5, {BINARY}", "number", BINARY),
        (f"{BINARY}, */*;q=0.1", "word", JSON),
        (BINARY, "word", None),
        (BINARY, "flag", None),
        ("text/html", "number", None),
    ],
)
def test_the_client_chooses_the_form(bridge, node, indices, accept, field, expected):
    answer = bridge.ask(node.path(field, 0, indices[3]), headers={"Accept": accept})
    assert answer.status == (406 if expected is None else 200)
    if expected is not None:
        assert answer.headers["Content-Type"] == expected
        assert answer.headers["Vary"] == "Accept, Origin"
    else:
        assert answer.headers["Cache-Control"] == "no-store"


def test_only_final_tiles_are_kept_for_long(bridge, node, indices):
    for index in indices:
        is_final = (index + 1) * TILE <= node.version.final_to
        for accept in (JSON, BINARY):
            answer = bridge.ask(node.path("number", 0, index), headers={"Accept": accept})
            control = answer.headers["Cache-Control"]
            assert control.startswith("public, max-age=")
            assert ("immutable" in control) == is_final
            assert ("max-age=1," in control) == (not is_final)


def test_a_tile_that_the_client_has_is_not_sent_again(bridge, node, indices):
    tags = set()
    for index in indices[-6:]:
        for accept in (JSON, BINARY):
            path, headers = node.path("number", 0, index), {"Accept": accept}
            first = bridge.ask(path, headers=headers)
            tag = first.headers["ETag"]
            tags.add((index, accept, tag))
            head = bridge.ask(path, method="HEAD", headers=headers)
            assert (head.status, head.body, head.headers["ETag"]) == (200, b"", tag)
            assert int(head.headers["Content-Length"]) == len(first.body)
            for known in (tag, f"W/{tag}", f'"x", {tag}', "*"):
                again = bridge.ask(path, headers={**headers, "If-None-Match": known})
                assert (again.status, again.body) == (304, b"")
                assert "Content-Length" not in again.headers
                for name in ("ETag", "Cache-Control", "Vary"):
                    assert again.headers[name] == first.headers[name]
            assert bridge.ask(path, headers={**headers, "If-None-Match": '"x"'}).status == 200
    assert len({tag for _, _, tag in tags}) >= 8, "different tiles have different tags"


def test_a_final_tile_is_fetched_once_and_the_future_never(bridge, node, indices):
    index = indices[6]
    before = node.calls.copy()
    future = [node.path("a%", 0, 2**46), node.path("a%", 40, 2**46)]
    for path in [node.path("a%", 0, index), *future] * 3:
        answer = bridge.ask(path)
        assert answer.status == 200
        assert ("immutable" in answer.headers["Cache-Control"]) == (path not in future)
    assert node.calls - before == {("a%", (index + 1.0) * TILE): 1}


GOOD = ["tiled", "g%2F1", "number", "0", str(START // TILE)]
BAD = [
    *[(2, name, 404) for name in ("none", "Number", "\U0001f642", "a" * 9000)],
    *[(0, "none", 404), (0, "a" * 500, 404), (1, "g", 404), (1, "g%2f2", 404), (1, "g/1", 400)],
    *[(n, part, 400) for n in (0, 1, 2) for part in ("", ".", "..", "%2E%2e", "%00", "a%00b")],
    *[(n, part, 400) for n in (0, 1, 2) for part in ("%FF", "%C3%28", "%ED%A0%80")],
    *[(3, k, 400) for k in ("", "41", "-21", "1٣", "0.5", "00", "-0", "+1", "1e1", "9" * 400)],
    *[(4, n, 400) for n in ("", "1٣", "-1", "01", "1.0", str(2**47), "9" * 400, "1/", "1/2")],
]  # fmt: skip


@pytest.mark.parametrize(("position", "part", "status"), BAD)
def test_a_path_that_names_no_tile_is_a_clear_error(bridge, node, position, part, status):
    parts = [*GOOD]
    parts[position] = quote(part, safe="%/-._")
    for method in ("GET", "HEAD"):
        answer = bridge.ask("/tiles/" + "/".join(parts), method=method)
        assert answer.status == status
        assert answer.headers["Cache-Control"] == "no-store"
        assert method == "HEAD" or len(answer.json["message"]) > 20


@settings(max_examples=60)
@given(st.lists(st.text(max_size=9), min_size=5, max_size=5))
def test_whatever_a_path_is_made_of_is_answered(bridge, parts):
    answer = bridge.ask("/tiles/" + "/".join(quote(part, safe="") for part in parts))
    assert answer.status in (400, 404)


def test_a_failure_of_the_node_is_told_and_not_kept(bridge, node, indices):
    path = node.path("...", 0, indices[5])
    node.is_broken = True
    failed = bridge.ask(path)
    node.is_broken = False
    assert (failed.status, failed.headers["Cache-Control"]) == (502, "no-store")
    assert "tiled" in failed.json["message"]
    assert pairs(bridge.ask(path)) == tile_of(node.version, "...", 0, indices[5])


def test_other_methods_and_short_paths_are_refused(bridge, node):
    path = "/tiles/" + "/".join(GOOD)
    refused = bridge.ask(path, {})
    assert (refused.status, "GET" in refused.headers["Allow"]) == (405, True)
    for short in ("/tiles/", "/tiles//////", path.replace("/tiles/", "/tiles%2F")):
        assert bridge.ask(short).status == 400
    assert bridge.ask("/tiles").status == 404
    assert bridge.ask(f"{path}?any=thing").status == 200


def test_all_tiles_are_counted_as_one_route(bridge, node, indices):
    def counted():
        lines = bridge.ask("/prometheus").body.decode().splitlines()
        return {
            line.rpartition(" ")[0]
            for line in lines
            if line.startswith("sisock_http") and "tile" in line
        }

    for index in indices:
        bridge.ask(node.path("number", 0, index))
        bridge.ask(tile_path("none", "none", "none", 0, index))
    expected = {f'sisock_http_requests_total{{path="/tiles/",status="{n}"}}' for n in (200, 404)}
    assert expected <= counted()
    assert all('path="/tiles/"' in line for line in counted())


def test_the_list_of_nodes_has_what_tiles_need(bridge, node):
    answer = bridge.ask("/nodes")
    by_name = {entry["name"]: entry for entry in answer.json}
    assert {"tiled", "apex_archive", "sensors"} <= set(by_name)
    assert answer.headers["Cache-Control"] == "public, max-age=1, stale-while-revalidate=1"
    assert by_name["tiled"]["generation"] == node.version.generation
    archive, entry = bridge.ask("/nodes?node=tiled&node=apex_archive&node=none").json
    assert {**by_name["tiled"], "fields": entry["fields"]} == entry
    assert set(entry["fields"]) == {*FIELDS, *NAMES}
    assert entry["fields"]["word"] == {
        **{"type": "string", "units": "K", "interval": 1.0},
        **dict.fromkeys(["description", "first", "last"]),
    }
    assert OPTIONAL["integer"].items() <= entry["fields"]["integer"].items()
    field = archive["fields"]["apex_temperature"]
    tile = tile_path(
        "apex_archive", archive["generation"], "apex_temperature", 12, int(field["last"]) >> 18
    )
    assert pairs(bridge.ask(tile))[-1][0] == field["last"]
    assert bridge.ask("/nodes?node=none").json == []


def test_tiles_of_sites_have_the_site_in_their_name(router, start_bridge, node, indices, tmp_path):
    dead = sites.entry("dead", router, free_port())
    both = start_bridge(**sites.write(tmp_path, sites.entry("here", router), dead))
    for arguments in ("", "?node=here%2Ftiled&node=dead%2Ftiled"):
        answer = both.ask(f"/nodes{arguments}")
        assert "here/tiled" in [entry["name"] for entry in answer.json]
        assert "'dead' cannot be reached" in answer.headers["X-Sisock-Notice"]
    (entry,) = both.ask("/nodes?node=here%2Ftiled").json
    path = tile_path(entry["name"], entry["generation"], "number", 0, indices[3])
    assert "here%2Ftiled" in path
    assert pairs(both.ask(path)) == tile_of(node.version, "number", 0, indices[3])
    for name, status in (("dead/tiled", 503), ("other/tiled", 404), ("tiled", 404)):
        answer = both.ask(tile_path(name, entry["generation"], "number", 0, indices[3]))
        assert (answer.status, answer.headers["Cache-Control"]) == (status, "no-store")


def test_what_needs_a_login_is_kept_by_no_shared_cache(start_bridge, bridge, node, indices):
    closed = start_bridge(SISOCK_HTTP_TOKEN="secret")
    for path in (node.path("number", 0, indices[3]), node.path("number", 0, indices[-1])):
        refused = closed.ask(path)
        assert (refused.status, refused.headers["Cache-Control"]) == (401, "no-store")
        answer = closed.ask(path, headers={"Authorization": "Bearer secret"})
        assert answer.status == 200
        assert answer.headers["Cache-Control"].startswith("private, max-age=")
        assert answer.headers["ETag"] == bridge.ask(path).headers["ETag"], "of two bridges"


def test_pages_of_other_origins_read_no_tile(bridge, node, indices):
    path, allowed = node.path("number", 0, indices[3]), "http://localhost:3000"
    answer = bridge.ask(path, headers={"Origin": allowed})
    assert answer.headers["Access-Control-Allow-Origin"] == allowed
    refused = bridge.ask(path, headers={"Origin": "http://evil.example"})
    assert (refused.status, refused.headers["Cache-Control"]) == (403, "no-store")
