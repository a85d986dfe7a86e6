"""Run blocking work in threads, and the reactor in one where nobody else runs it."""

from __future__ import annotations

import atexit
import functools
import inspect
import threading
from collections.abc import Callable
from typing import Any

from twisted.python.threadpool import ThreadPool

_STARTING = threading.Lock()


def is_asynchronous(method: Callable[..., Any]) -> bool:
    """Return whether a method is a coroutine function or decorated with ``inlineCallbacks``."""
    return inspect.iscoroutinefunction(method) or inspect.isgeneratorfunction(
        inspect.unwrap(method)
    )


def make_pool(name: str, size: int) -> ThreadPool:
    """Start a pool of threads that do not keep the program from ending, even if one is stuck."""
    pool = ThreadPool(minthreads=0, maxthreads=size, name=f"sisock-{name}")
    pool.threadFactory = functools.partial(threading.Thread, daemon=True)
    pool.start()
    return pool


def stop_pool(pool: ThreadPool) -> None:
    """End the threads of a pool, without waiting for one that is stuck."""
    threading.Thread(target=pool.stop, daemon=True).start()


def global_reactor() -> Any:
    """Return Twisted's reactor, imported late, as that installs it."""
    from twisted.internet import reactor

    return reactor


def reactor_thread() -> Any:
    """Return Twisted's reactor, running: in a thread of its own if nobody else runs it."""
    reactor = global_reactor()
    with _STARTING:
        if not reactor.running:
            _run_in_thread(reactor)
    return reactor


@functools.cache  # a reactor that was stopped cannot run again
def _run_in_thread(reactor: Any) -> None:
    started = threading.Event()
    reactor.callWhenRunning(started.set)
    thread = threading.Thread(target=reactor.run, args=(False,), name="sisock-reactor", daemon=True)
    thread.start()
    started.wait()

    def stop() -> None:
        if thread.is_alive():
            reactor.callFromThread(reactor.stop)
            thread.join(3)

    atexit.register(stop)
