"""Errors, each with one sentence that its reader can act on.

Every error is a `SisockError` and also the built-in that fits, so that a script can catch either.
"""

from __future__ import annotations

NOT_A_SERVER = (
    "this user may not serve data: data nodes and the hub join as the user 'server', see WAMP_USER"
    " in `sisock config`"
)


class SisockError(Exception):
    """The parent of all errors of sisock."""

    def __str__(self) -> str:
        # KeyError would show the repr of its argument, in quotes.
        return str(self.args[0]) if self.args else self.__class__.__doc__ or ""

    def _render_traceback_(self) -> list[str]:
        """Show one sentence in a notebook, not how it came about."""
        return [f"{type(self).__name__}: {self}"]


class RouterUnreachable(SisockError, ConnectionError):
    """The router does not answer: is it running, and are host and port right?"""


class ClientClosed(RouterUnreachable):
    """The client is closed: make a new one."""


class SiteUnreachable(RouterUnreachable):
    """One of several sites cannot be reached; the message gives the reason."""


class SiteWarning(UserWarning):
    """A list lacks the nodes of a site; the message gives the reason."""


class AuthenticationRejected(SisockError, PermissionError):
    """The router refuses the user or the secret: see where they come from with `sisock config`."""


class SettingsError(SisockError, ValueError):
    """A setting has a value that cannot be used."""


class HubMissing(SisockError, ConnectionError):
    """No hub is on the router: start `sisock hub`, or use sisock's configuration of the router."""


class NodeNameTaken(SisockError, ValueError):
    """Another data node has this name: give this one another name, or end the other."""


class InvalidNodeName(SisockError, ValueError):
    """A node name must be one component of a WAMP URI."""


class UnknownNode(SisockError, KeyError):
    """The hub knows no data node of this name: list them with `sisock nodes`."""


class UnknownField(SisockError, KeyError):
    """The data node has no such field: list its fields with `sisock fields`."""


class UnknownGeneration(SisockError, KeyError):
    """The data node has a new generation by now, or no tiles."""


class InvalidArgument(SisockError, ValueError):
    """An argument of a request is wrong; the message names it."""


class NodeFailed(SisockError, RuntimeError):
    """The data node's own code failed; its log has the details."""


class NodeGone(NodeFailed):
    """The data node went away while it was asked."""


class NodeTimeout(SisockError, TimeoutError):
    """The data node did not answer in time."""


class ReplyTooLarge(SisockError, ValueError):
    """The reply exceeds the node's limit: ask for less time, or for a larger spacing."""


class NodeContractError(SisockError, ValueError):
    """A data node's answer breaks a rule of the protocol."""

    def __init__(self, node: str, field: str | None, rule: str) -> None:
        where = f"node {node!r}" + (f", field {field!r}" if field is not None else "")
        super().__init__(f"{where}: {rule}")
        self.node, self.field, self.rule = node, field, rule
