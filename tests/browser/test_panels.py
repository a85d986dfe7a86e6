"""Panels: what they show of each kind of field, and what one does with them."""

import base64
import itertools

import pytest
from selenium.webdriver import ActionChains
from selenium.webdriver.common.keys import Keys

from tests.browser.conftest import Page
from tests.browser.nodes import START
from tests.browser.panels import axes, boxes, coloured, column, grid_edges
from tests.browser.test_page import address

TICK = 4
DASH = "\u2013"
WHOLE = f"from={START}&to={START + 20_000}"


@pytest.fixture
def instrument(serve):
    return serve("tests/browser/nodes.py", "instrument", name="page_instrument")


def open_panels(page, *panels, query=WHOLE):
    """Open panels of fields of the instrument, each written as its fields."""
    page.open("?" + "&".join(f"p=page_instrument::{fields}" for fields in panels) + f"&{query}")
    keys = {name for fields in panels for name in fields.split("@")[0].split(",")}
    page.wait(lambda: len(page.counts()) == len(keys), "the fields")
    page.wait(lambda: min(page.counts().values()) > 100, "their samples")
    page.rest()


def legend(page, field):
    return page.legend(f"page_instrument::{field}")[1]


def test_plots_and_lanes_of_all_panels_are_aligned_to_the_pixel(page, instrument):
    page.browser.set_window_size(1280, 1800)
    open_panels(page, "stage", "chamber,noise", "valve,mode", "count", "humidity,state")
    reaches = {(box["left"], box["width"]) for box in boxes(page, ".reach")}
    assert len(reaches) == 1
    assert {grid_edges(page, panel) for panel in (0, 1, 3)} <= {(-TICK, 0), (0, 0)}
    page.picture("panels")
    # Digits have room: no axis needs more than it has.
    assert page.run(
        "return [...document.querySelectorAll('.panel')].every(({ panel }) =>"
        " panel.needed.every((each, side) => each <= panel.frame.gutters[side]))"
    )


def test_panels_share_the_window_and_resized_ones_keep_their_height(page, instrument):
    page.browser.set_window_size(1280, 1400)
    open_panels(page, "stage@h150", "chamber", "valve", "noise")

    def is_shared():
        resized, first, lane, second = (box["height"] for box in boxes(page, ".chart"))
        return resized == 150 and first == second > 300 and lane < 100

    page.wait(is_shared, "the shares")
    (add,) = boxes(page, ".add-panel")
    inside = page.run("return innerHeight")
    assert inside - 40 < add["top"] + add["height"] <= inside
    assert page.run(
        "const main = document.querySelector('main'); return main.scrollHeight <= main.clientHeight"
    )
    page.browser.set_window_size(1280, 500)
    page.wait(lambda: boxes(page, ".chart")[1]["height"] < 240, "no less than is readable")
    assert boxes(page, ".chart")[1]["height"] > 200


def test_units_have_si_prefixes_where_they_take_them(page, instrument):
    open_panels(page, "stage,chamber", "noise,humidity")
    shown = [axis["text"] for panel in (0, 1) for axis in axes(page, panel)]
    assert shown == ["mK", "kPa", "µV", "%"]
    # Six digits of a kelvin are three of a thousandth.
    assert "44.301 mK 25.000" in legend(page, "stage")


def test_a_panel_without_samples_is_low_and_invents_no_numbers(page, sensors, weather):
    page.open(f"?p={sensors}::cpu_percent&p={weather}::apex_humidity&last=600")

    def heights():
        return [box["height"] for box in boxes(page, ".chart")]

    page.wait(lambda: len(heights()) == 2 and heights()[0] > 200 > 2 * heights()[1], "a low one")
    known = lambda i: [axis["isKnown"] for axis in axes(page, i)]  # noqa: E731
    page.wait(lambda: (known(0), known(1)) == ([True], [False]), "no numbers")


def test_a_third_unit_opens_a_panel(page, instrument):
    open_panels(page, "stage,chamber")
    page.tick("page_instrument::noise")
    page.wait(lambda: len(boxes(page, ".panel")) == 2, "a panel of its own")
    page.tick("page_instrument::valve")
    page.wait(lambda: "page_instrument::valve" in page.counts(), "the lane")
    assert len(boxes(page, ".panel")) == 2
    page.wait(lambda: len(address(page)["p"]) == 2, "both in the address")


def test_limits_are_bands_and_the_curve_is_marked_beyond_them(page, instrument):
    open_panels(page, "stage", query=f"from={START}&to={START + 10_000}")
    page.picture("limits")
    # The warning begins at 60 mK: above it there is a band, below there is paper.
    paper = [pixel for pixel in column(page, 0.02) if pixel[3] == 0]
    band = [pixel for pixel in column(page, 0.02) if 0 < pixel[3] < 60]
    assert len(paper) > 50 and len(band) > 20
    # At its highest the curve is red, at its lowest it is as elsewhere.
    highest, lowest = (coloured(column(page, 1413.7 * n / 10_000)) for n in (1, 3))
    assert any(r > 1.5 * b for r, _, b, _ in highest)
    assert all(r < b for r, _, b, _ in lowest) and lowest


def test_limits_of_two_axes_stand_each_beside_its_own(page, instrument):
    open_panels(page, "stage,chamber")
    page.picture("limits-two")
    left, middle, right = (column(page, part) for part in (0.003, 0.5, 0.997))
    assert len(coloured(left)) > 50 and len(coloured(right)) > 15
    assert [pixel for pixel in middle if 0 < pixel[3] < 60 and pixel[0] > pixel[2] + 40] == []


def test_states_texts_and_booleans_are_lanes_with_honest_gaps(page, instrument):
    open_panels(page, "valve,state,mode")
    assert not axes(page)
    page.picture("lanes")
    # Nothing is drawn while there was no sample; names of the lanes stand at the left.
    assert coloured(column(page, 12_500 / 20_000)) == []
    assert len(coloured(column(page, 3_000 / 20_000))) > 10
    band = {pixel[:3] for pixel in coloured(column(page, 1_000 / 20_000))}
    other = {pixel[:3] for pixel in coloured(column(page, 3_900 / 20_000))}
    assert band != other
    over = page.browser.find_element("css selector", ".reach")
    offset = int(over.size["width"] * (3_000 / 20_000 - 0.5))
    ActionChains(page.browser).move_to_element_with_offset(over, offset, 0).perform()
    page.wait(lambda: "cooling" in legend(page, "state"), "the state at the cursor")
    assert "true" not in legend(page, "valve") and "calibration" in legend(page, "mode")
    ActionChains(page.browser).move_to_element_with_offset(
        over, int(over.size["width"] * (12_500 / 20_000 - 0.5)), 0
    ).perform()
    page.wait(lambda: DASH in legend(page, "mode"), "no value in the gap")


def test_an_axis_is_fixed_or_logarithmic_by_the_settings(page, instrument):
    open_panels(page, "count,stage")
    page.choose("Settings")
    dialog = page.browser.find_element("css selector", "dialog.settings")
    count, stage = dialog.find_elements("css selector", "[data-unit]")
    count.find_element("name", "log").click()
    page.wait(lambda: axes(page)[0]["range"] == [1, 1e9], "whole decades")
    stage.find_element("name", "low").send_keys("0", Keys.TAB)
    stage.find_element("name", "high").send_keys("0.2", Keys.TAB)
    page.wait(lambda: axes(page)[1]["range"] == [0, 0.2], "the fixed range")
    page.picture("settings")
    ActionChains(page.browser).send_keys(Keys.ESCAPE).perform()
    link = page.browser.current_url
    page.browser.get("about:blank")
    page.browser.get(link)
    page.wait_until_connected()
    page.wait(lambda: len(boxes(page, ".panel")) == 1, "the panel")
    page.rest()
    page.wait(
        lambda: [axis["range"] for axis in axes(page)] == [[1, 1e9], [0, 0.2]], "the same axes"
    )
    page.picture("log")


def test_colour_and_label_are_edited_and_stand_in_the_address(page, instrument):
    open_panels(page, "stage,chamber")
    blue = coloured(column(page, 0.3))
    page.browser.find_element("css selector", ".legend .swatch").click()
    field = page.browser.switch_to.active_element
    field.send_keys("cold head", Keys.ENTER)
    page.wait(lambda: "cold head" in legend(page, "stage"), "the label")
    page.browser.find_element("css selector", "dialog [aria-label='colour 3']").click()
    ActionChains(page.browser).send_keys(Keys.ESCAPE).perform()
    page.wait(lambda: coloured(column(page, 0.3)) != blue, "another colour")
    page.wait(lambda: "!c3!lcold head" in address(page)["p"][0], "both in the address")


def test_the_legend_hides_and_isolates_and_back_undoes(page, instrument):
    open_panels(page, "stage,chamber,valve")
    first = page.browser.find_element("css selector", ".legend .toggle")
    first.click()
    page.wait(lambda: "hidden-field" in page.legend("page_instrument::stage")[0], "it to hide")
    page.browser.back()
    page.wait(lambda: "hidden-field" not in page.legend("page_instrument::stage")[0], "it again")
    page.double_click(first)
    hidden = ["page_instrument::chamber", "page_instrument::valve"]
    page.wait(lambda: all("hidden-field" in page.legend(key)[0] for key in hidden), "one alone")
    assert "hidden-field" not in page.legend("page_instrument::stage")[0]
    first.send_keys(Keys.SHIFT, Keys.ENTER)
    page.wait(lambda: "hidden-field" not in page.legend(hidden[0])[0], "all again, by keys")


def test_a_link_beside_the_samples_leads_to_them(page, instrument):
    page.open(f"?p=page_instrument::stage&from={START - 90_000}&to={START - 80_000}")
    go = ".legend .go:not([hidden])"
    page.wait(lambda: boxes(page, go), "the offer")
    page.browser.find_element("css selector", go).click()
    page.wait(lambda: page.counts()["page_instrument::stage"] > 100, "the samples")
    page.wait(lambda: not boxes(page, go), "the offer to go")


def test_the_mean_is_shown_only_where_each_sample_is_there(page, instrument):
    open_panels(page, "humidity")
    assert f"30.0 {DASH} 50.0" in legend(page, "humidity")
    page.open(f"?p=page_instrument::humidity&from={START}&to={START + 500}")
    page.wait(lambda: page.counts().get("page_instrument::humidity") == 500, "each sample")
    page.wait(lambda: DASH not in legend(page, "humidity"), "the mean")


def test_panels_are_added_moved_resized_maximised_and_removed(page, instrument):
    open_panels(page, "stage", "chamber")
    page.choose("Move down")
    names = "return [...document.querySelectorAll('.panel')].map((each) => each.ariaLabel)"
    page.wait(lambda: "chamber" in page.run(names)[0], "the other one on top")
    handle = page.browser.find_element("css selector", ".resize")
    before = boxes(page, ".chart")[0]["height"]
    ActionChains(page.browser).drag_and_drop_by_offset(handle, 0, 60).perform()
    page.wait(lambda: boxes(page, ".chart")[0]["height"] == before + 60, "a higher panel")
    handle.send_keys(Keys.ARROW_UP)
    page.wait(lambda: boxes(page, ".chart")[0]["height"] == before + 40, "a lower one, by key")
    page.browser.find_elements("css selector", ".large")[1].click()
    page.wait(lambda: len(boxes(page, ".panel")) == 1, "one panel alone")
    page.wait(lambda: boxes(page, ".chart")[0]["height"] > 400, "it to fill the page")
    page.picture("maximised")
    page.press(Keys.ESCAPE)
    page.wait(lambda: len(boxes(page, ".panel")) == 2, "both panels")
    page.choose("Remove")
    page.wait(lambda: len(boxes(page, ".panel")) == 1, "one to be left")
    page.browser.find_element("css selector", ".add-panel").click()
    possible = "return [...document.querySelectorAll('.menu:popover-open :enabled')].length"
    page.browser.find_elements("css selector", ".panel-menu > button:not(.large)")[1].click()
    # Of an empty panel there is no picture, and nothing to set.
    assert page.run(possible) == len(["maximise", "up", "remove"])
    ActionChains(page.browser).send_keys(Keys.ESCAPE).perform()
    page.tick("page_instrument::chamber")
    page.wait(lambda: "chamber" in page.run(names)[1], "the field in the new panel")
    for _ in range(8):
        page.browser.back()
    page.wait(lambda: "stage" in page.run(names)[0], "all of it undone")


def test_on_paper_are_all_panels_in_dark_ink(page, instrument):
    features = [{"name": "prefers-color-scheme", "value": "dark"}]
    page.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    try:
        open_panels(page, *["stage"] * 6, "mode")
        pdf = page.browser.execute_cdp_cmd("Page.printToPDF", {"printBackground": True})
        assert len(pdf["data"]) > 20_000
        (page.picture("dark").parent / "print.pdf").write_bytes(base64.b64decode(pdf["data"]))
    finally:
        page.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_an_absent_node_is_hatched_from_its_last_sample_on(page, router, start):
    program = start(router, "tests/nodes.py", "ticker", "--name", "page_absent")
    program.wait_for("is in the hub's list")
    key = "page_absent::count"
    page.open(f"?p={key}&last=20")
    page.wait(lambda: page.counts().get(key, 0) > 3, "the samples")
    program.end()
    page.wait(lambda: page.legend(key)[0] == "gone", "the node to be gone")
    page.wait(lambda: is_hatched(page), "the hatching")
    page.picture("absent")


def is_hatched(page):
    """Whether at the right edge there are strokes between gaps from top to bottom."""
    drawn = [pixel[3] > 40 for pixel in column(page, 0.995)]
    return sum(a != b for a, b in itertools.pairwise(drawn)) > 20


def test_a_lost_connection_loses_nothing_and_misses_no_sample(browser, own_router, start):
    node = start(own_router, "tests/browser/nodes.py", "numbered", "--name", "page_lost")
    node.wait_for("is in the hub's list")
    page = Page(browser, own_router)
    key = "page_lost::slow_number"
    shown = "return [...document.querySelector('.panel').panel.figure.fields[0].curve.values.array]"
    page.open(f"?p={key}&last=120")
    page.wait(lambda: page.counts().get(key, 0) > 20, "the samples")
    page.rest()
    before = page.counts()[key]
    own_router.stop()
    page.wait(lambda: "trying" in page.text("connection"), "notice of the loss")
    newest = page.run(shown)[-1]
    assert page.counts()[key] >= before * 0.9
    assert coloured(column(page, 0.5)) or coloured(column(page, 0.9))
    own_router.start()
    page.wait_until_connected()

    def is_complete():
        numbers = page.run(shown)
        return numbers[-1] > newest + 40 and numbers == list(
            range(int(numbers[0]), int(numbers[-1]) + 1)
        )

    page.wait(is_complete, "later samples and none missing before them")
    browser.get("about:blank")


@pytest.mark.parametrize("width", [360, 660, 820, 1000, 1200])
def test_nothing_is_wider_than_the_window(page, instrument, sized, width):
    sized(width, 740, "light")
    open_panels(page, "stage,chamber", "valve,state,mode")
    content = "const { scrollWidth, clientWidth } = document.getElementById('content');"
    assert page.run(f"{content} return scrollWidth - clientWidth") <= 0
    assert page.run("return document.documentElement.scrollWidth") <= width
    # The time bar is one row, of which a narrow page opens the rest.
    (bar,) = boxes(page, "#time")
    assert bar["height"] < 60
    (more,) = boxes(page, "#time .more") or [None]
    assert (more is None) == (width == 1200)
    if more:
        page.browser.find_element("css selector", "#time .more").click()
        assert all(page.element(name).is_displayed() for name in ("from", "closer", "export-open"))
        assert page.run("return document.documentElement.scrollWidth") <= width
