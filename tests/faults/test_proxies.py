"""A router behind proxy workers: as safe as without, and nobody sees a difference."""

import stat

import psutil
import pytest

from benchmarks.counts import cpu_seconds
from sisock.client.client import Client
from sisock.connection.settings import load_settings
from sisock.errors import AuthenticationRejected, SettingsError
from sisock.testing import RouterProcess, wait_until
from tests.conftest import wait_for_absence, wait_for_nodes
from tests.faults.doors import connect_websocket, read_until_closed
from tests.faults.test_doors import JSON_TEXTS, TEXT, log_of_garbage, send_messages, work_of


@pytest.fixture(scope="module")
def proxied():
    with pytest.MonkeyPatch.context() as variables:
        variables.setenv("SISOCK_PROXIES", "2")
        with RouterProcess() as router:
            # A proxy listens a moment before it has its paths, and another one later still.
            wait_until(lambda: all(is_open(router) for _ in range(20)), 60, "both proxies")
            yield router


def is_open(router):
    try:
        connect_websocket(router).close()
    except (OSError, AssertionError):
        return False
    return True


def test_nodes_and_consumers_meet_behind_proxies(proxied, start):
    with Client(proxied.settings()) as client:
        program = start(proxied, "data_nodes/sensors.py", "--name", "behind", CROSSBAR_SOCKET="")
        wait_for_nodes(client, "behind")
        field = next(iter(client.fields("behind")))
        wait_until(lambda: len(client.get("behind", field, -60, 0)[field].t), 40, "samples")
        with client.watch("behind") as stream:
            assert next(iter(stream)).t
        program.process.kill()
        wait_for_absence(client, "behind")


@pytest.mark.parametrize("user", ["server", "simonsobs"])
def test_the_name_of_a_variable_is_no_secret(proxied, user):
    for variable in ("WAMP_SERVER_SECRET", "WAMP_CONSUMER_SECRET"):
        environ = {**proxied.environ(user), "WAMP_SECRET": f"${{{variable}}}"}
        settings = load_settings(user, environ=environ)
        with pytest.raises(AuthenticationRejected), Client(settings) as client:
            client.nodes()


def test_the_secrets_are_in_a_file_for_its_owner_alone(proxied):
    files = [path for path in proxied.home.router_directory.iterdir() if path.is_file()]
    secrets = [
        proxied.home.secret_file(user).read_text().strip() for user in ("server", "simonsobs")
    ]
    holders = [path for path in files for secret in secrets if secret in path.read_text()]
    assert {path.name for path in holders} == {"config.json"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in holders} == {0o600}
    assert not any(secret in proxied.log for secret in secrets)


def test_brackets_stop_no_proxy(proxied):
    for name in ("deep", "deep in a HELLO"):
        before = work_of(proxied)
        with send_messages(proxied, JSON_TEXTS[name], "json", TEXT) as sock:
            read_until_closed(sock)
            connect_websocket(proxied).close()
            assert work_of(proxied) - before < 1, name


def test_a_proxy_does_not_draw_its_key_at_each_login(monkeypatch):
    # One proxy alone: each imports what it needs at its first login, whenever that comes.
    monkeypatch.setenv("SISOCK_PROXIES", "1")
    with RouterProcess() as router:
        wait_until(lambda: is_open(router), 60, "the proxy")
        workers = psutil.Process(router.pid).children()

        def seconds(kind):
            return sum(cpu_seconds(each.pid) for each in workers if kind in each.cmdline()[0])

        Client(router.settings()).close()
        # Crossbar draws a QR code of its key each time: 20 times of what the router has to do.
        before = {kind: seconds(kind) for kind in ("Router", "Proxy")}
        for _ in range(20):
            Client(router.settings()).close()
        own, proxy = (seconds(kind) - began for kind, began in before.items())
        assert proxy < 8 * own


def test_garbage_before_login_leaves_one_line_in_the_log(proxied):
    assert log_of_garbage(proxied)[0]


@pytest.mark.parametrize("number", ["0", "many", "-1", "8080"])
def test_a_wrong_number_of_proxies_is_named(monkeypatch, number):
    monkeypatch.setenv("SISOCK_PROXIES", number)
    with pytest.raises(SettingsError, match=r"SISOCK_PROXIES must be a number of .*64"):
        RouterProcess().start()
