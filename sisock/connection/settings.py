"""Settings and credentials: flag, then environment, then file, then default.

No secret has a default and none is ever printed; each is a file made per installation
(`sisock.router.credentials`), or given by environment or file.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sisock.errors import SettingsError
from sisock.wire.protocol import REALM, USER_CONSUMER, USER_SERVER

LOG_LEVELS = ("critical", "error", "warn", "info", "debug", "trace")
SOCKET_PATH_LIMIT = 100
"""Bytes of a Unix socket's path that every system takes."""

_SECRET_FILES = {USER_SERVER: "server", USER_CONSUMER: "consumer"}


@dataclass(frozen=True)
class Value:
    """One setting's value, which may be a secret and so never shows, and where it came from."""

    value: Any = field(repr=False)
    source: str


@dataclass(frozen=True)
class Home:
    """The folder of an installation's credentials, certificates and run-time files.

    Attributes
    ----------
    path : Path
        Where credentials and certificates are; it may be read-only.
    runtime : Path or None
        Where the router keeps its own files, if not there.
    """

    path: Path
    runtime: Path | None = None

    def secret_file(self, user: str) -> Path:
        """File of the secret of a WAMP user."""
        return self.path / "credentials" / _SECRET_FILES.get(user, user)

    @property
    def ca_certificate(self) -> Path:
        """Certificate of the authority that clients trust."""
        return self.path / "tls" / "ca_cert.pem"

    @property
    def ca_key(self) -> Path:
        """Key of that authority, for renewals."""
        return self.path / "tls" / "ca_key.pem"

    @property
    def server_certificate(self) -> Path:
        """The router's certificate."""
        return self.path / "tls" / "server_cert.pem"

    @property
    def server_key(self) -> Path:
        """The router's key."""
        return self.path / "tls" / "server_key.pem"

    @property
    def router_directory(self) -> Path:
        """Crossbar's own folder, its ``--cbdir``."""
        return (self.runtime or self.path) / "router"

    @property
    def router_socket(self) -> Path:
        """The router's Unix socket."""
        return (self.runtime or self.path) / "run" / "router.sock"


@dataclass(frozen=True)
class Settings:
    """What a client program needs to know to join the router."""

    host: str
    port: int
    socket: str | None
    user: str
    secret: str | None
    realm: str
    log_level: str
    home: Home
    sources: Mapping[str, str]

    def __repr__(self) -> str:
        return f"<Settings of {self.user} at {self.address}>"

    @property
    def address(self) -> str:
        """The router's address, for messages."""
        return f"unix:{self.socket}" if self.socket else f"wss://{self.host}:{self.port}/ws"


def read_secret(path: Path) -> str:
    """Read a secret from a file, without the white space around it.

    Raises
    ------
    SettingsError
        If it cannot be read or is empty; the message names the file, never its content.
    """
    try:
        secret = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise SettingsError(f"the secret in {path} cannot be read: {reason}") from None
    if not secret:
        raise SettingsError(f"the file {path} should hold a secret but is empty")
    return secret


def find_optional(variable: str, environ: Mapping[str, str]) -> str | None:
    """A secret that need not be: the variable, or the file that ``<variable>_FILE`` names.

    Raises
    ------
    SettingsError
        If that file cannot be read.
    """
    if environ.get(variable):
        return environ[variable]
    named = environ.get(variable + "_FILE")
    return read_secret(Path(named)) if named else None


def find_secret(
    variable: str, user: str, home: Home, environ: Mapping[str, str] | None = None
) -> Value | None:
    """Find a secret: the variable, the file that ``<variable>_FILE`` names, or the home folder.

    Raises
    ------
    SettingsError
        If a file that the environment names cannot be read.
    """
    environ = os.environ if environ is None else environ
    if environ.get(variable):
        return Value(environ[variable], f"environment ({variable})")
    named = environ.get(variable + "_FILE")
    if named:
        return Value(read_secret(Path(named)), f"file {named} ({variable}_FILE)")
    path = home.secret_file(user)
    try:
        is_there = path.exists()
    except OSError as error:
        raise SettingsError(f"{path} cannot be looked at: {error.strerror}") from None
    return Value(read_secret(path), f"file {path}") if is_there else None


def find_home(environ: Mapping[str, str] | None = None) -> Home:
    """The folder that ``SISOCK_HOME`` names, or ``~/.sisock``, and that of ``SISOCK_RUN``."""
    environ = os.environ if environ is None else environ
    named, runtime = environ.get("SISOCK_HOME"), environ.get("SISOCK_RUN")
    return Home(
        Path(named).expanduser() if named else Path.home() / ".sisock",
        Path(runtime).expanduser() if runtime else None,
    )


def parse_port(text: str) -> int:
    """Check a port number.

    Raises
    ------
    SettingsError
        If it is not a whole number from 1 to 65535.
    """
    if text.isascii() and text.isdigit() and 0 < int(text) < 65536:
        return int(text)
    raise SettingsError(f"CROSSBAR_TLS_PORT must be a port from 1 to 65535, not {text!r}")


def parse_level(text: str) -> str:
    """Check a log level.

    Raises
    ------
    SettingsError
        If it is none of `LOG_LEVELS`.
    """
    if text.lower() not in LOG_LEVELS:
        raise SettingsError(f"LOGLEVEL must be one of {', '.join(LOG_LEVELS)}, not {text!r}")
    return text.lower()


def _parse_router(text: str) -> dict[str, str]:
    """Settings of the flag ``--router``: ``host``, ``host:port`` or a socket's path."""
    if "/" in text:
        return {"CROSSBAR_SOCKET": text.removeprefix("unix:")}
    has_port = text.count(":") == 1 or "]:" in text
    host, _, port = text.rpartition(":") if has_port else (text, "", "")
    host = host.strip("[]")
    return {
        "CROSSBAR_SOCKET": "",
        "CROSSBAR_HOST": host,
        **({"CROSSBAR_TLS_PORT": port} if port else {}),
    }


def load_settings(
    default_user: str = USER_CONSUMER,
    *,
    router: str | None = None,
    log_level: str | None = None,
    environ: Mapping[str, str] | None = None,
) -> Settings:
    """Collect the settings of a client program.

    Parameters
    ----------
    default_user : str
        WAMP user if ``WAMP_USER`` is not set.
    router : str, optional
        The flag ``--router``: ``host``, ``host:port`` or the path of a Unix socket.
    log_level : str, optional
        The flag ``--log-level``.
    environ : mapping, optional
        Instead of the process's environment.

    Raises
    ------
    SettingsError
        If a value cannot be used; the message names the setting.
    """
    environ = os.environ if environ is None else environ
    flags: dict[str, str] = {} if router is None else _parse_router(router)
    if log_level is not None:
        flags["LOGLEVEL"] = log_level
    sources: dict[str, str] = {}

    def look_up(name: str, default: str) -> str:
        for source, values in (("flag", flags), (f"environment ({name})", environ)):
            if name in values and (values[name] or source == "flag"):
                sources[name] = source
                return values[name]
        sources[name] = "default"
        return default

    home = find_home(environ)
    sources["SISOCK_HOME"] = (
        "environment (SISOCK_HOME)" if environ.get("SISOCK_HOME") else "default"
    )
    user = look_up("WAMP_USER", default_user)
    secret = find_secret("WAMP_SECRET", user, home, environ)
    sources["WAMP_SECRET"] = secret.source if secret else "not found"
    return Settings(
        host=look_up("CROSSBAR_HOST", "localhost"),
        port=parse_port(look_up("CROSSBAR_TLS_PORT", "8080")),
        socket=look_up("CROSSBAR_SOCKET", "") or None,
        user=user,
        secret=secret.value if secret else None,
        realm=look_up("WAMP_REALM", REALM),
        log_level=parse_level(look_up("LOGLEVEL", "info")),
        home=home,
        sources=sources,
    )
