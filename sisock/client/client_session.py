"""A client's place on the router: joined, joined again, and subscribed again."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Self

from twisted.internet import defer

from sisock.client.watch import NodeWatch, Watch
from sisock.connection.logs import make_logger
from sisock.connection.reconnect import RouterConnection
from sisock.connection.session import CALL_TIMEOUT, Session
from sisock.connection.settings import Settings, load_settings
from sisock.errors import RouterUnreachable, SisockError


class ClientSession:
    """Keeps a client joined; what it asks for waits for the session. Parameters: `AsyncClient`."""

    def __init__(
        self, settings: Settings | None = None, timeout: float = CALL_TIMEOUT, reactor: Any = None
    ) -> None:
        self.settings = load_settings() if settings is None else settings
        self.timeout = timeout
        self._connection = RouterConnection(self.settings, self._joined, reactor=reactor)
        self._waiting: list[defer.Deferred] = []
        self._watches: set[Watch | NodeWatch] = set()
        self._subscribing = defer.DeferredLock()
        self._running: defer.Deferred | None = None
        self._refused: BaseException | None = None
        # A dictionary, as a set with an order.
        self._end_callbacks: dict[Callable[[BaseException], None], None] = {}
        self._log = make_logger()

    async def connect(self) -> Self:
        """Join the router.

        Raises
        ------
        RouterUnreachable, AuthenticationRejected
            If that fails the first time; later on it is tried again for ever.
        """
        if self._running is None:
            self._running = defer.ensureDeferred(self._connection.run())
            self._running.addBoth(self._ended)
            self._connection.on_failure = self._first_try_failed
        try:
            await self._session()
        except SisockError:
            await self.close()  # or it would go on trying behind its caller's back
            raise
        return self

    async def close(self) -> None:
        """Say goodbye."""
        await self._connection.stop()
        self._ended(None)

    def on_end(self, callback: Callable[[BaseException], None]) -> Callable[[], None]:
        """Call back when the client has ended for good, with the reason.

        Returns
        -------
        callable
            Forgets the callback.
        """
        if self._refused is not None:
            callback(self._refused)
        else:
            self._end_callbacks[callback] = None
        return partial(self._end_callbacks.pop, callback, None)

    def _first_try_failed(self, error: SisockError) -> None:
        self._connection.on_failure = None
        self._refused = error
        self._tell_waiting()
        defer.ensureDeferred(self._connection.stop())

    def _ended(self, result: Any) -> None:
        self._refused = (
            getattr(result, "value", None)
            or self._refused
            or RouterUnreachable("the client is closed")
        )
        self._tell_waiting()
        callbacks = list(self._end_callbacks)
        self._end_callbacks.clear()
        for callback in callbacks:
            callback(self._refused)

    async def _joined(self, session: Session) -> None:
        self._connection.on_failure = None
        for watch in list(self._watches):
            await watch.begin(session)
        self._tell_waiting()

    def _tell_waiting(self) -> None:
        waiting, self._waiting = self._waiting, []
        for deferred in waiting:
            deferred.callback(None)

    async def _session(self) -> Session:
        """The session, or the next one while the router is away."""
        if self._connection.session is None and self._refused is None:
            joined: defer.Deferred = defer.Deferred()
            self._waiting.append(joined)
            try:
                await joined.addTimeout(self.timeout, self._connection.reactor)
            except defer.TimeoutError:
                self._waiting.remove(joined)
                raise self._connection.last_error or RouterUnreachable(
                    f"the router at {self.settings.address} does not answer"
                ) from None
        if self._refused is not None:
            raise self._refused
        session = self._connection.session
        if session is None:
            raise RouterUnreachable("the connection to the router was lost")
        return session

    async def _keep(self, watch: Watch | NodeWatch) -> Callable[[], None]:
        """Begin to watch, now and on each session to come; returns what ends it."""

        def stop() -> None:
            self._watches.discard(watch)
            watch.end()

        session = await self._session()
        self._watches.add(watch)
        try:
            await watch.begin(session)
        except BaseException:
            stop()
            raise
        return stop
