"""The Grafana bridge: answer HTTP requests of Grafana's plugins with samples of data nodes.

`sisock/bridge/panels.py` answers panels, and Flask the other routes (`sisock/bridge/app.py`).
"""

from __future__ import annotations

from sisock.bridge.app import make_app
from sisock.bridge.bridge import Bridge
from sisock.bridge.metrics import Metrics
from sisock.bridge.panels import Panels
from sisock.bridge.server import Front, load_web_settings
from sisock.client.site import load_routers
from sisock.connection.reconnect import fail, run_program
from sisock.connection.runtime import make_logger
from sisock.connection.settings import Parser, add_common_flags, find_setting, parse_count
from sisock.errors import SettingsError, SisockError

log = make_logger()


def _positive(name: str) -> float:
    text = find_setting(name)
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < 1e9:
        raise SettingsError(f"{name} must be a positive number, not {text!r}")
    return number


def main() -> None:
    """Run the bridge until SIGTERM or Ctrl-C."""
    parser = Parser(prog="sisock bridge", description=__doc__.partition("\n\n")[0])
    add_common_flags(parser)
    args = parser.parse_args()
    try:
        routers = load_routers(args.router, args.log_level)
        web = load_web_settings()
        cache_bytes = int(_positive("SISOCK_CACHE_MB") * 1e6)
        max_samples = parse_count(find_setting("SISOCK_MAX_SAMPLES"), "SISOCK_MAX_SAMPLES")
        node_timeout = _positive("SISOCK_NODE_TIMEOUT")
        drain_seconds = _positive("SISOCK_DRAIN_SECONDS")
        bridge = Bridge(routers, node_timeout, cache_bytes, max_samples)
    except SisockError as error:
        fail(error)
    metrics = Metrics()
    handlers = Panels(bridge, metrics).handlers()
    app = make_app(bridge, metrics)
    front = Front(app, handlers, metrics.answered, web.access, bridge.reactor)

    async def start() -> None:
        await front.listen(web)
        log.info("listening on http://{bind}:{port}/", bind=web.bind, port=web.port)

    connections = [site.connection for site in bridge.sites.values()]
    run_program(connections, start, finish=lambda: front.drain(drain_seconds))


if __name__ == "__main__":
    main()
