from dataclasses import replace

import pytest
from twisted.internet.testing import MemoryReactorClock

from sisock.connection.settings import load_settings
from sisock.connection.sites import load_sites
from sisock.connection.transport import make_endpoint
from sisock.errors import SettingsError


@pytest.fixture
def write(tmp_path):
    (tmp_path / "secret").write_text(" of-chile \n")
    (tmp_path / "empty").write_text("")

    def write(text):
        (tmp_path / "sites.toml").write_text(text)
        return {"SISOCK_HOME": str(tmp_path)}

    return write


def test_without_a_file_there_are_no_sites(tmp_path):
    assert load_sites({"SISOCK_HOME": str(tmp_path)}) == {}


def test_each_site_has_its_address_ca_and_secret(write, tmp_path):
    environ = write(
        '[chile]\naddress = "wss://router.chile.example:8080/ws"\nca = "ca.pem"\n'
        'secret = "secret"\n[local]\naddress = "unix:/run/router.sock"\n'
    )
    chile, local = load_sites(
        {**environ, "WAMP_SECRET": "of-another", "CROSSBAR_HOST": "x"}
    ).values()
    assert (chile.site, chile.host, chile.port, chile.socket) == (
        *("chile", "router.chile.example", 8080),
        None,
    )
    assert (chile.user, chile.secret, chile.ca) == ("simonsobs", "of-chile", tmp_path / "ca.pem")
    assert chile.address == "wss://router.chile.example:8080/ws"
    assert (local.site, local.socket, local.secret) == ("local", "/run/router.sock", None)
    assert local.address == "unix:/run/router.sock"
    assert "of-chile" not in repr(chile)


def test_the_variable_names_a_file_elsewhere(write, tmp_path):
    write('[here]\naddress = "unix:a.sock"\n')
    (tmp_path / "sites.toml").rename(tmp_path / "other.toml")
    sites = load_sites({"SISOCK_SITES": str(tmp_path / "other.toml"), "SISOCK_HOME": "/nowhere"})
    assert sites["here"].socket == str(tmp_path / "a.sock")


def test_addresses_are_read_as_browsers_read_them(write):
    text = '[a]\naddress = "wss://[::1]/ws"\nsecret = "secret"\n'
    site = load_sites(write(text))["a"]
    assert (site.host, site.port, site.address) == ("::1", 443, "wss://[::1]:443/ws")


def test_the_settings_of_one_router_are_as_before(write):
    environ = write('[chile]\naddress = "unix:/a.sock"\n')
    settings = load_settings(environ=environ)
    assert (settings.site, settings.socket) == (None, None)
    assert settings.setting("CROSSBAR_HOST") == "CROSSBAR_HOST"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "names no site"),
        ("[chile", "is not TOML"),
        ("chile = 1", "write \\[chile\\], and below it"),
        ('["a/b"]\naddress = "unix:/a"', "letters, digits"),
        ('[""]\naddress = "unix:/a"', "letters, digits"),
        ('[chile]\naddress = "unix:/a"\nuser = "x"', "'user' is none of address, ca, secret"),
        ("[chile]", "address must be like"),
        *(
            (f'[chile]\naddress = "{address}"\nsecret = "secret"', "address must be like")
            for address in (
                *("ws://host/ws", "wss://host", "wss://host:x/ws", "wss://host/ws?a", "unix:"),
                *("wss://user@host/ws", "wss:///ws", "wss://[::/ws", "host:8080"),
            )
        ),
        ('[chile]\naddress = "wss://h/ws"', "add `secret`"),
        ('[chile]\naddress = "wss://h/ws"\nsecret = "gone"', "gone cannot be read"),
        ('[chile]\naddress = "wss://h/ws"\nsecret = "empty"', "should hold a secret but is empty"),
    ],
)
def test_what_cannot_be_used_is_an_error_that_names_file_and_site(write, tmp_path, text, sentence):
    environ = write(text)
    with pytest.raises(SettingsError, match=sentence) as raised:
        load_sites(environ)
    assert str(tmp_path / "sites.toml") in str(raised.value)
    assert "of-chile" not in str(raised.value)


@pytest.mark.parametrize(
    ("file", "sentence"),
    [
        ("gone", "gone cannot be read"),
        ("secret", "is not a certificate"),
        ("long" * 100, "cannot be read: File name too long"),
    ],
)
def test_a_site_is_not_joined_without_its_ca(write, file, sentence):
    text = f'[chile]\naddress = "wss://h/ws"\nsecret = "secret"\nca = "{file}"'
    with pytest.raises(SettingsError, match=sentence):
        make_endpoint(load_sites(write(text))["chile"], MemoryReactorClock())


def test_a_router_is_not_joined_if_its_ca_cannot_be_read(write):
    text = '[chile]\naddress = "wss://h/ws"\nsecret = "secret"\nca = "' + "long" * 100 + '"'
    settings = replace(load_sites(write(text))["chile"], site=None)
    with pytest.raises(SettingsError, match="cannot be read: File name too long"):
        make_endpoint(settings, MemoryReactorClock())


def test_a_file_that_the_variable_names_must_be_there(tmp_path):
    with pytest.raises(SettingsError, match=r"gone\.toml cannot be read"):
        load_sites({"SISOCK_SITES": str(tmp_path / "gone.toml")})
