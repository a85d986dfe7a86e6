"""The hub: keep the list of available data nodes, and tell consumers when it changes.

The router loads the hub into its own process as ``hub.hub`` (`.crossbar/config.json`), where it
needs no password. As a separate program, ``sisock hub``, it joins the router as user `server`.
`sisock/router/registry.py` has the rules; this file connects them to WAMP.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import sisock  # noqa: F401 - before autobahn, to keep that from importing bjdata

# isort: split
from autobahn.wamp.exception import ApplicationError
from autobahn.wamp.types import CallDetails, SessionDetails
from twisted.python.failure import Failure

from sisock.connection.health import OK, serve_health
from sisock.connection.runtime import make_logger
from sisock.connection.session import SteadySession
from sisock.errors import (
    NOT_A_SERVER,
    AuthenticationRejected,
    InvalidArgument,
    InvalidNodeName,
    SisockError,
)
from sisock.router.registry import NodeRegistry
from sisock.wire.protocol import (
    ERROR_INVALID_ARGUMENT,
    ERROR_INVALID_NAME,
    ERROR_NOT_AUTHORIZED,
    ERROR_PROCEDURE_EXISTS,
    USER_SERVER,
    uri,
)

log = make_logger()


class HubProcedures:
    """Register the hub's procedures on a WAMP session, and publish its events."""

    def __init__(self, session: SteadySession) -> None:
        self._session = session
        self._registry = NodeRegistry(self._node_added, self._node_subtracted)

    async def begin(self) -> None:
        """Register all procedures, then announce that the hub is ready."""
        session = self._session
        try:
            await session.subscribe(self._registry.session_left, "wamp.session.on_leave")
            await session.hold(_checked(self.add), uri("data_node.add"))
        except ApplicationError as error:
            if error.error == ERROR_NOT_AUTHORIZED:
                raise AuthenticationRejected(NOT_A_SERVER) from None
            if error.error == ERROR_PROCEDURE_EXISTS:
                raise SisockError("another hub is on this router: one is enough") from None
            raise
        await session.hold(_checked(self.subtract), uri("data_node.subtract"))
        await session.hold(_checked(self.nodes), uri("consumer.get_data_node"))
        session.publish(uri("data_node.hub_ready"))
        log.info("the hub is ready")

    def add(
        self,
        name: str,
        description: str,
        session_id: int,
        *,
        details: CallDetails,
        features: list[str] | None = None,
        generation: str | None = None,
        replica: bool = False,
    ) -> bool:
        """Add a data node; return False if its name is taken."""
        session = _check_caller(session_id, details)
        added = self._registry.add(name, description, session, features, generation, replica)
        if not added:
            log.info("node {name} refused: the name is taken", name=name)
        return added

    def subtract(self, name: str, session_id: int, *, details: CallDetails) -> None:
        """Remove a data node if it belongs to the caller."""
        self._registry.subtract(name, _check_caller(session_id, details))

    def nodes(self, *, details: CallDetails) -> list[dict[str, Any]]:
        """List the available data nodes."""
        return self._registry.nodes()

    def _node_added(self, node: dict[str, Any], session: int) -> None:
        log.info("node {name} added", name=node["name"], session=session)
        self._session.publish(uri("consumer.data_node_added"), node)

    def _node_subtracted(self, node: dict[str, Any], session: int) -> None:
        log.info("node {name} subtracted", name=node["name"], session=session)
        self._session.publish(uri("consumer.data_node_subtracted"), node)


def _checked(procedure: Callable[..., Any]) -> Callable[..., Any]:
    """Return a procedure that answers wrong arguments with an error that names them."""
    signature = inspect.signature(procedure)

    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            signature.bind(*args, **kwargs)
        except TypeError as error:
            raise ApplicationError(ERROR_INVALID_ARGUMENT, str(error)) from None
        try:
            return procedure(*args, **kwargs)
        except InvalidNodeName as error:
            raise ApplicationError(ERROR_INVALID_NAME, str(error)) from None
        except InvalidArgument as error:
            raise ApplicationError(ERROR_INVALID_ARGUMENT, str(error)) from None

    return call


def _check_caller(session_id: int, details: CallDetails) -> int:
    """Return the session that calls; the argument must equal what the router discloses."""
    if isinstance(session_id, float) and session_id.is_integer():
        session_id = int(session_id)  # JavaScript's encoders send large integers as floats
    if isinstance(session_id, bool) or not isinstance(session_id, int):
        raise InvalidArgument("session_id must be a whole number")
    # A router with another configuration may not disclose callers: then trust the argument.
    if details.caller is not None and details.caller != session_id:
        raise ApplicationError(
            ERROR_NOT_AUTHORIZED, f"session {session_id} is not the session that calls"
        )
    return session_id


class hub(SteadySession):
    """The hub inside the router's process."""

    def onConnect(self) -> None:
        """Join without a password: the router trusts the components that it loads."""
        self.join(self.config.realm)

    def onUserError(self, fail: Failure, msg: str) -> None:
        """Log errors of the hub, but not of its callers: these could fill the log."""
        if not isinstance(fail.value, ApplicationError):
            super().onUserError(fail, msg)

    async def onJoin(self, details: SessionDetails) -> None:
        """Register the hub's procedures, and answer health checks."""
        from twisted.internet import reactor

        self.reactor = reactor
        await HubProcedures(self).begin()
        await serve_health(self._ask_itself, reactor)

    async def _ask_itself(self) -> str:
        """Ask for the list as consumers do, which tests both the router and the hub."""
        await self.call(uri("consumer.get_data_node"))
        return OK


def main() -> None:
    """Run the hub as a separate program."""
    from sisock.connection.reconnect import RouterConnection, run_program, settings_from_flags
    from sisock.connection.session import Session
    from sisock.connection.settings import Parser, add_common_flags

    parser = Parser(prog="sisock hub", description=__doc__.partition("\n\n")[0])
    add_common_flags(parser)

    async def begin(session: Session) -> None:
        await HubProcedures(session).begin()

    settings = settings_from_flags(parser.parse_args(), USER_SERVER)
    run_program(RouterConnection(settings, begin))


if __name__ == "__main__":
    main()
