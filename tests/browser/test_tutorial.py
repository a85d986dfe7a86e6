"""The tutorial "Your first dashboard", as its reader does it."""

import pytest

from tests.documents import blocks
from tests.documents import page as document

LOAD, FREE, BUSY = (f"computer::{name}" for name in ("load", "free", "busy"))
PANELS = "return document.querySelectorAll('#panels .panel').length"


@pytest.fixture
def computer(serve):
    return serve("docs/tutorial/step08.py", name="computer")


def has(page, *keys):
    """Whether exactly these fields are drawn, each with samples."""
    counts = page.counts()
    return set(counts) == set(keys) and all(counts.values())


def test_fields_that_are_ticked_share_a_panel(page, computer):
    page.open("?last=600")
    page.wait_until_connected()
    page.wait(lambda: computer in page.nodes(), "the node in the list")
    page.tick(LOAD)
    page.tick(FREE)
    page.wait(lambda: has(page, LOAD, FREE), "both curves")
    page.picture("tutorial-fields")
    assert page.run(PANELS) == 1


def test_the_layout_is_opened_by_its_name(page, computer, router):
    folder = router.home.path / "layouts"
    folder.mkdir(exist_ok=True)
    (layout,) = blocks(document("first-dashboard.md"), "json")
    (folder / "computer.json").write_text(layout)
    page.open("?layout=computer")
    page.wait(lambda: has(page, LOAD, FREE, BUSY), "the three fields")
    page.picture("tutorial-dashboard")
    assert page.run(PANELS) == 2
    page.open("?layout=computer&view=values")
    rows = "return document.querySelectorAll('#values tbody tr').length"
    page.wait(lambda: page.run(rows) == 3, "the latest values")
    page.picture("tutorial-values")
