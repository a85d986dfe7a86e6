"""Nodes as they were written in 2018 and 2019; only the last lines are of today."""

import sys
import time

import six  # noqa: F401
from autobahn.twisted.component import Component, run  # noqa: F401
from autobahn.twisted.util import sleep
from autobahn.twisted.wamp import ApplicationRunner, ApplicationSession  # noqa: F401
from autobahn.wamp.types import ComponentConfig, RegisterOptions  # noqa: F401
from OpenSSL import crypto  # noqa: F401
from twisted.internet import reactor
from twisted.internet._sslverify import OpenSSLCertificateAuthorities  # noqa: F401
from twisted.internet.defer import inlineCallbacks, returnValue
from twisted.internet.ssl import CertificateOptions  # noqa: F401

import sisock

START = 1_500_000_000.0
FEED = "org.simonsobservatory.feeds.temperatures"


class weather(sisock.data_node_server):
    """Two files of one timeline, each without a minute that the other has."""

    name = "old_weather"
    description = "Weather of 2018."
    minutes = {"wind": [0, 1, 2, 4], "rain": [0, 2, 3, 4]}

    def get_fields(self, start, end):
        field = {name: {"type": "number", "timeline": "minutes"} for name in self.minutes}
        return field, {"minutes": {"interval": 60.0, "field": list(field)}}

    def get_data(self, field, start, end, min_stride=None):
        ret = {"data": {}, "timeline": {}}
        start = sisock.sisock_to_unix_time(start)
        end = sisock.sisock_to_unix_time(end)
        for f in field:
            rows = [m for m in self.minutes.get(f, []) if start <= START + 60 * m < end]
            ret["data"][f] = [100.0 + m for m in rows]
            if "minutes" not in ret["timeline"]:
                t = [START + 60 * m for m in rows]
                ret["timeline"]["minutes"] = {"t": t, "finalized_until": None}
        return ret


class radiometer(sisock.base.DataNodeServer):
    """Reads in a thread, and returns all that it has, whatever is asked for."""

    def __init__(self, config, max_points=None):
        ApplicationSession.__init__(self, config)
        self.max_points = max_points
        self.name = "old_radiometer"
        self.description = "PWV."

    def get_fields(self, start, end):
        field = {
            "pwv": {"description": None, "timeline": "pwv", "type": "number", "units": "mm"},
        }
        return field, {"pwv": {"interval": 60.48, "field": "pwv"}}

    def _get_data_blocking(self, field, start, end, min_stride=None):
        t = [START + 60.0 * i for i in range(self.max_points)]
        line = {"t": t, "finalized_until": t[-1]}
        return {"data": {"pwv": [float(i) for i in range(len(t))]}, "timeline": {"pwv": line}}


class thermometry(sisock.base.DataNodeServer):
    """Caches what an agent publishes."""

    name = "old_thermometry"
    description = "Temperatures of an agent."

    def __init__(self, config, joins=None):
        ApplicationSession.__init__(self, config)
        self.data = {}

    def onConnect(self):
        self.log.info("transport connected")
        self.join(self.config.realm)

    @inlineCallbacks
    def after_onJoin(self, details):
        def cache(message):
            for channel, value in message.items():
                self.data.setdefault(channel, []).append((time.time(), value))

        yield self.subscribe(cache, FEED)
        print("subscribed in session", details.session)

    def onDisconnect(self):
        reactor.stop()

    def _get_fields_blocking(self, start, end):
        line = "observatory.x."
        field = {
            name: {"description": None, "timeline": line + name, "type": "number", "units": None}
            for name in self.data
        }
        return field, {line + name: {"interval": None, "field": [name]} for name in self.data}

    @inlineCallbacks
    def get_data(self, field, start, end, min_stride=None):
        yield sleep(0.01)
        ret = {"data": {}, "timeline": {}}
        for i, name in enumerate(field):
            t, values = zip(*self.data[name], strict=True)
            ret["data"][name] = list(values)
            ret["timeline"][f"group{i}"] = {"t": list(t), "fields": [name]}
        returnValue(ret)


if __name__ == "__main__":
    config = ComponentConfig(sisock.base.REALM, {})
    node = {
        "weather": weather,
        "radiometer": lambda: radiometer(config, max_points=10),
        "thermometry": lambda: thermometry(config),
    }[sys.argv.pop(1)]
    sisock.run(node if isinstance(node, type) else node())
