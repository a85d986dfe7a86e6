"""Start the Crossbar router for an installation: ``sisock router``.

Crossbar cannot be told where secrets and TLS files are. So this module adapts the configuration to
the installation, writes it to the router's folder, and becomes ``crossbar start``, with the secrets
only in that process's environment.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sisock.connection.health import is_served
from sisock.connection.settings import (
    Home,
    Parser,
    find_secret,
    load_settings,
    missing_secret,
    parse_count,
    require,
)
from sisock.connection.sites import load_sites
from sisock.errors import SettingsError, SisockError
from sisock.router.configuration import (
    DEFAULT_CONFIGURATION,
    add_path,
    add_proxies,
    check,
    find_parts,
    load_configuration,
)
from sisock.router.credentials import write
from sisock.router.page import add_sites, list_sites
from sisock.wire.protocol import USER_CONSUMER, USER_SERVER

SECRET_VARIABLES = {"WAMP_SERVER_SECRET": USER_SERVER, "WAMP_CONSUMER_SECRET": USER_CONSUMER}

MAX_SOCKET_PATH = 100  # bytes; every system accepts a Unix socket's path of this length


def prepare(home: Home, path: Path, port: int, environ: Mapping[str, str]) -> dict[str, str]:
    """Prepare the router's folder; return the environment of its process, with the secrets.

    `path` is the file of the configuration. Raises SettingsError, which says what to do.
    """
    limit = environ.get("CROSSBAR_MAX_CONNECTIONS")
    connections = parse_count(limit, "CROSSBAR_MAX_CONNECTIONS") if limit else None
    tls, realm = home.server_certificate.parent, environ.get("WAMP_REALM")
    configuration = load_configuration(path, port, tls, realm, connections)
    folder = Path(environ.get("SISOCK_LAYOUTS") or home.path / "layouts").expanduser().absolute()
    layouts = {"classname": "sisock.router.page.Layouts", "extra": {"folder": str(folder)}}
    add_path(configuration, "layouts", {"type": "resource", **layouts})
    sites = load_sites({**environ, "SISOCK_HOME": str(home.path)})
    if listed := list_sites(sites, home.router_socket):
        webs = find_parts(configuration, "paths", "endpoint")
        add_sites(webs, listed, home.router_directory.absolute() / "page")
    if path != DEFAULT_CONFIGURATION:
        check(configuration)
    variables = {**environ, **_find_secrets(configuration, home, environ)}
    prepare_socket(home.router_socket.absolute())
    if proxies := environ.get("SISOCK_PROXIES"):
        count = parse_count(proxies, "SISOCK_PROXIES", "a number of processes, from 1 to 64", 64)
        backend = home.router_socket.absolute().with_name("proxies.sock")
        add_proxies(configuration, count, backend, variables)
    # Readable for this user only: with proxies or a file of 2018, it contains secrets.
    text = json.dumps(configuration, indent=4) + "\n"
    write(home.router_directory / "config.json", text.encode())
    return variables


def _find_secrets(
    configuration: dict[str, Any], home: Home, environ: Mapping[str, str]
) -> dict[str, str]:
    """Return the secrets by variable, if the configuration uses the variable."""
    text, found = json.dumps(configuration), {}
    for variable, user in SECRET_VARIABLES.items():
        if f"${{{variable}}}" in text:
            file = home.secret_file(user)
            found[variable] = find_secret(variable, environ, file).value
            if found[variable] is None:
                raise missing_secret(variable, user, file)
    return found


def prepare_socket(path: Path) -> None:
    """Make the folder of a Unix socket, for this user; SettingsError if its path is too long."""
    if len(os.fsencode(path)) > MAX_SOCKET_PATH:
        what = f"the path of the socket, {path}, is over {MAX_SOCKET_PATH} bytes"
        raise SettingsError(f"{what}: set SISOCK_HOME to a shorter one")
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Everybody who can reach the socket gets the role server.
    path.parent.chmod(0o700)


def check_free(home: Home, *ports: tuple[str, int, str]) -> None:
    """Raise SettingsError if another program uses the router's socket or one of the ports.

    Each port is ``(setting, port, address)``.
    """
    if is_served(str(home.router_socket)):
        raise SettingsError(
            f"a router is already running in {home.path}: end it, or set another SISOCK_HOME"
        )
    for setting, port, address in ports:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address, port))
            except OSError as error:
                raise SettingsError(
                    f"the port {port} cannot be used ({error.strerror}): end the program that uses"
                    f" it, or choose another port: export {setting}={port + 1} here and, for nodes"
                    " and commands, in each other terminal"
                ) from None


def crossbar_command(home: Home, log_level: str) -> list[str]:
    """Return the command line of the router, without any secret."""
    require("crossbar", "router")
    # At level debug Crossbar prints the secrets that it reads.
    level = {"critical": "error", "trace": "info", "debug": "info"}.get(log_level, log_level)
    directory = str(home.router_directory.absolute())
    # Not with `-m`: Crossbar imports the module by name, too, so it would be loaded twice.
    program = [sys.executable, "-c", "from sisock.router.process import main; main()"]
    return [*program, "start", "--cbdir", directory, "--loglevel", level, "--color", "false"]


def main(argv: list[str] | None = None) -> None:
    """Become the router."""
    about = "Run the router, with the hub and the page."
    parser = Parser(prog="sisock router", description=about)
    config = "a configuration of Crossbar (default: sisock's own)"
    parser.add_argument(
        "--config", type=Path, default=DEFAULT_CONFIGURATION, metavar="FILE", help=config
    )
    args = parser.parse_args(argv)
    try:
        settings = load_settings()
        home, has_level = settings.home, settings.sources["LOGLEVEL"] != "default"
        command = crossbar_command(home, settings.log_level if has_level else "warn")
        variables = prepare(home, args.config, settings.port, os.environ)
        check_free(home, ("CROSSBAR_TLS_PORT", settings.port, ""))
    except (SisockError, OSError) as error:
        sys.exit(str(error))
    print(f"starting the router at port {settings.port}, with {args.config}", flush=True)
    # In the present folder Crossbar would import a hub.py of the user's instead of ours.
    os.chdir(home.router_directory)
    os.execve(command[0], command, variables)
