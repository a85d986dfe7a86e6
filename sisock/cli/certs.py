"""Make credentials and certificates: ``sisock certs``."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from sisock.connection.settings import Settings, find_home
from sisock.connection.transport import certified_names
from sisock.router import credentials
from sisock.wire.protocol import USER_CONSUMER, USER_SERVER


def make(args: argparse.Namespace, settings: Settings) -> None:
    """Make what is missing, and say where it is and what it is good for."""
    home = find_home()
    for path in credentials.make_credentials(home):
        print(f"made {path}")
    names = [*args.name, *os.environ.get("SISOCK_NAMES", "").split()]
    if credentials.make_certificates(home, names, args.renew):
        print(f"made {home.server_certificate}: restart the router")
    for text in args.export:
        recipient, _, folder = text.partition("=")
        credentials.export(home, recipient, Path(folder))
        print(f"copied what {recipient} needs to {folder}")
    certificate = credentials.load_certificate(home.server_certificate)
    certified = " ".join(sorted(certified_names(certificate)))
    print(f"{home.server_certificate} is for: {certified}")
    print(f"it ends on {certificate.not_valid_after_utc:%Y-%m-%d}")
    print(f"clients on other computers need {home.ca_certificate} and a secret:")
    print(f"  data nodes {home.secret_file(USER_SERVER)}")
    print(f"  others     {home.secret_file(USER_CONSUMER)}")
