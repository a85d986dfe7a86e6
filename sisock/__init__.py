"""Sisock serves the time streams of an observatory, live and archived, over WAMP.

A data node is a `LiveNode`, an `ArchiveNode`, a `FileArchive` or a `DataNodeServer` given to `run`;
a script asks with `Client`. See README.md.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sisock import base
    from sisock.archive.file_archive import FileArchive
    from sisock.archive.node import ArchiveNode
    from sisock.base import REALM, data_node_server
    from sisock.client.client import AsyncClient, Client
    from sisock.errors import SisockError
    from sisock.node.data_node import DataNodeServer, run
    from sisock.node.live import LiveNode
    from sisock.wire.protocol import sisock_to_unix_time, uri

__all__ = [
    "REALM",
    "ArchiveNode",
    "AsyncClient",
    "Client",
    "DataNodeServer",
    "FileArchive",
    "LiveNode",
    "SisockError",
    "base",
    "data_node_server",
    "run",
    "sisock_to_unix_time",
    "uri",
]

_HOMES = {
    "ArchiveNode": "sisock.archive.node",
    "AsyncClient": "sisock.client.client",
    "Client": "sisock.client.client",
    "DataNodeServer": "sisock.node.data_node",
    "FileArchive": "sisock.archive.file_archive",
    "LiveNode": "sisock.node.live",
    "REALM": "sisock.base",
    "SisockError": "sisock.errors",
    "data_node_server": "sisock.base",
    "run": "sisock.node.data_node",
    "sisock_to_unix_time": "sisock.wire.protocol",
    "uri": "sisock.wire.protocol",
}


def __getattr__(name: str) -> Any:
    """Import on first use, so that ``import sisock`` costs little."""
    if name == "base":
        return import_module("sisock.base")
    if name not in _HOMES:
        raise AttributeError(f"module 'sisock' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """Name what is imported on first use, too."""
    return sorted({*globals(), *__all__})
