"""A million samples in the page: what is seen of them at every zoom, and how fast."""

import os
import signal
import statistics
import time

import numpy as np
import pytest
from selenium.webdriver.common.keys import Keys

from tests.browser.nodes import MISSING, PAUSE, START
from tests.browser.panels import drawn_range
from tests.conftest import wait_for_nodes

KEY = "page_spiky::x"
WHOLE = f"?s={KEY}&from={START}&to={START + 1000}"

# Columns of the first chart that are drawn in the curve's colour, from 0 to 1; and how high.
DRAWN = """
const canvas = document.querySelector("#panels canvas");
const over = document.querySelector(".reach").getBoundingClientRect();
const outer = canvas.getBoundingClientRect();
const scale = canvas.width / outer.width;
const [left, top] = [(over.left - outer.left) * scale, (over.top - outer.top) * scale];
const [width, height] = [Math.floor(over.width * scale), Math.floor(over.height * scale)];
const { data } = canvas.getContext("2d").getImageData(left, top, width, height);
const highest = [];
for (let x = 0; x < width; x += 1) {
  for (let y = 0; y < height; y += 1) {
    const at = 4 * (y * width + x);
    const isCurve = data[at] < 110 && data[at + 2] > 140 && data[at + 2] - data[at] > 60;
    if (isCurve && data[at + 3] > 60) {
      highest.push([x / width, 1 - y / height]);
      break;
    }
  }
}
return highest;
"""


# Moves the range by a dragged chart, a step a frame; calls back with the frames' times, and with
# those that the page worked for in each, in milliseconds.
PAN = """
const done = arguments[0];
const reach = document.querySelector(".reach");
const { left, top, width } = reach.getBoundingClientRect();
reach.setPointerCapture = () => {};
const point = (type, part) => reach.dispatchEvent(new PointerEvent(type, {
  clientX: left + part * width, clientY: top + 20, shiftKey: true, pointerId: 1, bubbles: true }));
const [frames, worked] = [[], []];
const original = window.requestAnimationFrame;
let busy = 0;
window.requestAnimationFrame = (act) => original((now) => {
  const began = performance.now();
  act(now);
  busy += performance.now() - began;
});
point("pointerdown", 0.5);
let last = performance.now();
const step = (now) => {
  frames.push(now - last);
  worked.push(busy);
  last = now;
  busy = 0;
  const began = performance.now();
  point("pointermove", 0.5 + 0.2 * Math.sin(frames.length / 15));
  busy += performance.now() - began;
  if (frames.length < 120) return original(step);
  point("pointerup", 0.5);
  window.requestAnimationFrame = original;
  done([frames.slice(5), worked.slice(5)]);
};
original(step);
"""


@pytest.fixture
def spiky(router, client, start):
    """The node, as a program that can be stopped."""
    program = start(router, "tests/browser/nodes.py", "spiky", "--name", "page_spiky")
    wait_for_nodes(client, "page_spiky")
    return program


def is_busy(page):
    return page.run("return document.getElementById('panels').ariaBusy") == "true"


def spikes(page):
    """Where spikes stand out of the curve, from 0 to 1."""
    high = [x for x, height in page.run(DRAWN) if height > 0.6]
    groups = np.split(high, np.flatnonzero(np.diff(high) > 0.03) + 1)
    return [float(np.mean(group)) for group in groups if len(group)]


def open_whole(page):
    page.open(WHOLE)
    page.wait(lambda: page.counts().get(KEY, 0) > 100, "the samples", 60)
    page.rest()


def test_a_million_samples_come_as_few_and_nothing_of_the_picture_is_lost(page, spiky):
    open_whole(page)
    page.picture("spikes")
    columns = page.run(
        "return document.querySelector('.panel-list').clientWidth * devicePixelRatio"
    )
    assert columns / 2 < page.counts()[KEY] <= 2 * np.ceil(columns)
    assert spikes(page) == pytest.approx([0.5, 0.6], abs=0.01)
    drawn = np.array([x for x, _ in page.run(DRAWN)])
    for part in (MISSING, PAUSE):
        inner = part.start / 1e6 + 0.008, part.stop / 1e6 - 0.008
        assert not ((drawn > inner[0]) & (drawn < inner[1])).any(), part
    # Anywhere else the curve is whole.
    assert np.max(np.diff(drawn)) < 0.06
    assert np.sum(np.diff(drawn) > 0.01) == 2


def test_a_spike_of_one_sample_is_seen_at_every_zoom(page, spiky):
    open_whole(page)
    for step in range(1, 13):
        page.press("+")
        page.rest()
        beside = [0.5 + 0.1 * 2**step] if step <= 2 else []
        assert spikes(page) == pytest.approx([0.5, *beside], abs=0.02), f"zoom {step}"
        if step in (3, 12):
            page.picture(f"spikes-zoom-{step}")
    # A quarter of a second: all of its samples.
    assert page.counts()[KEY] == pytest.approx(1e6 / 2**12, abs=1)
    for _ in range(12):
        page.press("-")
    page.rest()
    assert spikes(page) == pytest.approx([0.5, 0.6], abs=0.01)


def test_what_is_there_stays_until_the_finer_samples_have_come(page, spiky):
    open_whole(page)
    before = page.counts()
    os.kill(spiky.process.pid, signal.SIGSTOP)
    try:
        page.press("+")
        page.wait(lambda: is_busy(page), "the question to the node")
        page.wait(lambda: spikes(page) == pytest.approx([0.5, 0.7], abs=0.02), "the coarse zoom")
        page.press(Keys.ARROW_RIGHT)
        page.wait(lambda: spikes(page) == pytest.approx([0.4, 0.6], abs=0.02), "the coarse part")
        assert is_busy(page)
        coarse = page.counts()
        assert coarse[KEY] < before[KEY]
        page.picture("spikes-coarse")
    finally:
        os.kill(spiky.process.pid, signal.SIGCONT)
    page.wait(lambda: page.counts()[KEY] > coarse[KEY], "the finer samples")
    page.rest()
    assert spikes(page) == pytest.approx([0.4, 0.6], abs=0.01)


def test_a_million_samples_are_moved_without_freezing(page, spiky):
    began = time.monotonic()
    page.open(WHOLE)
    page.wait(lambda: page.counts().get(KEY, 0) > 100, "the samples", 60)
    loaded = time.monotonic() - began
    page.run(
        """
        window.frames_ = [];
        let last = performance.now();
        const frame = (now) => {
          window.frames_.push(now - last);
          last = now;
          requestAnimationFrame(frame);
        };
        requestAnimationFrame(frame);
        """
    )
    for _ in range(15):
        page.press(Keys.ARROW_RIGHT)
        page.press(Keys.ARROW_LEFT)
    page.rest()
    ordered = sorted(page.run("return window.frames_"))
    before = page.counts()
    began = time.monotonic()
    page.press("+")
    page.wait(lambda: page.counts() != before, "the zoom")
    zoomed = time.monotonic() - began
    bytes_ = page.run("return performance.memory?.usedJSHeapSize ?? 0")
    print(
        f"\na million samples: opened in {loaded:.2f} s, zoomed in {zoomed:.2f} s;"
        f" moved 30 times: {len(ordered)} frames, median {statistics.median(ordered):.0f} ms,"
        f" p90 {ordered[int(len(ordered) * 0.9)]:.0f} ms, longest {ordered[-1]:.0f} ms;"
        f" heap {bytes_ / 1e6:.0f} MB"
    )
    assert len(ordered) > 30


def test_ten_panels_of_a_million_samples_are_moved_in_each_frame(page, spiky):
    panels = "&".join(f"p={KEY}@h120" for _ in range(10))
    page.open(f"?{panels}&from={START + 300}&to={START + 600}")
    page.wait(lambda: page.counts().get(KEY, 0) > 100, "the samples", 60)
    page.rest()
    before = drawn_range(page)
    frames, worked = (sorted(each) for each in page.browser.execute_async_script(PAN))
    texts = (
        f"{name} median {statistics.median(each):.1f} ms, p99 {each[int(len(each) * 0.99)]:.1f} ms"
        for name, each in (("frames", frames), ("of them the page worked", worked))
    )
    print(f"\nten panels of a million samples were moved: {'; '.join(texts)}")
    page.rest()
    assert drawn_range(page) != before
    ranges = {drawn_range(page, panel) for panel in range(3)}
    assert len(ranges) == 1
