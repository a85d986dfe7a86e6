"""Long work of an archive, in small steps beside the requests, in one thread of its own."""

from __future__ import annotations

import atexit
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from sisock.connection.logs import RepeatedWarning
from sisock.errors import NodeFailed

PATIENCE = 1.0
"""Seconds that any number of requests may wait for one job."""

MOST_WAITING = 4
"""Requests that may wait for longer: the node's other threads stay free for other fields."""

LONGEST_WAIT = 60.0
"""Seconds after which a request is told that the work is not done yet."""

LONG_WORK = 1.0
"""Seconds after which work is long enough for the log."""

PROGRESS_EVERY = 10.0
"""Seconds between two lines about it."""


STOP_WITHIN = 5.0
"""Seconds that the end of the program waits for the present step."""


class _Job:
    def __init__(self, steps: Iterator[None]) -> None:
        self.steps = steps
        self.done = threading.Event()
        self.waiting = 0
        self.error: Exception | None = None


class Jobs:
    """Jobs that are done one after the other, first those that a request waits for.

    Parameters
    ----------
    node : str
        The node's name.
    warn : callable
        Logs what a job raised.
    """

    def __init__(self, node: str, warn: RepeatedWarning) -> None:
        self._node = node
        self._warn = warn
        self._jobs: dict[str, _Job] = {}
        self._changed = threading.Condition()
        self._patient = threading.BoundedSemaphore(MOST_WAITING)
        self._thread: threading.Thread | None = None
        self._stopping = False
        self._last: list[Callable[[], None]] = []
        atexit.register(self._stop)

    def at_end(self, last: Callable[[], None]) -> None:
        """Have something done when the program ends, after the job that is under way."""
        self._last.append(last)

    def start(self, key: str, steps: Callable[[], Iterator[None]], anew: bool = False) -> None:
        """Have a job done, in this order, unless it is under way already.

        Parameters
        ----------
        key : str
            Which job it is.
        steps : callable
            Gives an iterator; each of its steps should be short, a few milliseconds.
        anew : bool
            Give up the one that is under way, after its present step.
        """
        with self._changed:
            if anew or key not in self._jobs:
                self._jobs[key] = _Job(steps())
                self._changed.notify()
            if self._thread is None:
                name = f"sisock-{self._node}-jobs"
                self._thread = threading.Thread(target=self._work, name=name, daemon=True)
                self._thread.start()

    def _stop(self) -> None:
        with self._changed:
            self._stopping = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(STOP_WITHIN)
        for last in self._last:
            last()

    def wait(self, key: str) -> None:
        """Wait until a job is done, if it is under way; it is preferred meanwhile.

        Raises
        ------
        NodeFailed
            If that takes too long.
        Exception
            What the job raised.
        """
        with self._changed:
            job = self._jobs.get(key)
            if job is None:
                return
            job.waiting += 1
        try:
            if not job.done.wait(PATIENCE):
                self._wait_longer(key, job)
        finally:
            with self._changed:
                job.waiting -= 1
        if job.error is not None:
            raise job.error

    def _wait_longer(self, key: str, job: _Job) -> None:
        if not self._patient.acquire(blocking=False):
            raise NodeFailed(f"{key!r} is not ready yet, and others wait for it: ask again later")
        try:
            if not job.done.wait(LONGEST_WAIT):
                raise NodeFailed(f"{key!r} is not ready yet: ask again later")
        finally:
            self._patient.release()

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._jobs and not self._stopping:
                    self._changed.wait()
                if self._stopping:
                    return
                key = next((k for k, job in self._jobs.items() if job.waiting), None)
                key = next(iter(self._jobs)) if key is None else key
                job = self._jobs[key]
            if self._step(key, job):
                with self._changed:
                    if self._jobs.get(key) is job:
                        del self._jobs[key]
                job.done.set()
            # Requests are more urgent than anything here.
            time.sleep(0)

    def _step(self, key: str, job: _Job) -> bool:
        """Do one step; True if it was the last one."""
        try:
            next(job.steps)
        except StopIteration:
            return True
        except Exception as error:
            self._warn(f"{key!r} could not be made ready: {type(error).__name__}: {error}")
            job.error = error
            return True
        return False


class WorkLog:
    """Tells the log how far long work has come: a line at its beginning, some more, one at its end.

    Parameters
    ----------
    log : logger
        Of txaio.
    what : str
        The work, for example ``"parsing a.dat"``.
    """

    def __init__(self, log: Any, what: str) -> None:
        self._log = log
        self._what = what
        self._began = time.monotonic()
        self._next = self._began + LONG_WORK
        self._is_long = False

    def tell(self, how_far: str) -> None:
        """Log how far the work has come, if it is time."""
        if time.monotonic() >= self._next:
            self._is_long = True
            self._next = time.monotonic() + PROGRESS_EVERY
            self._log.info("{what}: {how_far}", what=self._what, how_far=how_far)

    def end(self, samples: int) -> None:
        """Log that the work is done; at level debug if it was short."""
        write = self._log.info if self._is_long else self._log.debug
        seconds = f"{time.monotonic() - self._began:.1f}"
        write(
            "{what}: done, {samples} samples in {seconds} s",
            what=self._what,
            samples=samples,
            seconds=seconds,
        )
