"""Debian's nginx as an HTTP cache before a bridge, as docs/explanation/scale.md recommends."""

from __future__ import annotations

import grp
import http.client
import os
import pwd
import re
import shutil
import socket
import subprocess
from pathlib import Path

from sisock.testing import free_port, wait_until
from tests.bridge.conftest import Answer
from tests.conftest import TOP

PAGE = TOP / "docs/explanation/scale.md"
NAME = "dashboard.example.org"

MAIN = """
daemon off;
user {user} {group};
pid nginx.pid;
error_log stderr;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi; scgi_temp_path scgi;
    include site;
}}
"""


def recommended() -> str:
    """Return the configuration of the document."""
    (block,) = re.findall(r"```nginx\n(.*?)```", PAGE.read_text(), re.DOTALL)
    return block


class Nginx:
    """A running nginx that caches what a bridge on this computer answers; ``end`` ends it."""

    def __init__(self, folder: Path, bridge_port: int) -> None:
        self.port = free_port()
        site = recommended()
        for documented, own in (
            ("listen 80", f"listen 127.0.0.1:{self.port}"),
            ("127.0.0.1:5000", f"127.0.0.1:{bridge_port}"),
            ("/var/lib/nginx/sisock", f"{folder}/cache"),
        ):
            assert documented in site, f"{PAGE} has no {documented!r} any more"
            site = site.replace(documented, own)
        (folder / "site").write_text(site)
        user, group = pwd.getpwuid(os.getuid()).pw_name, grp.getgrgid(os.getgid()).gr_name
        (folder / "main").write_text(MAIN.format(user=user, group=group))
        program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
        assert program, "nginx is missing: run tests/install-system-packages"
        command = [program, "-p", str(folder), "-c", str(folder / "main"), "-e", "stderr"]
        self._log = folder / "log"
        with open(self._log, "wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        wait_until(self._listens, 40, "nginx")

    def _listens(self) -> bool:
        assert self._process.poll() is None, self._log.read_text()
        try:
            socket.create_connection(("127.0.0.1", self.port), 5).close()
        except ConnectionRefusedError:
            return False
        return True

    def connect(self) -> http.client.HTTPConnection:
        """Return a connection for several requests, see `ask`."""
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=40)

    def ask(
        self, path: str, over: http.client.HTTPConnection | None = None, **headers: str
    ) -> Answer:
        """Send a GET request by the server's name, over a connection of its own if none is given.

        An underscore in the name of a header stands for a hyphen.
        """
        connection = over or self.connect()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request("GET", path, headers={"Host": NAME, **named})
        response = connection.getresponse()
        answer = Answer(response.status, response.headers, response.read())
        if over is None:
            connection.close()
        return answer

    def end(self) -> None:
        """Stop it."""
        self._process.terminate()
        self._process.wait(20)
