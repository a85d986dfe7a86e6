"""`sisock config` shows what the documentation says can be set."""

import re

from sisock.cli.doctor import setting_rows
from sisock.connection.settings import load_settings
from tests.conftest import TOP
from tests.documents import page, pages


def documented():
    names = set()
    for line in page("settings.md").splitlines():
        if line.startswith("| `"):
            names |= set(re.findall(r"`([A-Z][A-Z_]+)`", line.split("|")[1]))
    return {name for name in names if not name.endswith("_FILE")}


def test_config_shows_each_documented_setting_and_no_other(tmp_path):
    settings = load_settings(environ={"SISOCK_HOME": str(tmp_path)})
    assert {name for name, _, _ in setting_rows(settings)} == documented()


def test_each_variable_that_is_read_is_documented():
    files = [*TOP.glob("sisock/**/*.py"), *TOP.glob("data_nodes/*.py"), *TOP.glob("*.py")]
    text = "".join(path.read_text() for path in files)
    read = set(re.findall(r'"((?:SISOCK|CROSSBAR|WAMP)_[A-Z_]+|[A-Z]+_PASSWORD)"', text))
    # Or by its name right where the environment is: PORT, say. The demo's are its own.
    read |= set(
        re.findall(r'(?:environ(?:\.get)?|find_setting)[([]"(?!DEMO_|BRIDGE_PORT)([A-Z_]+)"', text)
    )
    for path in TOP.glob("docker-compose*.yml"):
        read |= set(re.findall(r"\$\{([A-Z_]+)", path.read_text()))
    assert {"SISOCK_MAX_SAMPLES", "PORT", "MQTT_PASSWORD", "GRAFANA_PORT"} <= read
    written = "".join(path.read_text() for path in pages())
    assert {name for name in read if not re.search(rf"`{name}\b", written)} == set()


def test_the_values_of_secrets_are_hidden(tmp_path, monkeypatch):
    token = tmp_path / "token"
    token.write_text("s3cret-in-a-file")
    monkeypatch.setenv("SISOCK_HTTP_BASIC", "user:s3cret")
    monkeypatch.setenv("SISOCK_HTTP_TOKEN_FILE", str(token))
    rows = setting_rows(load_settings(environ={"SISOCK_HOME": str(tmp_path)}))
    assert "s3cret" not in str(rows)
    assert ("SISOCK_HTTP_BASIC", "hidden", "environment (SISOCK_HTTP_BASIC)") in rows
    assert ("SISOCK_HTTP_TOKEN", "hidden", f"file {token} (SISOCK_HTTP_TOKEN_FILE)") in rows
