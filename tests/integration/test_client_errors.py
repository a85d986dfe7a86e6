"""What a client says when something is wrong, and that it goes on afterwards."""

import asyncio
import contextlib
import socket
import threading

import pytest

from sisock import AsyncClient, Client
from sisock.connection.settings import load_settings
from sisock.errors import (
    InvalidArgument,
    NodeFailed,
    NodeTimeout,
    ReplyTooLarge,
    RouterUnreachable,
    SisockError,
    UnknownField,
    UnknownNode,
)
from sisock.testing import free_port
from sisock.wire.protocol import USER_CONSUMER
from tests.integration.peers import Member
from tests.nodes import START


def test_a_misspelt_name_is_answered_with_the_one_that_is_meant(client, odd):
    node = odd()
    with pytest.raises(UnknownNode, match=rf"\(did you mean '{node}'\?\)"):
        client.fields(f"{node}s")
    with pytest.raises(UnknownField, match=r"'unequl' \(did you mean 'unequal'\?\): `sisock"):
        client.get(node, "unequl", START)


def test_a_failing_node_is_named_without_what_its_exception_holds(client, odd):
    node = odd()
    with pytest.raises(NodeFailed, match="OSError") as caught:
        client.get(node, "fails", START, START + 5)
    assert "/secret/path" not in str(caught.value)
    with pytest.raises(NodeFailed, match="2 values for 5 times"):
        client.get(node, "unequal", START, START + 5)
    assert len(client.get(node, "nan", START, START + 5)["nan"]) == 5


def test_each_error_is_a_sentence_and_the_builtin_that_fits(client, odd):
    node = odd()
    for error, builtin, call in (
        (UnknownNode, KeyError, lambda: client.get("nowhere", "x")),
        (UnknownField, KeyError, lambda: client.get(node, ["nan", "typo"])),
        (InvalidArgument, ValueError, lambda: client.get(node, "nan", "tomorrow")),
        (InvalidArgument, ValueError, lambda: client.get(node, "nan", 5, 2)),
        (InvalidArgument, ValueError, lambda: client.get(node, "nan", min_stride=-1)),
        (InvalidArgument, ValueError, lambda: client.watch(node)),
    ):
        with pytest.raises(error) as caught:
            call()
        assert isinstance(caught.value, builtin)
        assert isinstance(caught.value, SisockError)
        assert len(str(caught.value)) > 10


def test_a_node_may_say_false_itself(client, odd):
    with pytest.raises(ReplyTooLarge):
        client.get(odd("too_much"), "x")


def test_requests_that_were_given_up_are_not_worked_off(router, odd):
    node = odd("odd", "stuck")
    with Client(router.settings(), timeout=2.5) as hasty:
        # Eight threads are busy for three seconds; the others wait and are given up.
        threads = [threading.Thread(target=_ask_slowly, args=(hasty, node)) for _ in range(80)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    # Ten rounds of three seconds would have been before it.
    with Client(router.settings(), timeout=20) as patient:
        assert len(patient.get(node, "nan", START, START + 5)["nan"]) == 5


def _ask_slowly(client, node):
    with contextlib.suppress(NodeTimeout):
        client.get(node, "slow", START, START + 5)


def test_a_slow_node_is_given_up_and_its_late_answer_disturbs_nobody(router, start, tmp_path):
    go_on = tmp_path / "go_on"
    command = "tests/bridge/nodes.py", "waiting", "--name", "slow_one"
    start(router, *command, TEST_GO_ON=str(go_on)).wait_for("is in the hub's list")
    with Member(router) as witness, Client(router.settings(), timeout=5) as hasty:
        joined = []
        witness.do("subscribe", joined.append, "wamp.session.on_join")
        with pytest.raises(NodeTimeout, match="slow_one"):
            hasty.get("slow_one", "x", START, START + 5)
        go_on.touch()
        assert len(hasty.get("slow_one", "x", START, START + 5)["x"]) == 1
    # Nobody had to join again.
    assert [session["authid"] for session in joined].count(USER_CONSUMER) == 0


def test_no_router_is_said_at_once(tmp_path):
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials" / "consumer").write_text("x")
    environ = {"SISOCK_HOME": str(tmp_path), "CROSSBAR_TLS_PORT": str(free_port())}
    with pytest.raises(RouterUnreachable, match="nothing listens there"):
        Client(load_settings(environ=environ))


def test_a_router_that_hangs_up_as_it_starts_is_asked_again(router, tmp_path):
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def hang_up_once():
            connection, _ = listener.accept()
            path.unlink()
            path.symlink_to(router.home.router_socket)
            connection.close()

        starting = threading.Thread(target=hang_up_once)
        starting.start()
        environ = {**router.environ(), "CROSSBAR_SOCKET": str(path)}
        with Client(load_settings(environ=environ)) as client:
            client.nodes()
        starting.join()


@pytest.fixture
def silent(router):
    """The environment of a client whose router accepts connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        yield {**router.environ(), "CROSSBAR_HOST": "127.0.0.1", "CROSSBAR_TLS_PORT": str(port)}


async def join(settings):
    async with AsyncClient(settings, timeout=1):
        pass


@pytest.mark.parametrize("begin", [lambda s: Client(s, timeout=1), lambda s: asyncio.run(join(s))])
def test_a_router_that_says_nothing_is_unreachable(silent, begin):
    with pytest.raises(RouterUnreachable, match=r"the router at wss://.* is its process stopped"):
        begin(load_settings(environ=silent))
