"""Clients that request much and then read nothing."""

from contextlib import ExitStack

import psutil
import pytest

from sisock.client.client import Client
from sisock.testing import wait_until
from sisock.wire.protocol import USER_SERVER
from tests.conftest import wait_for_nodes
from tests.faults.doors import CLOSE, Peer, frame
from tests.faults.helpers import BIG, answers
from tests.nodes import START

LIMIT = 400e6

PUBLISH, PUBLISHED, SUBSCRIBE, SUBSCRIBED = 16, 17, 32, 33


@pytest.mark.timeout(300)
def test_a_router_forgets_what_clients_do_not_read(own_router, start):
    (worker,) = psutil.Process(own_router.pid).children()
    start(own_router, *BIG)
    most = 0.0
    with Client(own_router.settings()) as client:
        wait_for_nodes(client, "big", seconds=60)
        for _ in range(2):
            with Peer(own_router, "cbor") as peer:
                for _ in range(40):
                    options = {"receive_progress": True}
                    keywords = {"encoding": "binary", "window": 16 << 20}
                    name = "consumer.big.get_data"
                    peer.call(name, ["f8"], START, START + 2000, options=options, **keywords)

                def has_lost(peer=peer):
                    nonlocal most
                    most = max(most, worker.memory_info().rss)
                    return peer_is_gone(own_router, peer)

                wait_until(has_lost, 40, "the end of the reader that stopped", every=0.1)
        wait_until(lambda: worker.memory_info().rss < LIMIT, 30, "the router below 400 MB")
        print(f"at most {most / 1e6:.0f} MB, in the end {worker.memory_info().rss / 1e6:.0f} MB")
        assert answers(client, "big", "f8")


def test_a_reader_that_is_being_closed_takes_no_event_from_others(router):
    topic = "org.simonsobservatory.consumer.large.data"

    def publish(publisher, payload):
        publisher.send([PUBLISH, 1, {"acknowledge": True}, topic, [payload]])
        assert publisher.receive()[0] == PUBLISHED

    with ExitStack() as stack:
        publisher = stack.enter_context(Peer(router, "cbor", USER_SERVER))
        stopped = stack.enter_context(Peer(router, "cbor"))
        assert stopped.request(SUBSCRIBE, topic)[0] == SUBSCRIBED
        # More than the sockets hold: the router waits until the reader has taken it, to close.
        for _ in range(8):
            publish(publisher, bytes(3_000_000))
        readers = [stack.enter_context(Peer(router, "cbor")) for _ in range(10)]
        for reader in readers:
            assert reader.request(SUBSCRIBE, topic)[0] == SUBSCRIBED
        stopped.socket.sendall(frame(b"", CLOSE))
        for number in range(5):
            publish(publisher, number)
            assert [reader.receive()[4] for reader in readers] == [[number]] * 10


def peer_is_gone(router, peer):
    """Whether the router has no connection from this peer's port any more."""
    port = peer.socket.getsockname()[1]
    (worker,) = psutil.Process(router.pid).children()
    return not any(c.raddr and c.raddr.port == port for c in worker.net_connections())
