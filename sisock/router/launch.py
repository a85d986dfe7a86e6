"""Start the Crossbar router for an installation: ``sisock router``.

Crossbar reads neither secrets nor TLS paths from files or variables that we could name. So this
fits the configuration to the installation, copies it beside the certificates, and then becomes
``crossbar start`` with the secrets in that process's environment alone. The configuration may be
one of 2018, which has literal secrets, the hub in a container and no ids.
"""

from __future__ import annotations

import copy
import errno
import json
import os
import socket
import sys
from collections.abc import Iterable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sisock.connection.health import is_served
from sisock.connection.settings import Home, Parser, find_secret, load_settings, parse_count
from sisock.connection.sites import load_sites
from sisock.errors import SettingsError, SisockError
from sisock.router.credentials import write
from sisock.router.page import ORIGINS_VARIABLE, add_sites, list_sites, parse_origins
from sisock.router.proxies import MAX_PROXIES, add_proxies
from sisock.wire.protocol import USER_CONSUMER, USER_SERVER

_ABOVE = Path(__file__).parent.parent.parent
PROGRAMS = _ABOVE if (_ABOVE / ".crossbar").is_dir() else _ABOVE / "sisock_programs"
"""The repository, or what a wheel installs of it; our `hub.py` is there."""

DEFAULT_CONFIGURATION = PROGRAMS / ".crossbar" / "config.json"

SECRET_VARIABLES = {"WAMP_SERVER_SECRET": USER_SERVER, "WAMP_CONSUMER_SECRET": USER_CONSUMER}

MAX_SOCKET_PATH = 100  # bytes of a Unix socket's path that every system takes


def load_configuration(
    path: Path, port: int, realm: str | None = None, connections: int | None = None
) -> dict[str, Any]:
    """Read the router's configuration, and make its paths absolute.

    The port is that of the transport with TLS, the realm one instead of the configuration's only
    one, and each transport gets the limit of connections. SettingsError says that the file cannot
    be read, or has no place for the realm or the hub.
    """
    try:
        configuration = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SettingsError(f"the router's configuration {path} cannot be read: {error}") from None
    realms = [part["name"] for part in _parts(configuration, "name", "roles")]
    if not realms:
        raise SettingsError(f"{path} is not a router's configuration: no realm is in it")
    if realm and realm not in realms:
        if len(realms) > 1:
            theirs = f"the realms of {path} are {', '.join(realms)}"
            raise SettingsError(f"WAMP_REALM is {realm!r}, but {theirs}")
        for keys in (("name", "roles"), ("realm",)):
            _replace(_parts(configuration, *keys), keys[0], realms[0], realm)
    tls = list(_parts(configuration, "port", "tls"))  # a hub in a container connects to it
    old = next((part["port"] for part in tls if "key" in part["tls"]), None)
    _replace(tls, "port", old, port)
    _make_absolute(configuration, path.absolute().parent)
    _place_components(configuration, path)
    for worker in _parts(configuration, "realms", "transports"):
        for transport in worker["transports"] if connections else ():
            transport["max_connections"] = connections
    for_the_page = {"type": "json", "value": {"realm": realm or realms[0]}}
    _add_path(configuration, "settings", for_the_page)
    return configuration


def _add_path(configuration: dict[str, Any], path: str, service: dict[str, Any]) -> None:
    """Serve something beside the page, unless the configuration has a path of this name."""
    for web in _parts(configuration, "paths", "endpoint"):
        web["paths"].setdefault(path, service)


def _parts(value: Any, *keys: str) -> Iterator[dict[str, Any]]:
    """Find the objects with these keys, however deep."""
    if isinstance(value, dict):
        if all(key in value for key in keys):
            yield value
        value = list(value.values())
    for each in value if isinstance(value, list) else ():
        yield from _parts(each, *keys)


def _tls_files(configuration: Any) -> list[tuple[dict[str, Any], str]]:
    """Find where keys and certificates of transports are named: an object, and its key."""
    keys = ("key", "certificate")
    return [(part, key) for part in _parts(configuration, *keys) for key in keys]


def _replace(parts: Iterable[dict[str, Any]], key: str, old: Any, new: Any) -> None:
    for part in parts:
        if part[key] == old:
            part[key] = new


def _make_absolute(configuration: dict[str, Any], base: Path) -> None:
    for part in _parts(configuration, "pythonpath"):
        part["pythonpath"] = [str((base / each).resolve()) for each in part["pythonpath"]]
    for part in _parts(configuration, "type", "directory"):
        directory = (base / part["directory"]).resolve()
        directory.mkdir(parents=True, exist_ok=True)
        part["directory"] = str(directory)
    # In 2018 they lay beside the configuration; otherwise they are links in Crossbar's folder.
    for part, key in _tls_files(configuration):
        if (base / part[key]).exists():
            part[key] = str(base / part[key])
    for part in _parts(configuration, "ca_certificates"):
        beside = [base / name for name in part["ca_certificates"] if (base / name).exists()]
        part["ca_certificates"] = [str(path) for path in beside] or ["ca_cert.pem"]


def _place_components(configuration: dict[str, Any], path: Path) -> None:
    """See that every component is there, and take our hub into the router's process.

    There it needs no password; in 2018 it was in a container. Another hub, beside the
    configuration, stays where it is.
    """
    for worker in list(_parts(configuration, "components")):
        folders = [Path(each) for each in worker.get("options", {}).get("pythonpath", [])]
        for component in [each for each in worker["components"] if "classname" in each]:
            module = component["classname"].rpartition(".")[0]
            found = next((f for f in folders if (f / f"{module}.py").is_file()), None)
            if module == "hub" and found in (None, PROGRAMS):
                if worker.get("type") == "container":
                    worker["components"].remove(component)
                    _embed_hub(configuration, component["realm"], path)
            elif found is None and find_spec(module.partition(".")[0]) is None:
                where = f"of its pythonpath: {', '.join(map(str, folders)) or 'none'}"
                what = f"the component {component['classname']!r} of {path}"
                raise SettingsError(f"{what} is in none of the folders {where}")
    workers = configuration["workers"]
    configuration["workers"] = [each for each in workers if each.get("components", True)]


def _embed_hub(configuration: dict[str, Any], realm: str, path: Path) -> None:
    hub = {"type": "class", "classname": "hub.hub", "realm": realm, "role": USER_SERVER}
    for worker in _parts(configuration, "realms"):
        parts = [part for part in worker["realms"] if part["name"] == realm]
        if any(role["name"] == USER_SERVER for part in parts for role in part["roles"]):
            options = worker.setdefault("options", {})
            options["pythonpath"] = [str(PROGRAMS), *options.get("pythonpath", [])]
            worker.setdefault("components", []).append(hub)
            return
    raise SettingsError(f"{path} has no realm {realm!r} with a role {USER_SERVER!r} for the hub")


def _check(configuration: dict[str, Any]) -> None:
    """Raise a `SettingsError` if Crossbar would refuse: with a traceback, and with secrets."""
    # Imported here, as it takes a second.
    from crossbar.common.checkconfig import InvalidConfigException
    from crossbar.personality import Personality

    try:
        Personality.check_config(Personality, copy.deepcopy(configuration))
    except InvalidConfigException as error:
        sentence = str(error).partition("\n")[0]
        raise SettingsError(f"Crossbar refuses the configuration: {sentence}") from None


def prepare(home: Home, path: Path, port: int, environ: Mapping[str, str]) -> dict[str, str]:
    """Lay out the router's folder and return the environment of its process, with the secrets.

    `path` is the configuration's. SettingsError says what is missing and what to do.
    """
    limit = environ.get("CROSSBAR_MAX_CONNECTIONS")
    connections = parse_count(limit, "CROSSBAR_MAX_CONNECTIONS") if limit else None
    configuration = load_configuration(path, port, environ.get("WAMP_REALM"), connections)
    folder = Path(environ.get("SISOCK_LAYOUTS") or home.path / "layouts").expanduser().absolute()
    layouts = {"classname": "sisock.router.layouts.Layouts", "extra": {"folder": str(folder)}}
    _add_path(configuration, "layouts", {"type": "resource", **layouts})
    parse_origins(environ.get(ORIGINS_VARIABLE, ""))
    sites = load_sites({**environ, "SISOCK_HOME": str(home.path)})
    if listed := list_sites(sites, home.router_socket):
        webs = _parts(configuration, "paths", "endpoint")
        add_sites(webs, listed, home.router_directory.absolute() / "page")
    if path != DEFAULT_CONFIGURATION:
        _check(configuration)
    variables = {**environ, **_find_secrets(configuration, home, environ)}
    prepare_socket(home.router_socket.absolute())
    if proxies := environ.get("SISOCK_PROXIES"):
        what = f"a number of processes, from 1 to {MAX_PROXIES}"
        count = parse_count(proxies, "SISOCK_PROXIES", what, MAX_PROXIES)
        backend = home.router_socket.absolute().with_name("proxies.sock")
        add_proxies(configuration, count, backend, variables)
    # Nobody else reads it: with proxies, or those of 2018, there are secrets in it.
    text = json.dumps(configuration, indent=4) + "\n"
    write(home.router_directory / "config.json", text.encode())
    _link_certificates(configuration, home)
    return variables


def _find_secrets(
    configuration: dict[str, Any], home: Home, environ: Mapping[str, str]
) -> dict[str, str]:
    """Return the secrets by variable; a configuration of one's own may hold them itself."""
    text, found = json.dumps(configuration), {}
    for variable, user in SECRET_VARIABLES.items():
        if f"${{{variable}}}" in text:
            found[variable] = find_secret(variable, environ, home.secret_file(user)).value
            if found[variable] is None:
                advice = f"set {variable}, or make one with `sisock certs`"
                raise SettingsError(f"there is no secret for the user {user!r}: {advice}")
    return found


def _link_certificates(configuration: dict[str, Any], home: Home) -> None:
    """Link the certificates into the router's folder; SettingsError if one is missing."""
    for file in (home.server_certificate, home.server_key, home.ca_certificate):
        link = home.router_directory / file.name
        link.unlink(missing_ok=True)
        link.symlink_to(file.absolute())
    for part, key in _tls_files(configuration):
        if not (home.router_directory / part[key]).is_file():
            missing = home.server_certificate.parent / part[key]
            raise SettingsError(f"{missing} is missing: make it with `sisock certs`")


def prepare_socket(path: Path) -> None:
    """Make the folder of a Unix socket, for this user alone; SettingsError if it cannot be one."""
    if len(os.fsencode(path)) > MAX_SOCKET_PATH:
        what = f"the path of the socket, {path}, is over {MAX_SOCKET_PATH} bytes"
        raise SettingsError(f"{what}: set SISOCK_HOME to a shorter one")
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Whoever can reach the socket has the role server.
    path.parent.chmod(0o700)


def check_free(home: Home, *ports: tuple[str, int, str]) -> None:
    """Check that no other program has the router's socket or a port: (setting, port, address).

    Raises a `SettingsError` that names all ports that are taken, and says what to do.
    """
    if is_served(str(home.router_socket)):
        raise SettingsError(
            f"a router runs already in {home.path}: end it, or set another SISOCK_HOME"
        )
    taken = [(setting, port) for setting, port, address in ports if not _is_free(port, address)]
    if taken:
        listed = " and ".join(str(port) for _, port in taken)
        others = " ".join(f"{setting}={port + 1}" for setting, port in taken)
        raise SettingsError(
            f"other programs use the port{'s' * (len(taken) > 1)} {listed}: end them, or choose"
            f" others: export {others} here and, for nodes and commands, in each other terminal"
        )


def _is_free(port: int, address: str) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise SettingsError(f"the port {port} cannot be used: {error.strerror}") from None
            return False
    return True


def crossbar_command(home: Home, log_level: str) -> list[str]:
    """Return the command line that becomes the router; no secret is in it."""
    if find_spec("crossbar") is None:
        raise SettingsError("crossbar is not installed: pip install 'sisock[router]'")
    # At debug Crossbar prints the secrets that it reads.
    level = {"critical": "error", "trace": "info", "debug": "info"}.get(log_level, log_level)
    directory = str(home.router_directory.absolute())
    # Not `-m`, which would load the module twice: Crossbar imports it by its name, too.
    program = [sys.executable, "-c", "from sisock.router.process import main; main()"]
    return [*program, "start", "--cbdir", directory, "--loglevel", level, "--color", "false"]


def main(argv: list[str] | None = None) -> None:
    """Become the router."""
    about = "Run the router, with the hub and the page."
    parser = Parser(prog="sisock router", description=about)
    config = (
        "the router's configuration, if sisock's own does not fit: see docs/reference/router.md"
    )
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
    # Of a hub.py in the folder where this was started Crossbar would take that one.
    os.chdir(home.router_directory)
    os.execve(command[0], command, variables)
