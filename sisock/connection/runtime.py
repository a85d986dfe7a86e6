"""Provide loggers, threads for blocking work, and a running reactor."""

from __future__ import annotations

import atexit
import ctypes
import functools
import inspect
import math
import resource
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from twisted.internet import defer
from twisted.python.threadpool import ThreadPool
from txaio import tx, use_twisted

use_twisted()
make_logger = tx.make_logger

REPEAT_AFTER = 60.0  # seconds after which the same warning is logged again
MAX_TEXTS = 100  # maximum number of different warnings to remember
TURN = 0.05  # seconds of work after which the reactor reads its sockets

_ARENA_MAX = -8  # M_ARENA_MAX of glibc's malloc.h

_STARTING = threading.Lock()


def keep_freed_memory() -> None:
    """Let the C library keep up to 34 MiB of freed memory for the next messages and replies.

    Otherwise glibc returns it to the system, and getting it back takes up to half of a router's
    time, and a fifth of a bridge's. glibc keeps twice as much as the largest block that was ever
    freed, so this frees one. All threads share one heap: each would keep as much in its own.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_ARENA_MAX, 1)
    _ = bytes(17 << 20)  # takes no memory, as nothing is written to it


class DemotedLogger:
    """Log some levels of another library as debug, because sisock logs these events itself."""

    def __init__(self, *levels: str) -> None:
        self._levels = levels or ("info", "warn", "error")
        self._log = make_logger()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, "debug" if name in self._levels else name)


class RepeatedWarning:
    """Log a new warning at once, and repetitions once a minute with their count.

    `last` is the latest warning, or None; `is_logged` is whether it was logged, not only counted.
    """

    def __init__(self, log: Any) -> None:
        self.last: str | None = None
        self.is_logged = False
        self._log = log
        self._logged: dict[str, tuple[float, int]] = {}

    def __call__(self, text: str, times: int = 1) -> None:
        """Log the warning, or count it; `times` is how often it holds."""
        self.last = text
        logged_at, count = self._logged.get(text, (-math.inf, 0))
        count += times
        self.is_logged = time.monotonic() - logged_at >= REPEAT_AFTER
        if not self.is_logged:
            self._logged[text] = (logged_at, count)
            return
        repeated = f" ({count} times)" if count > 1 else ""
        self._log.warn("{text}{repeated}", text=text, repeated=repeated)
        if len(self._logged) >= MAX_TEXTS:
            self._logged.clear()
        self._logged[text] = (time.monotonic(), 0)

    def reset(self) -> None:
        """Forget all warnings once the trouble is over, so that the next one is logged at once."""
        self._logged.clear()
        self.last = None


class Turns:
    """Work in the reactor, a short time in each of its turns: it reads sockets in between.

    So a connection answers the router's pings, however much work waits.
    """

    def __init__(self, reactor: Any) -> None:
        self.reactor = reactor
        self._steps: deque[Callable[[], Any]] = deque()
        self._is_due = False

    def add(self, step: Callable[[], Any]) -> None:
        """Call a function in a later turn, after those that were added before."""
        self._steps.append(step)
        self._plan()

    def each(self, function: Callable[[Any], Any], items: Iterable[Any]) -> defer.Deferred | None:
        """Call a function with each item, now and, if that takes long, in later turns.

        Return None if it was called with all items, or a Deferred that fires when it was.
        """
        rest, done = iter(items), defer.Deferred[None]()

        def go_on() -> None:
            end = self.reactor.seconds() + TURN
            for item in rest:
                function(item)
                if self.reactor.seconds() >= end:
                    self.add(go_on)
                    return
            done.callback(None)

        go_on()
        return None if done.called else done

    def _plan(self) -> None:
        if self._steps and not self._is_due:
            self._is_due = True
            self.reactor.callLater(0, self._work)

    def _work(self) -> None:
        end = self.reactor.seconds() + TURN
        try:
            while self._steps and self.reactor.seconds() < end:
                self._steps.popleft()()
        finally:
            self._is_due = False
            self._plan()


def is_asynchronous(method: Callable[..., Any]) -> bool:
    """Return whether a method is a coroutine function or decorated with ``inlineCallbacks``."""
    return inspect.iscoroutinefunction(method) or inspect.isgeneratorfunction(
        inspect.unwrap(method)
    )


def allow_open_files() -> None:
    """Raise the limit of open files, usually about a thousand, to the maximum allowed."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def make_pool(name: str, size: int) -> ThreadPool:
    """Start a pool of daemon threads; a stuck thread does not keep the program from ending."""
    pool = ThreadPool(minthreads=0, maxthreads=size, name=f"sisock-{name}")
    pool.threadFactory = functools.partial(threading.Thread, daemon=True)
    pool.start()
    return pool


def stop_pool(pool: ThreadPool) -> None:
    """Stop a pool in the background, as one of its threads may be stuck."""
    threading.Thread(target=pool.stop, daemon=True).start()


def global_reactor() -> Any:
    """Return Twisted's reactor, imported late because importing installs it."""
    from twisted.internet import reactor

    return reactor


def reactor_thread() -> Any:
    """Return the running reactor; start it in a thread if it does not run yet."""
    reactor = global_reactor()
    with _STARTING:
        if not reactor.running:
            _run_in_thread(reactor)
    return reactor


@functools.cache  # a stopped reactor cannot be restarted
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
