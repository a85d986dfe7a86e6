"""Run router, hub, bridge and two example nodes in the foreground until Ctrl-C: ``sisock demo``.

``sisock.demo`` makes missing credentials, checks that the ports are free, and becomes
``sisock.demo --run``. In this, honcho runs the programs of the Procfile. It also starts
``sisock.demo --wait``, which prints a line when the first query has been answered, and exits.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from urllib.parse import quote

from sisock.connection.settings import Parser, require
from sisock.errors import AuthenticationRejected, SisockError

# Each stage imports only what it needs: `--run` stays in memory and must be small.

STARTUP = 60  # seconds after which the demo gives up


def main(argv: list[str] | None = None) -> None:
    """Start the demo, or do a part of it."""
    about = (
        "Run router, hub, page, bridge and two example nodes, until Ctrl-C or until one of them"
        " stops. Start other nodes in a second terminal."
    )
    parser = Parser(prog="sisock demo", description=about)
    for stage in ("--run", "--wait"):  # only for the demo's own use
        parser.add_argument(stage, action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    try:
        (_announce if args.wait else _run if args.run else _start)()
    except SisockError as error:
        sys.exit(str(error))


def _start() -> None:
    for module in ("crossbar", "flask", "httptools", "prometheus_client", "psutil", "honcho"):
        require(module, "demo")
    from sisock.bridge.server import load_web_settings
    from sisock.connection.settings import load_settings
    from sisock.router.configuration import PROGRAMS
    from sisock.router.credentials import make_certificates, make_credentials
    from sisock.router.launch import check_free

    settings, web = load_settings(), load_web_settings()
    home = settings.home
    check_free(home, ("CROSSBAR_TLS_PORT", settings.port, ""), ("PORT", web.port, web.bind))
    make_credentials(home)
    make_certificates(home)
    # The Procfile's programs wait for this socket: remove one left over from a killed router.
    home.router_socket.unlink(missing_ok=True)
    nodes, layouts = PROGRAMS / "data_nodes", PROGRAMS / "example_data" / "layouts"
    variables = {
        **os.environ,
        "CROSSBAR_TLS_PORT": str(settings.port),
        "SISOCK_HOME": str(home.path.absolute()),
        # The Procfile passes it on to the programs that connect by socket.
        "DEMO_SOCKET": str(home.router_socket.absolute()),
        "DEMO_PROGRAMS": str(PROGRAMS),
        # The example's layouts, unless the user has set others.
        "SISOCK_LAYOUTS": os.environ.get("SISOCK_LAYOUTS") or str(layouts),
        "DEMO_NODES": str(nodes if nodes.is_dir() else PROGRAMS.with_name("sisock_nodes")),
        "BRIDGE_PORT": str(web.port),
        "PYTHON": sys.executable,
    }
    os.execve(sys.executable, [sys.executable, "-m", "sisock.demo", "--run"], variables)


def _run() -> None:
    """Run the Procfile until a program ends or a signal comes."""
    from honcho.environ import parse_procfile
    from honcho.manager import Manager

    class Supervisor(Manager):
        """Honcho's manager, but with a thread instead of a process of 20 MB for each program."""

        def _start(self) -> None:
            for program in self._processes.values():
                run = program["obj"].run
                threading.Thread(target=run, args=(self.events,), daemon=True).start()

    programs = Path(os.environ["DEMO_PROGRAMS"])
    supervisor = Supervisor()
    procfile = parse_procfile((programs / "Procfile").read_text(encoding="utf-8"))
    for name, command in procfile.processes.items():
        supervisor.add_process(name, command, cwd=str(programs))
    waiting = subprocess.Popen([sys.executable, "-m", "sisock.demo", "--wait"])

    def watch() -> None:
        if waiting.wait() > 0:
            os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()
    supervisor.loop()
    waiting.kill()
    raise SystemExit(supervisor.returncode)


def _announce() -> None:
    """Print the addresses, after ``ready:``, once a query has been answered."""
    from sisock.client.client import Client
    from sisock.connection.settings import DEFAULT_PORT, load_settings
    from sisock.wire.protocol import USER_CONSUMER

    # Ctrl-C ends this process too: without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    settings = load_settings(USER_CONSUMER)
    end = time.monotonic() + STARTUP
    while True:
        try:
            with Client(timeout=5) as client:
                for node in ("apex_archive", "sensors"):
                    client.get(node, list(client.fields(node))[:1])
            break
        except SisockError as problem:
            if time.monotonic() > end or isinstance(problem, AuthenticationRejected):
                raise
        time.sleep(0.2)
    command = Path(sys.executable).with_name("sisock")
    if command.is_relative_to(Path.cwd()):
        command = command.relative_to(Path.cwd())
    port = "" if settings.port == DEFAULT_PORT else f"CROSSBAR_TLS_PORT={settings.port} "
    grafana = f"http://127.0.0.1:{os.environ['BRIDGE_PORT']}"
    # The part after the # stays in the browser and reaches no server's log.
    secret = quote(settings.secret or "", safe="")
    page = f"https://{settings.host}:{settings.port}/#secret={secret}"
    print(f"ready: {page}  try: {port}{command} nodes\n       for Grafana: {grafana}", flush=True)


if __name__ == "__main__":
    main()
