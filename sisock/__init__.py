"""Sisock serves the time streams of an observatory, live and archived, over WAMP.

A data node is a `LiveNode`, a `SubscriberNode`, an `ArchiveNode`, a `FileArchive` or a
`DataNodeServer` given to `run`; a script asks with `Client`. See README.md.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sisock import base as base
    from sisock.archive.files import FileArchive as FileArchive
    from sisock.archive.files import TableArchive as TableArchive
    from sisock.archive.node import ArchiveNode as ArchiveNode
    from sisock.archive.text import read_pairs as read_pairs
    from sisock.base import REALM as REALM
    from sisock.base import data_node_server as data_node_server
    from sisock.client.client import AsyncClient as AsyncClient
    from sisock.client.client import Client as Client
    from sisock.client.merge import Gap as Gap
    from sisock.client.twisted_client import TwistedClient as TwistedClient
    from sisock.connection.runtime import RepeatedWarning as RepeatedWarning
    from sisock.errors import SisockError as SisockError
    from sisock.node.api import DataNodeServer as DataNodeServer
    from sisock.node.live import LiveNode as LiveNode
    from sisock.node.run import run as run
    from sisock.node.subscriber import SubscriberNode as SubscriberNode
    from sisock.wire.fields import describe as describe
    from sisock.wire.protocol import sisock_to_unix_time as sisock_to_unix_time
    from sisock.wire.protocol import uri as uri

# The bjdata that comes with crossbar is built for an older numpy: every process that imports
# autobahn would print a traceback. Without bjdata, autobahn only lacks the serializer UBJSON.
sys.modules.setdefault("bjdata", None)  # type: ignore[arg-type]

_HOMES = {
    "ArchiveNode": "sisock.archive.node",
    "AsyncClient": "sisock.client.client",
    "Client": "sisock.client.client",
    "DataNodeServer": "sisock.node.api",
    "FileArchive": "sisock.archive.files",
    "Gap": "sisock.client.merge",
    "LiveNode": "sisock.node.live",
    "REALM": "sisock.base",
    "RepeatedWarning": "sisock.connection.runtime",
    "SisockError": "sisock.errors",
    "SubscriberNode": "sisock.node.subscriber",
    "TableArchive": "sisock.archive.files",
    "TwistedClient": "sisock.client.twisted_client",
    "base": "sisock.base",
    "data_node_server": "sisock.base",
    "describe": "sisock.wire.fields",
    "read_pairs": "sisock.archive.text",
    "run": "sisock.node.run",
    "sisock_to_unix_time": "sisock.wire.protocol",
    "uri": "sisock.wire.protocol",
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    """Import on first use, so that ``import sisock`` costs little."""
    if name not in _HOMES:
        raise AttributeError(f"module 'sisock' has no attribute {name!r}")
    module = import_module(_HOMES[name])
    return module if name == "base" else getattr(module, name)


def __dir__() -> list[str]:
    """Name what is imported on first use, too."""
    return sorted({*globals(), *__all__})
