"""Writes the pictures of docs/reference/page.md: ``make pictures``. No other run collects it."""

import pytest

from tests.browser.nodes import START
from tests.conftest import TOP

FIELDS = "p={0}stage,chamber&p={0}humidity&p={0}valve,state,mode"
PANELS = f"?{FIELDS}&from={START}&to={START + 20_000}"
VIEWS = {
    "panels": (1200, 760, "light", PANELS),
    "values": (1000, 520, "dark", "?view=values&v=page_wall::*&order=level"),
    "phone": (360, 740, "light", PANELS),
}
LARGEST = 150_000
"""Bytes of a picture that git can hold."""


@pytest.mark.parametrize("name", VIEWS)
def test_a_picture_for_the_guide_is_small(page, serve, sized, name):
    width, height, scheme, query = VIEWS[name]
    serve("tests/browser/wall.py", name="page_wall")
    node = serve("tests/browser/nodes.py", "instrument", name="instrument")
    sized(width, height, scheme)
    page.open(query.format(f"{node}::"))
    shown = "return document.querySelectorAll('.legend tr[data-key], #values tbody tr').length"
    page.wait(lambda: page.run(shown) > 5, "the fields")
    page.rest()
    path = TOP / "docs" / "pictures" / f"page-{name}.png"
    path.parent.mkdir(exist_ok=True)
    page.browser.save_screenshot(str(path))
    assert path.stat().st_size < LARGEST
