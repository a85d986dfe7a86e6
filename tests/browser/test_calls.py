"""What the page asks the router for: nothing twice."""

import math

import pytest
from selenium.webdriver.common.keys import Keys

from tests.browser.nodes import START

# Notes each call that goes out: CALL is message 48 of WAMP, here in CBOR.
NOTE = """
window.calls_ = [];
const send = WebSocket.prototype.send;
WebSocket.prototype.send = function (data) {
  const text = new TextDecoder("latin1").decode(data);
  const uri = /org\\.simonsobservatory\\.consumer\\.([\\w.]+)/.exec(text);
  if (uri && text.slice(1, 3) === "\\x180") window.calls_.push(uri[1]);
  return send.call(this, data);
};
"""

# Tells the page of new sizes a second late, as a browser does that is slow to draw its first frame.
LATE = """
window.told_ = 0;
window.ResizeObserver = class extends ResizeObserver {
  constructor(call) {
    super((...sizes) => setTimeout(() => { call(...sizes); window.told_ += 1; }, 1000));
  }
};
"""


@pytest.fixture
def mixed(serve):
    return serve("tests/browser/nodes.py", "mixed", name="page_mixed")


@pytest.fixture
def slow(page):
    """Let the browser run an eighth as fast."""
    throttle = "Emulation.setCPUThrottlingRate"
    page.browser.execute_cdp_cmd(throttle, {"rate": 8})
    yield
    page.browser.execute_cdp_cmd(throttle, {"rate": 1})


def open_noted(page, mixed, *fields):
    """Open the page on an hour of fields of the node, with all its calls noted."""
    page.browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": NOTE})
    keys = "&".join(f"s={mixed}::{field}" for field in fields)
    page.open(f"?{keys}&from={START + 2000}&to={START + 5600}")
    page.wait(lambda: page.counts().get(f"{mixed}::number", 0) > 100, "the samples")
    page.rest()
    return page


@pytest.fixture
def view(page, mixed):
    """The page on the node's number and text, which are final: others are polled."""
    return open_noted(page, mixed, "number", "text")


@pytest.fixture
def final(page, mixed):
    """The page on the number, which is final."""
    return open_noted(page, mixed, "number")


def data_calls(page):
    """The calls for samples; the tree asks where they lie again and again."""
    return [call for call in page.run("return window.calls_") if call.endswith(".get_data")]


def press(page, *keys):
    """Press keys in the chart, one view each; returns the calls that they made."""
    before = len(data_calls(page))
    for key in keys:
        page.press(key)
        page.rest()
    return data_calls(page)[before:]


def test_nodes_and_fields_are_requested_once(view, mixed):
    press(view, "+", Keys.ARROW_RIGHT, "-", "-")
    view.run(f"document.querySelector('[data-node={mixed}]').open = false")
    view.run(f"document.querySelector('[data-node={mixed}]').open = true")
    view.rest()
    calls, seconds = view.run("return [window.calls_, performance.now() / 1000]")
    # A short list is read again every 5 s.
    assert calls.count("get_data_node") <= 1 + seconds / 5
    # One that does not say where its samples lie is asked again after 2, 4, 8 s, and so on.
    assert calls.count(f"{mixed}.get_fields") <= 3 + math.log2(seconds + 2)
    # The tree asks other nodes for their fields, but nobody for their samples.
    assert {call for call in calls if call.endswith("get_data")} == {f"{mixed}.get_data"}


def test_the_fields_of_a_node_come_by_one_call(view, mixed):
    assert view.run("return window.calls_").count(f"{mixed}.get_data") == 1


def test_a_slow_computer_requests_nothing_twice(slow, view, mixed):
    assert view.run("return window.calls_").count(f"{mixed}.get_data") == 1


def test_a_page_that_is_slow_to_draw_requests_nothing_twice(page, mixed):
    page.browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": NOTE + LATE})
    page.open(f"?s={mixed}::number&from={START + 2000}&to={START + 5600}")
    page.wait(lambda: page.run("return window.told_"), "the page to be told its size")
    page.wait(lambda: page.counts().get(f"{mixed}::number", 0) > 1000, "the samples")
    page.rest()
    assert page.run("return window.calls_").count(f"{mixed}.get_data") == 1


def test_going_back_to_what_was_seen_makes_no_call(final):
    assert press(final, Keys.ARROW_RIGHT)
    assert press(final, Keys.ARROW_LEFT, Keys.ARROW_RIGHT) == []
    assert press(final, "+")
    before = final.counts()
    assert press(final, "-", "+") == []
    assert final.counts() == before


def test_ticking_another_field_fetches_that_one_alone(final, mixed):
    final.tick(f"{mixed}::text")
    final.wait(lambda: final.counts().get(f"{mixed}::text", 0) > 100, "its samples")
    before = len(data_calls(final))
    final.tick(f"{mixed}::text")
    final.wait(lambda: f"{mixed}::text" not in final.counts(), "it to go")
    final.tick(f"{mixed}::text")
    final.wait(lambda: final.counts().get(f"{mixed}::text", 0) > 100, "them again")
    assert data_calls(final)[before:] == []
