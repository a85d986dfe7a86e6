"""``sisock doctor``: looks at every part of an installation and says what to do about each."""

from __future__ import annotations

import datetime
import socket
import ssl
import stat
import time
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

from sisock.client.client import Client
from sisock.connection.settings import Settings
from sisock.errors import SisockError

TIMEOUT = 10
"""Seconds that a node may take."""

_HOSTNAME_MISMATCH = 62
"""OpenSSL's X509_V_ERR_HOSTNAME_MISMATCH."""

_RENEW_BEFORE = datetime.timedelta(days=30)


def examine(every: Sequence[Settings]) -> bool:
    """Check everything for each of these users, printing a line each; return whether all is well.

    The nodes are asked as the first one.
    """
    first, *others = every
    checks = [*map(_credentials, every), _tls(first)]
    checks += [_router_and_nodes(first), *map(_router, others)]
    well = True
    for good, text in chain.from_iterable(checks):
        print(f"{'ok ' if good else 'BAD'}  {text}", flush=True)
        well = well and good
    return well


def _credentials(settings: Settings) -> Iterator[tuple[bool, str]]:
    if settings.socket:
        yield True, f"credentials: none are needed on the socket {settings.socket}"
        return
    path = settings.home.secret_file(settings.user)
    if settings.secret is None:
        yield (
            False,
            f"credentials: no secret for {settings.user!r}: copy it from the router's computer to"
            f" {path}, or make it there with `sisock certs`",
        )
        return
    yield True, f"credentials: {settings.user!r}, secret from {settings.sources['WAMP_SECRET']}"
    if path.exists() and stat.S_IMODE(path.stat().st_mode) & 0o077:
        yield False, f"credentials: others can read {path}: chmod 600 {path}"


def _tls(settings: Settings) -> Iterator[tuple[bool, str]]:
    if settings.socket:
        return
    where, ca = f"{settings.host}:{settings.port}", settings.home.ca_certificate
    try:
        certificate = _certificate_of(settings)
    except ssl.SSLCertVerificationError as error:
        yield (
            False,
            f"TLS: the certificate of {where} is not accepted ({error.verify_message}): copy the"
            f" router's CA to {ca}, or add the host's name on its computer: `sisock certs --name"
            f" {settings.host}`",
        )
        return
    except ssl.SSLError as error:
        yield False, f"TLS: {error.reason or error}: is {ca} the certificate of the router's CA?"
        return
    except OSError as error:
        yield (
            False,
            f"router: {where} does not answer ({error}): start the router (`make demo`), or check"
            " CROSSBAR_HOST and CROSSBAR_TLS_PORT",
        )
        return
    end = datetime.datetime.fromtimestamp(
        ssl.cert_time_to_seconds(str(certificate["notAfter"])), datetime.UTC
    )
    good = end - datetime.datetime.now(datetime.UTC) > _RENEW_BEFORE
    advice = "" if good else ": renew it with `sisock certs --renew`"
    is_named = "subjectAltName" in certificate
    who = "is who it says" if is_named else "has a certificate of a CA that is trusted"
    yield good, f"TLS: {where} {who}, until {end:%Y-%m-%d}{advice}"
    if not is_named:
        yield (
            True,
            f"TLS: not checked is the host: the certificate of {where} names none (no subject"
            " alternative names), so each certificate of its CA is accepted; `sisock certs --renew`"
            " on the router's computer makes one with names",
        )


def _certificate_of(settings: Settings) -> dict[str, Any]:
    """Return the router's certificate, accepted or refused as clients do."""
    ca = settings.home.ca_certificate
    context = ssl.create_default_context(cafile=str(ca) if ca.exists() else None)

    def shake_hands() -> dict[str, Any]:
        with (
            socket.create_connection((settings.host, settings.port), timeout=TIMEOUT) as plain,
            context.wrap_socket(plain, server_hostname=settings.host) as secured,
        ):
            return dict(secured.getpeercert() or {})

    try:
        return shake_hands()
    except ssl.SSLCertVerificationError as refusal:
        if refusal.verify_code != _HOSTNAME_MISMATCH or not ca.exists():
            raise
        context.check_hostname = False
        certificate = shake_hands()
        if "subjectAltName" in certificate:
            raise
        return certificate


def _router(settings: Settings) -> Iterator[tuple[bool, str]]:
    try:
        Client(settings, timeout=TIMEOUT).close()
    except SisockError as error:
        yield False, f"router: {error}"
    else:
        yield True, f"router: joined {settings.address} as {settings.user!r}"


def _router_and_nodes(settings: Settings) -> Iterator[tuple[bool, str]]:
    try:
        client = Client(settings, timeout=TIMEOUT)
    except SisockError as error:
        yield False, f"router: {error}"
        return
    with client:
        yield True, f"router: joined {settings.address} as {settings.user!r}"
        try:
            nodes = client.nodes()
        except SisockError as error:
            yield False, f"hub: {error}"
            return
        yield True, f"hub: {len(nodes)} data nodes"
        for node in nodes:
            try:
                yield True, f"node {node.name}: {_ask(client, node.name)}"
            except SisockError as error:
                yield False, f"node {node.name}: {error}"


def _ask(client: Client, node: str) -> str:
    began = time.perf_counter()
    fields = client.fields(node)
    first = next(iter(fields), None)
    samples = 0 if first is None else len(client.get(node, first)[first])
    milliseconds = (time.perf_counter() - began) * 1e3
    return f"{len(fields)} fields, {samples} samples in the last hour, {milliseconds:.0f} ms"
