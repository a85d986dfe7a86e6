"""The command ``sisock``: look at nodes, fields and samples, and at the installation itself."""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Collection
from contextlib import nullcontext
from difflib import get_close_matches
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, NoReturn
from warnings import catch_warnings

import txaio

from sisock.cli import completion
from sisock.cli.examples import EXAMPLES
from sisock.cli.new import KINDS
from sisock.connection.settings import Parser, Settings, add_common_flags, load_settings
from sisock.errors import SisockError, SiteWarning

_TIMES = 'ISO ("2017-07-15T00:00Z"), a time before now ("-1h"), "now", or UNIX seconds'

_ALL = "its name, as `sisock fields` lists it (default: all fields)"


class _Version(argparse.Action):
    """Print the version, and end."""

    def __call__(self, *_: Any) -> NoReturn:
        from importlib.metadata import version  # only here, as it takes long

        print(f"sisock {version('sisock')}")
        raise SystemExit(0)


class _Parser(Parser):
    """Suggest the command that was meant."""

    commands: Collection[str] = ()

    def check_command(self, words: list[str]) -> None:
        """End if there is no such command, and name the one that may be meant."""
        if words and not words[0].startswith("-") and words[0] not in self.commands:
            meant = get_close_matches(words[0], self.commands, 1)
            advice = f", did you mean {meant[0]!r}?" if meant else ""
            self.error(f"there is no command {words[0]!r}{advice}")


def make_parser() -> _Parser:
    """Return the parser of the command line, with its help."""
    common = argparse.ArgumentParser(add_help=False)
    add_common_flags(common)
    parser = _Parser(
        prog="sisock",
        description="Serve and read an observatory's time series.",
        epilog="To try everything: `sisock demo`. `sisock COMMAND --help` has examples.",
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    commands: Any = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    parser.commands = commands.choices

    def command(name: str, function: str, text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(
            name,
            help=text,
            description=text,
            epilog="\n  ".join(["examples:", *EXAMPLES[name]]),
            formatter_class=argparse.RawDescriptionHelpFormatter,
            parents=[common],
        )
        sub.set_defaults(function=function, is_program=False)
        return sub

    command("nodes", "main:nodes", "List the available data nodes.")
    fields = command("fields", "main:fields", "List the fields of a data node.")
    _add_node(fields)
    _add_get(command("get", "main:get", "Print samples of some fields of a data node."))
    latest = command("latest", "main:latest", "Print the last sample of each field of a data node.")
    _add_node(latest, "*", _ALL)
    watch = command("watch", "main:watch", "Print new samples of a data node until Ctrl-C.")
    _add_node(watch, "*", _ALL)
    command(
        "config",
        "doctor:show_settings",
        "Show each setting and where it comes from; secrets are hidden.",
    )
    certs = command("certs", "certs:make", "Make missing secrets and certificates, and show them.")
    certs.add_argument(
        "--name",
        action="append",
        default=[],
        help="another name or address of this computer, for the router's certificate;"
        " SISOCK_NAMES may contain several, separated by spaces",
    )
    certs.add_argument("--renew", action="store_true", help="replace the router's certificate")
    certs.add_argument(
        "--export",
        action="append",
        default=[],
        metavar="RECIPIENT=FOLDER",
        help="copy only the files that a recipient needs into a folder, its future SISOCK_HOME;"
        " recipients: router, server (data nodes), consumer",
    )
    _add_programs(commands)
    record = command(
        "record", "programs:record", "Store samples of other data nodes, and serve them."
    )
    sources = "node or field to record; both may contain the wildcards * and ?"
    source: Any = record.add_argument("sources", nargs="+", metavar="node[::field]", help=sources)
    source.completer = completion.nodes
    keep = 'how long to keep samples: "30d", "1y" (default: 1y)'
    record.add_argument("--keep", default="1y", metavar="DURATION", help=keep)
    name = "the recorder's own name (default: recorder)"
    record.add_argument("--name", default="recorder", help=name)
    serve = command(
        "serve", "serve:run", "Run the data nodes of a TOML file, each in its own process."
    )
    serve.add_argument("--check", action="store_true", help="test all nodes without a router")
    what = "a section for each node: its program and its flags (default: nodes.toml)"
    serve.add_argument("file", type=Path, nargs="?", default="nodes.toml", help=what)
    status = command(
        "status",
        "status:show",
        "Show the state of router, hub, bridge and all data nodes.",
    )
    status.add_argument("--json", action="store_true", help="print JSON")
    only = "show only the nodes that `sisock serve FILE` runs"
    status.add_argument("file", type=Path, nargs="?", help=only)
    _add_new(command("new", "new:new", "Write a project for a data node into a new folder."))
    shell = command("completion", "completion:show", "Print code for completion in a shell.")
    shell.add_argument("shell", choices=completion.SHELLS, help="the shell that you use")
    command(
        "doctor",
        "doctor:run",
        "Check secrets, certificate, router, hub and nodes, and explain what is wrong.",
    )
    return parser


def _add_node(
    sub: argparse.ArgumentParser, fields: str | None = None, text: str | None = None
) -> None:
    """Add the arguments of a node, and of its fields; shells complete both."""
    node: Any = sub.add_argument("node", help="its name, as `sisock nodes` lists it")
    node.completer = completion.nodes
    if fields is not None:
        field: Any = sub.add_argument("fields", nargs=fields, metavar="field", help=text)
        field.completer = completion.fields


def _add_programs(commands: Any) -> None:
    """Add the programs, which get the rest of the command line."""
    for name, text in (
        ("demo", "Run router, hub, page, bridge and two example nodes."),
        ("router", "Run the router, with the hub and the page."),
        ("hub", "Run a hub outside the router."),
        ("bridge", "Run the HTTP bridge for Grafana."),
        ("node", "Run a data node: your own file, or a ready-made one by its name."),
    ):
        usage, more = f"sisock {name} [FLAG ...]", "With --help it lists its flags."
        sub = commands.add_parser(
            name, help=text, usage=usage, description=f"{text} {more}", add_help=False
        )
        sub.set_defaults(function=f"programs:{name}", is_program=True, router=None, log_level=None)
    sub.usage = "sisock node FILE [FLAG ...]"
    file: Any = sub.add_argument("file", nargs="?", help=argparse.SUPPRESS)
    file.completer = completion.programs


def _add_new(new: argparse.ArgumentParser) -> None:
    new.add_argument("name", help="name of the node, its module and its folder")
    kinds = "; ".join(f"{kind}: {text}" for kind, text in KINDS.items())
    new.add_argument("--kind", choices=KINDS, default="live", help=f"{kinds} (default: live)")


def _add_get(get: argparse.ArgumentParser) -> None:
    _add_node(get, "+", "its name, as `sisock fields` lists it")
    begin = f"start: {_TIMES} (default: -1h)"
    get.add_argument("--from", dest="start", default="-1h", metavar="TIME", help=begin)
    get.add_argument("--to", dest="end", default="now", metavar="TIME", help="end (default: now)")
    fewer = get.add_mutually_exclusive_group()
    fewer.add_argument(
        "--min-stride", metavar="DURATION", help='minimum sample spacing: "30s", "5min", "1h"'
    )
    fewer.add_argument(
        "--max-points",
        type=int,
        metavar="N",
        help="decimate to at most N samples per field, which keep minima and maxima at their own"
        " times; a cell is empty where a field has no sample",
    )
    form = get.add_mutually_exclusive_group()
    form.add_argument("--csv", action="store_const", const="csv", dest="form", help="print CSV")
    form.add_argument("--json", action="store_const", const="json", dest="form", help="print JSON")
    get.add_argument("-o", "--output", type=Path, metavar="FILE", help="write to a file")
    get.set_defaults(form="table")


def main(argv: list[str] | None = None) -> None:
    """Run one command; every failure is one sentence on stderr and status 1."""
    parser = make_parser()
    if "_ARGCOMPLETE" in os.environ:
        completion.complete(parser)
    words = sys.argv[1:] if argv is None else argv
    parser.check_command(words)
    args, rest = parser.parse_known_args(allow_negative_times(words))
    args.rest = rest
    if rest and not args.is_program:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    try:
        settings = load_settings(router=args.router, log_level=args.log_level)
        if args.log_level in ("debug", "trace"):
            txaio.use_twisted()
            txaio.start_logging(out=sys.stderr, level=args.log_level)
        function = resolve_name(f"sisock.cli.{args.function}")  # whose imports may take long
        # The commands themselves say which sites are left out.
        with catch_warnings(action="ignore", category=SiteWarning):
            function(args, settings)
        sys.stdout.flush()
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except BrokenPipeError:
        # The reader (head, less) has seen enough; nothing may be flushed to it any more.
        sys.stdout = None
        raise SystemExit(0) from None
    except Exception as error:
        _fail(error, args.log_level)


def allow_negative_times(argv: list[str]) -> list[str]:
    """Join ``--from -1h`` to ``--from=-1h``: argparse takes what begins with a dash for a flag."""
    joined: list[str] = []
    for word in argv:
        if joined and joined[-1] in ("--from", "--to") and word.startswith("-"):
            word = f"{joined.pop()}={word}"
        joined.append(word)
    return joined


def _fail(error: Exception, log_level: str | None) -> NoReturn:
    if log_level in ("debug", "trace"):
        traceback.print_exception(error)
    text = str(error)
    if isinstance(error, OSError) and error.filename:
        text = f"{error.filename}: {error.strerror}"
    elif not isinstance(error, SisockError | OSError):
        text = f"{type(error).__name__}: {error}; --log-level debug shows where"
    print(f"sisock: {text}", file=sys.stderr)
    raise SystemExit(1)


def _join(args: argparse.Namespace, settings: Settings) -> Any:
    """Return a client of the router that the flag names, or else of all sites."""
    from sisock.client.client import Client

    return Client(None if args.router is None else settings)


def nodes(args: argparse.Namespace, settings: Settings) -> None:
    """Print the data nodes that are there."""
    from sisock.cli.output import write_table

    with _join(args, settings) as client:
        known = client.nodes()
    rows = [
        (n.name, str(n.replicas or 1), n.description, " ".join(sorted(n.features))) for n in known
    ]
    write_table(sys.stdout, ("node", "replicas", "description", "features"), rows)
    for why in known.unreachable.values():
        print(why, file=sys.stderr)
    if not rows and not known.unreachable:
        print("no data node is available: start one with `sisock node sensors`", file=sys.stderr)


def fields(args: argparse.Namespace, settings: Settings) -> None:
    """Print the fields of a data node."""
    from sisock.cli.output import write_fields

    with _join(args, settings) as client:
        known = client.fields(args.node)
    write_fields(sys.stdout, known.values())


def get(args: argparse.Namespace, settings: Settings) -> None:
    """Print samples, or write them to a file."""
    from sisock.cli.output import WRITERS, progress_line
    from sisock.wire.times import parse_duration

    stride = None if args.min_stride is None else parse_duration(args.min_stride)
    what = (args.node, args.fields, args.start, args.end, stride)
    with _join(args, settings) as client, progress_line(sys.stderr) as show:
        data = client.get(*what, max_points=args.max_points, on_progress=show)
    with args.output.open("w", encoding="utf-8") if args.output else nullcontext(sys.stdout) as out:
        WRITERS[args.form](out, data)


def latest(args: argparse.Namespace, settings: Settings) -> None:
    """Print the last sample of each field."""
    from sisock.cli.output import latest_row, write_table

    with _join(args, settings) as client:
        data = client.latest(args.node, args.fields or None)
    rows = [latest_row(name, series) for name, series in data.items()]
    write_table(sys.stdout, ("field", "value", "units", "time"), rows)


def watch(args: argparse.Namespace, settings: Settings) -> None:
    """Print samples as they come."""
    from sisock.cli.output import live_header, live_headings, live_row

    with _join(args, settings) as client, client.watch(args.node, args.fields or None) as stream:
        known = client.fields(args.node)
        headings = live_headings(known[name] for name in args.fields or known)
        print(live_header(headings), flush=True)
        for sample in stream:
            print(live_row(headings, sample), flush=True)
