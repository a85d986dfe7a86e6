"""Replace this process by a program: router, hub, bridge, demo, a data node or the recorder."""

from __future__ import annotations

import argparse
import os
import re
import sys
from pathlib import Path
from typing import Any, NoReturn

from sisock.connection.settings import COMMAND_VARIABLE, Settings, require
from sisock.errors import SettingsError
from sisock.wire.fields import suggest

_TOP = Path(__file__).parents[2]
NODES = next(filter(Path.is_dir, (_TOP / "data_nodes", _TOP / "sisock_nodes")), _TOP)
"""The folder of sisock's own nodes, in the repository or installed by a wheel."""

_NODE_CLASS = re.compile(r"^class (\w+)\([\w., ]*(?:Node\w*|Archive)\b", re.MULTILINE)


def node_names() -> list[str]:
    """Return the names of sisock's own nodes."""
    return sorted(path.stem for path in NODES.glob("[a-z]*.py"))


def complete(prefix: str, **_: Any) -> list[str]:
    """Return sisock's own nodes, and the .py files that begin with `prefix`, for a shell."""
    from argcomplete.completers import FilesCompleter

    return [*node_names(), *FilesCompleter(("py",))(prefix)]


def find_node(program: str, folder: Path) -> Path:
    """Find the file of a node: one of sisock's own, or the path of a ``.py`` file.

    A relative path starts from `folder`. Raises SettingsError, which lists sisock's own nodes, if
    there is no such file, or if it defines a node but does not run it.
    """
    file = folder / program if program.endswith(".py") else NODES / f"{program}.py"
    if not file.is_file():
        what = str(file) if program.endswith(".py") else f"ready-made node {program!r}"
        names = node_names()
        hint = suggest(program, [*names, *(path.name for path in folder.glob("*.py"))])
        known = ", ".join(names)
        raise SettingsError(f"there is no {what}{hint}; the ready-made nodes are {known}")
    text = file.read_text(encoding="utf-8", errors="replace")
    if "run(" not in text and (defined := _NODE_CLASS.search(text)):
        raise SettingsError(f"{file} runs no node: end it with `sisock.run({defined[1]})`")
    return file


def router(args: argparse.Namespace, settings: Settings) -> None:
    """Become the router."""
    # With -P, Python does not import modules from the present folder instead of ours.
    _become("-P", "-m", "sisock.router", *args.rest)


def hub(args: argparse.Namespace, settings: Settings) -> None:
    """Become a hub outside the router."""
    _become(_program("hub.py"), *args.rest)


def bridge(args: argparse.Namespace, settings: Settings) -> None:
    """Become the bridge."""
    for module in ("flask", "httptools", "prometheus_client"):
        require(module, "grafana")
    _become(_program("grafana_http_json.py"), *args.rest)


def demo(args: argparse.Namespace, settings: Settings) -> None:
    """Become the demo."""
    _become("-P", "-m", "sisock.demo", *args.rest)


def node(args: argparse.Namespace, settings: Settings) -> None:
    """Become a data node; its flags are passed on."""
    if args.file is None:
        print("usage: sisock node FILE [FLAG ...]\n\nRun a data node: your own .py file, or one of")
        print("\n".join(f"  {name}" for name in node_names()))
        print("`sisock node FILE --help` lists its flags.")
        return
    file = find_node(args.file, Path())
    os.environ[COMMAND_VARIABLE] = f"sisock node {args.file}"
    _become(str(file), *args.rest)


def record(args: argparse.Namespace, settings: Settings) -> None:
    """Become the recorder."""
    flags = [f"--keep={args.keep}", f"--name={args.name}", *given_flags(args)]
    os.environ[COMMAND_VARIABLE] = "sisock record"
    _become(str(NODES / "recorder.py"), *args.sources, *flags)


def given_flags(args: argparse.Namespace) -> list[str]:
    """Return those of the common flags that were given."""
    given = {"router": args.router, "log-level": args.log_level}
    return [f"--{name}={value}" for name, value in given.items() if value is not None]


def _program(name: str) -> str:
    from sisock.router.configuration import PROGRAMS

    return str(PROGRAMS / name)


def _become(*words: str) -> NoReturn:
    os.execv(sys.executable, [sys.executable, *words])
