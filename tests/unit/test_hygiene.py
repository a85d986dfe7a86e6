"""The tests themselves: short names, and of sisock only what is public."""

import ast

import pytest

from tests.conftest import TOP

FILES = sorted((TOP / "tests").rglob("*.py"))
MAX_NAME = 69


def named(path):
    """Where the file is, for the name of a case."""
    return str(path.relative_to(TOP))


@pytest.mark.parametrize("path", FILES, ids=named)
def test_the_names_of_tests_can_be_read_at_a_glance(path):
    functions = (n for n in ast.walk(ast.parse(path.read_text())) if hasattr(n, "decorator_list"))
    names = [n.name for n in functions if n.name.startswith("test_")]
    assert [name for name in names if len(name) > MAX_NAME] == []


def is_private(name):
    return name.startswith("_") and not name.endswith("__")


def is_own(node):
    """Whether an attribute is of the object or class that the test itself defines."""
    return isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")


@pytest.mark.parametrize("path", FILES, ids=named)
def test_no_private_name_is_used(path):
    used = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute) and is_private(node.attr) and not is_own(node):
            used.append(ast.unparse(node))
        if isinstance(node, ast.ImportFrom):
            used += [alias.name for alias in node.names if is_private(alias.name)]
    assert used == []


@pytest.mark.parametrize("path", FILES, ids=named)
def test_nothing_of_sisock_is_replaced(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(".setattr"):
            # The folder for temporary files is the test's business; nothing else is.
            assert ast.unparse(node.args[0]) == "tempfile", ast.unparse(node)
