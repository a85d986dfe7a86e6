"""Every setting of the programs, its value and where that comes from, for ``sisock config``."""

from __future__ import annotations

import os

from sisock.connection.settings import Settings, find_optional, find_secret
from sisock.router.launch import SECRET_VARIABLES

DEFAULTS = {
    "CROSSBAR_MAX_CONNECTIONS": "10000",
    "SISOCK_RUN": "SISOCK_HOME",
    "SISOCK_CACHE": "~/.cache/sisock",
    "SISOCK_HEALTH": "none",
    "SISOCK_NAMES": "none",
    "PORT": "5000",
    "BIND": "127.0.0.1",
    "SISOCK_HTTP_HOSTS": "none",
    "SISOCK_HTTP_ORIGINS": "none",
    "SISOCK_NODE_TIMEOUT": "10",
    "SISOCK_CACHE_MB": "256",
    "SISOCK_MAX_SAMPLES": "20000000",
}
"""Settings that one program reads, and no client."""

BRIDGE_SECRETS = ("SISOCK_HTTP_TOKEN", "SISOCK_HTTP_BASIC")


def setting_rows(settings: Settings) -> list[tuple[str, str, str]]:
    """Return name, value and source of each setting; the value of a secret is only "hidden".

    Raises
    ------
    SettingsError
        If the file of a secret cannot be read.
    """
    values = {
        "CROSSBAR_HOST": settings.host,
        "CROSSBAR_TLS_PORT": settings.port,
        "CROSSBAR_SOCKET": settings.socket or "none: TLS",
        "WAMP_USER": settings.user,
        "WAMP_SECRET": "hidden" if settings.secret else "none",
        "WAMP_REALM": settings.realm,
        "LOGLEVEL": settings.log_level,
        "SISOCK_HOME": settings.home.path,
    }
    rows = [(name, str(value), settings.sources[name]) for name, value in values.items()]
    for variable, user in SECRET_VARIABLES.items():
        found = find_secret(variable, user, settings.home)
        source = found.source if found else "not found"
        rows.append((variable, "hidden" if found else "none", source))
    for variable in BRIDGE_SECRETS:
        is_set = find_optional(variable, os.environ) is not None
        rows.append((variable, "hidden" if is_set else "none", _source(variable)))
    for name, default in DEFAULTS.items():
        rows.append((name, os.environ.get(name) or default, _source(name)))
    return rows


def _source(name: str) -> str:
    for variable in (name, f"{name}_FILE"):
        if os.environ.get(variable):
            return f"environment ({variable})"
    return "default"
