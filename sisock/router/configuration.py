"""Read the router's configuration and fit it to an installation: realm, port, paths, hub.

It may be one of 2018, which has literal secrets, the hub in a container and no ids.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sisock.errors import SettingsError
from sisock.wire.protocol import USER_SERVER

_ABOVE = Path(__file__).parent.parent.parent
PROGRAMS = _ABOVE if (_ABOVE / ".crossbar").is_dir() else _ABOVE / "sisock_programs"
"""The repository, or what a wheel installs of it; our `hub.py` is there."""

DEFAULT_CONFIGURATION = PROGRAMS / ".crossbar" / "config.json"

PAGE_SETTINGS = "settings"
"""Where the page finds the realm, beside itself."""

_HUB = "hub.hub"


def load_configuration(
    path: Path, port: int, realm: str | None = None, connections: int | None = None
) -> dict[str, Any]:
    """Read the router's configuration, with this port, realm and limit, and with absolute paths.

    Parameters
    ----------
    path : Path
        The configuration.
    port : int
        Of the transport with TLS; others keep theirs.
    realm : str, optional
        Instead of the configuration's one realm.
    connections : int, optional
        Most that each of the router's transports may have.

    Raises
    ------
    SettingsError
        If it cannot be read, or has no place for the realm or the hub.
    """
    try:
        configuration = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SettingsError(f"the router's configuration {path} cannot be read: {error}") from None
    realms = [part["name"] for part in _parts(configuration, "name", "roles")]
    if not realms:
        raise SettingsError(f"{path} is not a router's configuration: no realm is in it")
    base = path.absolute().parent
    _set_port(configuration, port)
    _make_absolute(configuration, base)
    if realm and realm not in realms:
        if len(realms) > 1:
            raise SettingsError(
                f"WAMP_REALM is {realm!r}, but the realms of {path} are {', '.join(realms)}"
            )
        _rename_realm(configuration, realms[0], realm)
    _place_components(configuration, path)
    if connections is not None:
        for worker in _parts(configuration, "realms", "transports"):
            for transport in worker["transports"]:
                transport["max_connections"] = connections
    for web in _parts(configuration, "paths", "endpoint"):
        value = {"realm": realm or realms[0]}
        web["paths"].setdefault(PAGE_SETTINGS, {"type": "json", "value": value})
    return configuration


def check_configuration(configuration: dict[str, Any]) -> None:
    """Check a configuration of one's own: Crossbar itself would show a traceback, and secrets.

    Raises
    ------
    SettingsError
        With what Crossbar says.
    """
    # Here, as it takes a second.
    from crossbar.common.checkconfig import InvalidConfigException
    from crossbar.personality import Personality

    try:
        Personality.check_config(Personality, copy.deepcopy(configuration))
    except InvalidConfigException as error:
        sentence = str(error).partition("\n")[0]
        raise SettingsError(f"Crossbar refuses the configuration: {sentence}") from None


def tls_files(configuration: dict[str, Any]) -> list[str]:
    """Return the files of keys and certificates that the router's transports need."""
    return [part[key] for part in _listening(configuration) for key in ("key", "certificate")]


def _parts(value: Any, *keys: str) -> Iterator[dict[str, Any]]:
    """Find the objects with these keys, however deep."""
    if isinstance(value, dict):
        if all(key in value for key in keys):
            yield value
        value = list(value.values())
    for each in value if isinstance(value, list) else ():
        yield from _parts(each, *keys)


def _listening(configuration: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield from _parts(configuration, "key", "certificate")


def _set_port(configuration: dict[str, Any], port: int) -> None:
    endpoints = list(_parts(configuration, "port", "tls"))
    old = next((part["port"] for part in endpoints if "key" in part["tls"]), None)
    for part in endpoints:  # a hub in a container connects to the same port
        if part["port"] == old:
            part["port"] = port


def _make_absolute(configuration: dict[str, Any], base: Path) -> None:
    for part in _parts(configuration, "pythonpath"):
        part["pythonpath"] = [str((base / each).resolve()) for each in part["pythonpath"]]
    for part in _parts(configuration, "type", "directory"):
        directory = (base / part["directory"]).resolve()
        directory.mkdir(parents=True, exist_ok=True)
        part["directory"] = str(directory)
    # In 2018 they lay beside the configuration; otherwise they are links in Crossbar's folder.
    for part in _listening(configuration):
        for key in ("key", "certificate"):
            if (base / part[key]).exists():
                part[key] = str(base / part[key])
    for part in _parts(configuration, "ca_certificates"):
        beside = [base / name for name in part["ca_certificates"] if (base / name).exists()]
        part["ca_certificates"] = [str(path) for path in beside] or ["ca_cert.pem"]


def _rename_realm(configuration: dict[str, Any], old: str, new: str) -> None:
    for key, parts in (
        ("name", _parts(configuration, "name", "roles")),
        ("realm", _parts(configuration, "realm")),
    ):
        for part in parts:
            if part[key] == old:
                part[key] = new


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
                raise SettingsError(
                    f"the component {component['classname']!r} of {path} is in none of the folders"
                    f" of its pythonpath: {', '.join(map(str, folders)) or 'none'}"
                )
    workers = configuration["workers"]
    configuration["workers"] = [each for each in workers if each.get("components", True)]


def _embed_hub(configuration: dict[str, Any], realm: str, path: Path) -> None:
    for worker in _parts(configuration, "realms"):
        for part in worker["realms"]:
            if part["name"] == realm and any(r["name"] == USER_SERVER for r in part["roles"]):
                options = worker.setdefault("options", {})
                options["pythonpath"] = [str(PROGRAMS), *options.get("pythonpath", [])]
                hub = {"type": "class", "classname": _HUB, "realm": realm, "role": USER_SERVER}
                worker.setdefault("components", []).append(hub)
                return
    raise SettingsError(f"{path} has no realm {realm!r} with a role {USER_SERVER!r} for the hub")
