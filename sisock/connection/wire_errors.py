"""The errors that a consumer gets over the wire, made ours."""

from __future__ import annotations

from typing import Any

from autobahn.exception import PayloadExceededError
from autobahn.wamp.exception import ApplicationError, SerializationError, TransportLost
from twisted.internet import defer

from sisock.connection.session import error_uri
from sisock.errors import (
    AuthenticationRejected,
    HubMissing,
    InvalidArgument,
    NodeFailed,
    NodeTimeout,
    RouterUnreachable,
    SisockError,
    UnknownNode,
)
from sisock.wire.protocol import (
    ERROR_INVALID_ARGUMENT,
    ERROR_NO_SUCH_PROCEDURE,
    ERROR_NODE_FAILED,
    ERROR_NOT_AUTHORIZED,
)


class translated:
    """Turns the errors of the wire into ours."""

    def __init__(self, node: str | None) -> None:
        self._node = node

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        if isinstance(error, defer.TimeoutError):
            raise self._timed_out() from None
        if isinstance(error, TransportLost):
            raise RouterUnreachable("the connection to the router was lost") from None
        if isinstance(error, ApplicationError):
            raise self._translate(error) from None
        if isinstance(error, SerializationError | PayloadExceededError):
            raise NodeFailed(f"the request or its answer cannot be sent: {error}") from None

    def _timed_out(self) -> SisockError:
        if self._node is None:
            return HubMissing("the hub does not answer: is its process stopped?")
        return NodeTimeout(f"the data node {self._node!r} does not answer: is it stopped or stuck?")

    def _translate(self, error: ApplicationError) -> SisockError:
        what, text = error_uri(error), " ".join(map(str, error.args))
        if what == ERROR_NO_SUCH_PROCEDURE:
            if self._node is None:
                return HubMissing(
                    "no hub is on the router: it is loaded by its configuration, or started with"
                    " `python hub.py`"
                )
            return UnknownNode(f"the data node {self._node!r} is not there, or has just gone")
        if what == ERROR_INVALID_ARGUMENT:
            return InvalidArgument(text)
        if what == ERROR_NODE_FAILED:
            return NodeFailed(f"the data node {self._node!r} failed: {text}")
        if what == ERROR_NOT_AUTHORIZED:
            return AuthenticationRejected(f"this user may not do that: {text}")
        if what is not None and what.startswith("wamp.close."):
            return RouterUnreachable("the connection to the router was lost")
        if self._node is None:
            return HubMissing(f"the hub does not answer ({what}): is it being restarted?")
        if what == "wamp.error.canceled":
            return NodeFailed(f"the data node {self._node!r} went away while it was asked")
        return NodeFailed(f"the data node {self._node!r} answers with the error {what}: {text}")
