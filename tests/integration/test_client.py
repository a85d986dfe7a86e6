import asyncio
import threading
import time

import numpy as np
import pytest

from sisock import AsyncClient, Client
from sisock.errors import ClientClosed, InvalidArgument, RouterUnreachable
from sisock.testing import wait_until
from sisock.wire.grid import stride_indices
from sisock.wire.protocol import USER_CONSUMER
from tests.conftest import TOP, Program, wait_for_absence, wait_for_nodes
from tests.integration.peers import Member
from tests.nodes import ROWS, START, Big


@pytest.fixture(scope="module")
def big(router, tmp_path_factory):
    log = tmp_path_factory.mktemp("big") / "log"
    program = Program([str(TOP / "tests/nodes.py"), "big"], router.environ("server"), log)
    with Client(router.settings()) as client:
        wait_for_nodes(client, "big")
    yield "big"
    program.end()


def test_two_million_samples_arrive_while_others_are_answered(router, client, big):
    answered, ended = [], threading.Event()

    def bystander():
        with Client(router.settings()) as other:
            while not ended.is_set():
                began = time.perf_counter()
                other.nodes()
                answered.append(time.perf_counter() - began)

    thread = threading.Thread(target=bystander)
    thread.start()
    try:
        wait_until(lambda: answered, 30, "the first answer to the other client")
        before = len(answered)
        data = client.get(big, ["f8", "f4", "i4", "b1"], 1, 0)
        during = len(answered) - before
    finally:
        ended.set()
        thread.join()
    np.testing.assert_array_equal(data["f8"].t, Big.t)
    for name, column in Big.columns.items():
        assert data[name].values.dtype == column.dtype
        np.testing.assert_array_equal(data[name].values, column)
    assert during > 0
    print(f"{during} calls during the transfer, slowest {max(answered[before:]) * 1e3:.0f} ms")


@pytest.mark.parametrize("stride", [0.0, 0.0015, 0.01, 1.0, 1000.0])
def test_min_stride_is_exact_over_many_windows(client, big, stride):
    t = client.get(big, "f4", START, START + 1500, stride)["f4"].t
    at_once = Big.t[:1_500_000][stride_indices(Big.t[:1_500_000], stride)]
    np.testing.assert_array_equal(t, at_once)
    assert (np.diff(t) >= stride).all()


def test_without_fields_all_are_there_and_a_stride_may_be_text(client, big):
    data = client.get(big, start=START, end=START + 30, min_stride="5s")
    assert list(data) == list(client.fields(big))
    assert data["f4"].t.tolist() == [START + 5 * n for n in range(6)]
    with pytest.raises(InvalidArgument, match="is not a duration"):
        client.get(big, "f4", min_stride="soon")


def test_a_reply_in_many_windows_asks_the_nodes_own_code_once(router, client, start):
    node = start(router, TOP / "tests/nodes.py", "counted")
    wait_for_nodes(client, "counted")
    told = []
    end = START + ROWS / 1000
    data = client.get("counted", "f8", 1, end, on_progress=told.append)
    assert len(data["f8"]) == ROWS
    assert len(told) > 2
    assert node.output.count("read f8") == 1
    assert told[-1].samples == ROWS and told[-1].fraction == 1
    assert told[0].fraction < 0.2, "it counts from the first sample, not from 1970"
    assert sorted(told, key=lambda p: (p.samples, p.fraction)) == told
    # Another window size, another end: nothing of what was kept is taken for it.
    assert len(client.get("counted", "f8", START + 1, START + 2)["f8"]) == 1000
    assert node.output.count("read f8") == 2


def test_an_error_in_on_progress_ends_the_request_and_nothing_else(client, big):
    def fail(progress):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        client.get(big, "f8", 1, 0, on_progress=fail)
    assert len(client.get(big, "f8", START, START + 1)["f8"]) == 1000


def test_progress_is_told_to_the_one_who_waits(router, client, big):
    told = []

    def tell(progress):
        told.append((threading.current_thread(), progress.fraction))

    def fail(progress):
        raise KeyError("mine")

    async def ask():
        async with AsyncClient(router.settings()) as waiting:
            await waiting.get(big, "f8", 1, 0, on_progress=tell)
            with pytest.raises(KeyError, match="mine"):
                await waiting.get(big, "f8", 1, 0, on_progress=fail)

    client.get(big, "f8", 1, 0, on_progress=tell)
    count = len(told)
    asyncio.run(ask())
    assert {thread for thread, _ in told} == {threading.current_thread()}
    assert told[count - 1][1] == told[-1][1] == 1 and len(told) > count + 1


def test_the_interval_is_half_open(client, big):
    assert client.get(big, "i4", START + 1, START + 1.002)["i4"].values.tolist() == [0, 1]
    assert len(client.get(big, "i4", START - 10, START)["i4"]) == 0


def test_missing_values_and_types_through_the_original_api(client, odd):
    for node in (odd(), odd("coroutine")):
        data = client.get(node, ["nan", "text", "flag", "count", "empty"], START, START + 5)
        assert np.isnan(data["nan"].values).tolist() == [False, True, True, True, False]
        assert data["text"].values.tolist() == ["a", None, "ü", "", "e"]
        assert data["flag"].values.tolist() == [True, None, False, True, True]
        np.testing.assert_array_equal(data["count"].values, [1, np.nan, 3, 4, 5])
        assert len(data["empty"]) == 0
        assert data["nan"].finalized_until == START + 3
        assert data["nan"].t.tolist() == [START + i for i in range(5)]


def test_data_becomes_a_pandas_frame(client, odd):
    frame = client.get(odd(), ["nan", "text"], START, START + 3).to_pandas()
    assert list(frame.columns) == ["nan", "text"]
    assert str(frame.index[0]) == "2017-07-14 02:40:00+00:00"
    assert frame["text"].tolist()[0] == "a"


def test_a_field_that_ends_early_costs_a_reply_of_many_windows_nothing(client, odd):
    data = client.get(odd("ending"), ["long", "short"], START, START + 400_000)
    np.testing.assert_array_equal(data["long"].values, np.arange(400_000))
    np.testing.assert_array_equal(data["short"].values[:1000], np.arange(1000))
    assert np.isnan(data["short"].values[1000:]).all()
    assert len(data["short"]) == 400_000


def test_a_stream_ends_with_its_client(router, odd):
    node = odd("ticker", "ending_stream")
    client = Client(router.settings())
    stream = client.watch(node)
    stream.next(40)
    client.close()
    with pytest.raises(RouterUnreachable, match="closed"):
        for _ in stream:
            pass
    with pytest.raises(ClientClosed):
        next(stream)
    with pytest.raises(ClientClosed, match="make a new one"):
        client.nodes()


def test_live_samples_come_as_an_iterator_each_once(client, odd):
    node = odd("ticker", "watched")
    with client.watch(node) as stream:
        samples = [stream.next(40) for _ in range(15)]
    times = [sample.t for sample in samples]
    assert times == sorted(set(times))
    kept = client.get(node, ["count", "state", "even"], "-1h")
    stored = dict(zip(kept["count"].t.tolist(), kept["state"].values, strict=True))
    # The node keeps fifty: if the answer came late, the first have gone.
    samples = [sample for sample in samples if sample.t >= min(stored)]
    assert all(stored[sample.t] == sample.values["state"] for sample in samples)


def test_nodes_are_watched_as_they_come_and_go(client, router, start):
    with client.watch_nodes() as events:
        program = start(router, "tests/nodes.py", "odd", "--name", "visitor")
        event = events.next(30)
        while event.node.name != "visitor":
            event = events.next(30)
        assert event.present
        assert event.node.features >= {"binary", "progressive", "max_points"}
        program.end()
        while event.node.name != "visitor" or event.present:
            event = events.next(30)
    wait_for_absence(client, "visitor")


def test_the_client_works_where_an_asyncio_loop_runs(router, big):
    async def notebook_cell():
        with Client(router.settings()) as client:
            return len(client.get(big, "i4", START, START + 1)["i4"])

    assert asyncio.run(notebook_cell()) == 1000


def test_many_threads_share_one_client(client, big):
    lengths = []
    threads = [
        threading.Thread(
            target=lambda n=n: lengths.append(len(client.get(big, "f4", START, START + n)["f4"]))
        )
        for n in range(1, 9)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(lengths) == [1000 * n for n in range(1, 9)]


def test_the_wire_carries_byte_strings_in_chunks_and_windows(router, big):
    chunks = []
    with Member(router, USER_CONSUMER) as member:
        last = member.call(
            f"consumer.{big}.get_data",
            ["f8"],
            START,
            START + ROWS,
            encoding="binary",
            window=3_000_000,
            on_progress=chunks.append,
        )
    chunks.append(last)
    sizes = [
        sum(len(a["values"]) for a in (p["data"]["f8"], p["timeline"]["khz"]["t"])) for p in chunks
    ]
    assert all(isinstance(piece["data"]["f8"]["values"], bytes) for piece in chunks)
    assert max(sizes) <= 1_000_000
    assert sum(sizes) <= 3_000_000
    assert chunks[0]["end"] == START + ROWS
    sent = sum(sizes) // 16
    assert chunks[0]["next"] == Big.t[sent]
    assert all("next" not in piece for piece in chunks[1:])
