"""Programs of asyncio ask and watch, and are cancelled, without leaving anything behind."""

import asyncio
import contextlib
import gc
import inspect
import itertools
import signal
import socket
import subprocess
import sys
import threading

import pytest
from twisted.internet import threads

from sisock import AsyncClient, Client
from sisock.client.streams import MAX_QUEUED
from sisock.client.watch import Watch
from sisock.connection.runtime import reactor_thread
from sisock.connection.settings import load_settings
from sisock.errors import InvalidArgument, RouterUnreachable, SisockError, UnknownField, UnknownNode
from sisock.testing import free_port, wait_until
from tests.conftest import TOP
from tests.integration.live_node import T0, Node
from tests.integration.peers import Member


@pytest.fixture
def node(router):
    with Member(router) as member:
        yield Node(member)


@pytest.fixture
def run(router):
    """Run a coroutine function with a client, in a loop of its own."""

    def run_with_client(work):
        async def main():
            async with AsyncClient(router.settings()) as client:
                return await asyncio.wait_for(work(client), 60)

        return asyncio.run(main())

    return run_with_client


def is_watched(node):
    return any(isinstance(each, Watch) and each.node == node.name for each in gc.get_objects())


async def until(condition, what):
    await asyncio.to_thread(wait_until, condition, 20, what)


def is_cancelled(node):
    """Whether all questions that the node holds were taken back."""
    return all(answer.called for answer, _ in node.held)


def test_it_has_what_the_client_has():
    for name in ("close", "fields", "get", "latest", "nodes", "watch", "watch_nodes"):
        own, other = getattr(AsyncClient, name), getattr(Client, name)
        assert inspect.signature(own).parameters == inspect.signature(other).parameters
        assert inspect.iscoroutinefunction(own) is not name.startswith("watch")
    public = {name for name in dir(Client) if not name.startswith("_")}
    assert public <= set(dir(AsyncClient))
    assert AsyncClient.get.__doc__ == Client.get.__doc__


def test_many_questions_at_once(run, node):
    node.take(1, 2, is_published=False)

    async def ask(client):
        *data, nodes, fields = await asyncio.gather(
            *(client.get(node.name, "text", 1, T0 + 1 + n % 2) for n in range(20)),
            client.nodes(),
            client.fields(node.name),
        )
        assert [len(each["text"]) for each in data] == [0, 1] * 10
        assert node.name in [each.name for each in nodes]
        assert list(fields) == ["even", "text", "slow"]

    run(ask)


def test_without_async_with_the_first_call_joins(router, node):
    async def ask():
        client = AsyncClient(router.settings())
        try:
            return await client.fields(node.name)
        finally:
            await client.close()

    assert list(asyncio.run(ask())) == ["even", "text", "slow"]


def test_errors_are_those_of_the_client(run, node):
    async def ask(client):
        for error, call in (
            (UnknownNode, client.get("nowhere", "x")),
            (UnknownField, client.get(node.name, "typo")),
            (InvalidArgument, client.get(node.name, "text", 5, 2)),
            (UnknownNode, anext(client.watch("nowhere"))),
            (UnknownField, anext(client.watch(node.name, "typo"))),
            (UnknownField, client.watch(node.name, "typo").__aenter__()),
        ):
            with pytest.raises(error):
                await call
        with pytest.raises(TypeError, match="node"):
            await client.get()

    run(ask)


def test_a_call_that_is_cancelled_ends_at_the_node(run, node):
    node.hold_answers()

    async def ask(client):
        asking = asyncio.create_task(client.get(node.name, "text"))
        await until(lambda: node.held, "the question")
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await until(lambda: is_cancelled(node), "the end of the question")

    run(ask)


def test_leaving_the_loop_ends_the_watch(run, node):
    heard, numbers = [], itertools.count(1)

    async def hear(client):
        async for sample in client.watch(node.name, "text"):
            heard.append(sample)
            break

    async def watch(client):
        await asyncio.gather(
            hear(client), until(lambda: heard or node.take(next(numbers)), "a sample")
        )
        await until(lambda: not is_watched(node), "the end of the first watch")
        async with client.watch(node.name) as stream:
            assert is_watched(node)
        await until(lambda: not is_watched(node), "the end of the second")
        assert [sample async for sample in stream] == []

    run(watch)


def test_a_forgotten_stream_of_the_client_is_closed_too(client, node):
    stream = client.watch(node.name)
    assert is_watched(node)
    del stream
    wait_until(lambda: not is_watched(node), 40, "the end of the watch")


def test_a_time_limit_for_the_next_sample_loses_none(run, node):
    async def watch(client):
        seen, numbers = [], itertools.count(1)
        async with client.watch(node.name, "text") as stream:
            while len(seen) < 40:
                if len(seen) % 10 == 0:
                    node.take(*itertools.islice(numbers, 5))
                    node.take(*itertools.islice(numbers, 5))
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.0005):
                        seen.append((await anext(stream)).t - T0)
        assert seen == list(range(1, 41))

    run(watch)


def test_a_slow_program_gets_all_in_its_own_time(run, node):
    async def watch(client):
        async with client.watch(node.name, "text") as stream:
            for number in range(1, 2 * MAX_QUEUED):
                node.take(number)
            seen = [(await anext(stream)).t - T0 for _ in range(1, 2 * MAX_QUEUED)]
        assert seen == list(range(1, 2 * MAX_QUEUED))

    run(watch)


def test_nodes_are_watched_as_they_go(run, node):
    async def watch(client):
        async with client.watch_nodes() as events:
            node.member.subtract(node.name)
            async for event in events:
                if event.node.name == node.name:
                    assert not event.present
                    return

    run(watch)


def test_a_stream_ends_with_its_client(router, node):
    async def watch():
        async with AsyncClient(router.settings()) as client:
            stream = client.watch(node.name)
            waiting = asyncio.create_task(stream.__anext__())
            await until(lambda: is_watched(node), "the watch")
        for call in (waiting, anext(stream)):
            with pytest.raises(RouterUnreachable, match="closed"):
                await call
        with pytest.raises(RouterUnreachable, match="closed"):
            await client.fields(node.name)

    asyncio.run(watch())


def test_loops_of_several_threads_share_a_client(router, node):
    found = []
    with Client(router.settings()):
        client = AsyncClient(router.settings())

        def ask():
            found.append(asyncio.run(client.fields(node.name)))

        asking = [threading.Thread(target=ask) for _ in range(4)]
        for thread in asking:
            thread.start()
        for thread in asking:
            thread.join(60)
        asyncio.run(client.close())
    assert [len(fields) for fields in found] == [3] * 4


def test_a_loop_that_is_closed_harms_only_its_own_calls(router, node):
    node.hold_answers()
    client, loop = AsyncClient(router.settings()), asyncio.new_event_loop()
    asking = loop.create_task(client.get(node.name, "text"))
    loop.run_until_complete(until(lambda: node.held, "the question"))
    loop.close()
    node.give_answers()
    assert len(asyncio.run(client.get(node.name, "text", 1, 2))["text"]) == 0
    assert not asking.done()
    asyncio.run(client.close())


PROGRAM = """
import asyncio, sys, sisock

async def main():
    async with sisock.AsyncClient() as client:
        stream = client.watch(sys.argv[1])
        await client.get(sys.argv[1], "text")

asyncio.run(main())
"""


def test_an_interrupted_program_takes_its_call_back_and_says_no_more(router, node):
    node.hold_answers()
    # A library that autobahn needs is deprecated in itself.
    strict = ["-W", "error", "-W", "ignore::DeprecationWarning:passlib.utils"]
    command = [sys.executable, *strict, "-c", PROGRAM, node.name]
    environ = {**router.environ(), "PYTHONPATH": str(TOP)}
    with subprocess.Popen(command, env=environ, stderr=subprocess.PIPE, text=True) as program:
        wait_until(lambda: node.held or program.poll() is not None, 60, "the question")
        program.send_signal(signal.SIGINT)
        _, said = program.communicate(timeout=60)
    first, last = said.splitlines()[:1], said.splitlines()[-1:]
    assert (first, last) == (["Traceback (most recent call last):"], ["KeyboardInterrupt"]), said
    assert "ignored" not in said and "Warning" not in said
    wait_until(lambda: is_cancelled(node), 40, "the end of the question")


def settings_of(tmp_path, port):
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials" / "consumer").write_text("x")
    return load_settings(environ={"SISOCK_HOME": str(tmp_path), "CROSSBAR_TLS_PORT": str(port)})


def test_no_router_is_said_at_once(tmp_path):
    settings = settings_of(tmp_path, free_port())

    async def ask():
        with pytest.raises(RouterUnreachable, match="nothing listens there"):
            async with AsyncClient(settings):
                pass
        client = AsyncClient(settings)
        with pytest.raises(RouterUnreachable, match="nothing listens there"):
            await client.nodes()
        with pytest.raises(RouterUnreachable, match="nothing listens there"):
            await anext(client.watch_nodes())
        await client.close()

    asyncio.run(ask())


def test_who_does_not_wait_for_the_router_closes_the_client(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = AsyncClient(settings_of(tmp_path, silent.getsockname()[1]))

        async def join():
            async with asyncio.timeout(0.1), client:
                pass

        with pytest.raises(TimeoutError):
            asyncio.run(join())
        with pytest.raises(RouterUnreachable, match="closed"):
            asyncio.run(client.nodes())


def test_the_reactors_own_thread_has_another_client():
    with pytest.raises(SisockError, match=r"sisock\.TwistedClient"):
        threads.blockingCallFromThread(reactor_thread(), AsyncClient)
