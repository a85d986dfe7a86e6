"""Write a project for a data node: node, test, TOML, systemd unit, container, README."""

from __future__ import annotations

import argparse
import getpass
import re
import sys
from importlib.util import find_spec
from keyword import iskeyword
from pathlib import Path
from string import Template

from sisock.connection.settings import Settings
from sisock.errors import SettingsError
from sisock.wire.protocol import check_node_name

KINDS = {
    "files": "tables in files, without code",
    "live": "an instrument that is polled",
    "subscriber": "an instrument that sends by itself",
    "archive": "samples that exist already, in a database or an archive",
    "server": "anything else, by the original API",
}
"""Kinds of node for a new project, the simplest first: name → what it is for."""

TEMPLATES = Path(__file__).with_name("templates")


def new(args: argparse.Namespace, settings: Settings) -> None:
    """Write the project into a new folder, and print the next step."""
    folder = Path(args.name)
    for name, text in make_project(args.name, args.kind, settings).items():
        path = folder / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("x", encoding="utf-8") as file:
                file.write(text)
        except FileExistsError:
            raise SettingsError(f"{path} exists already: nothing is overwritten") from None
        print(f"made {path}")
    print(f"next: cd {folder}; sisock serve --check nodes.toml")


def make_project(name: str, kind: str, settings: Settings) -> dict[str, str]:
    """Return the files of a project, path to text; raises SettingsError for an invalid name."""
    check_node_name(name)
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or name == "data" or iskeyword(name):
        rule = "must be lower-case letters, digits and _, and no keyword of Python"
        raise SettingsError(f"{name!r} {rule}")
    if find_spec(name) is not None and not Path(name).exists():
        raise SettingsError(f"Python has a module {name!r} already: choose another name")
    is_code = kind != "files"
    image = "docker build --target node -t sisock-node ."
    words = {
        "name": name,
        "cls": "".join(word.capitalize() for word in name.split("_")),
        "dependency": "sisock" if is_code else "sisock[tables]",
        "modules": f'"{name}"' if is_code else "",
        "copied": f"{name}.py /site/" if is_code else "data /site/data/",
        "image": image if is_code else image.replace("-t", "--build-arg PACKAGES=pyarrow -t"),
        "check": f"python {name}.py --check" if is_code else "sisock serve --check nodes.toml",
        "edit": f"What it serves is in `{name}.py`."
        if is_code
        else "Put your files into `data`, or name another folder in `nodes.toml`.",
        "command": _quoted(Path(sys.executable).with_name("sisock")),
        "folder": _escaped(Path(name).absolute()),
        "user": getpass.getuser(),
        "environment": _quoted(f"SISOCK_HOME={settings.home.path.absolute()}"),
    }
    files = {
        "README.md": "README.md",
        "pyproject.toml": "project.toml",
        "nodes.toml": "nodes.toml" if is_code else "files.toml",
        **({f"{name}.py": f"{kind}.py.txt"} if is_code else {"data/example.csv": "files.csv"}),
        f"test_{name}.py": f"{kind}.test.txt",
        f"{name}.service": "unit.service",
        "Dockerfile": "Dockerfile",
        "compose.yml": "compose.yml",
    }
    texts = {path: (TEMPLATES / file).read_text("utf-8") for path, file in files.items()}
    return {path: Template(text).substitute(words) for path, text in texts.items()}


def _escaped(value: Path | str) -> str:
    """Escape a value for use between quotes in a systemd unit."""
    return str(value).replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")


def _quoted(value: Path | str) -> str:
    return f'"{_escaped(value)}"'
