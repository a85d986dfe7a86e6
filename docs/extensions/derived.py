"""Write the parts of the reference that the code knows best: directives that make Markdown."""

import argparse
import ast
import importlib
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective

from sisock import errors
from sisock.bridge.metrics import GAUGES, Metrics
from sisock.cli.main import make_parser

_LIMIT = re.compile(r"^(MAX|MIN|WINDOW)_|_(LIMIT|TIMEOUT|ALLOWANCE|BYTES)$|^KEEP_ALIVE$")
"""Names of constants that a user meets."""

PROGRAMS = {"demo": [], "router": [], "hub": [], "bridge": [], "node": ["sensors"]}
"""Commands that pass flags on, with arguments by which they show typical ones."""


def commands():
    """Return a section for each command of ``sisock``, with its ``--help``."""
    os.environ["COLUMNS"] = "88"
    (subparsers,) = (
        action
        for action in make_parser()._actions
        if isinstance(action, argparse._SubParsersAction)
    )
    for name, parser in subparsers.choices.items():
        text = _help_of_program(name) if name in PROGRAMS else parser.format_help()
        yield from (f"## sisock {name}", "", "```text", text.strip(), "```", "")


def _help_of_program(name):
    """Return what a program says for which the command only passes its flags on."""
    command = [sys.executable, "-m", "sisock.cli", name, *PROGRAMS[name], "--help"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def error_classes():
    """Return a table of the errors that a script may meet."""
    yield from ("| `sisock.errors.` | is also a | says |", "|---|---|---|")
    for name, kind in inspect.getmembers(errors, inspect.isclass):
        if kind.__module__ == errors.__name__:
            others = [base.__name__ for base in kind.__mro__[1:] if base.__module__ != "builtins"]
            builtin = [base.__name__ for base in kind.__bases__ if base.__module__ == "builtins"]
            also = [each for each in others if each != "SisockError"] + builtin
            yield f"| `{name}` | {', '.join(f'`{each}`' for each in also)} | {kind.__doc__} |"


def metrics():
    """Return a table of what the bridge tells Prometheus."""
    text, _ = Metrics().expose({name: {"": 0.0} for name in GAUGES})
    helps = dict(re.findall(r"^# HELP (\S+) (.*)$", text.decode(), re.MULTILINE))
    kinds = dict(re.findall(r"^# TYPE (\S+) (.*)$", text.decode(), re.MULTILINE))
    yield from ("| metric | kind | meaning |", "|---|---|---|")
    for name, meaning in helps.items():
        if not name.endswith("_created"):
            yield f"| `{name}` | {kinds[name]} | {meaning} |"


def limits(*modules):
    """Return a table of the documented constants of modules, with their values."""
    yield from ("| limit | value | what |", "|---|---|---|")
    for name in modules:
        module = importlib.import_module(name)
        for names, text in _documented(Path(module.__file__).read_text()):
            values = [getattr(module, each) for each in names]
            if all(type(value) in (int, float) for value in values):
                shown = ", ".join(f"`{each}`" for each in names)
                figures = ", ".join(f"{value:,}" for value in values)
                yield f"| {shown} | {figures} | {' '.join(text.split())} |"


def _documented(source):
    """Yield the names of constants, and the text below them."""
    names = []
    for statement in ast.parse(source).body:
        if isinstance(statement, ast.Assign):
            found = [node.id for node in ast.walk(statement.targets[0]) if hasattr(node, "id")]
            limits = [name for name in found if _LIMIT.search(name) and name[0] != "_"]
            names = [*names, *limits] if limits else []
        elif isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
            if names:
                yield names, statement.value.value
            names = []
        else:
            names = []


class Derived(SphinxDirective):
    """Put what one of these functions returns into the page: ``{derived} limits sisock.MODULE``."""

    required_arguments = 1
    final_argument_whitespace = True

    def run(self):
        """Parse the function's Markdown where the directive stands."""
        name, *arguments = self.arguments[0].split()
        text = "\n".join(globals()[name](*arguments)).splitlines()
        section = nodes.section()
        section.document = self.state.document
        self.state.nested_parse(StringList(text, self.get_source_info()[0]), 0, section, 1)
        return section.children


def setup(app):
    """Register the directive, as Sphinx wants it."""
    app.add_directive("derived", Derived)
    return {"parallel_read_safe": True}
