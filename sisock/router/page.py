"""Serve the page with a list of sites to join, and decide which web pages may connect."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sisock.connection.settings import Settings
from sisock.errors import SettingsError

ORIGINS_VARIABLE = "SISOCK_PAGE_ORIGINS"

_ORIGIN = re.compile(r"https?://[^/\s?#@]+")


def parse_origins(text: str) -> frozenset[str]:
    """Parse origins of web pages, separated by spaces; raises SettingsError."""
    origins = text.lower().split()
    if odd := next((each for each in origins if not _ORIGIN.fullmatch(each)), None):
        example = "https://router.example:8080"
        raise SettingsError(f"{ORIGINS_VARIABLE} must be origins like {example}, not {odd!r}")
    return frozenset(origins)


def may_connect(origin: str, host: str, origins: frozenset[str]) -> bool:
    """Return whether a page of this origin may open a WebSocket.

    Allowed are the router's own page, with the header ``Host`` (`host`) in its origin, and pages of
    `origins`. Programs other than browsers send no origin and are allowed.
    """
    origin = origin.lower()
    return not origin or origin in origins or urlsplit(origin).netloc == host.lower()


def list_sites(sites: Mapping[str, Settings], socket: Path) -> list[dict[str, str]]:
    """Return name and address of the sites that the page can join.

    A site at the router's own `socket` gets the address ``unix:``, which the page takes as its own
    router; sites at other sockets are left out.
    """
    listed = []
    for name, settings in sites.items():
        if settings.socket is None:
            host = f"[{settings.host}]" if ":" in settings.host else settings.host
            listed.append({"name": name, "url": f"wss://{host}:{settings.port}/ws"})
        elif Path(settings.socket).resolve() == socket.resolve():
            listed.append({"name": name, "url": "unix:"})
    return listed


def add_sites(webs: Iterable[dict[str, Any]], sites: list[dict[str, str]], folder: Path) -> None:
    """Serve a copy of the page that has the list of sites and may connect to them.

    `webs` are the configuration's transports with paths. The copies are written to `folder`.
    """
    shutil.rmtree(folder, ignore_errors=True)
    addresses = [site["url"] for site in sites if site["url"].startswith("wss:")]
    allowed = " ".join(["connect-src 'self'", *addresses])
    for number, web in enumerate(webs):
        root = web["paths"].get("/", {})
        if root.get("type") != "static" or "directory" not in root:
            continue
        copy = folder / str(number)
        copy.mkdir(parents=True)
        for file in Path(root["directory"]).iterdir():
            if file.suffix == ".html":
                text = file.read_text(encoding="utf-8").replace("connect-src 'self'", allowed)
                (copy / file.name).write_text(text, encoding="utf-8")
            else:
                (copy / file.name).symlink_to(file)
        (copy / "sites.json").write_text(json.dumps({"sites": sites}))
        # A browser with an older page in its cache would not connect to new sites.
        options = {**root.get("options", {}), "cache_timeout": 0}
        web["paths"]["/"] = {**root, "directory": str(copy), "options": options}
        settings = web["paths"]["settings"]
        if "value" in settings:
            web["paths"]["settings"] = {**settings, "value": {**settings["value"], "sites": True}}
