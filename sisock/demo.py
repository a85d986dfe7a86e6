"""``make demo``: router, hub and the two example nodes in the foreground, until Ctrl-C.

``python -m sisock.demo`` makes what is missing, sees that the ports are free and becomes honcho,
which starts the programs of the Procfile. One of these is ``python -m sisock.demo --wait NODE…``,
which says when the first query has been answered.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from pathlib import Path
from typing import NoReturn

from sisock.credentials import make_certificates, make_credentials
from sisock.errors import AuthenticationRejected, SisockError
from sisock.protocol import USER_CONSUMER
from sisock.router import check_free, check_port
from sisock.settings import load_settings
from sisock.web import load_web_settings

READY_WITHIN = 60
"""Seconds after which the demo gives up."""

PROCFILE = Path(__file__).parent.parent / "Procfile"


def main(argv: list[str] | None = None) -> None:
    """Start the demo, or wait for it."""
    parser = argparse.ArgumentParser(prog="sisock.demo", description=__doc__)
    parser.add_argument("--wait", nargs="+", metavar="NODE", help="wait for these data nodes")
    args = parser.parse_args(argv)
    try:
        if args.wait:
            _announce(args.wait)
        else:
            _start()
    except SisockError as error:
        print(error, file=sys.stderr)
        raise SystemExit(1) from None


def _start() -> NoReturn:
    settings = load_settings()
    home = settings.home
    web = load_web_settings()
    check_free(home, settings.port)
    check_port(web.port, "PORT", web.bind)
    make_credentials(home)
    make_certificates(home)
    variables = {
        **os.environ,
        "CROSSBAR_TLS_PORT": str(settings.port),
        "SISOCK_HOME": str(home.path.absolute()),
        # The Procfile gives it to the programs that are to use it.
        "DEMO_SOCKET": str(home.router_socket.absolute()),
        # Honcho gives each program a PORT of its own choice.
        "BRIDGE_PORT": str(web.port),
        "PYTHON": sys.executable,
    }
    honcho = [sys.executable, "-m", "honcho", "start", "--no-prefix", "-f", str(PROCFILE)]
    os.chdir(PROCFILE.parent)
    os.execve(honcho[0], honcho, variables)


def _announce(nodes: list[str]) -> None:
    """Print the line that begins with ``ready:`` once a query has been answered; then stay."""
    # Another program that ends has honcho end this one: without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    settings = load_settings(USER_CONSUMER)
    end = time.monotonic() + READY_WITHIN
    while (problem := _try_query(nodes)) is not None:
        if time.monotonic() > end or isinstance(problem, AuthenticationRejected):
            raise problem
        time.sleep(0.2)
    command = Path(sys.executable).with_name("sisock")
    if command.is_relative_to(Path.cwd()):
        command = command.relative_to(Path.cwd())
    grafana = f"http://127.0.0.1:{os.environ.get('BRIDGE_PORT', 5000)}"
    # What stands behind the # stays in the browser and reaches no server's log.
    page = f"https://{settings.host}:{settings.port}/#secret={settings.secret}"
    print(f"ready: {page}  for Grafana: {grafana}  try: {command} nodes", flush=True)
    # Honcho ends everything when one of its programs ends.
    while True:
        signal.pause()


def _try_query(nodes: list[str]) -> SisockError | None:
    from sisock.client import Client

    try:
        with Client(timeout=5) as client:
            for node in nodes:
                client.get(node, list(client.fields(node))[:1])
    except SisockError as error:
        return error
    return None


if __name__ == "__main__":
    main()
