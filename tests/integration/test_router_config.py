"""The router with another realm than ours, and with a configuration of 2018 or of one's own."""

import copy
import json
import signal
import subprocess
import sys
import urllib.request

import pytest

from sisock.client.client import Client
from sisock.connection.settings import load_settings
from sisock.errors import SisockError
from sisock.testing import RouterProcess, free_port, wait_until
from tests.conftest import TOP, node_names

ALL = {"call": True, "register": True, "publish": True, "subscribe": True}
HIDDEN = {"caller": False, "publisher": False}


def role(name, uri):
    permission = {"uri": uri, "match": "prefix", "allow": ALL, "disclose": HIDDEN, "cache": True}
    return {"name": name, "permissions": [permission]}


def old_configuration(realm="sisock"):
    """A configuration as the first sisock had it: no ids, literal secrets, hub in a container."""
    users = {
        "server": {"secret": "an old secret", "role": "server"},
        "simonsobs": {"secret": "another one", "role": "consumer"},
    }
    tls = {"key": "server_key.pem", "certificate": "server_cert.pem"}
    web = {
        "type": "web",
        "endpoint": {"type": "tcp", "port": 8080, "tls": tls},
        "paths": {
            "/": {"type": "static", "directory": "../www"},
            "ws": {
                "type": "websocket",
                "auth": {"wampcra": {"type": "static", "users": users}},
            },
        },
    }
    inside = {
        "type": "websocket",
        "endpoint": {
            "type": "tcp",
            "host": "127.0.0.1",
            "port": 8080,
            "tls": {"hostname": "localhost", "ca_certificates": ["server_cert.pem"]},
        },
        "url": "wss://127.0.0.1:8080/ws",
    }
    hub = {"type": "class", "classname": "hub.hub", "realm": realm, "transport": inside}
    roles = [role("server", ""), role("consumer", "org.simonsobservatory.consumer")]
    return {
        "version": 2,
        "workers": [
            {
                "type": "router",
                "options": {"pythonpath": [".."]},
                "realms": [{"name": realm, "roles": roles}],
                "transports": [web],
            },
            {"type": "container", "options": {"pythonpath": [".."]}, "components": [hub]},
        ],
    }


def with_ocs_port(configuration, port):
    """The same with the transport of OCS, as the sites of 2019 had it."""
    changed = copy.deepcopy(configuration)
    changed["workers"][0]["transports"].append(
        {
            "type": "websocket",
            "endpoint": {"type": "tcp", "port": port},
            "auth": {"anonymous": {"type": "static", "role": "server"}},
        }
    )
    return changed


@pytest.fixture
def place(tmp_path):
    """Home and port of a router, and a folder for its configuration."""
    process = RouterProcess()
    (tmp_path / ".crossbar").mkdir()
    yield process
    process.__exit__()


@pytest.fixture
def run_router(place, tmp_path, start):
    programs = []

    def run(configuration=None, **variables):
        words = []
        if configuration is not None:
            file = tmp_path / ".crossbar" / "config.json"
            file.write_text(json.dumps(configuration))
            words = ["--config", str(file)]
        programs.append(start(place, "-m", "sisock.router", *words, **variables))
        return programs[-1]

    yield run
    for program in programs:
        if program.process.poll() is None:
            program.signal(signal.SIGINT)
            program.wait()


def connected(place, program, **variables):
    """A consumer, once the hub answers."""
    settings = load_settings(environ={**place.environ(), **variables})

    def try_once():
        assert program.process.poll() is None, program.output
        try:
            client = Client(settings)
        except SisockError:
            return None
        try:
            client.nodes()
        except SisockError:
            client.close()
            return None
        return client

    return wait_until(try_once, 180, "an answer of the hub", every=0.2)


def test_router_hub_nodes_and_clients_use_the_realm_of_the_setting(place, run_router, start):
    realm = {"WAMP_REALM": "test_realm"}
    router = run_router(**realm)
    with connected(place, router, **realm) as client:
        start(place, "tests/nodes.py", "ticker", **realm)
        wait_until(lambda: node_names(client), 30, "the node in the list")
    router.wait_for("the router is ready")
    with pytest.raises(PermissionError, match="no realm 'sisock'"), Client(place.settings()):
        pass


def test_a_configuration_of_2018_starts_and_keeps_its_other_ports(place, run_router, tmp_path):
    for path in (place.home.server_certificate, place.home.server_key):
        path.rename(tmp_path / ".crossbar" / path.name)  # where they lay then
    place.home.secret_file("server").unlink()
    ocs = free_port()
    router = run_router(with_ocs_port(old_configuration("test_realm"), ocs))
    variables = {"WAMP_SECRET": "another one", "WAMP_REALM": "test_realm"}
    with connected(place, router, **variables) as client:
        assert client.nodes() == []
        with pytest.raises(urllib.error.HTTPError, match="426"):  # only WebSockets are served there
            urllib.request.urlopen(f"http://127.0.0.1:{ocs}/", timeout=10)
        written = place.home.router_directory / "config.json"
        assert written.stat().st_mode & 0o077 == 0, "it holds the secrets"
        assert '"cache": true' not in written.read_text(), "it would keep every name ever asked for"


def broken(change):
    configuration = old_configuration()
    change(configuration["workers"])
    return configuration


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda workers: workers[1]["components"][0].update(classname="gone.x"), "'gone.x'"),
        (lambda workers: workers[0]["realms"].clear(), "no realm"),
        (lambda workers: workers[0]["realms"].append({"name": "b", "roles": []}), "WAMP_REALM"),
        (lambda workers: workers[0]["realms"][0]["roles"].pop(0), "role 'server'"),
        (lambda workers: workers[0]["transports"][0]["endpoint"]["tls"].update(key="my"), "my"),
        (lambda workers: workers[0]["transports"][0].pop("endpoint"), "endpoint"),
    ],
)
def test_what_is_wrong_with_a_configuration_is_one_sentence(place, run_router, change, sentence):
    router = run_router(broken(change), WAMP_REALM="test_realm")
    assert router.wait(60) == 1
    assert sentence in router.output
    assert len(router.output.splitlines()) == 1


THEIR_HUB = """
from autobahn.twisted.wamp import ApplicationSession
from autobahn.wamp import auth


class hub(ApplicationSession):
    def onConnect(self):
        self.join(self.config.realm, ["wampcra"], "server")

    def onChallenge(self, challenge):
        return auth.compute_wcs("an old secret", challenge.extra["challenge"])

    def onJoin(self, details):
        uri = "org.simonsobservatory.consumer.get_data_node"
        return self.register(lambda: [{"name": "theirs", "description": ""}], uri)
"""


def test_the_sites_own_hub_stays_in_its_container(place, run_router, tmp_path):
    (tmp_path / "hub.py").write_text(THEIR_HUB)
    with connected(place, run_router(old_configuration()), WAMP_SECRET="another one") as client:
        assert node_names(client) == {"theirs"}


def test_a_router_that_cannot_be_configured_is_no_traceback(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "sisock.router", "--config", tmp_path],
        cwd=TOP,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
