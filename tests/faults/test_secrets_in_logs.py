import json
import signal

import pytest

from sisock.client.client import Client
from sisock.router.configuration import DEFAULT_CONFIGURATION
from tests.faults.helpers import LISTED, TICKER, WEATHER, answers, promised_list, unstarted_router

WRONG = "a-wrong-secret-of-a-test"


@pytest.fixture
def hubless_configuration(tmp_path):
    """The router's configuration without the hub, for `python -m sisock.router --config`."""
    configuration = json.loads(DEFAULT_CONFIGURATION.read_text())
    del configuration["workers"][0]["components"]
    path = tmp_path / ".crossbar" / "config.json"
    path.parent.mkdir()
    path.write_text(json.dumps(configuration))
    return path


def test_no_log_holds_a_secret_at_debug(start, hubless_configuration):
    with unstarted_router() as installation:

        def begin(*command, **variables):
            return start(installation, *command, **{"LOGLEVEL": "debug", **variables})

        router = begin("-m", "sisock.router", "--config", hubless_configuration)
        hub = begin("hub.py")
        hub.wait_for("the hub is ready", seconds=60)
        weather, ticker = begin(*WEATHER), begin(*TICKER)
        refused = begin(*WEATHER, "--name", "refused", WAMP_SECRET=WRONG)
        for node in (weather, ticker):
            node.wait_for(LISTED, 60)
        with Client(installation.settings()) as client:
            promised_list(client, "apex_archive", "ticker")
            assert answers(client, "apex_archive", "apex_temperature")
            assert answers(client, "ticker", "count")
        command = begin("-m", "sisock.cli", "nodes", WAMP_USER="simonsobs")
        assert command.wait() == 0
        assert "ticker" in command.output
        assert refused.wait() == 1
        for program in (weather, ticker, hub, router):
            program.signal(signal.SIGINT)
            assert program.wait() == 0

        secrets = {
            "of a node": secret(installation, "server"),
            "of a consumer": secret(installation, "simonsobs"),
            "refused": WRONG,
            "key": "PRIVATE KEY",
        }
        programs = {
            "router": router,
            "hub": hub,
            "archive": weather,
            "live node": ticker,
            "refused node": refused,
            "command": command,
        }
        assert all(program.output for program in programs.values())
        assert [
            f"the log of the {name} holds the secret {whose}"
            for name, program in programs.items()
            for whose, text in secrets.items()
            if text in program.output
        ] == []


def secret(router, user):
    return router.home.secret_file(user).read_text().strip()


def test_no_file_of_the_router_holds_a_password(router):
    written = router.home.router_directory
    texts = [path.read_text() for path in written.iterdir() if path.is_file()]
    assert any("wampcra" in text for text in texts)
    for user in ("server", "simonsobs"):
        assert not any(secret(router, user) in text for text in texts)
        assert secret(router, user) not in router.log
