import json
import os
import signal

import pytest

from sisock.client import Client
from sisock.router import DEFAULT_CONFIGURATION
from tests.faults.helpers import TICKER, WEATHER, answers, promised_list, unstarted_router

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

        secrets = [
            installation.home.secret_file(user).read_text().strip()
            for user in ("server", "simonsobs")
        ]
        secrets += [WRONG, "PRIVATE KEY"]
        for program in (router, hub, weather, ticker, refused, command):
            assert program.output, "it logs"
            for secret in secrets:
                assert secret not in program.output
        written = installation.home.router_directory
        for folder, _, files in os.walk(written):
            for file in files:
                if file not in ("server_key.pem", "key.priv"):
                    text = open(os.path.join(folder, file), errors="replace").read()
                    assert not any(secret in text for secret in secrets), file
