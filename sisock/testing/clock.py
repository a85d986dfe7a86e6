"""Move the time of a node by hand."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from twisted.internet import task

from sisock.node.api import DataNodeServer
from sisock.node.service import NodeService

_Node = TypeVar("_Node", bound=DataNodeServer)


class Clock(task.Clock):
    """A reactor whose time moves only when the test moves it.

    Calls from other threads run when it is moved next.
    """

    def __init__(self) -> None:
        super().__init__()
        self._thread = threading.get_ident()
        self._handed_over: SimpleQueue[Callable[[], Any]] = SimpleQueue()

    def callFromThread(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """Call a function in the test's thread."""
        if threading.get_ident() == self._thread:
            function(*args, **kwargs)
        else:
            self._handed_over.put(lambda: function(*args, **kwargs))

    def advance(self, amount: float) -> None:
        """Let `amount` seconds pass at once; each call that is due runs once."""
        while True:
            try:
                self._handed_over.get_nowait()()
            except Empty:
                break
        super().advance(amount)

    def pass_time(self, seconds: float, step: float = 0.1) -> None:
        """Let time pass in small steps, so that repeated calls run as often as in real time."""
        for _ in range(round(seconds / step)):
            self.advance(step)


@contextmanager
def run_on_clock(node: _Node, clock: Clock) -> Iterator[_Node]:
    """Run a node without a router, on a clock, for as long as the block lasts.

    The node reads, subscribes and stores samples as usual, but publishes nothing. Methods that may
    block run in threads, in real time::

        clock = Clock()
        with run_on_clock(Mast(), clock) as node:
            node.hear("WS", 4.2)
            clock.pass_time(60)
            assert node.status()["samples"] == 1

    Raises SisockError if an attribute or method of the node is wrong.
    """
    service = NodeService(node, clock)
    service.open()
    node.begin(service)
    try:
        yield node
    finally:
        service.stop()
