import datetime
import stat

import pytest

from sisock.cli.main import main
from sisock.connection.settings import Home, load_settings
from sisock.connection.transport import certified_names
from sisock.errors import SettingsError
from sisock.router.credentials import export, load_certificate, make_certificates, make_credentials


@pytest.fixture
def home(tmp_path):
    made = Home(tmp_path / "home")
    make_credentials(made)
    make_certificates(made)
    return made


def names(path):
    return certified_names(load_certificate(path))


def end(path):
    return load_certificate(path).not_valid_after_utc


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_secrets_are_random_and_only_the_owner_reads_them(home, tmp_path):
    other = Home(tmp_path / "other")
    make_credentials(other)
    secrets = {h.secret_file(u).read_text() for h in (home, other) for u in ("server", "simonsobs")}
    assert len(secrets) == 4
    assert all(len(secret.strip()) >= 40 for secret in secrets)
    for path in (home.secret_file("server"), home.ca_key, home.server_key):
        assert mode(path) == 0o600
        assert mode(path.parent) == 0o700


def test_what_is_there_is_kept(home):
    before = {p: p.read_bytes() for p in home.path.rglob("*") if p.is_file()}
    assert make_credentials(home) == []
    assert not make_certificates(home)
    assert {p: p.read_bytes() for p in home.path.rglob("*") if p.is_file()} == before


def test_the_certificate_has_the_hosts_names_and_lasts_ten_years(home):
    assert {"localhost", "127.0.0.1", "::1"} <= names(home.server_certificate)
    left = end(home.server_certificate) - datetime.datetime.now(datetime.UTC)
    assert left > datetime.timedelta(days=3640)


def test_the_ca_outlives_what_it_signs(home):
    longer = end(home.ca_certificate) - end(home.server_certificate)
    assert longer > datetime.timedelta(days=3650)


def test_renewal_keeps_the_ca_and_the_names(home):
    ca = home.ca_certificate.read_bytes()
    assert make_certificates(home, ["mountain.example", "10.1.2.3"])
    first = home.server_certificate.read_bytes()
    assert make_certificates(home, renew=True)
    assert home.server_certificate.read_bytes() != first
    assert {"mountain.example", "10.1.2.3"} <= names(home.server_certificate)
    assert home.ca_certificate.read_bytes() == ca


def test_somebody_elses_ca_is_not_overwritten(home):
    home.ca_key.unlink()
    with pytest.raises(SettingsError, match="has no key beside it"):
        make_certificates(home, renew=True)


@pytest.mark.parametrize(
    ("recipient", "private"),
    [
        ("router", {"credentials/server", "credentials/consumer", "tls/server_key.pem"}),
        ("server", {"credentials/server"}),
        ("consumer", {"credentials/consumer"}),
    ],
)
def test_a_recipient_gets_what_it_needs_and_no_more(home, tmp_path, recipient, private):
    folder = tmp_path / "exported"
    export(home, recipient, folder)
    files = {str(p.relative_to(folder)): p for p in folder.rglob("*") if p.is_file()}
    public = {"tls/ca_cert.pem"} | ({"tls/server_cert.pem"} if recipient == "router" else set())
    assert set(files) == private | public
    assert {name for name, path in files.items() if mode(path) == 0o600} == private
    assert all(path.read_bytes() == (home.path / name).read_bytes() for name, path in files.items())


def test_what_was_exported_is_a_home_to_join_with(home, tmp_path):
    export(home, "server", tmp_path / "node")
    settings = load_settings("server", environ={"SISOCK_HOME": str(tmp_path / "node")})
    assert settings.secret == home.secret_file("server").read_text().strip()


@pytest.mark.parametrize("text", ["everybody=/tmp/x", "router=", "router"])
def test_an_export_that_makes_no_sense_is_explained(home, text, capsys, monkeypatch):
    monkeypatch.setenv("SISOCK_HOME", str(home.path))
    with pytest.raises(SystemExit) as ended:
        main(["certs", "--export", text])
    assert ended.value.code == 1
    assert "--export wants router=FOLDER" in capsys.readouterr().err


def test_names_may_come_from_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("SISOCK_HOME", str(tmp_path))
    monkeypatch.setenv("SISOCK_NAMES", "mountain.example 10.1.2.3")
    main(["certs", "--name", "router"])
    certified = names(Home(tmp_path).server_certificate)
    assert {"mountain.example", "10.1.2.3", "router", "localhost"} <= certified


def test_a_certificate_of_another_ca_is_left_alone(home, tmp_path):
    other = Home(tmp_path / "other")
    make_certificates(other)
    for path in (home.server_certificate, home.server_key):
        path.write_bytes((other.path / path.relative_to(home.path)).read_bytes())
    home.ca_key.unlink()
    before = home.server_key.read_bytes()
    assert not make_certificates(home, ["sisock-crossbar"])
    assert home.server_key.read_bytes() == before


def test_a_certificate_of_a_public_ca_needs_no_ca_here(home, tmp_path, capsys, monkeypatch):
    other = Home(tmp_path / "other")
    make_certificates(other)
    for path in (home.server_certificate, home.server_key):
        path.write_bytes((other.path / path.relative_to(home.path)).read_bytes())
    home.ca_certificate.unlink()
    monkeypatch.setenv("SISOCK_HOME", str(home.path))
    main(["certs", "--export", f"server={tmp_path / 'node'}"])
    assert "ca_cert.pem" not in capsys.readouterr().out
    exported = [path.name for path in (tmp_path / "node").rglob("*") if path.is_file()]
    assert exported == ["server"]
    assert not home.ca_certificate.exists()


def test_a_key_without_its_certificate_gets_a_new_pair(home, tmp_path):
    """As a renewal that was interrupted between the two leaves them."""
    other = Home(tmp_path / "other")
    make_certificates(other)
    home.server_key.write_bytes(other.server_key.read_bytes())
    assert make_certificates(home)
    assert not make_certificates(home)


def test_an_address_is_the_same_however_it_is_written(home):
    assert make_certificates(home, ["2001:0db8::0001"])
    assert not make_certificates(home, ["2001:db8:0::1"])


@pytest.mark.parametrize("name", ["a,b", "host:8080", "https://host", "", "-x"])
def test_what_is_no_name_is_refused(home, name):
    with pytest.raises(SettingsError, match="is not the name of a computer"):
        make_certificates(home, [name])
