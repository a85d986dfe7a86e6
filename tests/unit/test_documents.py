"""The reference is complete, and each document can be found."""

import re

import pytest

import sisock
from sisock.wire import fields, protocol
from tests.conftest import TOP
from tests.documents import anchors, links, page, pages

SECTIONS = ("tutorial", "how-to", "how-to/sources", "reference", "explanation")


def test_links_lead_somewhere():
    broken = []
    for path in pages():
        for file, anchor in links(path.read_text()):
            target = path.parent / file if file else path
            is_there = target.exists() and (not anchor or anchor in anchors(target.read_text()))
            broken += [] if is_there else [f"{path.relative_to(TOP)}: {file}#{anchor}"]
    assert broken == []


@pytest.mark.parametrize("section", SECTIONS)
def test_each_page_is_in_the_list_of_its_section(section):
    folder = TOP / "docs" / section
    listed = {file for file, _ in links((folder / "README.md").read_text())}
    assert {path.name for path in folder.glob("*.md")} - {"README.md"} - listed == set()


def test_each_public_name_is_in_the_reference():
    text = page("python.md")
    missing = [n for n in sisock.__all__ if not re.search(rf"sisock\.{n}\b", text)]
    assert missing == []


def test_each_uri_of_an_error_is_in_the_reference():
    uris = {value for name, value in vars(protocol).items() if name.startswith("ERROR_")}
    text = page("errors.md")
    assert [uri for uri in uris - {protocol.ERROR_PREFIX} if f"`{uri}`" not in text] == []


def test_each_key_of_a_field_is_in_the_reference():
    text = page("fields.md")
    assert [key for key in fields.ENTRY_KEYS if f"`{key}`" not in text] == []
    assert [kind for kind in fields.FIELD_TYPES if f'`"{kind}"`' not in text] == []
