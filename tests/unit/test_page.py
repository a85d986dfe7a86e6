"""What the router says of sites to its page, and from which pages it takes connections."""

import json
from dataclasses import replace

import pytest

from sisock.connection.settings import load_settings
from sisock.router.configuration import DEFAULT_CONFIGURATION
from sisock.router.launch import prepare
from sisock.router.page import list_sites, may_connect
from sisock.testing import RouterProcess


@pytest.fixture
def home():
    """The home of a router that is not started."""
    return RouterProcess().home


def configured(home):
    """The paths of the web server that is started in a home."""
    prepare(home, DEFAULT_CONFIGURATION, 8080, {})
    configuration = json.loads((home.router_directory / "config.json").read_text())
    return configuration["workers"][0]["transports"][0]["paths"]


def add_sites(home):
    (home.path / "secret").write_text("hush-hush")
    (home.path / "sites.toml").write_text(
        f'[here]\naddress = "unix:{home.router_socket}"\n'
        '[chile]\naddress = "wss://chile.example:8080/ws"\nsecret = "secret"\n'
    )


def test_without_sites_the_page_is_served_as_it_is(home):
    paths = configured(home)
    assert paths["/"]["directory"].endswith("js/dist")
    assert paths["settings"]["value"] == {"realm": "sisock"}
    assert not (home.router_directory / "page").exists()


def test_with_sites_the_page_may_connect_to_them_alone(home):
    add_sites(home)
    page = home.router_directory / "page" / "0"
    paths = configured(home)
    assert paths["/"]["directory"] == str(page)
    assert paths["settings"]["value"] == {"realm": "sisock", "sites": True}
    url = "wss://chile.example:8080/ws"
    sites = [{"name": "here", "url": "unix:"}, {"name": "chile", "url": url}]
    assert json.loads((page / "sites.json").read_text()) == {"sites": sites}
    assert f"connect-src 'self' {url};" in (page / "index.html").read_text()
    assert (page / "page.js").read_bytes()
    assert not any("hush" in path.read_text() for path in page.iterdir() if path.suffix != ".map")


def test_sites_that_are_gone_are_served_no_more(home):
    add_sites(home)
    configured(home)
    (home.path / "sites.toml").unlink()
    assert configured(home)["/"]["directory"].endswith("js/dist")


def test_only_the_own_socket_is_a_site_of_the_page(tmp_path):
    local = replace(load_settings(environ={}), socket=str(tmp_path / "router.sock"))
    other = replace(local, socket=str(tmp_path / "other.sock"))
    remote = replace(local, socket=None, host="2001:db8::1", port=443)
    sites = {"local": local, "other": other, "remote": remote}
    assert list_sites(sites, tmp_path / "x" / ".." / "router.sock") == [
        {"name": "local", "url": "unix:"},
        {"name": "remote", "url": "wss://[2001:db8::1]:443/ws"},
    ]


def test_pages_of_other_origins_need_the_setting():
    allowed = " https://other.example:8080  http://Third "
    for origin in ("", "https://here:8080", "HTTPS://HERE:8080", "https://other.example:8080"):
        assert may_connect(origin, "Here:8080", allowed)
    assert may_connect("http://third", "here:8080", allowed)
    for origin in ("null", "https://here", "https://here:80", "https://other.example", "file://"):
        assert not may_connect(origin, "here:8080", allowed)
