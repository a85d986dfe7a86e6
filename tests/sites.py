"""Files of sites, for the routers of tests: good ones, and ones that cannot be reached."""

from __future__ import annotations

from pathlib import Path

from sisock.testing import RouterProcess, free_port
from sisock.wire.protocol import USER_CONSUMER

UNREACHABLE = {
    "dead": "nothing listens there",
    "refused": "refuses the user",
    "untrusted": "TLS failed",
}
"""Sites that cannot be reached, and what is said of each."""


def entry(
    name: str, router: RouterProcess, port: int | None = None, host: str = "localhost", **keys: str
) -> str:
    """The entry of a router, or of another port or host with its CA and secret."""
    given = {
        "address": f"wss://{host}:{port or router.port}/ws",
        "ca": str(router.home.ca_certificate),
        "secret": str(router.home.secret_file(USER_CONSUMER)),
        **keys,
    }
    return "\n".join([f"[{name}]", *(f'{key} = "{value}"' for key, value in given.items()), ""])


def write(folder: Path, *entries: str) -> dict[str, str]:
    """Write a file of sites; returns the variables with which programs find it."""
    path = folder / "sites.toml"
    path.write_text("\n".join(entries))
    return {"SISOCK_SITES": str(path)}


def unreachable(folder: Path, first: RouterProcess, second: RouterProcess) -> list[str]:
    """The entries of the `UNREACHABLE` sites, at these routers."""
    (folder / "wrong").write_text("not-the-secret")
    return [
        entry("dead", first, free_port()),
        entry("refused", second, secret=str(folder / "wrong")),
        entry("untrusted", second, ca=str(first.home.ca_certificate)),
    ]
