import pytest

from sisock.connection.settings import load_settings
from sisock.errors import SettingsError


@pytest.fixture
def home(tmp_path):
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials" / "server").write_text("of-the-server\n")
    (tmp_path / "credentials" / "consumer").write_text("of-consumers\n")
    return tmp_path


def load(home, user="simonsobs", router=None, **environ):
    return load_settings(user, router=router, environ={"SISOCK_HOME": str(home), **environ})


def test_every_setting_has_a_default(tmp_path):
    settings = load_settings(environ={"SISOCK_HOME": str(tmp_path)})
    assert (settings.host, settings.port, settings.socket) == ("localhost", 8080, None)
    assert (settings.user, settings.realm, settings.log_level) == ("simonsobs", "sisock", "info")
    assert settings.secret is None
    assert settings.sources["WAMP_SECRET"] == "not found"


def test_secrets_are_found_in_the_home_folder_by_user(home):
    assert load(home).secret == "of-consumers"
    assert load(home, "server").secret == "of-the-server"
    assert load(home, WAMP_USER="server").secret == "of-the-server"


def test_environment_beats_file_beats_home(home, tmp_path):
    named = tmp_path / "named"
    named.write_text(" from-a-file \n")
    by_file = load(home, WAMP_SECRET_FILE=str(named))
    assert by_file.secret == "from-a-file"
    assert str(named) in by_file.sources["WAMP_SECRET"]
    both = load(home, WAMP_SECRET_FILE=str(named), WAMP_SECRET="direct")
    assert both.secret == "direct"


@pytest.mark.parametrize(
    ("flag", "expected"),
    [
        ("host", ("host", 1, None)),
        ("host:99", ("host", 99, None)),
        ("::1", ("::1", 1, None)),
        ("[::1]", ("::1", 1, None)),
        ("[::1]:99", ("::1", 99, None)),
        ("/run/a.sock", ("env", 1, "/run/a.sock")),
        ("unix:/run/a.sock", ("env", 1, "/run/a.sock")),
    ],
)
def test_the_flag_router_beats_the_environment(home, flag, expected):
    environ = {"CROSSBAR_HOST": "env", "CROSSBAR_TLS_PORT": "1", "CROSSBAR_SOCKET": ""}
    settings = load(home, router=flag, **environ)
    assert (settings.host, settings.port, settings.socket) == expected


def test_the_flag_router_turns_a_socket_of_the_environment_off(home):
    assert load(home, router="host", CROSSBAR_SOCKET="/run/a.sock").socket is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CROSSBAR_TLS_PORT", "http"),
        ("CROSSBAR_TLS_PORT", "0"),
        ("CROSSBAR_TLS_PORT", "65536"),
        ("LOGLEVEL", "loud"),
        ("WAMP_SECRET_FILE", "/no/such/file"),
    ],
)
def test_a_value_that_cannot_be_used_is_named(home, name, value):
    with pytest.raises(SettingsError, match=name if name != "WAMP_SECRET_FILE" else value):
        load(home, **{name: value})


def test_an_empty_secret_file_is_an_error_that_names_it(home):
    (home / "credentials" / "consumer").write_text("\n")
    with pytest.raises(SettingsError, match="consumer should hold a secret"):
        load(home)


def test_a_secret_shows_in_no_representation(home):
    settings = load(home)
    assert "of-consumers" not in f"{settings!r} {settings} {settings.sources}"
