"""Add proxy workers, which handle TLS, WebSocket, JSON and logins for the router."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sisock.errors import SettingsError

MAX_PROXIES = 64
"""Largest value of SISOCK_PROXIES."""

CONNECTION = "router"
"""Name of a proxy's connection to the router."""

_VARIABLE = re.compile(r"\$\{(.+)\}")


def add_proxies(
    configuration: dict[str, Any], count: int, socket: Path, variables: Mapping[str, str | None]
) -> None:
    """Replace the router's TLS ports by `count` proxies, which pass everything on to `socket`.

    The proxies share the ports, and the kernel distributes connections. Crossbar substitutes no
    variables for proxies (``${NAME}`` itself would be the secret), so this function does; the
    configuration then has secrets, and its file must be private. Raises SettingsError if the
    configuration does not fit, or a variable is missing.
    """
    routers = [worker for worker in configuration["workers"] if worker.get("type") == "router"]
    fronts = [transport for worker in routers for transport in _with_tls(worker)]
    if len(routers) != 1 or not fronts:
        raise SettingsError("SISOCK_PROXIES needs a configuration with one router that has TLS")
    router = routers[0]
    router["transports"] = [t for t in router["transports"] if t not in fronts]
    # The router trusts the identities that it gets through this socket.
    router["transports"].append(
        {
            "type": "websocket",
            "id": "for_proxies",
            "endpoint": {"type": "unix", "path": str(socket)},
            "serializers": ["cbor"],
            "options": {"max_message_size": 0},  # the proxies have checked the size
            "auth": {"anonymous-proxy": {"type": "static"}},
        }
    )
    backend = {
        "type": "websocket",
        "url": "ws://localhost/ws",
        "endpoint": {"type": "unix", "path": str(socket)},
        "serializers": ["cbor"],
    }
    roles = {realm["name"]: [role["name"] for role in realm["roles"]] for realm in router["realms"]}
    fronts = _substitute(fronts, variables)
    for front in fronts:
        front["endpoint"]["shared"] = True
    place = configuration["workers"].index(router) + 1  # before workers that connect to them
    configuration["workers"][place:place] = [
        {
            "type": "proxy",
            "id": f"proxy{number}",
            "connections": {CONNECTION: {"transport": backend}},
            "routes": {realm: dict.fromkeys(names, CONNECTION) for realm, names in roles.items()},
            "transports": fronts,
        }
        for number in range(1, count + 1)
    ]


def _with_tls(worker: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [t for t in worker["transports"] if "tls" in t.get("endpoint", {})]


def _substitute(value: Any, variables: Mapping[str, str | None]) -> Any:
    """Return a copy with ``${NAME}`` replaced by the values of variables."""
    if isinstance(value, dict):
        return {key: _substitute(item, variables) for key, item in value.items()}
    if isinstance(value, list):
        return [_substitute(item, variables) for item in value]
    if not isinstance(value, str) or not (match := _VARIABLE.fullmatch(value)):
        return value
    if not (text := variables.get(match[1])):
        raise SettingsError(f"the router's configuration needs the variable {match[1]}: set it")
    return text
