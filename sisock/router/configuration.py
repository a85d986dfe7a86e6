"""Adapt a configuration of Crossbar to the installation: ports, paths, realm, hub and proxies.

Configurations of 2018, with literal secrets, the hub in a container and no ids, work too.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sisock.errors import SettingsError
from sisock.wire.protocol import USER_SERVER

_ABOVE = Path(__file__).parent.parent.parent
PROGRAMS = _ABOVE if (_ABOVE / ".crossbar").is_dir() else _ABOVE / "sisock_programs"
"""Folder of `hub.py` and the other programs: the repository, or where a wheel installs them."""

DEFAULT_CONFIGURATION = PROGRAMS / ".crossbar" / "config.json"

CONNECTION = "router"  # name of a proxy's connection to the router


def load_configuration(
    path: Path, port: int, tls: Path, realm: str | None = None, connections: int | None = None
) -> dict[str, Any]:
    """Read the router's configuration, and make its paths absolute.

    `port` is for the transport with TLS, whose files are beside the configuration, as in 2018, or
    in the folder `tls`. `realm` replaces the configuration's only realm, and `connections` is the
    limit of each transport. Raises SettingsError if a file cannot be read, or if there is no place
    for the realm or the hub.
    """
    try:
        configuration = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SettingsError(f"the router's configuration {path} cannot be read: {error}") from None
    realms = [part["name"] for part in find_parts(configuration, "name", "roles")]
    if not realms:
        raise SettingsError(f"{path} is not a router's configuration: no realm is in it")
    if realm and realm not in realms:
        if len(realms) > 1:
            theirs = f"the realms of {path} are {', '.join(realms)}"
            raise SettingsError(f"WAMP_REALM is {realm!r}, but {theirs}")
        for keys in (("name", "roles"), ("realm",)):
            _replace(find_parts(configuration, *keys), keys[0], realms[0], realm)
    ends = list(find_parts(configuration, "port", "tls"))  # and where components connect to it
    old = next((end["port"] for end in ends if "key" in end["tls"]), None)
    _replace(ends, "port", old, port)
    _make_absolute(configuration, path.absolute().parent, tls.absolute())
    _place_components(configuration, path)
    for worker in find_parts(configuration, "realms", "transports"):
        for transport in worker["transports"] if connections else ():
            transport["max_connections"] = connections
    for permission in find_parts(configuration, "uri", "allow"):
        permission["cache"] = False  # the cache keeps every URI that a client has ever named
    for_the_page = {"type": "json", "value": {"realm": realm or realms[0]}}
    add_path(configuration, "settings", for_the_page)
    return configuration


def add_path(configuration: dict[str, Any], path: str, service: dict[str, Any]) -> None:
    """Serve `service` at a path beside the page, unless the configuration uses this path."""
    for web in find_parts(configuration, "paths", "endpoint"):
        web["paths"].setdefault(path, service)


def find_parts(value: Any, *keys: str) -> Iterator[dict[str, Any]]:
    """Yield all objects that have these keys, at any depth."""
    if isinstance(value, dict):
        if all(key in value for key in keys):
            yield value
        value = list(value.values())
    for each in value if isinstance(value, list) else ():
        yield from find_parts(each, *keys)


def _replace(parts: Iterable[dict[str, Any]], key: str, old: Any, new: Any) -> None:
    for part in parts:
        if part[key] == old:
            part[key] = new


def _make_absolute(configuration: dict[str, Any], base: Path, tls: Path) -> None:
    for part in find_parts(configuration, "pythonpath"):
        part["pythonpath"] = [str((base / each).resolve()) for each in part["pythonpath"]]
    for part in find_parts(configuration, "type", "directory"):
        directory = (base / part["directory"]).resolve()
        directory.mkdir(parents=True, exist_ok=True)
        part["directory"] = str(directory)

    def find(name: str) -> str:
        found = base / name if (base / name).exists() else tls / name
        if not found.is_file():
            raise SettingsError(f"{found} is missing: make it with `sisock certs`")
        return str(found)

    for part in find_parts(configuration, "key", "certificate"):
        part.update(key=find(part["key"]), certificate=find(part["certificate"]))
    for part in find_parts(configuration, "ca_certificates"):
        beside = [base / name for name in part["ca_certificates"] if (base / name).exists()]
        part["ca_certificates"] = [str(path) for path in beside] or [str(tls / "ca_cert.pem")]


def _place_components(configuration: dict[str, Any], path: Path) -> None:
    """Check that every component exists, and move our hub from its container into the router.

    There the hub needs no password. Another hub, beside the configuration, stays where it is.
    """
    for worker in list(find_parts(configuration, "components")):
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
    for worker in find_parts(configuration, "realms"):
        parts = [part for part in worker["realms"] if part["name"] == realm]
        if any(role["name"] == USER_SERVER for part in parts for role in part["roles"]):
            options = worker.setdefault("options", {})
            options["pythonpath"] = [str(PROGRAMS), *options.get("pythonpath", [])]
            worker.setdefault("components", []).append(hub)
            return
    raise SettingsError(f"{path} has no realm {realm!r} with a role {USER_SERVER!r} for the hub")


def check(configuration: dict[str, Any]) -> None:
    """Raise SettingsError if Crossbar would refuse, as it would print a traceback and secrets."""
    # These imports take a second.
    from crossbar.common.checkconfig import InvalidConfigException
    from crossbar.personality import Personality

    try:
        Personality.check_config(Personality, copy.deepcopy(configuration))
    except InvalidConfigException as error:
        sentence = str(error).partition("\n")[0]
        raise SettingsError(f"Crossbar refuses the configuration: {sentence}") from None


def add_proxies(
    configuration: dict[str, Any], count: int, socket: Path, variables: Mapping[str, str | None]
) -> None:
    """Replace the router's TLS ports by `count` proxies, which pass everything on to `socket`.

    The proxies share the ports; the kernel distributes connections. Crossbar does not replace
    ``${NAME}`` for proxies, so this function does: the configuration then contains secrets, and its
    file must be private. Raises SettingsError for another layout or a missing variable.
    """
    routers = [worker for worker in configuration["workers"] if worker.get("type") == "router"]
    transports = [transport for worker in routers for transport in worker["transports"]]
    fronts = [each for each in transports if "tls" in each.get("endpoint", {})]
    if len(routers) != 1 or not fronts:
        raise SettingsError("SISOCK_PROXIES needs a configuration with one router that has TLS")
    router = routers[0]
    router["transports"] = [t for t in router["transports"] if t not in fronts]
    # The router believes the identities that proxies send through this socket.
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


def _substitute(value: Any, variables: Mapping[str, str | None]) -> Any:
    """Return a copy with ``${NAME}`` replaced by the values of variables."""

    def look_up(match: re.Match[str]) -> str:
        if not (text := variables.get(match[1])):
            raise SettingsError(f"the router's configuration needs the variable {match[1]}: set it")
        return json.dumps(text)

    return json.loads(re.sub(r'"\$\{([^"]+)\}"', look_up, json.dumps(value)))
