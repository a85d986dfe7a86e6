"""Starts the Crossbar router for an installation: ``python -m sisock.router``.

Crossbar reads neither secrets nor TLS paths from files or variables that we could name. So this
reads the secrets, copies the configuration beside the certificates with its paths made absolute,
and then becomes ``crossbar start`` with the secrets in that process's environment alone.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sisock.connection.settings import (
    SOCKET_PATH_LIMIT,
    Home,
    find_home,
    find_secret,
    parse_level,
    parse_port,
)
from sisock.errors import SettingsError, SisockError
from sisock.router.configuration import (
    DEFAULT_CONFIGURATION,
    check_configuration,
    load_configuration,
    tls_files,
)
from sisock.router.credentials import write_private
from sisock.wire.protocol import USER_CONSUMER, USER_SERVER

SECRET_VARIABLES = {"WAMP_SERVER_SECRET": USER_SERVER, "WAMP_CONSUMER_SECRET": USER_CONSUMER}


def prepare(
    home: Home, configuration: Path, port: int, environ: Mapping[str, str]
) -> dict[str, str]:
    """Lay out the router's folder and collect the environment of its process.

    Returns
    -------
    dict
        The environment, secrets included.

    Raises
    ------
    SettingsError
        If a file that the router needs is missing; the message says which and what to do.
    """
    limit = environ.get("CROSSBAR_MAX_CONNECTIONS")
    connections = parse_connections(limit) if limit else None
    loaded = load_configuration(configuration, port, environ.get("WAMP_REALM"), connections)
    if configuration != DEFAULT_CONFIGURATION:
        check_configuration(loaded)
    variables = dict(environ)
    text = json.dumps(loaded)
    for variable, user in SECRET_VARIABLES.items():
        if f"${{{variable}}}" not in text:
            continue  # a configuration of one's own may hold its secrets
        secret = find_secret(variable, user, home, environ)
        if secret is None:
            raise SettingsError(
                f"there is no secret for the user {user!r}: set {variable}, or make one with"
                " `sisock certs`"
            )
        variables[variable] = secret.value
    _prepare_socket(home)
    write_configuration(home, loaded)
    for path in tls_files(loaded):
        if not (home.router_directory / path).is_file():
            raise SettingsError(
                f"{home.server_certificate.parent / path} is missing: make it with `sisock certs`"
            )
    return variables


def parse_connections(text: str) -> int:
    """Check a limit of connections.

    Raises
    ------
    SettingsError
        If it is not a whole number above zero.
    """
    if text.isascii() and text.isdigit() and int(text) > 0:
        return int(text)
    raise SettingsError(f"CROSSBAR_MAX_CONNECTIONS must be a whole number above zero, not {text!r}")


def _prepare_socket(home: Home) -> None:
    path = home.router_socket.absolute()
    if len(os.fsencode(path)) > SOCKET_PATH_LIMIT:
        raise SettingsError(
            f"the path of the router's socket, {path}, is over {SOCKET_PATH_LIMIT} bytes:"
            " set SISOCK_HOME to a shorter one"
        )
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Whoever can reach the socket has the role server.
    path.parent.chmod(0o700)


def write_configuration(home: Home, configuration: Mapping[str, Any]) -> None:
    """Put the configuration and the certificates into Crossbar's folder."""
    directory = home.router_directory
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    text = json.dumps(configuration, indent=4) + "\n"
    # A configuration of one's own may hold secrets.
    write_private(directory / "config.json", text.encode())
    for path in (home.server_certificate, home.server_key, home.ca_certificate):
        link = directory / path.name
        link.unlink(missing_ok=True)
        link.symlink_to(path.absolute())


def check_port(port: int, setting: str, address: str = "") -> None:
    """See that no other program listens on a port.

    Raises
    ------
    SettingsError
        If one does; the message says what to do.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            raise SettingsError(
                f"the port {port} cannot be used ({error.strerror}): end the program that has it,"
                f" or choose another one, as {setting}={port + 1}"
            ) from None


def check_free(home: Home, port: int) -> None:
    """See that no other program has the router's port or socket.

    Raises
    ------
    SettingsError
        If one has; the message says what to do.
    """
    check_port(port, "CROSSBAR_TLS_PORT")
    with socket.socket(socket.AF_UNIX) as probe:
        if probe.connect_ex(str(home.router_socket)) == 0:
            raise SettingsError(
                f"a router runs already in {home.path}: end it, or set another SISOCK_HOME"
            )


def crossbar_command(home: Home, log_level: str) -> list[str]:
    """The command line that becomes the router; no secret is in it.

    Raises
    ------
    SettingsError
        If crossbar is not installed.
    """
    if importlib.util.find_spec("crossbar") is None:
        raise SettingsError("crossbar is not installed: pip install 'sisock[router]'")
    # At debug Crossbar prints the secrets that it reads.
    level = {"critical": "error", "trace": "info", "debug": "info"}.get(log_level, log_level)
    directory = str(home.router_directory.absolute())
    program = [sys.executable, "-m", "sisock.router.process"]
    return [*program, "start", "--cbdir", directory, "--loglevel", level, "--color", "false"]


def main(argv: list[str] | None = None) -> None:
    """Become the router."""
    parser = argparse.ArgumentParser(prog="sisock.router", description=__doc__)
    parser.add_argument(
        "--config", type=Path, default=DEFAULT_CONFIGURATION, help="the router's configuration"
    )
    args = parser.parse_args(argv)
    home = find_home()
    try:
        port = parse_port(os.environ.get("CROSSBAR_TLS_PORT") or "8080")
        variables = prepare(home, args.config, port, os.environ)
        check_free(home, port)
        command = crossbar_command(home, parse_level(os.environ.get("LOGLEVEL") or "warn"))
    except (SisockError, OSError) as error:
        print(error, file=sys.stderr)
        raise SystemExit(1) from None
    # Of a hub.py in the folder where this was started Crossbar would take that one.
    os.chdir(home.router_directory)
    os.execve(command[0], command, variables)
