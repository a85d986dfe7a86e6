"""Do long work in small steps in one thread, beside the requests, and log its progress."""

from __future__ import annotations

import atexit
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from typing import Any

from sisock.errors import NodeFailed
from sisock.store.catalogue import Store
from sisock.store.files import CannotStore
from sisock.store.series import NOTHING, Damaged, TypeDiffers
from sisock.wire.times import counted

TIMEOUT = 1.0  # seconds that every request waits for a job
MAX_WAIT = 60.0  # further seconds that up to `MAX_WAITING` requests wait
MAX_WAITING = 4  # so that the node's other threads stay free for other fields

LONG_WORK = 1.0  # seconds after which progress is logged first, then every ten times as long
STOP_TIMEOUT = 5.0  # seconds that the end of the program waits for the current step
_POLL = 0.02  # seconds between two checks whether a thread has ended

Steps = Iterator[threading.Thread | None]
"""Work in steps of a few milliseconds. After a step that yields a thread, the next waits for it."""


class _Job:
    def __init__(self, steps: Steps) -> None:
        self.steps = steps
        self.done = threading.Event()
        self.waits_for: threading.Thread | None = None
        self.error: Exception | None = None


class Jobs:
    """Run jobs one after the other in a thread, first those that a request waits for.

    They work with `store`: after each step, its memory is given back, and after the last one, at
    the end of the program, it is closed. `warn` logs what a job raised.
    """

    def __init__(self, node: str, warn: Callable[[str], None], store: Store) -> None:
        self._warn = warn
        self._store = store
        self._jobs: OrderedDict[Hashable, _Job] = OrderedDict()
        self._changed = threading.Condition()
        self._patient = threading.BoundedSemaphore(MAX_WAITING)
        self._thread = threading.Thread(target=self._work, name=f"sisock-{node}-jobs", daemon=True)
        self._is_stopping = False
        atexit.register(self._stop)

    def start(self, key: Hashable, steps: Callable[[], Steps]) -> None:
        """Append a job to the queue, unless the queue has it already."""
        with self._changed:
            if key not in self._jobs:
                self._jobs[key] = _Job(steps())
                self._changed.notify()
            if self._thread.ident is None:
                self._thread.start()

    def has(self, key: Hashable) -> bool:
        """Return whether a job is in the queue, or under way."""
        return key in self._jobs

    def wait(self, key: Hashable) -> None:
        """Move a job to the front of the queue, if the queue has it, and wait for it.

        Raises what the job raised, and NodeFailed if it takes too long.
        """
        with self._changed:
            job = self._jobs.get(key)
            if job is None:
                return
            self._jobs.move_to_end(key, last=False)
        if not job.done.wait(TIMEOUT):
            if not self._patient.acquire(blocking=False):
                raise NodeFailed(f"{key!r} is not ready, and others wait for it: ask again later")
            is_done = job.done.wait(MAX_WAIT)
            self._patient.release()
            if not is_done:
                raise NodeFailed(f"{key!r} is not ready yet: ask again later")
        if job.error is not None:
            raise job.error

    def _stop(self) -> None:
        with self._changed:
            self._is_stopping = True
            self._changed.notify()
        if self._thread.ident is not None:
            self._thread.join(STOP_TIMEOUT)
        self._store.close()

    def _work(self) -> None:
        while (chosen := self._choose()) is not None:
            key, job = chosen
            try:
                job.waits_for = next(job.steps)
                self._store.release()
            except Exception as error:
                if not isinstance(error, StopIteration):
                    self._warn(f"{key!r} could not be made ready: {type(error).__name__}: {error}")
                    job.error = error
                with self._changed:
                    del self._jobs[key]
                job.done.set()
            # Let the threads of requests go first.
            time.sleep(0)

    def _choose(self) -> tuple[Hashable, _Job] | None:
        """Wait for a job whose next step can run, and return it; None at the program's end."""
        with self._changed:
            while not self._is_stopping:
                for key, job in self._jobs.items():
                    if job.waits_for is None or not job.waits_for.is_alive():
                        return key, job
                self._changed.wait(_POLL if self._jobs else None)
        return None


def until_stored(store: Store, fill: Callable[[], Steps]) -> Steps:
    """Run `fill`, which stores samples, again and again until it succeeds.

    If the store cannot be written, it moves elsewhere. A damaged field is filled again; so is a
    field if later values do not fit its type, with a wider ``dtype`` in its identity.
    """
    while True:
        try:
            return (yield from fill())
        except Damaged as damage:
            store.repair(damage.record.field, damage)
        except CannotStore as error:
            store.go_elsewhere(error)
        except TypeDiffers as error:
            store.make(error.field).base.append(*NOTHING, dtype=error.wider)


class WorkLog:
    """Report the progress of long work, for example ``"parsing a.dat"``, in the log."""

    def __init__(self, log: Any, what: str) -> None:
        self._log = log
        self._what = what
        self._began = time.monotonic()
        self._next = self._began + LONG_WORK

    def tell(self, how_far: str) -> None:
        """Log how far the work has come, if it is time."""
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + 10 * LONG_WORK
            self._log.info("{what}: {how_far}", what=self._what, how_far=how_far)

    def end(self, samples: int) -> None:
        """Log that the work is done; at level debug if it was short."""
        seconds = time.monotonic() - self._began
        write = self._log.info if seconds > LONG_WORK else self._log.debug
        text = f"done, {counted(samples, 'sample')} in {seconds:.1f} s"
        write("{what}: {text}", what=self._what, text=text)
