"""Serve the page's layouts from a folder, at ``layouts``: the list of names, and each file.

Serves only files directly in the folder with names that end with ``.json``. The folder is read at
each request, so that new files are found at once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from twisted.web import http
from twisted.web.resource import Resource
from twisted.web.server import Request

MAX_BYTES = 1 << 20
"""Maximum size of a layout in bytes; the page's own layouts have a few thousand."""


class Layouts(Resource):
    """Answer with the list of names, or with one layout. Crossbar creates the object."""

    isLeaf = True

    def __init__(self, options: Mapping[str, str]) -> None:
        super().__init__()
        self._folder = Path(options["folder"])

    def render_GET(self, request: Request) -> bytes:
        """Answer ``layouts`` with names as JSON, and ``layouts/NAME.json`` with a file."""
        request.setHeader(b"content-type", b"application/json")
        request.setHeader(b"cache-control", b"no-cache")
        files = self._find_files()
        wanted = b"/".join(request.postpath).decode(errors="replace")
        if not wanted:
            names = [name.removesuffix(".json") for name in files]
            return json.dumps(sorted(names, key=str.casefold)).encode()
        try:
            return files[wanted].read_bytes()
        except (KeyError, OSError):
            request.setResponseCode(http.NOT_FOUND)
            return json.dumps({"error": f"there is no layout {wanted}"}).encode()

    def _find_files(self) -> dict[str, Path]:
        folder = self._folder.resolve()
        try:
            return {path.name: path for path in folder.iterdir() if _is_layout(path, folder)}
        except OSError:
            return {}


def _is_layout(path: Path, folder: Path) -> bool:
    """Return whether a file is a layout, and inside the folder even if it is a link."""
    is_named = path.suffix == ".json" and not path.name.startswith(".")
    is_inside = path.resolve().is_relative_to(folder)
    return is_named and is_inside and path.is_file() and path.stat().st_size <= MAX_BYTES
