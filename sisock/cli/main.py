"""The command ``sisock``: look at nodes, fields and samples, and at the installation itself."""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, NoReturn
from warnings import catch_warnings

import txaio

from sisock.cli import ask, programs
from sisock.connection.settings import Settings, add_common_flags, find_home, load_settings
from sisock.errors import SisockError, SiteWarning
from sisock.wire.protocol import USER_CONSUMER, USER_SERVER

_TIMES = 'ISO ("2017-07-15T00:00Z"), a time before now ("-1h"), "now", or UNIX seconds'


class _Parser(argparse.ArgumentParser):
    """Say what is wrong in one sentence and end with status 1, as every failure does."""

    def error(self, message: str) -> NoReturn:
        print(f"{self.prog}: {message}; see `{self.prog} --help`", file=sys.stderr)
        raise SystemExit(1)


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line, with its help."""
    common = argparse.ArgumentParser(add_help=False)
    add_common_flags(common)
    parser = _Parser(prog="sisock", description="Serve time streams, and ask for them.")
    commands: Any = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(
        name: str, function: Callable[..., None] | str, text: str
    ) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text, parents=[common])
        sub.set_defaults(function=function, is_program=False)
        return sub

    command("nodes", ask.nodes, "List the data nodes that are there.")
    fields = command("fields", ask.fields, "List the fields of a data node.")
    _add_node(fields)
    _add_get(command("get", ask.get, "Print samples of some fields of a data node."))
    latest = command("latest", ask.latest, "Print the last sample of each field of a data node.")
    _add_node(latest, "*", "all fields if none is named")
    watch = command("watch", ask.watch, "Print the samples of a data node as they come.")
    _add_node(watch, "*", "all fields if none is named")
    command(
        "config",
        "sisock.cli.doctor:show_settings",
        "Show each setting and where it comes from; secrets are hidden.",
    )
    certs = command("certs", _certs, "Make what is missing of credentials and certificates.")
    certs.add_argument(
        "--name",
        action="append",
        default=[],
        help="a further name or address of this computer;"
        " SISOCK_NAMES may hold some, with spaces between them",
    )
    certs.add_argument("--renew", action="store_true", help="make a new certificate of the router")
    certs.add_argument(
        "--export",
        action="append",
        default=[],
        metavar="RECIPIENT=FOLDER",
        help="copy what a recipient needs, and no more, to a folder that will be its SISOCK_HOME;"
        " recipients: router, server (data nodes), consumer",
    )
    _add_programs(commands)
    record = command("record", programs.record, "Record fields of data nodes, and serve them.")
    sources = "what to record; both may have the wildcards * and ?"
    source: Any = record.add_argument("sources", nargs="+", metavar="node[::field]", help=sources)
    source.completer = ask.complete_nodes
    record.add_argument("--keep", default="1y", help='for how long: "30d", "1y" (1y)')
    record.add_argument("--name", default="recorder", help="the recorder's own name (recorder)")
    serve = command(
        "serve", "sisock.cli.serve:run", "Run the data nodes of a file, each in its own process."
    )
    serve.add_argument("--check", action="store_true", help="try all nodes without a router")
    what = "TOML file of the nodes, see docs/how-to/serving-nodes.md"
    serve.add_argument(
        "file", type=Path, nargs="?", default="nodes.toml", help=f"{what} (nodes.toml)"
    )
    status = command(
        "status",
        "sisock.cli.status:show",
        "Show what runs: router, hub, bridge, and all data nodes.",
    )
    status.add_argument("--json", action="store_true", help="print JSON")
    status.add_argument(
        "file", type=Path, nargs="?", help=f"only how `sisock serve` runs the nodes of a {what}"
    )
    _add_new(
        command("new", "sisock.cli.new:new", "Write a project for a data node into a new folder.")
    )
    shell = command("completion", _completion, "Print code that has a shell complete sisock.")
    shell.add_argument(
        "shell",
        choices=("bash", "zsh", "fish"),
        help='as `eval "$(sisock completion bash)"` in ~/.bashrc',
    )
    command(
        "doctor",
        "sisock.cli.doctor:run",
        "Check router, credentials, hub and nodes, and say what to do.",
    )
    return parser


def _add_node(
    sub: argparse.ArgumentParser, fields: str | None = None, text: str | None = None
) -> None:
    """Add the arguments of a node, and of its fields; shells complete both."""
    node: Any = sub.add_argument("node")
    node.completer = ask.complete_nodes
    if fields is not None:
        field: Any = sub.add_argument("fields", nargs=fields, metavar="field", help=text)
        field.completer = ask.complete_fields


def _add_programs(commands: Any) -> None:
    """Add the programs, which get the rest of the command line."""
    for function, text in (
        (programs.demo, "Run everything here: router, hub, example nodes, bridge, page."),
        (programs.router, "Run the router, with the hub and the page."),
        (programs.hub, "Run a hub outside of the router."),
        (programs.bridge, "Run the HTTP bridge for Grafana."),
        (programs.node, "Run a data node: a file, or one of sisock's own by its name."),
    ):
        name = function.__name__
        usage, more = f"sisock {name} [FLAG ...]", "With --help it lists its flags."
        sub = commands.add_parser(
            name, help=text, usage=usage, description=f"{text} {more}", add_help=False
        )
        sub.set_defaults(function=function, is_program=True, router=None, log_level=None)
    sub.usage = "sisock node FILE [FLAG ...]"
    file: Any = sub.add_argument("file", nargs="?", help=argparse.SUPPRESS)
    file.completer = programs.complete


def _add_new(new: argparse.ArgumentParser) -> None:
    from sisock.cli.new import RUNGS

    new.add_argument("name", help="name of the node, its module and its folder")
    rungs = "; ".join(f"{rung}: {text}" for rung, text in RUNGS.items())
    new.add_argument("--rung", choices=RUNGS, default="live", help=f"{rungs} (live)")


def _add_get(get: argparse.ArgumentParser) -> None:
    _add_node(get, "+")
    get.add_argument("--from", dest="start", default="-1h", metavar="TIME", help=f"{_TIMES} (-1h)")
    get.add_argument("--to", dest="end", default="now", metavar="TIME", help="likewise (now)")
    fewer = get.add_mutually_exclusive_group()
    fewer.add_argument(
        "--min-stride", metavar="DURATION", help='least spacing of samples: "30s", "5min", "1h"'
    )
    fewer.add_argument(
        "--max-points",
        type=int,
        metavar="N",
        help="at most N samples of each field, chosen to keep the extremes: each keeps its own"
        " times, and a row where a field has no sample is empty",
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
        from argcomplete import autocomplete

        autocomplete(parser, always_complete_options="long")
    words = sys.argv[1:] if argv is None else argv
    args, rest = parser.parse_known_args(_allow_negative_times(words))
    args.rest = rest
    if rest and not args.is_program:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    try:
        settings = load_settings(router=args.router, log_level=args.log_level)
        if args.log_level in ("debug", "trace"):
            txaio.use_twisted()
            txaio.start_logging(out=sys.stderr, level=args.log_level)
        function = args.function
        if isinstance(function, str):  # its imports take long
            function = resolve_name(function)
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


def _allow_negative_times(argv: list[str]) -> list[str]:
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


def _completion(args: argparse.Namespace, settings: Settings) -> None:
    from argcomplete import shellcode

    print(shellcode(["sisock"], shell=args.shell))


def _certs(args: argparse.Namespace, settings: Settings) -> None:
    from sisock.connection.transport import certified_names
    from sisock.router import credentials

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
