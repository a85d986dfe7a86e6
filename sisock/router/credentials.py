"""Credentials and certificates, made once per installation: random secrets and a CA of its own."""

from __future__ import annotations

import datetime
import ipaddress
import os
import re
import secrets
import socket
from collections.abc import Iterable
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from sisock.connection.settings import Home
from sisock.errors import SettingsError
from sisock.wire.protocol import USER_CONSUMER, USER_SERVER

VALID_YEARS = 10
CA_VALID_YEARS = 30
"""Longer than the certificates that it signs, so that these can be renewed without new trust."""

_CLOCK_SKEW = datetime.timedelta(days=1)


def make_credentials(home: Home) -> list[Path]:
    """Make the secrets that are missing; returns the files made."""
    made = []
    for user in (USER_SERVER, USER_CONSUMER):
        path = home.secret_file(user)
        if not path.exists():
            write_private(path, (secrets.token_urlsafe(32) + "\n").encode())
            made.append(path)
    return made


def make_certificates(home: Home, names: Iterable[str] = (), renew: bool = False) -> bool:
    """Make the router's certificate, and the CA that signs it where there is none.

    Parameters
    ----------
    home : Home
        Where they are kept.
    names : iterable of str
        Host names or addresses, besides this computer's own.
    renew : bool
        Make a new server certificate although there is one. It keeps the old one's names.
        Without it a certificate of another CA than this home's stays, whatever its names.

    Returns
    -------
    bool
        Whether a certificate was made.

    Raises
    ------
    SettingsError
        If a name cannot be one, or the CA's certificate is there, but not its key: it is somebody
        else's CA.
    """
    wanted = {_check_name(name) for name in names}
    if _is_pair(home):
        present = certificate_names(home.server_certificate)
        if not renew and (present >= wanted or not _is_ours(home)):
            return False
        wanted |= present
    wanted |= host_names()
    ca_certificate, ca_key = _load_or_make_ca(home)
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        _builder("sisock router", key.public_key(), ca_certificate.subject)
        .add_extension(
            x509.SubjectAlternativeName([_general_name(n) for n in sorted(wanted)]), False
        )
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False)
        .sign(ca_key, hashes.SHA256())
    )
    write_private(home.server_key, _pem(key))
    write_public(home.server_certificate, certificate.public_bytes(serialization.Encoding.PEM))
    return True


def export(home: Home, recipient: str, folder: Path) -> None:
    """Copy what one recipient needs, and no more, to a folder that will be its home.

    Parameters
    ----------
    home : Home
        Where credentials and certificates were made.
    recipient : str
        ``router``, ``server`` (data nodes and a hub of its own) or ``consumer``.
    folder : Path
        Made if it is not there. The key of the CA never leaves `home`.

    Raises
    ------
    SettingsError
        If there is no such recipient, or nothing to copy.
    """
    server, consumer = home.secret_file(USER_SERVER), home.secret_file(USER_CONSUMER)
    private = {
        "router": (server, consumer, home.server_key),
        "server": (server,),
        "consumer": (consumer,),
    }.get(recipient)
    if private is None or not folder.name:
        raise SettingsError(
            f"--export wants router=FOLDER, server=FOLDER or consumer=FOLDER, not"
            f" {recipient!r} for {str(folder)!r}"
        )
    public = [home.ca_certificate]
    if recipient == "router":
        public.append(home.server_certificate)
    for write, paths in ((write_private, private), (write_public, public)):
        for path in paths:
            if not path.exists():
                raise SettingsError(f"{path} is missing: a CA of your own needs no export of it")
            write(folder / path.relative_to(home.path), path.read_bytes())


def host_names() -> set[str]:
    """Names under which this computer is asked for."""
    return {"localhost", "127.0.0.1", "::1", socket.gethostname(), socket.getfqdn()}


def certificate_names(path: Path) -> set[str]:
    """Names and addresses that a certificate is for."""
    certificate = _load_certificate(path)
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return set()
    return {str(name.value) for name in names}


def certificate_end(path: Path) -> datetime.datetime:
    """When a certificate ends."""
    return _load_certificate(path).not_valid_after_utc


def _check_name(name: str) -> str:
    """A host name or address, as it is written in certificates."""
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        pass
    if not re.fullmatch(r"[A-Za-z0-9_*]([A-Za-z0-9_.-]*[A-Za-z0-9])?", name):
        raise SettingsError(f"{name!r} is not the name of a computer, nor an address")
    return name


def _is_pair(home: Home) -> bool:
    """Whether the router's certificate is there, with its own key."""
    if not (home.server_certificate.exists() and home.server_key.exists()):
        return False
    key = serialization.load_pem_private_key(home.server_key.read_bytes(), password=None)
    return key.public_key() == _load_certificate(home.server_certificate).public_key()


def _is_ours(home: Home) -> bool:
    """Whether the router's certificate is of the CA in this home, and not of somebody else's."""
    if not home.ca_key.exists():
        return False
    authority = _load_certificate(home.ca_certificate)
    return _load_certificate(home.server_certificate).issuer == authority.subject


def _load_certificate(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def _load_or_make_ca(home: Home) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    if home.ca_certificate.exists():
        if not home.ca_key.exists():
            raise SettingsError(
                f"{home.ca_certificate} has no key beside it, so it cannot sign: ask who made it"
                f" for a new {home.server_certificate.name}, or remove it to have a CA made here"
            )
        key = serialization.load_pem_private_key(home.ca_key.read_bytes(), password=None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise SettingsError(f"{home.ca_key} is not a key that sisock made")
        return _load_certificate(home.ca_certificate), key
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        _builder("sisock local CA", key.public_key(), None, CA_VALID_YEARS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
        .add_extension(_ca_usage(), True)
        .sign(key, hashes.SHA256())
    )
    write_private(home.ca_key, _pem(key))
    write_public(home.ca_certificate, certificate.public_bytes(serialization.Encoding.PEM))
    return certificate, key


def _builder(
    name: str,
    public_key: ec.EllipticCurvePublicKey,
    issuer: x509.Name | None,
    years: int = VALID_YEARS,
) -> x509.CertificateBuilder:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer or subject)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now + datetime.timedelta(days=365 * years))
    )


def _ca_usage() -> x509.KeyUsage:
    return x509.KeyUsage(
        key_cert_sign=True,
        crl_sign=True,
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner can read, at no moment more."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    _write(path, content, 0o600)


def write_public(path: Path, content: bytes) -> None:
    """Write a file that everybody may read."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    _write(path, content, 0o644)


def _write(path: Path, content: bytes, mode: int) -> None:
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)
