"""Run a data node as a program: its flags, ``--check``, and the loop until SIGTERM or Ctrl-C."""

from __future__ import annotations

import argparse
import inspect
import io
import os
import sys
from typing import Any

import txaio

from sisock.connection.reconnect import RouterConnection, fail, run_program, settings_from_flags
from sisock.connection.settings import COMMAND_VARIABLE, Parser, add_common_flags
from sisock.errors import SisockError
from sisock.node.api import DataNodeServer
from sisock.node.check import examine
from sisock.node.service import NodeService
from sisock.wire.protocol import USER_SERVER


def run(node: type[DataNodeServer] | DataNodeServer, argv: list[str] | None = None) -> None:
    """Run a data node as a program, until SIGTERM or Ctrl-C.

    Parameters
    ----------
    node : class or instance
        A `DataNodeServer`; a class is called with the values of its own flags (`add_arguments`).
    argv : list of str, optional
        Command-line arguments instead of the program's.
    """
    args, own = _parse(node, argv)
    try:
        instance = _make(node, own) if isinstance(node, type) else node
        if args.name is not None:
            instance.name = args.name
        if args.description is not None:
            instance.description = args.description
        instance.is_replica |= args.replica
        if args.check:
            log = _collect_log(args.log_level or "warn")
            lines, faults = examine(instance)
            sys.stdout.writelines(f"{line}\n" for line in lines)
            sys.stdout.flush()
            for line in log.getvalue().splitlines():
                if instance.trouble is None or instance.trouble not in line:  # not a second time
                    print(line, file=sys.stderr)
            if faults:
                raise SisockError("\n".join(map(str, faults)))
            return
        service = NodeService(instance)
    except SisockError as error:
        fail(error)
    settings = settings_from_flags(args, USER_SERVER)
    connection = RouterConnection(settings, service.joined, service.left)
    try:
        run_program(connection, service.open, lambda: service.health(connection), service.status)
    finally:
        service.stop()


def _collect_log(level: str) -> io.StringIO:
    """Start to log to memory; Twisted would also log what is printed."""
    log, streams = io.StringIO(), (sys.stdout, sys.stderr)
    txaio.start_logging(out=log, level=level)
    sys.stdout, sys.stderr = streams
    return log


def _parse(node: type[DataNodeServer] | DataNodeServer, argv: list[str] | None) -> Any:
    cls = node if isinstance(node, type) else type(node)
    parser = Parser(
        prog=os.environ.pop(COMMAND_VARIABLE, None),
        description=inspect.getdoc(cls),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,  # a key `nam` in the file of `sisock serve` must not mean --name
    )
    if isinstance(node, type):
        cls.add_arguments(parser)
    own = {action.dest for action in parser._actions} - {"help"}
    add_common_flags(parser)
    parser.add_argument("--name", help=f"the node's name (default: {cls.name or 'none'})")
    parser.add_argument("--description", help="one line for users: what it is, and where")
    parser.add_argument(
        "--replica",
        action="store_true",
        help="share the name with other processes that serve the same samples (archives only)",
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="test the node without a router: print its fields and samples and what is wrong",
    )
    args = parser.parse_args(argv)
    return args, {name: getattr(args, name) for name in own}


def _make(cls: type[DataNodeServer], flags: dict[str, Any]) -> DataNodeServer:
    try:
        inspect.signature(cls).bind(**flags)
    except TypeError as error:
        raise SisockError(
            f"{cls.__name__}.__init__: {error}; each of its arguments needs a flag of its name in"
            " add_arguments, and each flag an argument"
        ) from None
    return cls(**flags)
