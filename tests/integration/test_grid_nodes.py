"""``bucket`` and ``max_points`` of all kinds of nodes, by a real router, against brute force."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from sisock.client.client import Client
from sisock.testing import wait_until
from sisock.wire import grid
from sisock.wire.arrays import from_wire
from sisock.wire.protocol import ERROR_INVALID_ARGUMENT, USER_CONSUMER
from tests import grid_oracle as oracle
from tests.conftest import TOP
from tests.integration.grid_nodes import FIELDS, FINAL, SHARED, START
from tests.integration.peers import Member, ask, data, results, serving
from tests.nodes import Big

ARCHIVE, PLAIN, EXTREMES, LIVE = "g_archive", "g_plain", "g_extremes", "g_live"
WEATHER, BIG = "g_weather", "g_big"
NODES = "tests/integration/grid_nodes.py"
COMMANDS = {
    ARCHIVE: [NODES, "grid_archive"],
    PLAIN: [NODES, "grid_plain"],
    EXTREMES: [NODES, "grid_extremes"],
    LIVE: [NODES, "grid_live"],
    WEATHER: ["data_nodes/weather.py"],
    BIG: ["tests/nodes.py", "big"],
}
INTERVALS = [(START, START + 5000), (START + 3.3, START + 1777.07), (START + 1400, START + 1460)]
MIDNIGHT = 1_500_076_800.0


def weather_samples():
    """The samples of the example data, by field."""
    files = (TOP / "example_data").glob("*.dat")
    return {path.stem: np.loadtxt(path, unpack=True) for path in files}


SAMPLES = {ARCHIVE: FIELDS, PLAIN: FIELDS, WEATHER: weather_samples()}


@pytest.fixture(scope="module", autouse=True)
def served(router, tmp_path_factory):
    """The nodes that all tests here ask."""
    with serving(router, tmp_path_factory.mktemp("grid"), COMMANDS) as client:
        yield client


@pytest.fixture(scope="module")
def consumer(router):
    with Member(router, USER_CONSUMER) as member:
        yield member


def within(samples, start, end):
    """Times and values of the samples in an interval, as lists."""
    t, values = (list(each) for each in samples)
    low, high = np.searchsorted(np.array(t, dtype=float), [start, end])
    return [float(each) for each in t[low:high]], values[low:high]


def as_json(values):
    """Values as a reply of lists has them."""
    plain = [v.item() if isinstance(v, np.generic) else v for v in values]
    return [None if oracle.is_missing(v) else v for v in plain]


def expected(samples, start, end, bucket=None, max_points=None):
    """Times, values and w that brute force gives."""
    t, values = within(samples, start, end)
    if bucket is None:
        kept, w = oracle.decimate_to(t, values, max_points)
    else:
        kept, w = oracle.decimate(t, values, bucket), bucket
    return [t[i] for i in kept], as_json(values[i] for i in kept), w


def check(reply, samples, fields, interval, **asked):
    """Compare a reply of lists with brute force, to the last sample."""
    assert set(reply) == {"data", "timeline", "follows", "bucket", "final_to"}
    assert set(reply["data"]) == set(reply["final_to"]) == set(fields)
    for name in fields:
        t, values, w = expected(samples[name], *interval, **asked)
        assert reply["data"][name] == values, name
        assert math.isfinite(reply["final_to"][name])
        if not t:
            assert name not in reply["timeline"]
            continue
        assert reply["follows"][name] == name
        assert set(reply["timeline"][name]) == {"t", "finalized_until"}
        assert reply["timeline"][name]["t"] == t, name
        assert reply["bucket"][name] == w
    assert set(reply["timeline"]) <= set(fields)


@pytest.mark.parametrize("serializer", ["json", "cbor"])
@pytest.mark.parametrize("node", [ARCHIVE, PLAIN])
def test_a_bucket_gives_exactly_what_brute_force_keeps(router, node, serializer):
    names = list(FIELDS)
    sizes = [2.0**exponent for exponent in (-1, 0, 3, 6, 10, 12, 40)]
    asked = list(itertools.product(INTERVALS, sizes))
    replies = results(
        router, *(data(node, names, *i, bucket=w) for i, w in asked), serializer=serializer
    )
    for reply, (interval, w) in zip(replies, asked, strict=True):
        check(reply, FIELDS, names, interval, bucket=w)


@pytest.mark.parametrize("node", [ARCHIVE, PLAIN])
def test_max_points_gives_exactly_what_brute_force_keeps(router, node):
    names = list(FIELDS)
    asked = list(itertools.product(INTERVALS, (8, 9, 100, 1001, 2999, 3000, 4000)))
    replies = results(router, *(data(node, names, *i, max_points=n) for i, n in asked))
    for reply, (interval, points) in zip(replies, asked, strict=True):
        check(reply, FIELDS, names, interval, max_points=points)
        assert all(len(values) <= points for values in reply["data"].values())


@pytest.mark.parametrize("node", [ARCHIVE, PLAIN])
def test_samples_before_1970_are_decimated_too(router, node):
    (reply,) = results(router, data(node, ["early"], -4e9, 0, max_points=50))
    check(reply, FIELDS, ["early"], (-math.inf, math.inf), max_points=50)


def test_files_are_decimated_as_brute_force_does(router):
    samples = SAMPLES[WEATHER]
    names = ["apex_radiometer", "apex_humidity", "apex_windspeed"]
    for interval in [(MIDNIGHT, MIDNIGHT + 86_400), (MIDNIGHT - 12_345.6, MIDNIGHT + 500_000.5)]:
        asked = [{"bucket": w} for w in (64.0, 1024.0, 65_536.0)]
        asked += [{"max_points": points} for points in (8, 100, 1000)]
        replies = results(router, *(data(WEATHER, names, *interval, **each) for each in asked))
        for reply, each in zip(replies, asked, strict=True):
            check(reply, samples, names, interval, **each)


def get_data(consumer, node, *args, **kwargs):
    """All chunks of a reply, asked for as Part 2 has it."""
    chunks = []
    last = consumer.call(f"consumer.{node}.get_data", *args, on_progress=chunks.append, **kwargs)
    return [*chunks, last]


def joined(chunks, name):
    """Times and values of a field, of all chunks."""
    own = [chunk for chunk in chunks if name in chunk["timeline"]]
    assert all(chunk["follows"][name] == name for chunk in own)
    t = [from_wire(chunk["timeline"][name]["t"]) for chunk in own]
    values = [from_wire(chunk["data"][name]) for chunk in own]
    return (np.concatenate(t), np.concatenate(values)) if own else (np.empty(0), np.empty(0))


@pytest.mark.parametrize("asked", [{"bucket": 0.125}, {"max_points": 30_000}], ids=str)
@pytest.mark.parametrize("encoding", [{}, {"encoding": "binary"}], ids=str)
def test_a_large_reply_is_one_window_in_chunks(consumer, asked, encoding):
    fields, (start, end) = ["f8", "i4", "b1"], (START + 10.01, START + 2000)
    chunks = get_data(consumer, BIG, fields, start, end, **asked, **encoding)
    assert "next" not in chunks[0]
    low, high = np.searchsorted(Big.t, [start, end])
    t = Big.t[low:high]
    final, sizes = {}, {}
    for chunk in chunks:
        final |= chunk.get("final_to", {})
        sizes |= chunk.get("bucket", {})
    assert set(final) == set(fields)
    for name in fields:
        column = Big.columns[name][low:high]
        if "bucket" in asked:
            kept, w = grid.decimate(t, column, 0.125), 0.125
        else:
            kept, w = grid.decimate_by(t, column, None, 30_000)
        own_t, own = joined(chunks, name)
        np.testing.assert_array_equal(own_t, t[kept])
        np.testing.assert_array_equal(own, column[kept])
        assert sizes[name] == w


@pytest.mark.parametrize("exponent", range(-3, 14))
def test_two_million_samples_are_exact_for_every_size(client, exponent):
    w, (start, end) = 2.0**exponent, (START + 123.4567, START + 1987.001)
    low, high = np.searchsorted(Big.t, [start, end])
    got = client.get(BIG, ["f8", "f4", "b1"], start, end, bucket=w)
    for name, series in got.items():
        column = Big.columns[name][low:high]
        kept = grid.decimate(Big.t[low:high], column, w)
        np.testing.assert_array_equal(series.t, Big.t[low:high][kept])
        np.testing.assert_array_equal(series.values, column[kept])


@pytest.mark.parametrize("node", [ARCHIVE, PLAIN])
def test_the_client_has_what_brute_force_keeps(client, node):
    for asked in ({"bucket": 16.0}, {"max_points": 500}):
        got = client.get(node, list(FIELDS), *INTERVALS[1], **asked)
        for name, series in got.items():
            t, values, w = expected(FIELDS[name], *INTERVALS[1], **asked)
            assert series.t.tolist() == t
            assert as_json(series.values.tolist()) == values
            assert math.isfinite(series.final_to)
            assert not series.is_placed
            assert series.bucket == w or not t


@pytest.mark.parametrize("node", [ARCHIVE, PLAIN, WEATHER])
def test_joined_tiles_equal_the_whole(router, node):
    samples = SAMPLES[node]
    name, w, first = ("number", 4.0, START) if node != WEATHER else ("apex_radiometer", 256.0, 0)
    first = math.floor((first or MIDNIGHT) / (64 * w)) * 64 * w
    edges = [first + 64 * w * i for i in range(18)]
    tiles = [data(node, [name], *pair, bucket=w) for pair in itertools.pairwise(edges)]
    *parts, whole = results(router, *tiles, data(node, [name], first, edges[-1], bucket=w))
    t = [each for part in parts if name in part["timeline"] for each in part["timeline"][name]["t"]]
    values = [each for part in parts for each in part["data"][name]]
    assert t == whole["timeline"][name]["t"]
    assert values == whole["data"][name]
    assert t == expected(samples[name], first, edges[-1], bucket=w)[0]


def test_what_is_final_is_said_of_every_field(router):
    names = ["number", "count", "empty", "nobody"]
    archive, plain, before = results(
        router,
        data(ARCHIVE, names, *INTERVALS[0], bucket=8.0),
        data(PLAIN, names, *INTERVALS[0], max_points=100),
        data(PLAIN, names, START - 10, START - 5, bucket=1.0),
    )
    assert set(archive["final_to"]) == set(plain["final_to"]) == set(before["final_to"]) == {*names}
    for name in ("number", "count"):
        assert archive["final_to"][name] > FIELDS[name][0][-1]
    assert plain["final_to"]["number"] == FINAL
    last = START + 3999
    assert last < plain["final_to"]["count"] <= math.nextafter(last, math.inf)
    # Nothing is known of where there are no samples: no bucket may be kept.
    assert max(plain["final_to"]["empty"], plain["final_to"]["nobody"]) < -1e200


def test_fields_of_one_timeline_are_decimated_by_their_own_samples(router):
    both, alone = results(
        router,
        data(ARCHIVE, ["flag", "text"], *INTERVALS[0], bucket=32.0),
        data(ARCHIVE, ["text"], *INTERVALS[0], bucket=32.0),
    )
    assert both["data"]["text"] == alone["data"]["text"]
    assert both["timeline"]["text"] == alone["timeline"]["text"]
    assert set(both["timeline"]["text"]["t"]) <= set(SHARED[::3])


def test_live_samples_are_decimated_and_final_once_taken(router):
    with Client(router.settings()) as client:
        wait_until(lambda: len(client.get(LIVE, "count", -3600, 0)["count"]) > 150, 30, "samples")
        names = ["count", "word", "even"]
        asked = [{"bucket": 2.0**e} for e in (-5, -2, 0, 4)] + [{"max_points": 20}]
        interval = -3600, 0
        for each in asked:
            if (w := each.get("bucket")) is not None:
                newest = client.get(LIVE, "count", *interval)["count"].t[-1]
                interval = math.floor(newest / w - 100) * w, newest + 60
            got = client.get(LIVE, names, *interval, **each)
            whole = client.get(LIVE, names, *interval)
            for name, series in got.items():
                newest = math.nextafter(series.final_to, -math.inf)
                samples = [(t, v) for t, v in pairs(whole[name]) if t <= newest]
                assert newest in [t for t, _ in samples]
                t, values, _ = expected(tuple(zip(*samples, strict=True)), 0, 1e12, **each)
                assert series.t.tolist() == t
                assert as_json(series.values.tolist()) == values


def pairs(series):
    return zip(series.t.tolist(), series.values.tolist(), strict=True)


def test_extremes_without_times_are_said_to_be_placed(router, client):
    own, base = results(
        router,
        data(EXTREMES, ["count"], *INTERVALS[0], bucket=64.0),
        data(EXTREMES, ["count", "number"], *INTERVALS[0], bucket=64.0),
    )
    assert own["placed"] == ["count"]
    assert own["data"] == {"count": [-5, 5]}
    assert own["bucket"] == {"count": 64.0}
    first = math.floor(START / 64) * 64.0
    assert own["timeline"]["count"]["t"] == [first, first + 32]
    assert own["final_to"] == {"count": first + 64}
    check(base, FIELDS, ["count", "number"], INTERVALS[0], bucket=64.0)
    assert client.get(EXTREMES, "count", *INTERVALS[0], bucket=64.0)["count"].is_placed


NODES_ASKED = [ARCHIVE, PLAIN, LIVE, WEATHER]


def refusals(router, *requests):
    """The messages of refused calls."""
    answers = ask(router, list(requests))
    assert [answer.get("error") for answer in answers] == [ERROR_INVALID_ARGUMENT] * len(requests)
    return [text for answer in answers for text in answer["args"]]


def test_a_bucket_that_is_no_power_of_two_is_refused(router):
    requests = (
        data(node, ["x"], START, START + 1, bucket=wrong)
        for node in NODES_ASKED
        for wrong in (0, -1, 3, 0.3, 2.0**-21, 2.0**41, True, "1", [1])
    )
    assert all("bucket" in text for text in refusals(router, *requests))


def test_at_most_one_way_to_thin_out_is_taken(router):
    keywords = {"min_stride": 5, "bucket": 1.0, "max_points": 100}
    pairs = [(*pair, node) for pair in itertools.combinations(keywords, 2) for node in NODES_ASKED]
    requests = (
        data(node, ["x"], START, START + 1, **{name: keywords[name] for name in (one, other)})
        for one, other, node in pairs
    )
    for (one, other, _), text in zip(pairs, refusals(router, *requests), strict=True):
        assert one in text and other in text


def test_a_bucket_may_be_a_whole_number(router):
    (reply,) = results(router, data(PLAIN, ["count"], *INTERVALS[1], bucket=4))
    check(reply, FIELDS, ["count"], INTERVALS[1], bucket=4.0)


def test_there_are_at_most_16384_buckets(router):
    most, w = 16_384, 0.25
    (allowed,) = results(router, data(PLAIN, ["count"], START, START + most * w, bucket=w))
    check(allowed, FIELDS, ["count"], (START, START + most * w), bucket=w)
    too_many = START, START + (most + 1) * w
    requests = [data(node, ["count"], *too_many, bucket=w) for node in NODES_ASKED]
    assert all("16384" in text.replace(",", "") for text in refusals(router, *requests))
    refusals(router, data(PLAIN, ["count"], 1, 0, bucket=w))


def test_buckets_times_fields_are_limited(router):
    names, end = [f"f{i}" for i in range(33)], START + 16_384
    (allowed,) = results(router, data(PLAIN, names[:32], START, end, bucket=1.0))
    assert allowed["timeline"] == {}
    refusals(router, *(data(node, names, START, end, bucket=1.0) for node in NODES_ASKED))


@pytest.mark.parametrize("serializer", ["json", "cbor"])
def test_calls_of_part_1_see_no_difference(router, serializer):
    names = ["number", "flag", "text", "empty"]
    part_1 = [
        data(PLAIN, names, *INTERVALS[2]),
        data(ARCHIVE, names, *INTERVALS[2]),
        data(ARCHIVE, names, *INTERVALS[0], 60),
        data(WEATHER, ["apex_radiometer"], MIDNIGHT, MIDNIGHT + 3600),
    ]
    part_2 = [data(node, names, *INTERVALS[2], bucket=1.0) for node in (PLAIN, ARCHIVE, WEATHER)]
    answers = results(router, *part_1, *part_2, *part_1, serializer=serializer)
    before, after = answers[:4], answers[-4:]
    assert before == after
    for reply in before:
        assert set(reply) == {"data", "timeline"}
        for line in reply["timeline"].values():
            assert set(line) == {"t", "finalized_until"}
    assert set(before[1]["timeline"]) == {"t_number", "shared"}
    t, values = within(FIELDS["number"], *INTERVALS[2])
    assert before[0]["timeline"]["number"]["t"] == t
    assert before[0]["data"]["number"] == as_json(values)
