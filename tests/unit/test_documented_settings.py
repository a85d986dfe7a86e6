"""`sisock config` shows what the documentation says can be set."""

import re

from sisock.cli.doctor import setting_rows
from sisock.connection.settings import load_settings
from tests.documents import page


def documented():
    names = set()
    for line in page("settings.md").splitlines():
        if line.startswith("| `"):
            names |= set(re.findall(r"`([A-Z][A-Z_]+)`", line.split("|")[1]))
    return {name for name in names if not name.endswith("_FILE")}


def test_config_shows_each_documented_setting_and_no_other(tmp_path):
    settings = load_settings(environ={"SISOCK_HOME": str(tmp_path)})
    assert {name for name, _, _ in setting_rows(settings)} == documented()


def test_the_values_of_secrets_are_hidden(tmp_path, monkeypatch):
    token = tmp_path / "token"
    token.write_text("s3cret-in-a-file")
    monkeypatch.setenv("SISOCK_HTTP_BASIC", "user:s3cret")
    monkeypatch.setenv("SISOCK_HTTP_TOKEN_FILE", str(token))
    rows = setting_rows(load_settings(environ={"SISOCK_HOME": str(tmp_path)}))
    assert "s3cret" not in str(rows)
    assert ("SISOCK_HTTP_BASIC", "hidden", "environment (SISOCK_HTTP_BASIC)") in rows
    assert ("SISOCK_HTTP_TOKEN", "hidden", f"file {token} (SISOCK_HTTP_TOKEN_FILE)") in rows
