"""Complete command lines of ``sisock`` in bash, zsh and fish, with names of nodes and fields."""

from __future__ import annotations

import argparse
from typing import Any
from warnings import catch_warnings

from sisock.cli.programs import node_names
from sisock.connection.settings import Settings, load_settings
from sisock.errors import SisockError, SiteWarning

SHELLS = ("bash", "zsh", "fish")

TIMEOUT = 2.0  # seconds that router and node may take: the user waits with a finger on the key


def show(args: argparse.Namespace, settings: Settings) -> None:
    """Print the shell code that has a shell complete the command."""
    from argcomplete import shellcode

    print(shellcode(["sisock"], shell=args.shell))


def complete(parser: argparse.ArgumentParser) -> None:
    """Answer a shell that asks for completions, and end; otherwise do nothing."""
    from argcomplete import autocomplete

    autocomplete(parser, always_complete_options="long")


def _join(parsed_args: argparse.Namespace) -> Any:
    """Return a client of the router that the flag names, or else of all sites."""
    from sisock.client.client import Client

    router = parsed_args.router
    return Client(None if router is None else load_settings(router=router), TIMEOUT)


def nodes(prefix: str, parsed_args: argparse.Namespace, **_: Any) -> list[str]:
    """Return the names of the nodes that are there; none if the router does not answer."""
    try:
        with _join(parsed_args) as client, catch_warnings(action="ignore", category=SiteWarning):
            return [node.name for node in client.nodes()]
    except SisockError:
        return []


def fields(prefix: str, parsed_args: argparse.Namespace, **_: Any) -> list[str]:
    """Return the names of the fields of the node that is named before."""
    try:
        with _join(parsed_args) as client:
            return list(client.fields(parsed_args.node))
    except SisockError:
        return []


def programs(prefix: str, parsed_args: argparse.Namespace, **_: Any) -> list[str]:
    """Return sisock's own nodes, and the files that begin so."""
    from argcomplete.completers import FilesCompleter

    return [*node_names(), *FilesCompleter(("py",))(prefix)]
