"""Ask data nodes: the commands nodes, fields, get, latest and watch, and completion of names."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any
from warnings import catch_warnings

from sisock.cli.output import (
    ENDINGS,
    WRITERS,
    progress_line,
    write_fields,
    write_latest,
    write_live,
    write_table,
)
from sisock.client.client import Client
from sisock.client.data import Data
from sisock.connection.settings import Settings, load_settings
from sisock.errors import InvalidArgument, SisockError, SiteWarning
from sisock.wire.times import format_time

COMPLETION_TIMEOUT = 2.0  # seconds to wait for router and node, as the user waits for the shell


def _join(args: argparse.Namespace, **options: Any) -> Client:
    """Return a client of the router given by the flag, or of all sites."""
    flags = {"router": args.router, "log_level": args.log_level}
    return Client(None if args.router is None else load_settings(**flags), **options)


def nodes(args: argparse.Namespace, settings: Settings) -> None:
    """Print the available data nodes, and why sites are left out."""
    with _join(args) as client:
        nodes = client.nodes()
    rows = [
        (n.name, str(n.replicas or 1), n.description, " ".join(sorted(n.features))) for n in nodes
    ]
    write_table(sys.stdout, ("node", "replicas", "description", "features"), rows)
    for why in nodes.unreachable.values():
        print(why, file=sys.stderr)
    if not rows and not nodes.unreachable:
        print("no data node is available: start one with `sisock node sensors`", file=sys.stderr)


def fields(args: argparse.Namespace, settings: Settings) -> None:
    """Print the fields of a node."""
    with _join(args) as client:
        fields = client.fields(args.node)
    write_fields(sys.stdout, fields.values())


def get(args: argparse.Namespace, settings: Settings) -> None:
    """Print samples, or write them to a file."""
    form = args.form or _format_of(args.output)
    what = (args.node, args.fields or None, args.start, args.end, args.min_stride)
    with _join(args) as client, progress_line(sys.stderr) as show:
        data = client.get(*what, max_points=args.max_points, on_progress=show)
    with args.output.open("w", encoding="utf-8") if args.output else nullcontext(sys.stdout) as out:
        WRITERS[form](out, data)
    if not any(map(len, data.values())):
        print(_explain_empty(data), file=sys.stderr)


def _format_of(output: Path | None) -> str:
    """Return the format of a file, by the ending of its name; raises InvalidArgument."""
    ending = "" if output is None else output.suffix.lower()
    if ending not in ENDINGS:
        raise InvalidArgument(
            f"{output}: unknown ending {ending}: use .csv, .json or .txt (an aligned table), or add"
            " --csv or --json"
        )
    return ENDINGS[ending]


def _explain_empty(data: Data) -> str:
    lasts = [series.field.last for series in data.values() if series.field.last is not None]
    last = f"; the last one is of {format_time(max(lasts))}" if lasts else ""
    return f"no samples between --from (default: -1h) and --to (default: now){last}"


def latest(args: argparse.Namespace, settings: Settings) -> None:
    """Print the last sample of each field."""
    with _join(args) as client:
        data = client.latest(args.node, args.fields or None)
    write_latest(sys.stdout, data)


def watch(args: argparse.Namespace, settings: Settings) -> None:
    """Print samples as they come."""
    with _join(args) as client, client.watch(args.node, args.fields or None) as stream:
        known = client.fields(args.node)
        write_live(sys.stdout, [known[name] for name in args.fields or known], stream)


def complete_nodes(prefix: str, parsed_args: argparse.Namespace, **_: Any) -> list[str]:
    """Return the names of the available nodes."""
    return _ask_for_names(parsed_args, lambda client: [node.name for node in client.nodes()])


def complete_fields(prefix: str, parsed_args: argparse.Namespace, **_: Any) -> list[str]:
    """Return the names of the fields of the node given before on the command line."""
    return _ask_for_names(parsed_args, lambda client: list(client.fields(parsed_args.node)))


def _ask_for_names(args: argparse.Namespace, ask: Callable[[Client], list[str]]) -> list[str]:
    """Return names for a shell; none if the router does not answer."""
    quiet = catch_warnings(action="ignore", category=SiteWarning)
    with suppress(SisockError), _join(args, timeout=COMPLETION_TIMEOUT) as client, quiet:
        return ask(client)
    return []
