"""Add a data node to the hub's list, and keep it there over restarts of router, hub and node."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from autobahn.wamp.exception import ApplicationError
from twisted.internet import defer

from sisock.connection.runtime import RepeatedWarning, make_logger
from sisock.connection.session import CALL_TIMEOUT, Session
from sisock.errors import (
    NOT_A_SERVER,
    AuthenticationRejected,
    HubMissing,
    InvalidNodeName,
    NodeNameTaken,
    SettingsError,
)
from sisock.wire.protocol import (
    ERROR_INVALID_ARGUMENT,
    ERROR_INVALID_NAME,
    ERROR_NO_SUCH_PROCEDURE,
    ERROR_NOT_AUTHORIZED,
    ERROR_PROCEDURE_DIFFERS,
    ERROR_PROCEDURE_EXISTS,
    ERROR_RUNTIME,
    node_uri,
    uri,
)

RETRY = 2.0  # seconds between attempts; short, as the router drops a dead session within 15 s
CHECK = 10.0  # seconds between two checks that the hub still lists the node
HUB_TIMEOUT = 5.0  # seconds to wait for an answer of the hub

_LOST = ("wamp.close.transport_lost", "wamp.close.system_shutdown", "wamp.close.normal")
"""Errors of calls when the session ends, which is not the hub's fault."""


class _CallRefused(HubMissing):
    """The hub is available, but refuses a call with these arguments."""


class _ArgumentsRefused(_CallRefused):
    """The hub says that the arguments are wrong."""


class Registration:
    """Register a node's procedures on a joined session, and keep the node in the hub's list.

    `describe` returns the current description. `announced` has the keywords ``features`` and
    ``generation`` of ``data_node.add``. `procedures` maps ``get_fields`` and ``get_data`` to their
    endpoints. `on_name` is called when these are registered: the node then holds its name.

    With `is_same` the node is a replica, which shares its name with other replicas. If `is_same`
    returns that they serve the same samples, this node adopts their generation.
    """

    def __init__(
        self,
        session: Session,
        name: str,
        describe: Callable[[], str],
        announced: dict[str, Any],
        procedures: dict[str, Callable[..., Any]],
        on_name: Callable[[], None],
        is_same: Callable[[], Awaitable[bool]] | None = None,
    ) -> None:
        self.is_added = False
        self.holds_name = False
        self._was_added = False
        self._session = session
        self._name = name
        self._describe = describe
        self._announced = announced
        self._procedures = procedures
        self._on_name = on_name
        self._is_same = is_same
        self._told = ""  # the description that the hub has
        self._wake: defer.Deferred | None = None
        self._hub_is_new = False
        self._hub_is_of_part_1 = False
        self._log = make_logger()
        self._warn = RepeatedWarning(self._log)

    async def keep(self) -> None:
        """Keep the node listed as long as the session lasts.

        Raises AuthenticationRejected if this user may not serve data, and InvalidNodeName if the
        hub refuses the name.
        """
        with _may_serve():
            await self._session.subscribe(self._hear_hub, uri("data_node.hub_ready")).addTimeout(
                CALL_TIMEOUT, self._session.reactor
            )
        while True:
            try:
                await self._add_if_needed()
            except (NodeNameTaken, HubMissing) as problem:
                self.is_added = False
                self._warn(str(problem))
            await self._pause(CHECK if self.is_added else RETRY)

    async def renew(self, generation: str) -> None:
        """Announce a new generation, so that consumers drop what they have cached."""
        self._announced["generation"] = generation
        if self.is_added:
            if self._hub_is_of_part_1:  # a newer hub removes and adds the node by itself
                await self._ask_hub("data_node.subtract", self._name, self._session._session_id)
            await self._add_or_unregister()
            if not self.holds_name:
                self._hear_hub()

    def publish(self, reply: dict[str, Any]) -> None:
        """Publish new samples, once the hub has announced the node to consumers.

        A sample published earlier would hide that consumers have missed the ones before it.
        """
        if self._was_added:
            self._session.publish(node_uri(self._name, "data"), reply)

    def tell_changes(self) -> None:
        """Send the hub the description, if it is another one now."""
        if self.is_added and not self._hub_is_of_part_1 and self._describe() != self._told:
            self._stop_pause()

    def _hear_hub(self, *_: Any, **__: Any) -> None:
        self._hub_is_new = True
        self._stop_pause()

    def _stop_pause(self) -> None:
        if self._wake is not None and not self._wake.called:
            self._wake.callback(None)

    async def _pause(self, seconds: float) -> None:
        if self._hub_is_new:
            return
        self._wake = defer.Deferred()
        # Jitter, so that a hundred nodes do not call the hub in the same instant.
        with suppress(defer.TimeoutError):
            await self._wake.addTimeout(seconds * random.uniform(0.7, 1.0), self._session.reactor)
        self._wake = None

    async def _add_if_needed(self) -> None:
        # Reset before the attempt: if it fails, the next attempt must wait.
        hub_is_new, self._hub_is_new = self._hub_is_new, False
        if not self.holds_name:
            if self._is_same is not None:
                await self._join_replicas(self._is_same)
            await self._register()
            self._on_name()
        if self.is_added and not hub_is_new and await self._is_still_added():
            return
        was_added = self.is_added
        await self._add_or_unregister()
        if not self.is_added:
            raise NodeNameTaken(
                f"the name {self._name!r} is taken in the hub's list; trying again, as it may be"
                " an earlier run of this node that the router has not yet dropped"
            )
        self._was_added = True
        self._warn.reset()
        text = "node {name} is in the hub's list" + " again" * was_added
        self._log.info(text, name=self._name)

    async def _join_replicas(self, is_same: Callable[[], Awaitable[bool]]) -> None:
        """Adopt the generation of the present replicas, if they serve the same samples."""
        listed = await self._ask_hub("consumer.get_data_node")
        same = [each.get("generation") for each in listed if each.get("name") == self._name]
        if not same or same[0] in (None, self._announced["generation"]):
            return
        if not await is_same():
            raise NodeNameTaken(
                f"the replicas of {self._name!r} serve other samples; trying again, as they may not"
                " have noticed a change yet"
            )
        self._announced["generation"] = same[0]

    async def _unregister(self) -> None:
        self.holds_name = False
        for verb in self._procedures:
            await self._session.release(node_uri(self._name, verb))

    async def _register(self) -> None:
        is_shared = self._is_same is not None
        try:
            with _may_serve():
                for verb, endpoint in self._procedures.items():
                    await self._session.hold(endpoint, node_uri(self._name, verb), is_shared)
            self.holds_name = True
        except ApplicationError as error:
            await self._unregister()
            if error.error in (ERROR_PROCEDURE_EXISTS, ERROR_PROCEDURE_DIFFERS):
                raise NodeNameTaken(
                    f"another program serves as {self._name!r}; trying again, as it may be an"
                    " earlier run of this node that the router has not yet dropped"
                ) from None
            raise

    async def _is_still_added(self) -> bool:
        """Add the node again as a check: lists of thousands of nodes would overload the router."""
        if not self._hub_is_of_part_1 and await self._add():
            return True
        # A hub of Part 1 may refuse a node that is already in its list.
        listed = await self._ask_hub("consumer.get_data_node")
        return any(entry.get("name") == self._name for entry in listed)

    async def _add_or_unregister(self) -> None:
        """Add the node; unregister a replica that the hub refuses, so that it gets no calls."""
        self.is_added = await self._add()
        if not self.is_added and self._is_same is not None:
            await self._unregister()

    async def _add(self) -> bool:
        announced = dict(self._announced)
        self._told = self._describe()
        arguments = self._name, self._told, self._session._session_id
        try:
            added = await self._ask_hub("data_node.add", *arguments, **announced)
        except _CallRefused as refusal:  # a hub of Part 1 does not know these keywords
            if self._is_same is not None:
                if isinstance(refusal, _ArgumentsRefused):
                    why = "this router's hub knows no replicas: start the node without --replica"
                    raise SettingsError(why) from None
                raise
            self._hub_is_of_part_1 = True
            return await self._ask_hub("data_node.add", *arguments)
        self._hub_is_of_part_1 = False
        # Add again if a new generation has begun meanwhile.
        return added if announced == self._announced else await self._add()

    async def _ask_hub(self, verb: str, *arguments: Any, **keywords: Any) -> Any:
        try:
            request = self._session.request
            return await request(uri(verb), *arguments, timeout=HUB_TIMEOUT, **keywords)
        except defer.TimeoutError:
            raise HubMissing("no hub answers (time out); trying again") from None
        except ApplicationError as error:
            if error.error in _LOST:
                raise
            raise self._translate(error) from None

    def _translate(self, error: ApplicationError) -> Exception:
        if error.error == ERROR_INVALID_NAME:
            return InvalidNodeName(f"the hub refuses the name {self._name!r}")
        if error.error == ERROR_NOT_AUTHORIZED:
            return AuthenticationRejected("the hub refuses this node: see the hub's log")
        if error.error == ERROR_INVALID_ARGUMENT:
            return _ArgumentsRefused(f"the hub refuses this node: {error.args[0]}; trying again")
        kinds = {ERROR_NO_SUCH_PROCEDURE: HubMissing, ERROR_RUNTIME: _ArgumentsRefused}
        return kinds.get(error.error, _CallRefused)(f"no hub answers ({error.error}); trying again")


@contextmanager
def _may_serve() -> Iterator[None]:
    """Raise AuthenticationRejected if the router does not allow this user to serve data."""
    try:
        yield
    except ApplicationError as error:
        if error.error == ERROR_NOT_AUTHORIZED:
            raise AuthenticationRejected(NOT_A_SERVER) from None
        raise
