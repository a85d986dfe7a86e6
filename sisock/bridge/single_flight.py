"""Equal questions under way at the same time are asked once."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Hashable
from dataclasses import dataclass, field
from typing import Any

from twisted.internet import defer


@dataclass(eq=False)
class _Flight:
    waiters: list[defer.Deferred] = field(default_factory=list)
    call: defer.Deferred | None = None


class SingleFlight:
    """Runs one coroutine for all who want the same; it ends early when all of them have left."""

    def __init__(self) -> None:
        self._flights: dict[Hashable, _Flight] = {}

    def join(self, key: Hashable, start: Callable[[], Coroutine[Any, Any, Any]]) -> defer.Deferred:
        """Wait for what is under way for `key`, or start it.

        Returns
        -------
        Deferred
            Of the coroutine's result or error; to cancel it is to leave.
        """
        flight = self._flights.setdefault(key, _Flight())
        waiter = defer.Deferred(lambda waiter: self._leave(key, flight, waiter))
        flight.waiters.append(waiter)
        if flight.call is None:
            flight.call = defer.ensureDeferred(start())
            flight.call.addBoth(self._land, key, flight)
        return waiter

    def _land(self, result: Any, key: Hashable, flight: _Flight) -> None:
        self._forget(key, flight)
        waiters, flight.waiters = flight.waiters, []
        for waiter in waiters:
            waiter.callback(result)

    def _leave(self, key: Hashable, flight: _Flight, waiter: defer.Deferred) -> None:
        flight.waiters.remove(waiter)
        if not flight.waiters and flight.call is not None:
            self._forget(key, flight)
            flight.call.cancel()

    def _forget(self, key: Hashable, flight: _Flight) -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]
