"""Clients that request much and then read nothing."""

import psutil
import pytest

from sisock.client.client import Client
from sisock.testing import wait_until
from tests.conftest import wait_for_nodes
from tests.faults.doors import Peer
from tests.faults.helpers import BIG, answers
from tests.nodes import START

LIMIT = 400e6


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


def peer_is_gone(router, peer):
    """Whether the router has no connection from this peer's port any more."""
    port = peer.socket.getsockname()[1]
    (worker,) = psutil.Process(router.pid).children()
    return not any(c.raddr and c.raddr.port == port for c in worker.net_connections())
