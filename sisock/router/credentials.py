"""Make the credentials and certificates of an installation: random secrets, and its own CA."""

from __future__ import annotations

import datetime
import ipaddress
import os
import re
import secrets
import socket
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from sisock.connection.settings import Home
from sisock.connection.transport import certified_names
from sisock.errors import SettingsError
from sisock.wire.protocol import USER_CONSUMER, USER_SERVER

VALID_YEARS, CA_VALID_YEARS = 10, 30
"""The CA is valid for longer: clients trust a renewed certificate without any change."""

PRIVATE, PUBLIC = 0o600, 0o644
"""Modes of files that only their owner can read, and that everybody can read."""


def make_credentials(home: Home) -> list[Path]:
    """Make the secrets that are missing; return their files."""
    made = []
    for user in (USER_SERVER, USER_CONSUMER):
        path = home.secret_file(user)
        if not path.exists():
            write(path, (secrets.token_urlsafe(32) + "\n").encode())
            made.append(path)
    return made


def make_certificates(home: Home, names: Iterable[str] = (), renew: bool = False) -> bool:
    """Make the router's certificate, and a CA to sign it if there is none; return whether.

    The certificate is for this computer's names, the previous certificate's names, and `names`.
    An existing certificate is kept if it has all `names` or is from another CA, unless `renew` is
    true. Raises SettingsError for an invalid name, or if the CA's key is not here.
    """
    wanted = {str(_general_name(name).value) for name in names}
    if (present := _present_certificate(home)) is not None:
        present_names = certified_names(present)
        has_ca = home.ca_key.exists() and home.ca_certificate.exists()
        is_ours = has_ca and present.issuer == load_certificate(home.ca_certificate).subject
        if not renew and (present_names >= wanted or not is_ours):
            return False
        wanted |= present_names
    # The names that clients may use for this computer.
    wanted |= {"localhost", "127.0.0.1", "::1", socket.gethostname(), socket.getfqdn()}
    ca_certificate, ca_key = _load_or_make_ca(home)
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = _sign(
        "sisock router",
        key,
        VALID_YEARS,
        (ca_certificate.subject, ca_key),
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (x509.SubjectAlternativeName([_general_name(n) for n in sorted(wanted)]), False),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False),
    )
    _write_pair(home.server_key, key, home.server_certificate, certificate)
    return True


def export(home: Home, recipient: str, folder: Path) -> None:
    """Copy what one recipient needs, and no more, to a folder that will be its home.

    Recipients are ``router``, ``server`` (data nodes and a separate hub) and ``consumer``. The key
    of the CA never leaves `home`. Raises SettingsError for another recipient.
    """
    server, consumer = home.secret_file(USER_SERVER), home.secret_file(USER_CONSUMER)
    router = {server: PRIVATE, consumer: PRIVATE, home.server_key: PRIVATE}
    wanted = {
        "router": {**router, home.server_certificate: PUBLIC},
        "server": {server: PRIVATE},
        "consumer": {consumer: PRIVATE},
    }.get(recipient)
    if wanted is None or not folder.name:
        raise SettingsError(
            "--export wants router=FOLDER, server=FOLDER or consumer=FOLDER, not"
            f" {recipient}={folder if folder.name else ''}"
        )
    if home.ca_certificate.exists():  # not for a certificate of a public CA
        wanted[home.ca_certificate] = PUBLIC
    for path, mode in wanted.items():
        write(folder / path.relative_to(home.path), path.read_bytes(), mode)


def load_certificate(path: Path) -> x509.Certificate:
    """Read a certificate from its file."""
    return x509.load_pem_x509_certificate(path.read_bytes())


def _present_certificate(home: Home) -> x509.Certificate | None:
    """Return the router's certificate if it exists and matches the router's key."""
    if not (home.server_certificate.exists() and home.server_key.exists()):
        return None
    certificate = load_certificate(home.server_certificate)
    is_own = _load_key(home.server_key).public_key() == certificate.public_key()
    return certificate if is_own else None


def _load_key(path: Path) -> Any:
    return serialization.load_pem_private_key(path.read_bytes(), password=None)


def _load_or_make_ca(home: Home) -> tuple[x509.Certificate, Any]:
    if home.ca_certificate.exists():
        if not home.ca_key.exists():
            raise SettingsError(
                f"{home.ca_certificate} has no key beside it, so it cannot sign: ask who made it"
                f" for a new {home.server_certificate.name}, or remove it to have a CA made here"
            )
        return load_certificate(home.ca_certificate), _load_key(home.ca_key)
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = _sign(
        "sisock local CA",
        key,
        CA_VALID_YEARS,
        None,
        (x509.BasicConstraints(ca=True, path_length=0), True),
        # Of the nine uses, only: sign certificates, and sign lists of revoked ones.
        (x509.KeyUsage(*(use in (5, 6) for use in range(9))), True),
    )
    _write_pair(home.ca_key, key, home.ca_certificate, certificate)
    return certificate, key


def _sign(
    name: str, key: Any, years: int, issuer: Any, *extensions: tuple[x509.ExtensionType, bool]
) -> x509.Certificate:
    """Make a certificate for a key, signed by `issuer` (name and key), or self-signed if None."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    issuer_name, issuer_key = issuer or (subject, key)
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer_name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))  # clocks differ
        .not_valid_after(now + datetime.timedelta(days=365 * years))
    )
    for extension, is_critical in extensions:
        builder = builder.add_extension(extension, is_critical)
    return builder.sign(issuer_key, hashes.SHA256())


def _general_name(name: str) -> x509.GeneralName:
    """Convert a host name or an address to the form that certificates use."""
    with suppress(ValueError):
        return x509.IPAddress(ipaddress.ip_address(name))
    if not re.fullmatch(r"[A-Za-z0-9_*][A-Za-z0-9_.-]*", name):
        raise SettingsError(f"{name!r} is not the name of a computer, nor an address")
    return x509.DNSName(name)


def _write_pair(key_file: Path, key: Any, file: Path, certificate: x509.Certificate) -> None:
    form, unencrypted = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    write(key_file, key.private_bytes(serialization.Encoding.PEM, form, unencrypted))
    write(file, certificate.public_bytes(serialization.Encoding.PEM), PUBLIC)


def write(path: Path, content: bytes, mode: int = PRIVATE) -> None:
    """Write a file atomically; it is never readable for more people than `mode` allows."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)
