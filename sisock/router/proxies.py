"""Put proxy workers before the router: they do TLS, WebSocket, JSON and logins in its place."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sisock.errors import SettingsError

MAX_PROXIES = 64

CONNECTION = "router"
"""Name of a proxy's connection to the router."""

_VARIABLE = re.compile(r"\$\{(.+)\}")


def add_proxies(
    configuration: dict[str, Any], count: int, socket: Path, variables: Mapping[str, str | None]
) -> None:
    """Have `count` proxies listen where the router did with TLS, and pass all on to `socket`.

    The ports are shared: the kernel spreads connections over the proxies. Crossbar substitutes no
    variables in a proxy and would take ``${NAME}`` itself for the secret, so it is done here; who
    writes the configuration must keep it from others. SettingsError says that the configuration
    does not fit, or that a variable is missing.
    """
    routers = [worker for worker in configuration["workers"] if worker.get("type") == "router"]
    fronts = [each for worker in routers for each in _with_tls(worker)]
    if len(routers) != 1 or not fronts:
        raise SettingsError("SISOCK_PROXIES needs a configuration with one router that has TLS")
    router = routers[0]
    router["transports"] = [each for each in router["transports"] if each not in fronts]
    # Whoever can reach this socket may say who they are.
    router["transports"].append(
        {
            "type": "websocket",
            "id": "for_proxies",
            "endpoint": {"type": "unix", "path": str(socket)},
            "serializers": ["cbor"],
            "options": {"max_message_size": 0},  # what proxies let in passes
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
    place = configuration["workers"].index(router) + 1  # components of others connect to them
    configuration["workers"][place:place] = [
        {
            "type": "proxy",
            "id": f"proxy{number}",
            "connections": {CONNECTION: {"transport": backend}},
            "routes": {realm: dict.fromkeys(names, CONNECTION) for realm, names in roles.items()},
            "transports": copy.deepcopy(fronts),
        }
        for number in range(1, count + 1)
    ]


def _with_tls(worker: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [each for each in worker["transports"] if "tls" in each.get("endpoint", {})]


def _substitute(value: Any, variables: Mapping[str, str | None]) -> Any:
    """Return a copy with the values of variables in place of their names."""
    if isinstance(value, dict):
        return {key: _substitute(each, variables) for key, each in value.items()}
    if isinstance(value, list):
        return [_substitute(each, variables) for each in value]
    if not isinstance(value, str) or not (found := _VARIABLE.fullmatch(value)):
        return value
    if not (given := variables.get(found[1])):
        raise SettingsError(f"the router's configuration needs the variable {found[1]}: set it")
    return given
