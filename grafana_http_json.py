"""The Grafana bridge: answers the JSON plugins' HTTP requests from the data nodes.

A Flask application inside of a Twisted process: each request in a thread, the WAMP session in the
reactor. The routes are in `sisock/bridge/routes.py`; panels are answered in the reactor itself.
"""

from __future__ import annotations

import argparse
import os

from sisock.bridge.app import make_app
from sisock.bridge.bridge import MOST_SAMPLES, Bridge
from sisock.bridge.direct import direct_routes
from sisock.bridge.metrics import Metrics
from sisock.bridge.panels import Panels
from sisock.bridge.routes import Routes
from sisock.bridge.server import load_web_settings, serve
from sisock.connection.logs import make_logger
from sisock.connection.program import add_common_flags, fail, run_program, settings_from_flags
from sisock.errors import SettingsError, SisockError
from sisock.wire.protocol import USER_CONSUMER

NODE_TIMEOUT = 10.0
"""Seconds that one node may take for one request, unless SISOCK_NODE_TIMEOUT says otherwise."""

CACHE_MEGABYTES = 256
"""Memory for final samples, unless SISOCK_CACHE_MB says otherwise."""

log = make_logger()


def _positive(name: str, default: float) -> float:
    text = os.environ.get(name) or str(default)
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < 1e9:
        raise SettingsError(f"{name} must be a positive number, not {text!r}")
    return number


def main() -> None:
    """Run the bridge until SIGTERM or Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_common_flags(parser)
    settings = settings_from_flags(parser.parse_args(), USER_CONSUMER)
    try:
        web = load_web_settings()
        cache_bytes = int(_positive("SISOCK_CACHE_MB", CACHE_MEGABYTES) * 1e6)
        most_samples = int(_positive("SISOCK_MAX_SAMPLES", MOST_SAMPLES))
        node_timeout = _positive("SISOCK_NODE_TIMEOUT", NODE_TIMEOUT)
        bridge = Bridge(settings, node_timeout, cache_bytes, most_samples)
    except SisockError as error:
        fail(error)

    async def start() -> None:
        metrics = Metrics()
        panels = Panels(bridge, metrics)
        app = make_app(Routes(bridge, metrics).add_to, web, metrics)
        direct = direct_routes(panels, web, metrics, bridge.memory)
        await serve(app, web, bridge.connection.reactor, direct)
        log.info("listening on http://{bind}:{port}/", bind=web.bind, port=web.port)

    run_program(bridge.connection, start)


if __name__ == "__main__":
    main()
