"""Read `sites.toml`: the routers of several sites."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sisock.connection.settings import (
    Settings,
    find_home,
    find_sites,
    parse_level,
    read_secret,
    read_toml,
)
from sisock.errors import SettingsError
from sisock.wire.protocol import REALM, USER_CONSUMER

HTTPS_PORT = 443  # the port of an address without one, as in browsers

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_HOST = re.compile(r"[\w.:-]+")
_KEYS = ("address", "ca", "secret")
_EXAMPLE = '"wss://router.example:8080/ws" or "unix:/run/sisock/router.sock"'


def load_sites(environ: Mapping[str, str] = os.environ) -> dict[str, Settings]:
    """Read the settings of each site by its name; empty if there is no file of sites.

    Raises SettingsError, which names the file and the site, if an entry is invalid.
    """
    path = find_sites(environ)
    if path is None:
        return {}
    if not (sites := read_toml(path)):
        advice = "remove it, or add one, see docs/explanation/scale.md"
        raise SettingsError(f"{path} names no site: {advice}")
    return {name: _parse_site(path, name, entry, environ) for name, entry in sites.items()}


def _parse_site(path: Path, name: str, entry: Any, environ: Mapping[str, str]) -> Settings:
    """Return the settings of one site; raises SettingsError."""
    where = f"{path}, site {name!r}"
    if not _NAME.fullmatch(name):
        raise SettingsError(f"{where}: a name has 1 to 64 letters, digits, - and _")
    if not isinstance(entry, dict) or not all(isinstance(text, str) for text in entry.values()):
        raise SettingsError(f"{where}: write [{name}], and below it {', '.join(_KEYS)} as texts")
    if unknown := sorted(entry.keys() - set(_KEYS)):
        raise SettingsError(f"{where}: {unknown[0]!r} is none of {', '.join(_KEYS)}")
    host, port, socket = _parse_address(where, path.parent, entry.get("address", ""))
    secret = path.parent / entry["secret"] if "secret" in entry else None
    if socket is None and secret is None:
        raise SettingsError(f"{where}: add `secret`, the file with the consumer's secret")
    try:
        known = None if secret is None else read_secret(secret)
    except SettingsError as error:
        raise SettingsError(f"{where}: {error}") from None
    names = "CROSSBAR_HOST", "CROSSBAR_TLS_PORT", "CROSSBAR_SOCKET", "WAMP_REALM"
    return Settings(
        host=host,
        port=port,
        socket=socket,
        user=USER_CONSUMER,
        secret=known,
        realm=REALM,
        log_level=parse_level(environ.get("LOGLEVEL") or "info"),
        home=find_home(environ),
        sources={**dict.fromkeys(names, str(path)), "WAMP_SECRET": f"file {secret}"},
        ca=path.parent / entry["ca"] if "ca" in entry else None,
        secret_file=secret,
        site=name,
    )


def _parse_address(where: str, folder: Path, address: str) -> tuple[str, int, str | None]:
    """Return host, port and socket of an address; raises SettingsError."""
    if (socket := address.removeprefix("unix:")) != address and socket:
        return "localhost", HTTPS_PORT, str(folder / socket)
    try:
        parts = urlsplit(address)
        host, port = parts.hostname or "", parts.port or HTTPS_PORT
        rest = parts.scheme, parts.username, parts.path, parts.query, parts.fragment
        is_good = _HOST.fullmatch(host) and rest == ("wss", None, "/ws", "", "")
    except ValueError:  # the port or the IPv6 address is invalid
        is_good = None
    if not is_good:
        raise SettingsError(f"{where}: address must be like {_EXAMPLE}, not {address!r}")
    return host, port, None
