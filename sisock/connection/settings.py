"""Find settings and credentials: in flags, then the environment, then files, then defaults.

No secret has a default and none is ever printed.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NoReturn

from sisock.errors import SettingsError
from sisock.wire.protocol import REALM, USER_CONSUMER

DEFAULT_PORT = 8080
COMMAND_VARIABLE = "_SISOCK_COMMAND"
"""Environment variable with the command that became the program, for its help."""

DEFAULTS = {
    "SISOCK_CACHE": "~/.cache/sisock",
    "SISOCK_DATA": "~/.local/share/sisock",
    "PORT": "5000",
    "BIND": "127.0.0.1",
    "SISOCK_NODE_TIMEOUT": "10",
    "SISOCK_CACHE_MB": "256",
    "SISOCK_MAX_SAMPLES": "20000000",
    "SISOCK_DRAIN_SECONDS": "7",  # leaving the router takes 2 s more, and Docker kills after 10 s
}
"""Defaults of settings that are no client's, see docs/reference/settings.md."""

LOG_LEVELS = ("critical", "error", "warn", "info", "debug", "trace")


@dataclass(frozen=True)
class Value:
    """A secret, hidden in the repr, and the place where it was found."""

    value: Any = field(repr=False)
    source: str


class Home:
    """Locate an installation's credentials, certificates and run-time files.

    All are below `path`; if `runtime` is given, the router writes its own files there (Crossbar's
    ``--cbdir`` and the Unix socket), so that `path` may be read-only.
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
        """Return the file with the secret of a WAMP user."""
        return self.path / "credentials" / {USER_CONSUMER: "consumer"}.get(user, user)


@dataclass(frozen=True)
class Settings:
    """Hold what a program needs to join: the router's address, user, secret, and more."""

    host: str
    port: int
    socket: str | None
    user: str
    secret: str | None = field(repr=False)
    realm: str
    log_level: str
    home: Home
    sources: Mapping[str, str]
    ca: Path | None = None
    """Certificate of the CA to trust; if None or missing, the system's CAs are trusted."""
    secret_file: Path | None = None
    """The last place to look for the secret."""
    site: str | None = None
    """The site's name, if there are several."""

    @property
    def address(self) -> str:
        """The router's address, for messages."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"unix:{self.socket}" if self.socket else f"wss://{host}:{self.port}/ws"

    def setting(self, name: str) -> str:
        """Return where to change a setting, for messages: its name, or the file of the sites."""
        return name if self.site is None else self.sources[name]

    def check_secret(self) -> None:
        """Raise a `SettingsError` if a secret is needed but missing."""
        if self.secret is None and not self.socket:
            raise missing_secret("WAMP_SECRET", self.user, self.secret_file)


def missing_secret(variable: str, user: str, path: Path | None) -> SettingsError:
    """Return an error that says where the secret of a user was looked for."""
    return SettingsError(
        f"there is no secret for the user {user!r} in {path}: set SISOCK_HOME to the folder that"
        f" has it, or {variable}_FILE; on the router's computer `sisock certs` makes and exports it"
    )


def require(module: str, extra: str) -> None:
    """Check that a module is installed; SettingsError says how to install it."""
    if find_spec(module) is None:
        raise SettingsError(f"{module} is missing: pip install 'sisock[{extra}]'")


def find_setting(name: str, environ: Mapping[str, str] = os.environ) -> str:
    """Return the value of one of `DEFAULTS` in the environment, or its default."""
    return environ.get(name) or DEFAULTS[name]


def read_secret(path: Path) -> str:
    """Read a secret from a file, and strip white space.

    Raises SettingsError, which names the file, if it is unreadable or empty.
    """
    try:
        secret = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise SettingsError(f"the secret in {path} cannot be read: {reason}") from None
    if not secret:
        raise SettingsError(f"the file {path} should hold a secret but is empty")
    return secret


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file; raises SettingsError, which names the file and the line of an error."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise SettingsError(f"{path}: it is not TOML: {error}") from None


def find_secret(
    variable: str, environ: Mapping[str, str] = os.environ, path: Path | None = None
) -> Value:
    """Find a secret in the variable, the file named by ``<variable>_FILE``, or the file `path`.

    The value is None if there is none. Raises SettingsError if a file cannot be read.
    """
    if environ.get(variable):
        return Value(environ[variable], f"environment ({variable})")
    if named := environ.get(variable + "_FILE"):
        return Value(read_secret(Path(named)), f"file {named} ({variable}_FILE)")
    try:
        if path is None or not path.exists():
            return Value(None, "not found" if path else "default")
    except OSError as error:
        raise SettingsError(f"{path} cannot be accessed: {error.strerror}") from None
    return Value(read_secret(path), f"file {path}")


def find_home(environ: Mapping[str, str] = os.environ) -> Home:
    """Return the home given by ``SISOCK_HOME`` (default ``~/.sisock``) and ``SISOCK_RUN``."""
    path, runtime = environ.get("SISOCK_HOME") or "~/.sisock", environ.get("SISOCK_RUN")
    return Home(Path(path).expanduser(), Path(runtime).expanduser() if runtime else None)


def find_sites(environ: Mapping[str, str] = os.environ) -> Path | None:
    """Return the file of the sites: ``SISOCK_SITES``, or an existing ``sites.toml`` at home."""
    if given := environ.get("SISOCK_SITES"):
        return Path(given).expanduser()
    path = find_home(environ).path / "sites.toml"
    return path if path.is_file() else None


def parse_count(
    text: str, setting: str, expected: str = "a whole number above zero", limit: float = math.inf
) -> int:
    """Parse a number from 1 to `limit`; raises SettingsError."""
    if text.isascii() and text.isdigit() and 0 < int(text) <= limit:
        return int(text)
    raise SettingsError(f"{setting} must be {expected}, not {text!r}")


def parse_port(text: str, setting: str = "CROSSBAR_TLS_PORT") -> int:
    """Parse a port; raises SettingsError."""
    return parse_count(text, setting, "a port from 1 to 65535", 65535)


def parse_level(text: str) -> str:
    """Parse a log level; raises SettingsError if it is not one of `LOG_LEVELS`."""
    if text.lower() not in LOG_LEVELS:
        raise SettingsError(f"LOGLEVEL must be one of {', '.join(LOG_LEVELS)}, not {text!r}")
    return text.lower()


class Parser(argparse.ArgumentParser):
    """Report a wrong command line in one sentence and exit with status 1, as all failures do."""

    def error(self, message: str) -> NoReturn:
        """Print the sentence, and exit."""
        print(f"{self.prog}: {message}; see `{self.prog} --help`", file=sys.stderr)
        raise SystemExit(1)


def add_common_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags of all programs and commands."""
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
    """Parse the flag ``--router`` into settings."""
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
    """Collect the settings of a client program; `router` and `log_level` are its flags.

    Raises SettingsError, which names the invalid setting.
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
        port=parse_port(look_up("CROSSBAR_TLS_PORT", str(DEFAULT_PORT))),
        socket=look_up("CROSSBAR_SOCKET", "") or None,
        user=user,
        secret=secret.value,
        realm=look_up("WAMP_REALM", REALM),
        log_level=parse_level(look_up("LOGLEVEL", "info")),
        home=home,
        sources=sources,
        ca=home.ca_certificate,
        secret_file=home.secret_file(user),
    )
