"""A subscription that outlives the session that it was made on."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from autobahn.wamp.exception import TransportLost

from sisock.session import Session


class Watch:
    """Calls back with the events of a topic, on one session after the other.

    Parameters
    ----------
    topic : str
        Full URI.
    handler : callable
        Called with what was published; if it raises, that event is lost and the log says so.
    log : logger
        Of txaio.
    """

    def __init__(self, topic: str, handler: Callable[..., None], log: Any) -> None:
        self._topic = topic
        self._handler = handler
        self._log = log
        self._subscription: Any = None
        self._session: Session | None = None

    async def begin(self, session: Session) -> None:
        """Subscribe on a session, once."""
        if self._session is not session:
            self._session = session
            self._subscription = await session.subscribe(self._event, self._topic)

    def end(self) -> None:
        """Unsubscribe."""
        subscription, self._subscription = self._subscription, None
        if subscription is not None and subscription.active and self._session is not None:
            with suppress(TransportLost):
                subscription.unsubscribe().addErrback(lambda _: None)

    def _event(self, *args: Any, **kwargs: Any) -> None:
        if self._subscription is None:
            return
        try:
            self._handler(*args, **kwargs)
        except Exception as error:
            self._log.error(
                "an event of {topic} is lost: {why}",
                topic=self._topic,
                why=f"{type(error).__name__}: {error}",
            )
