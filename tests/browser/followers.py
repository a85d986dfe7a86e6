"""Programs that follow a node of numbered samples by the client module in JavaScript."""

from __future__ import annotations

import json
import os
import subprocess
from typing import Any

from sisock.testing import RouterProcess, wait_until
from tests.conftest import TOP

PATH = f"{os.environ['PATH']}:{TOP / '.venv/bin'}"

BEGIN = """
const [bundle, secret, node, done] = arguments;
window.lines = {};
import(URL.createObjectURL(new Blob([bundle], { type: "text/javascript" })))
  .then(({ follow }) => follow(secret, node, window.lines))
  .then(() => done(null), (error) => done(String(error)));
"""


def secret_of(router: RouterProcess) -> str:
    """The secret of consumers."""
    return router.home.secret_file("simonsobs").read_text().strip()


class Follower:
    """A program of its own; kill its `process` in the end."""

    def __init__(self, router: RouterProcess, node: str) -> None:
        variables = {
            "PATH": PATH,
            "SISOCK_URL": f"wss://localhost:{router.port}/ws",
            "SISOCK_SECRET": secret_of(router),
            "NODE_EXTRA_CA_CERTS": str(router.home.ca_certificate),
        }
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        command = ["node", "test/router/follow.js", node]
        self.process = subprocess.Popen(command, cwd=TOP / "js", env=variables, **pipes)

    def report(self) -> dict[str, Any]:
        """What came so far, by timeline; waits until it follows."""
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def wait_for(self, number: float, what: str) -> Any:
        """Wait until it has samples of this number and a later one, of `fast`."""

        def has_come() -> Any:
            line = self.report().get("fast")
            return line if line and line["last"] > number else None

        return wait_until(has_come, 60, what)


class FollowingPage:
    """The same in a browser, beside the page of the router, which shows the field `n`."""

    def __init__(self, router: RouterProcess, node: str, browser: Any) -> None:
        self._browser = browser
        secret = secret_of(router)
        browser.get(f"https://localhost:{router.port}/?s={node}::n&last=60#secret={secret}")
        flags = "--bundle --format=esm --external:crypto --external:ws"
        bundle = subprocess.run(
            ["node_modules/.bin/esbuild", "test/router/browser.js", *flags.split()],
            cwd=TOP / "js",
            env={**os.environ, "PATH": PATH},
            capture_output=True,
            text=True,
            check=True,
        )
        error = browser.execute_async_script(BEGIN, bundle.stdout, secret, node)
        assert error is None, error

    def report(self) -> dict[str, Any]:
        """What came so far, by timeline."""
        return self._browser.execute_script("return window.lines")

    def legend(self) -> str:
        """What the page says of its fields; of lost samples, too."""
        return self._browser.find_element("id", "panels").text
