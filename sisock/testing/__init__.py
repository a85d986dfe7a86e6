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

from sisock.node.check import check_node
from sisock.testing.clock import Clock, run_on_clock
from sisock.testing.part1 import Part1Consumer
from sisock.testing.router import RouterProcess, free_port, serve_node, wait_until

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
