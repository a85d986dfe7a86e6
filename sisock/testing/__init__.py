"""Test data nodes: without a router, on a clock that you move, or on a real router.

`check_node` needs no router and finds most mistakes::

    def test_my_node():
        assert "2 fields" in check_node(MyNode())[0]

Sisock gives pytest the fixture ``sisock_router``, a `RouterProcess` that all tests share; it needs
the extra ``router``. `serve_node` serves a node on it, for a client, or for a `Part1Consumer`,
which sees the same as programs of 2018::

    def test_on_a_router(sisock_router):
        with serve_node(sisock_router, MyNode()) as client:
            assert client.latest("my_node")["temperature"].units == "K"
"""

from sisock.node.check import check_node as check_node
from sisock.testing.clock import Clock as Clock
from sisock.testing.clock import run_on_clock as run_on_clock
from sisock.testing.part1 import Part1Consumer as Part1Consumer
from sisock.testing.router import RouterProcess as RouterProcess
from sisock.testing.router import free_port as free_port
from sisock.testing.router import serve_node as serve_node
from sisock.testing.router import wait_until as wait_until

__all__ = [
    "Clock",
    "Part1Consumer",
    "RouterProcess",
    "check_node",
    "free_port",
    "run_on_clock",
    "serve_node",
    "wait_until",
]
