"""The library stays one that a newcomer can find their way in."""

from pathlib import Path

import sisock
from tests.conftest import TOP

MAX_LINES = 22_082
MAX_MODULES = 110
MAX_MODULES_OF_A_PACKAGE = 12
MAX_LINES_OF_A_MODULE = 335
MAX_LINES_OF_A_SOURCE = 120

LIBRARY = Path(sisock.__file__).parent
MODULES = [path for path in LIBRARY.rglob("*.py") if not path.name.startswith("__")]


def lines(path):
    return len(path.read_text().splitlines())


def test_no_package_has_too_many_modules():
    packages = {path.parent for path in MODULES} - {LIBRARY}
    count = {folder.name: len(list(set(folder.glob("*.py")) & set(MODULES))) for folder in packages}
    assert {name: n for name, n in count.items() if n > MAX_MODULES_OF_A_PACKAGE} == {}


def test_no_module_is_too_long():
    length = {str(path.relative_to(LIBRARY)): lines(path) for path in MODULES}
    assert {name: n for name, n in length.items() if n > MAX_LINES_OF_A_MODULE} == {}


def test_programs_of_sources_are_examples_of_how_short_a_node_is():
    names = {page.stem for page in TOP.glob("docs/how-to/sources/*.md")} - {"README"}
    length = {name: lines(TOP / f"data_nodes/{name}.py") for name in names}
    assert {name: n for name, n in length.items() if n > MAX_LINES_OF_A_SOURCE} == {}


def test_the_library_does_not_grow():
    assert len(MODULES) <= MAX_MODULES
    assert sum(map(lines, LIBRARY.rglob("*.py"))) <= MAX_LINES


def test_images_get_every_package():
    # docker-compose looks into folders that are named here alone, not into those of a pattern.
    ignored = (LIBRARY.parent / ".dockerignore").read_text().splitlines()
    packages = {path.parent.relative_to(LIBRARY.parent) for path in MODULES}
    assert [f"!{folder}/*.py" for folder in sorted(packages)] == sorted(
        line for line in ignored if line.startswith("!sisock/")
    )
