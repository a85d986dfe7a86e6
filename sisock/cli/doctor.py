"""Manage an installation: show its settings, make its credentials, find what is wrong."""

from __future__ import annotations

import argparse
import datetime
import os
import ssl
import stat
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path

from cryptography import x509

from sisock.cli.output import format_age, write_table
from sisock.client.client import Client
from sisock.connection.settings import DEFAULTS, Settings, find_secret, load_settings
from sisock.connection.sites import load_sites
from sisock.connection.transport import certified_names, is_certificate_for
from sisock.errors import SettingsError, SisockError
from sisock.router import credentials
from sisock.router.launch import SECRET_VARIABLES
from sisock.wire.protocol import USER_CONSUMER, USER_SERVER
from sisock.wire.times import counted

TIMEOUT = 10  # seconds to wait for router and nodes

_Check = tuple[bool, str]  # whether a part is good, and a sentence about it

_RENEW_BEFORE = datetime.timedelta(days=30)
"""A certificate that ends within this time should be renewed."""

_OTHERS = {
    "CROSSBAR_MAX_CONNECTIONS": "10000",
    "SISOCK_LAYOUTS": "SISOCK_HOME/layouts",
    "SISOCK_RUN": "SISOCK_HOME",
    "SISOCK_SITES": "SISOCK_HOME/sites.toml",
    "SISOCK_PROXIES": "none",
    "SISOCK_PAGE_ORIGINS": "none",
    "SISOCK_HEALTH": "none",
    "SISOCK_NAMES": "none",
    "SISOCK_HTTP_HOSTS": "none",
    "SISOCK_HTTP_ORIGINS": "none",
}
"""Settings without a text as default, and what to show instead."""


def show(args: argparse.Namespace, settings: Settings) -> None:
    """Print the tables of settings and sites."""
    write_table(sys.stdout, ("setting", "value", "from"), setting_rows(settings))
    if sites := load_sites():
        print()
        rows = [
            (n, s.address, str(s.ca or "the system's"), str(s.secret_file or ""))
            for n, s in sites.items()
        ]
        write_table(sys.stdout, ("site", "address", "CA", "secret from"), rows)


def make_certs(args: argparse.Namespace, settings: Settings) -> None:
    """Make missing credentials and certificates, and print what each file is for."""
    home = settings.home
    for path in credentials.make_credentials(home):
        print(f"made {path}")
    names = [*args.name, *os.environ.get("SISOCK_NAMES", "").split()]
    if credentials.make_certificates(home, names, args.renew):
        print(f"made {home.server_certificate}: restart the router")
    for text in args.export:
        recipient, _, folder = text.partition("=")
        credentials.export(home, recipient, Path(folder))
        print(f"copied what {recipient} needs to {folder}: copy this folder to the other computer")
    certificate = credentials.load_certificate(home.server_certificate)
    certified = " ".join(sorted(certified_names(certificate)))
    print(f"{home.server_certificate} is for: {certified}")
    if args.export:
        return
    print(f"it ends on {certificate.not_valid_after_utc:%Y-%m-%d}")
    ca = f"{home.ca_certificate} and " if home.ca_certificate.exists() else ""
    print(f"clients on other computers need {ca}a secret:")
    print(f"  data nodes {home.secret_file(USER_SERVER)}")
    print(f"  others     {home.secret_file(USER_CONSUMER)}")


def run(args: argparse.Namespace, settings: Settings) -> None:
    """Check everything for each user or site; raise SettingsError if anything is wrong."""
    groups = [[site] for site in load_sites().values()] if args.router is None else []
    found = [examine(group) for group in groups or [_users(args, settings)]]
    if not all(found):
        raise SettingsError("something is wrong: begin with the first line that says BAD")


def _users(args: argparse.Namespace, settings: Settings) -> list[Settings]:
    """Return the settings of each user that has a secret here."""
    every = [settings]
    # If the environment gives user or secret, there is only this user.
    sources = (settings.sources[name] for name in ("WAMP_USER", "WAMP_SECRET"))
    if not (settings.socket or any("(WAMP_" in source for source in sources)):
        server = load_settings(USER_SERVER, router=args.router, log_level=args.log_level)
        # The first user asks the nodes: if possible the one that consumers use.
        every = [each for each in (settings, server) if each.secret] or every
    return every


def setting_rows(settings: Settings) -> list[tuple[str, str, str]]:
    """Return name, value and source of each setting; the value of a secret is "hidden"."""
    values = {
        "CROSSBAR_HOST": settings.host,
        "CROSSBAR_TLS_PORT": settings.port,
        "CROSSBAR_SOCKET": settings.socket or "none: TLS",
        "WAMP_USER": settings.user,
        "WAMP_SECRET": "hidden" if settings.secret else "none",
        "WAMP_REALM": settings.realm,
        "LOGLEVEL": settings.log_level,
        "SISOCK_HOME": settings.home.path,
    }
    rows = [(name, str(value), settings.sources[name]) for name, value in values.items()]
    secrets = {name: settings.home.secret_file(user) for name, user in SECRET_VARIABLES.items()}
    for name, path in {**secrets, "SISOCK_HTTP_TOKEN": None, "SISOCK_HTTP_BASIC": None}.items():
        found = find_secret(name, path=path)
        rows.append((name, "hidden" if found.value else "none", found.source))
    for name, default in (_OTHERS | DEFAULTS).items():
        given = os.environ.get(name)
        rows.append((name, given or default, f"environment ({name})" if given else "default"))
    return rows


def examine(every: Sequence[Settings]) -> bool:
    """Check everything for each user, and print a line for each check; the first asks the nodes."""
    first, *others = every
    if first.site is not None:
        print(f"the site {first.site!r}, of {first.setting('CROSSBAR_HOST')}:", flush=True)
    checks = [*map(_credentials, every), _tls(first), _router(first, _hub_and_nodes)]
    found: dict[str, bool] = {}
    for is_good, text in chain(*checks, *map(_router, others)):
        if text not in found:  # several users may have the same problem with the router
            print(f"{'ok ' if is_good else 'BAD'}  {text}", flush=True)
        found[text] = is_good
    return all(found.values())


def _credentials(settings: Settings) -> Iterator[_Check]:
    if settings.socket:
        yield True, f"credentials: the socket {settings.socket} needs none"
        return
    path = settings.secret_file
    try:
        settings.check_secret()
    except SettingsError as error:
        yield False, f"credentials: {error}"
        return
    yield True, f"credentials: {settings.user!r}, secret from {settings.sources['WAMP_SECRET']}"
    if path is not None and path.exists() and stat.S_IMODE(path.stat().st_mode) & 0o077:
        yield False, f"credentials: others can read {path}: chmod 600 {path}"


def _tls(settings: Settings) -> Iterator[_Check]:
    """Check the router's certificate; joining the router later shows if its CA is trusted."""
    if settings.socket:
        return
    host, port = settings.host, settings.port
    try:
        pem = ssl.get_server_certificate((host, port), timeout=TIMEOUT)
        certificate = x509.load_pem_x509_certificate(pem.encode())
    except (OSError, ValueError):
        return  # joining the router fails, too, and gives the reason
    where = f"the certificate of {host}:{port}"
    if not is_certificate_for(certificate, settings):
        advice = (
            f"add the name on the router's computer: `sisock certs --name {host}`, then restart it"
        )
        yield False, f"TLS: {where} is not for this host: {advice}"
        return
    ends = certificate.not_valid_after_utc
    is_good = ends - datetime.datetime.now(datetime.UTC) > _RENEW_BEFORE
    advice = "" if is_good else ": renew it with `sisock certs --renew`"
    yield is_good, f"TLS: {where} is good until {ends:%Y-%m-%d}{advice}"
    if not certified_names(certificate):
        yield (
            True,
            f"TLS: the host is not checked: {where} names none (no subject alternative names), so"
            " every certificate of its CA is accepted; `sisock certs --renew` on the router's"
            " computer makes one with names",
        )


def _router(
    settings: Settings, then: Callable[[Client], Iterator[_Check]] = lambda client: iter(())
) -> Iterator[_Check]:
    try:
        client = Client(settings, timeout=TIMEOUT)
    except SisockError as error:
        yield False, f"router: {error}"
        return
    with client:
        yield True, f"router: joined {settings.address} as {settings.user!r}"
        yield from then(client)


def _hub_and_nodes(client: Client) -> Iterator[_Check]:
    began = time.perf_counter()
    try:
        nodes = client.nodes().check()
    except SisockError as error:
        yield False, f"hub: {error}"
        return
    milliseconds = (time.perf_counter() - began) * 1e3
    yield True, f"hub: {counted(len(nodes), 'data node')}, {milliseconds:.0f} ms"
    for node in nodes:
        try:
            if node.trouble is not None:
                yield False, f"node {node.name}: {node.trouble}"
                continue
            yield True, f"node {node.name}: {_ask(client, node.name)}"
        except SisockError as error:
            yield False, f"node {node.name}: {error}"


def _ask(client: Client, node: str) -> str:
    """Ask a node for its fields, and for the last sample of the one that has the newest."""
    began = time.perf_counter()
    fields = client.fields(node)
    newest = max(fields.values(), key=lambda field: field.last or 0, default=None)
    last = "no sample"
    if newest and len(t := client.latest(node, newest.name)[newest.name].t):
        last = f"the last sample {format_age(time.time() - t[-1])} ago"
    milliseconds = (time.perf_counter() - began) * 1e3
    return f"{counted(len(fields), 'field')}, {last}, {milliseconds:.0f} ms"
