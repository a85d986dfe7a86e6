"""Every type's extremes from a node through the router: to Python, to JavaScript, to the page."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import subprocess

import numpy as np
import pytest

from tests.browser.nodes import COUNT, LISTED, START, TYPED, Types
from tests.conftest import TOP
from tests.integration.peers import start_bare
from tests.nodes import START as BIG_START

ARRAYS = {
    "f8": "Float64Array",
    "f4": "Float32Array",
    "i8": "BigInt64Array",
    "i4": "Int32Array",
    "i2": "Int16Array",
    "i1": "Int8Array",
    "u8": "BigUint64Array",
    "u4": "Uint32Array",
    "u2": "Uint16Array",
    "u1": "Uint8Array",
}


@pytest.fixture
def types(serve):
    return serve("tests/browser/nodes.py", "types", name="round_types")


def digest(array):
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def javascript(router, node, fields, start, end, **options):
    """What js/sisock.js gets."""
    words = [node, json.dumps(fields), repr(start), repr(end), json.dumps(options)]
    done = subprocess.run(
        ["node", "test/router/dump.js", *words],
        cwd=TOP / "js",
        env={
            **os.environ,
            "PATH": f"{os.environ['PATH']}:{TOP / '.venv/bin'}",
            "SISOCK_URL": f"wss://localhost:{router.port}/ws",
            "SISOCK_SECRET": router.home.secret_file("simonsobs").read_text().strip(),
            "NODE_EXTRA_CA_CERTS": str(router.home.ca_certificate),
        },
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def same(told, array):
    """Whether JavaScript's array has the very bytes of Python's, or the same values."""
    if isinstance(told, list):
        return told == array.tolist()
    return told["digest"] == digest(array)


def test_python_gets_the_bytes_that_the_node_has(client, types):
    data = client.get(types, [*TYPED, *LISTED], START, START + COUNT)
    for name, sent in TYPED.items():
        assert data[name].values.dtype.str == sent.dtype.str
        assert data[name].values.tobytes() == sent.tobytes(), name
        assert data[name].t.tobytes() == Types.t.tobytes()
    assert data["text"].values.tolist() == LISTED["text"]
    assert data["flag"].values.tolist() == LISTED["flag"]
    floats = np.array(LISTED["count"], dtype="<f8")
    assert data["count"].values.tobytes() == floats.tobytes()


def test_javascript_gets_the_bytes_that_the_node_has(router, types):
    data = javascript(router, types, [*TYPED, *LISTED], START, START + COUNT)
    for name, kind in ARRAYS.items():
        assert data[name]["values"] == {"type": kind, "digest": digest(TYPED[name])}, name
        assert data[name]["t"] == {"type": "Float64Array", "digest": digest(Types.t)}
    assert data["b1"]["values"] == TYPED["b1"].tolist()
    assert data["text"]["values"] == LISTED["text"]
    assert data["flag"]["values"] == LISTED["flag"]
    floats = np.array(LISTED["count"], dtype="<f8")
    assert data["count"]["values"] == {"type": "Float64Array", "digest": digest(floats)}


def test_the_page_writes_every_type_into_its_csv(page, types):
    names = [*TYPED, *LISTED]
    keys = "&".join(f"s={types}::{name}" for name in names)
    page.open(f"?{keys}&from={START}&to={START + 30}")
    page.wait(lambda: list(page.counts().values()) == [30] * len(names), "the samples")
    head, *rows = csv.reader(page.save_samples().open(newline=""))
    assert head == ["time", "unix", *(f"{types}::{name}" for name in names)]
    assert len(rows) == 30
    columns = dict(zip(names, zip(*(row[2:] for row in rows), strict=True), strict=True))
    for name, sent in TYPED.items():
        kind = {"f": float, "b": lambda text: text == "true"}.get(sent.dtype.kind, int)
        got = [kind(text) for text in columns[name]]
        np.testing.assert_array_equal(np.array(got, sent.dtype), sent[:30], name)
    written = {"True": "true", "False": "false", "None": "NaN"}
    for name, values in LISTED.items():
        texts = [str(value) for value in values[:30]]
        assert list(columns[name]) == [written.get(text, text) for text in texts], name


def test_max_points_gives_javascript_what_it_gives_python(router, client, serve, types):
    big = serve("tests/nodes.py", "big", name="round_big")
    whole = BIG_START, BIG_START + 2000
    for node, fields, interval, points in (
        (big, ["f8", "f4", "i4", "b1"], whole, 1000),
        (big, ["f8", "f4"], whole, 150_000),  # in many pieces
        (types, [*TYPED, *LISTED], (START, START + COUNT), 500),
    ):
        told = javascript(router, node, fields, *interval, maxPoints=points)
        data = client.get(node, fields, *interval, max_points=points)
        for name in fields:
            assert 8 <= len(data[name]) <= points
            assert same(told[name]["t"], data[name].t), (node, name)
            assert same(told[name]["values"], data[name].values), (node, name)


def test_javascript_decimates_as_python_does_where_the_node_cannot(router, client, start):
    bare = start_bare(start, router, "bare_node", "--name=round_bare")
    bare.wait_for("added True")
    fields = ["ramp", "word", "flag", "holes", "wave"]
    # It would fail with a keyword that it does not know.
    told = javascript(router, "round_bare", fields, START, START + 1000, maxPoints=60)
    data = client.get("round_bare", fields, START, START + 1000, max_points=60)
    for name in fields:
        assert 30 < len(data[name]) <= 60
        assert same(told[name]["t"], data[name].t), name
        assert same(told[name]["values"], data[name].values), name


@pytest.mark.parametrize("options", [{"maxPoints": 7}, {"maxPoints": 20.5}, {"maxPoints": "x"}])
def test_javascript_refuses_a_number_of_points_that_is_none(router, types, options):
    told = javascript(router, types, ["f8"], START, START + 5, **options)
    assert told == {
        "kind": "argument",
        "message": "maxPoints must be a whole number, at least 8",
    }


def test_javascript_refuses_two_strategies(router, types):
    told = javascript(router, types, ["f8"], START, START + 5, maxPoints=9, minStride=1)
    assert told["kind"] == "argument"
    assert "minStride" in told["message"]
