"""Serve the page's layouts and its list of sites, and decide which web pages may connect."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from twisted.web import http
from twisted.web.resource import Resource
from twisted.web.server import Request

from sisock.connection.settings import Settings

ORIGINS_VARIABLE = "SISOCK_PAGE_ORIGINS"

MAX_LAYOUT_BYTES = 1 << 20
"""Maximum size of a layout in bytes; the page's own layouts have a few thousand."""


def may_connect(origin: str, host: str, origins: str) -> bool:
    """Return whether a page of this origin may open a WebSocket.

    Allowed are the router's own page, with the header ``Host`` (`host`) in its origin, and pages of
    `origins`, separated by spaces. Programs other than browsers send no origin and are allowed.
    """
    origin = origin.lower()
    is_allowed = origin in origins.lower().split()
    return not origin or is_allowed or urlsplit(origin).netloc == host.lower()


def list_sites(sites: Mapping[str, Settings], socket: Path) -> list[dict[str, str]]:
    """Return name and address of the sites that the page can join.

    A site at the router's own `socket` gets the address ``unix:``, which the page takes as its own
    router; sites at other sockets are left out.
    """
    listed = []
    for name, settings in sites.items():
        if settings.socket is None:
            listed.append({"name": name, "url": settings.address})
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


class Layouts(Resource):
    """Answer with the list of names, or with one layout. Crossbar creates the object.

    The folder is read at each request, so that new files are found at once.
    """

    isLeaf = True

    def __init__(self, options: Mapping[str, str]) -> None:
        super().__init__()
        self._folder = Path(options["folder"])

    def render_GET(self, request: Request) -> bytes:
        """Answer ``layouts`` with names as JSON, and ``layouts/NAME.json`` with a file."""
        request.setHeader(b"content-type", b"application/json")
        request.setHeader(b"cache-control", b"no-cache")
        files = {path.name: path for path in _find_layouts(self._folder)}
        wanted = b"/".join(request.postpath).decode(errors="replace")
        if not wanted:
            names = (path.stem for path in files.values())
            return json.dumps(sorted(names, key=str.casefold)).encode()
        try:
            return files[wanted].read_bytes()
        except (KeyError, OSError):
            request.setResponseCode(http.NOT_FOUND)
            return json.dumps({"error": f"there is no layout {wanted}"}).encode()


def _find_layouts(folder: Path) -> Iterator[Path]:
    """Find the files directly in the folder that are layouts; links must not lead out of it."""
    for path in folder.glob("[!.]*.json"):
        is_inside = path.resolve().is_relative_to(folder.resolve())
        if is_inside and path.is_file() and path.stat().st_size <= MAX_LAYOUT_BYTES:
            yield path
