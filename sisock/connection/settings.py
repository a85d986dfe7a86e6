"""Settings and credentials: flag, then environment, then file, then default.

No secret has a default and none is ever printed.
"""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sisock.errors import SettingsError
from sisock.wire.protocol import REALM, USER_CONSUMER

LOG_LEVELS = ("critical", "error", "warn", "info", "debug", "trace")


@dataclass(frozen=True)
class Value:
    """A secret, which shows in no representation, and where it came from."""

    value: Any = field(repr=False)
    source: str


class Home:
    """The folder of an installation's credentials, certificates and run-time files.

    `path` may be read-only; then the router keeps its own files below `runtime`: Crossbar's folder,
    its ``--cbdir``, and the Unix socket.
    """

    def __init__(self, path: Path, runtime: Path | None = None) -> None:
        self.path = path
        self.ca_certificate = path / "tls" / "ca_cert.pem"
        self.ca_key = path / "tls" / "ca_key.pem"
        self.server_certificate = path / "tls" / "server_cert.pem"
        self.server_key = path / "tls" / "server_key.pem"
        self.router_directory = (runtime or path) / "router"
        self.router_socket = (runtime or path) / "run" / "router.sock"

    def secret_file(self, user: str) -> Path:
        """Return the file of the secret of a WAMP user."""
        return self.path / "credentials" / {USER_CONSUMER: "consumer"}.get(user, user)


@dataclass(frozen=True)
class Settings:
    """Where the router is and who we are: what a program needs to join."""

    host: str
    port: int
    socket: str | None
    user: str
    secret: str | None = field(repr=False)
    realm: str
    log_level: str
    home: Home
    sources: Mapping[str, str]

    @property
    def address(self) -> str:
        """The router's address, for messages."""
        return f"unix:{self.socket}" if self.socket else f"wss://{self.host}:{self.port}/ws"

    def check_secret(self) -> None:
        """Raise a `SettingsError` if there is no secret, but one is needed."""
        if self.secret is None and not self.socket:
            raise SettingsError(
                f"there is no secret for the user {self.user!r}: set WAMP_SECRET or"
                f" WAMP_SECRET_FILE, or put it into {self.home.secret_file(self.user)}"
            )


def read_secret(path: Path) -> str:
    """Read a secret from a file, without the white space around it.

    SettingsError says that it cannot be read or is empty, and names the file.
    """
    try:
        secret = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise SettingsError(f"the secret in {path} cannot be read: {reason}") from None
    if not secret:
        raise SettingsError(f"the file {path} should hold a secret but is empty")
    return secret


def find_secret(
    variable: str, environ: Mapping[str, str] = os.environ, path: Path | None = None
) -> Value:
    """Find a secret: the variable, the file that ``<variable>_FILE`` names, or the file `path`.

    The value is None if there is none; SettingsError says that a file cannot be read.
    """
    if environ.get(variable):
        return Value(environ[variable], f"environment ({variable})")
    if named := environ.get(variable + "_FILE"):
        return Value(read_secret(Path(named)), f"file {named} ({variable}_FILE)")
    try:
        if path is None or not path.exists():
            return Value(None, "not found" if path else "default")
    except OSError as error:
        raise SettingsError(f"{path} cannot be looked at: {error.strerror}") from None
    return Value(read_secret(path), f"file {path}")


def find_home(environ: Mapping[str, str] = os.environ) -> Home:
    """Return the home that ``SISOCK_HOME``, or else ``~/.sisock``, and ``SISOCK_RUN`` name."""
    path, runtime = environ.get("SISOCK_HOME") or "~/.sisock", environ.get("SISOCK_RUN")
    return Home(Path(path).expanduser(), Path(runtime).expanduser() if runtime else None)


def parse_count(
    text: str, setting: str, what: str = "a whole number above zero", limit: float = math.inf
) -> int:
    """Return the number of a setting, from 1 to the limit, or raise a `SettingsError`."""
    if text.isascii() and text.isdigit() and 0 < int(text) <= limit:
        return int(text)
    raise SettingsError(f"{setting} must be {what}, not {text!r}")


def parse_port(text: str, setting: str = "CROSSBAR_TLS_PORT") -> int:
    """Return the port of a setting, or raise a `SettingsError` if it is none."""
    return parse_count(text, setting, "a port from 1 to 65535", 65535)


def parse_level(text: str) -> str:
    """Return a log level, or raise a `SettingsError` if it is none of `LOG_LEVELS`."""
    if text.lower() not in LOG_LEVELS:
        raise SettingsError(f"LOGLEVEL must be one of {', '.join(LOG_LEVELS)}, not {text!r}")
    return text.lower()


def add_common_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags that every program and command takes."""
    parser.add_argument(
        "--router",
        metavar="ADDRESS",
        help="host, host:port, [IPv6 address], or the path of the router's Unix socket"
        " (default: CROSSBAR_HOST, CROSSBAR_TLS_PORT, CROSSBAR_SOCKET)",
    )
    parser.add_argument(
        "--log-level", choices=LOG_LEVELS, help="how much to log (default: LOGLEVEL, or info)"
    )


def _parse_router(text: str) -> dict[str, str]:
    """Return the settings of the flag ``--router``."""
    if "/" in text:
        return {"CROSSBAR_SOCKET": text.removeprefix("unix:")}
    has_port = text.count(":") == 1 or "]:" in text
    host, _, port = text.rpartition(":") if has_port else (text, "", "")
    flags = {"CROSSBAR_SOCKET": "", "CROSSBAR_HOST": host.strip("[]")}
    return {**flags, "CROSSBAR_TLS_PORT": port} if port else flags


def load_settings(
    default_user: str = USER_CONSUMER,
    *,
    router: str | None = None,
    log_level: str | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Settings:
    """Collect the settings of a client program, of which `router` and `log_level` are flags.

    SettingsError names a setting whose value cannot be used.
    """
    flags = {} if router is None else _parse_router(router)
    if log_level is not None:
        flags["LOGLEVEL"] = log_level
    sources: dict[str, str] = {}

    given = {name: text for name, text in environ.items() if text} | flags

    def look_up(name: str, default: str) -> str:
        source = "flag" if name in flags else f"environment ({name})"
        sources[name] = source if name in given else "default"
        return given.get(name, default)

    look_up("SISOCK_HOME", "")
    home = find_home(environ)
    user = look_up("WAMP_USER", default_user)
    secret = find_secret("WAMP_SECRET", environ, home.secret_file(user))
    sources["WAMP_SECRET"] = secret.source
    return Settings(
        host=look_up("CROSSBAR_HOST", "localhost"),
        port=parse_port(look_up("CROSSBAR_TLS_PORT", "8080")),
        socket=look_up("CROSSBAR_SOCKET", "") or None,
        user=user,
        secret=secret.value,
        realm=look_up("WAMP_REALM", REALM),
        log_level=parse_level(look_up("LOGLEVEL", "info")),
        home=home,
        sources=sources,
    )
