"""Run the command ``sisock``: its subcommands, their flags, and reports of failures."""

from __future__ import annotations

import argparse
import os
import sys
import traceback
import warnings
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, NoReturn

import txaio

from sisock.cli.new import KINDS
from sisock.connection.settings import Parser, Settings, add_common_flags, load_settings
from sisock.errors import SisockError, SiteWarning
from sisock.wire.fields import suggest

_COMMANDS = {
    "nodes": ("ask:nodes", "List the available data nodes."),
    "fields": ("ask:fields", "List the fields of a data node."),
    "get": ("ask:get", "Print samples of some fields of a data node."),
    "latest": ("ask:latest", "Print the last sample of each field of a data node."),
    "watch": ("ask:watch", "Print new samples of a data node until Ctrl-C."),
    "config": ("doctor:show", "Show each setting and where it comes from; secrets are hidden."),
    "certs": ("doctor:make_certs", "Make missing secrets and certificates, and show them."),
    "demo": ("programs:demo", "Run router, hub, page, bridge and two example nodes."),
    "router": ("programs:router", "Run the router, with the hub and the page."),
    "hub": ("programs:hub", "Run a hub outside the router."),
    "bridge": ("programs:bridge", "Run the HTTP bridge for Grafana."),
    "node": ("programs:node", "Run a data node: your own file, or a ready-made one."),
    "record": ("programs:record", "Store samples of other data nodes, and serve them."),
    "serve": ("serve:run", "Run the data nodes of a TOML file, each in its own process."),
    "status": ("serve:show_status", "Show the states of the nodes that `sisock serve` runs."),
    "new": ("new:new", "Write a project for a data node into a new folder."),
    "completion": ("main:show_completion", "Print code for completion in a shell."),
    "doctor": ("doctor:run", "Check secrets, router, hub and nodes, and explain problems."),
}
"""By command: its function in this package, imported only when called, and what it does."""

PROGRAMS = ("demo", "router", "hub", "bridge", "node")
"""Commands that pass the rest of the command line on to a program."""

EXAMPLES = {
    "nodes": ["sisock nodes", "sisock nodes --router router.example.org"],
    "fields": ["sisock fields sensors"],
    "get": [
        "sisock get sensors cpu_percent load_1min --from -10min",
        "sisock get apex_archive apex_pressure --from 2017-07-14 --to 2017-07-15 --csv",
    ],
    "latest": ["sisock latest sensors", "sisock latest sensors cpu_percent"],
    "watch": ["sisock watch sensors cpu_percent"],
    "config": ["sisock config"],
    "certs": ["sisock certs --name router.example.org", "sisock certs --export server=sisock-home"],
    "record": ["sisock record sensors 'apex_archive::apex_*'", "sisock record '*' --keep 30d"],
    "serve": ["sisock serve --check nodes.toml", "sisock serve nodes.toml"],
    "status": ["sisock status nodes.toml"],
    "new": ["sisock new thermometer", "sisock new weather --kind files"],
    "completion": [
        'eval "$(sisock completion bash)"    # in ~/.bashrc',
        'eval "$(sisock completion zsh)"     # in ~/.zshrc, after compinit',
        "sisock completion fish | source     # in ~/.config/fish/config.fish",
    ],
    "doctor": ["sisock doctor", "sisock doctor --router router.example.org"],
}
"""Examples at the end of each command's help."""

_TIMES = 'ISO ("2017-07-15T00:00Z"), a time before now ("-1h"), "now", or UNIX seconds'
_FIELD = "its name, as `sisock fields` lists it (default: all fields)"


class _Version(argparse.Action):
    """Print the version, and exit."""

    def __call__(self, *_: Any) -> NoReturn:
        from importlib.metadata import version  # imported here, because it is slow

        print(f"sisock {version('sisock')}")
        raise SystemExit(0)


def make_parser() -> Parser:
    """Return the parser of the command line, with its help."""
    common = argparse.ArgumentParser(add_help=False)
    add_common_flags(common)
    about = "Serve and read an observatory's time series."
    more = "To try everything: `sisock demo`. `sisock COMMAND --help` has examples."
    parser = Parser(prog="sisock", description=about, epilog=more)
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    commands: Any = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    add_arguments = {
        "fields": _add_node,
        "get": _add_get,
        "latest": _add_fields,
        "watch": _add_fields,
        "certs": _add_certs,
        "node": _add_file,
        "record": _add_record,
        "serve": _add_serve,
        "status": _add_status,
        "new": _add_new,
        "completion": _add_shell,
    }
    for name, (function, text) in _COMMANDS.items():
        how: dict[str, Any] = {"description": text, "parents": [common]}
        if name in PROGRAMS:
            how = {"usage": f"sisock {name} [FLAG ...]", "add_help": False}
            how["description"] = f"{text} With --help it lists its flags."
        else:
            how["epilog"] = "\n  ".join(["examples:", *EXAMPLES[name]])
            how["formatter_class"] = argparse.RawDescriptionHelpFormatter
        sub = commands.add_parser(name, help=text, **how)
        sub.set_defaults(function=f"sisock.cli.{function}", router=None, log_level=None)
        if name in add_arguments:
            add_arguments[name](sub)
    return parser


def _completer(name: str) -> Any:
    """Return a completer that imports the function of this package when called."""
    return lambda **about: resolve_name(f"sisock.cli.{name}")(**about)


def _add_node(sub: Any) -> None:
    node = sub.add_argument("node", help="its name, as `sisock nodes` lists it")
    node.completer = _completer("ask:complete_nodes")


def _add_fields(sub: Any) -> None:
    _add_node(sub)
    field = sub.add_argument("fields", nargs="*", default=[], metavar="field", help=_FIELD)
    field.completer = _completer("ask:complete_fields")


def _add_get(get: Any) -> None:
    _add_fields(get)
    start, end = f"start: {_TIMES} (default: -1h)", "end (default: now)"
    get.add_argument("--from", dest="start", default="-1h", metavar="TIME", help=start)
    get.add_argument("--to", dest="end", default="now", metavar="TIME", help=end)
    fewer = get.add_mutually_exclusive_group()
    stride = 'minimum sample spacing: "30s", "5min", "1h"'
    fewer.add_argument("--min-stride", metavar="DURATION", help=stride)
    points = (
        "decimate to at most N samples per field, which keep minima and maxima at their own times;"
        " a cell is empty where a field has no sample"
    )
    fewer.add_argument("--max-points", type=int, metavar="N", help=points)
    form = get.add_mutually_exclusive_group()
    form.add_argument("--csv", action="store_const", const="csv", dest="form", help="print CSV")
    form.add_argument("--json", action="store_const", const="json", dest="form", help="print JSON")
    file = "write to a file: CSV, JSON or a table if its name ends in .csv, .json or .txt"
    get.add_argument("-o", "--output", type=Path, metavar="FILE", help=file)


def _add_certs(certs: Any) -> None:
    name = "another name or address of this computer; SISOCK_NAMES may contain several"
    certs.add_argument("--name", action="append", default=[], help=name)
    certs.add_argument("--renew", action="store_true", help="replace the router's certificate")
    export = (
        "copy only the files that a recipient needs into a folder, its future SISOCK_HOME;"
        " recipients: router, server (data nodes), consumer"
    )
    form = "RECIPIENT=FOLDER"
    certs.add_argument("--export", action="append", default=[], metavar=form, help=export)


def _add_file(file: Any) -> None:
    file.usage = "sisock node FILE [FLAG ...]"
    program = file.add_argument("file", nargs="?", help=argparse.SUPPRESS)
    program.completer = _completer("programs:complete")


def _add_record(record: Any) -> None:
    sources = "node or field to record; both may contain the wildcards * and ?"
    source = record.add_argument("sources", nargs="+", metavar="node[::field]", help=sources)
    source.completer = _completer("ask:complete_nodes")
    keep = 'how long to keep samples: "30d", "1y" (default: 1y)'
    record.add_argument("--keep", default="1y", metavar="DURATION", help=keep)
    name = "the recorder's own name (default: recorder)"
    record.add_argument("--name", default="recorder", help=name)


def _add_serve(serve: Any) -> None:
    serve.add_argument("--check", action="store_true", help="test all nodes without a router")
    text = "a section for each node: its program and its flags (default: nodes.toml)"
    serve.add_argument("file", type=Path, nargs="?", default="nodes.toml", help=text)


def _add_status(status: Any) -> None:
    text = "the file of `sisock serve` (default: nodes.toml)"
    status.add_argument("file", type=Path, nargs="?", default="nodes.toml", help=text)


def _add_new(new: Any) -> None:
    new.add_argument("name", help="name of the node, its module and its folder")
    kinds = "; ".join(f"{kind}: {text}" for kind, text in KINDS.items())
    new.add_argument("--kind", choices=KINDS, default="live", help=f"{kinds} (default: live)")


def _add_shell(shell: Any) -> None:
    shells = ("bash", "zsh", "fish")
    shell.add_argument("shell", choices=shells, help="the shell that you use")


def main(argv: list[str] | None = None) -> None:
    """Run one command; report a failure in one sentence on stderr and with status 1."""
    parser = make_parser()
    if "_ARGCOMPLETE" in os.environ:
        from argcomplete import autocomplete

        autocomplete(parser, always_complete_options="long")
    words = sys.argv[1:] if argv is None else argv
    if words and not words[0].startswith("-") and words[0] not in _COMMANDS:
        parser.error(f"there is no command {words[0]!r}{suggest(words[0], _COMMANDS)}")
    args, rest = parser.parse_known_args(allow_negative_times(words))
    args.rest = rest
    if rest and args.command not in PROGRAMS:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    try:
        settings = load_settings(router=args.router, log_level=args.log_level)
        if args.log_level in ("debug", "trace"):
            txaio.use_twisted()
            txaio.start_logging(out=sys.stderr, level=args.log_level)
        # The commands report sites that are left out.
        with warnings.catch_warnings(action="ignore", category=SiteWarning):
            resolve_name(args.function)(args, settings)
        sys.stdout.flush()
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except BrokenPipeError:
        # The reader (head, less) has ended: flush nothing more.
        sys.stdout = None
        raise SystemExit(0) from None
    except Exception as error:
        _fail(error, args.log_level)


def show_completion(args: argparse.Namespace, settings: Settings) -> None:
    """Print the code that makes a shell complete the command."""
    from argcomplete import shellcode

    print(shellcode(["sisock"], shell=args.shell))


def allow_negative_times(argv: list[str]) -> list[str]:
    """Join ``--from -1h`` to ``--from=-1h``: argparse takes words with a dash as flags."""
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
