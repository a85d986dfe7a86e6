"""What tests read of the panels: what was drawn, and the pixels of it."""

from __future__ import annotations

from typing import Any

FRAME = "document.querySelectorAll('.panel:not([hidden])')[arguments[0]].panel.frame"

BOXES = """
return [...document.querySelectorAll(arguments[0])].map((each) => {
  const { left, top, width, height } = each.getBoundingClientRect();
  return { left, top, width, height };
}).filter(({ width }) => width);
"""

# Colours of a column of a chart from its upper edge to the time axis, as [r, g, b].
COLUMN = """
const panel = document.querySelectorAll(".panel:not([hidden])")[arguments[0]];
const canvas = panel.querySelector("canvas");
const outer = canvas.getBoundingClientRect();
const reach = panel.querySelector(".reach").getBoundingClientRect();
const scale = canvas.width / outer.width;
const x = Math.round((reach.left - outer.left + arguments[1] * reach.width) * scale);
const height = Math.floor(reach.height * scale);
const { data } = canvas.getContext("2d").getImageData(x, 0, 1, height);
return Array.from({ length: height }, (_, y) => [...data.slice(4 * y, 4 * y + 4)]);
"""

# Where the shortest row of pixels that goes all across a panel's plot begins and ends, from the
# edges of its reach: a line of the grid, which begins with its tick, or a band of limits.
GRID_EDGES = """
const panel = document.querySelectorAll(".panel:not([hidden])")[arguments[0]];
const canvas = panel.querySelector("canvas");
const outer = canvas.getBoundingClientRect();
const reach = panel.querySelector(".reach").getBoundingClientRect();
const { width } = canvas;
const { data } = canvas.getContext("2d").getImageData(0, 0, width, Math.floor(reach.height));
const left = Math.round(reach.left - outer.left);
const middle = left + Math.round(reach.width / 2);
let edges = null;
for (let row = 0; row < reach.height; row += 1) {
  const isDrawn = (x) => data[4 * (row * width + x) + 3] > 0;
  let [from, to] = [middle, middle];
  while (from > 0 && isDrawn(from - 1)) from -= 1;
  while (to < width && isDrawn(to)) to += 1;
  const isLine = to - from > 0.9 * reach.width;
  if (isLine && !(to - from >= edges?.[1] - edges?.[0])) edges = [from, to];
}
return edges && [edges[0] - left, edges[1] - left - Math.round(reach.width)];
"""


def boxes(page: Any, selector: str) -> list[dict[str, float]]:
    """Where the elements are that are seen."""
    return page.run(BOXES, selector)


def grid_edges(page: Any, panel: int = 0) -> tuple[int, int]:
    """By how many pixels the grid begins and ends beyond what gestures act on."""
    return tuple(page.run(GRID_EDGES, panel))


def drawn_range(page: Any, panel: int = 0) -> tuple[float, float]:
    """Start and end of the time that a panel was drawn for."""
    drawn = page.run(f"const {{ range }} = {FRAME}; return [range.start, range.end]", panel)
    return tuple(drawn)


def axes(page: Any, panel: int = 0) -> list[dict[str, Any]]:
    """The axes of values that a panel was drawn with."""
    return page.run(f"return {FRAME}.units", panel)


def column(page: Any, part: float, panel: int = 0) -> list[tuple[int, ...]]:
    """Colours of the pixels above each other at a part of the range."""
    return [tuple(pixel) for pixel in page.run(COLUMN, panel, part)]


def coloured(pixels: list[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """Those of the pixels that are no grey."""
    return [p for p in pixels if p[3] > 50 and max(p[:3]) - min(p[:3]) > 40]
