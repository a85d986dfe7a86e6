"""The time bar and the gestures on charts: which range is shown, and how one goes elsewhere."""

import time

import pytest
from selenium.webdriver import ActionChains
from selenium.webdriver.common.action_chains import ScrollOrigin
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

from tests.browser.panels import boxes, drawn_range
from tests.browser.test_page import TEMPERATURE, WEEKS, address

FROM, TO = 1499990400, 1501200000
MIDDLE = (FROM + TO) / 2


@pytest.fixture
def view(page, weather):
    """The page on two weeks of temperatures."""
    page.open(f"?p={TEMPERATURE}&{WEEKS}")
    page.wait(lambda: page.counts() == {TEMPERATURE: 332}, "the samples")
    page.rest()
    return page


@pytest.fixture
def following(page, serve):
    """The page on the last ten minutes of this computer's sensors."""
    key = f"{serve('data_nodes/sensors.py', name='page_sensors')}::cpu_percent"
    page.open(f"?p={key}&last=600")
    page.wait(lambda: page.counts().get(key, 0) > 0, "the first samples")
    return page


def over(page):
    return page.browser.find_element("css selector", ".reach")


def shown(page):
    """From and to as they are written."""
    value = "return document.getElementById(arguments[0]).value"
    return [page.run(value, name) for name in ("from", "to")]


def span(page):
    start, end = drawn_range(page)
    return end - start


def type_range(page, start, end):
    for name, text in (("from", start), ("to", end)):
        if text is not None:
            page.element(name).send_keys(Keys.CONTROL + "a")
            page.element(name).send_keys(text, Keys.TAB)


def test_presets_follow_and_the_mode_is_switched(following):
    Select(following.element("range")).select_by_visible_text("last 5 min")
    following.wait(lambda: address(following)["last"] == ["300"], "five minutes")
    options = [option.text for option in Select(following.element("range")).options]
    assert (options[0], options[-1]) == ("last 1 min", "last 10 y")
    following.wait(lambda: span(following) == pytest.approx(300), "them to be drawn")
    assert "live" in following.text("follow")
    following.element("follow").click()
    following.wait(lambda: "fixed" in following.text("follow"), "the other mode")
    following.rest()
    start, end = drawn_range(following)
    following.wait(lambda: time.time() > end + 2, "what was under way")
    count = following.counts()
    following.wait(lambda: time.time() > end + 6, "further samples to come")
    assert drawn_range(following) == (start, end)
    assert following.counts() == count
    following.element("follow").click()
    following.wait(lambda: drawn_range(following)[1] > end + 3, "the present again")


def test_plus_keeps_the_newest_sample_while_following(following):
    following.element("closer").click()
    following.wait(lambda: address(following).get("last") == ["300"], "five minutes")
    following.press("+")
    following.wait(lambda: address(following).get("last") == ["150"], "two and a half")
    following.wait(lambda: drawn_range(following)[1] > time.time() - 3, "it to end now")


def test_typed_ranges_are_iso_or_count_from_now(view):
    type_range(view, "2017-07-20", "2017-07-21 12:00")
    view.wait(lambda: drawn_range(view) == (1500508800, 1500638400), "the typed range")
    type_range(view, "-2d", None)
    view.wait(lambda: address(view).get("last") == ["172800"], "the last two days")
    type_range(view, "-3d", "-1d")
    view.wait(lambda: address(view).get("ago") == ["86400"], "what ends a day ago")
    view.wait(lambda: "1 d ago" in view.text("follow"), "how long ago")
    type_range(view, "2017-07-20", "2017-07-19")
    view.wait(lambda: "must be before" in view.text("message"), "the complaint")
    assert view.element("to").get_attribute("aria-invalid") == "true"
    view.element("to").send_keys(Keys.ESCAPE)
    assert not shown(view)[1].startswith("2017")
    assert view.text("message") == ""


def test_a_refused_range_is_withdrawn_once_one_does_something_else(view):
    type_range(view, None, "2017-07-13")
    view.wait(lambda: "must be before" in view.text("message"), "the complaint")
    view.element("export-open").click()
    view.wait(lambda: view.text("message") == "", "the end of the complaint")
    assert shown(view) == ["2017-07-14 00:00:00", "2017-07-28 00:00:00"]
    assert view.element("to").get_attribute("aria-invalid") is None


def test_what_is_wrong_in_an_address_is_told(page):
    page.open("?from=garbage&order=size&last=600")
    page.wait(lambda: "from=garbage" in page.text("message"), "what is wrong")
    assert "given, name, level, value, age" in page.text("message")


def test_a_wrong_time_is_marked_and_the_range_stays(view):
    type_range(view, "yesterday", None)
    view.wait(lambda: "2017-07-14 12:00:00" in view.text("message"), "how times are written")
    field = view.element("from")
    assert field.get_attribute("aria-invalid") == "true"
    assert view.element("to").get_attribute("aria-invalid") is None
    assert drawn_range(view) == (FROM, TO)
    field.send_keys(Keys.ESCAPE)
    assert field.get_attribute("aria-invalid") is None
    assert shown(view)[0] == "2017-07-14 00:00:00"


def test_one_switch_shows_all_times_in_utc_or_local(view):
    zone = {"timezoneId": "Asia/Tokyo"}
    view.browser.execute_cdp_cmd("Emulation.setTimezoneOverride", zone)
    try:
        assert shown(view) == ["2017-07-14 00:00:00", "2017-07-28 00:00:00"]
        view.element("zone-switch").click()
        view.wait(lambda: shown(view)[0] == "2017-07-14 09:00:00", "the local time")
        assert view.text("zone") == "UTC+09:00"
        assert drawn_range(view) == (FROM, TO)
        type_range(view, "2017-07-15 09:00", None)
        view.wait(lambda: drawn_range(view)[0] == FROM + 86400, "what was typed in local time")
        assert address(view)["zone"] == ["local"]
    finally:
        view.browser.execute_cdp_cmd("Emulation.setTimezoneOverride", {"timezoneId": ""})


def test_the_wheel_zooms_at_the_pointer_and_a_double_click_resets(view):
    width = over(view).size["width"]
    quarter = FROM + (TO - FROM) / 4
    for delta in (-300, -300):
        origin = ScrollOrigin.from_element(over(view), -width // 4, 0)
        ActionChains(view.browser).scroll_from_origin(origin, 0, delta).perform()
    view.wait(lambda: span(view) < (TO - FROM) / 2, "the zoom")
    start, end = drawn_range(view)
    assert start + (end - start) / 4 == pytest.approx(quarter, abs=(end - start) / width * 2)
    view.double_click(over(view))
    view.wait(lambda: drawn_range(view) == (FROM, TO), "the range as it was chosen")


def test_shift_or_the_middle_button_drags_the_range(view):
    width = over(view).size["width"]
    drag = ActionChains(view.browser, duration=0).key_down(Keys.SHIFT)
    drag.drag_and_drop_by_offset(over(view), width // 4, 0).key_up(Keys.SHIFT).perform()
    moved = (TO - FROM) / 4
    view.wait(lambda: drawn_range(view)[0] == pytest.approx(FROM - moved, rel=1e-5), "the move")
    assert span(view) == pytest.approx(TO - FROM)
    mouse(view, "mousePressed", 0)
    mouse(view, "mouseMoved", -width // 4)
    mouse(view, "mouseReleased", -width // 4)
    view.wait(lambda: drawn_range(view)[0] == pytest.approx(FROM, abs=9000), "the way back")


def mouse(page, kind, x):
    """Send an event of the middle button at so many pixels from the chart's middle."""
    box = boxes(page, ".reach")[0]
    place = {"x": box["left"] + box["width"] / 2 + x, "y": box["top"] + box["height"] / 2}
    event = {"type": kind, "button": "middle", "buttons": 4, "clickCount": 1, **place}
    page.browser.execute_cdp_cmd("Input.dispatchMouseEvent", event)


def touch(page, kind, *xs):
    """Put fingers at parts of the chart's width."""
    box = boxes(page, ".reach")[0]
    points = [
        {"x": box["left"] + x * box["width"], "y": box["top"] + 60, "id": i}
        for i, x in enumerate(xs)
    ]
    event = {"type": kind, "touchPoints": points}
    page.browser.execute_cdp_cmd("Input.dispatchTouchEvent", event)


def test_fingers_pinch_and_move_the_range(view):
    touch(view, "touchStart", 0.4, 0.6)
    for part in (0.35, 0.3, 0.25):
        touch(view, "touchMove", part, 1 - part)
    touch(view, "touchEnd")
    view.wait(lambda: span(view) == pytest.approx((TO - FROM) * 0.4, rel=0.02), "the pinch")
    assert sum(drawn_range(view)) / 2 == pytest.approx(MIDDLE, abs=9000)
    touch(view, "touchStart", 0.5)
    for part in (0.55, 0.6, 0.75):
        touch(view, "touchMove", part)
    touch(view, "touchEnd")
    moved = MIDDLE - 0.25 * (TO - FROM) * 0.4
    view.wait(lambda: sum(drawn_range(view)) / 2 == pytest.approx(moved, abs=9000), "the move")


def test_back_and_forward_undo_and_redo_the_range(view):
    width = over(view).size["width"]
    ActionChains(view.browser, duration=0).drag_and_drop_by_offset(
        over(view), width // 4, 0
    ).perform()
    view.wait(lambda: span(view) < 400_000, "the dragged range")
    zoomed = drawn_range(view)
    # Three presses at once, as a slow computer may take longer than the time of one step for each.
    view.run(
        "const chart = document.querySelector('.panel:not([hidden]) .chart'); chart.focus();"
        "const press = () => new KeyboardEvent('keydown', { key: 'ArrowLeft', bubbles: true });"
        "for (let i = 0; i < 3; i += 1) chart.dispatchEvent(press())"
    )
    view.wait(lambda: drawn_range(view)[0] < zoomed[0], "the move")
    view.browser.back()
    view.wait(lambda: drawn_range(view) == zoomed, "one step back")
    view.browser.back()
    view.wait(lambda: drawn_range(view) == (FROM, TO), "another one")
    view.browser.forward()
    view.wait(lambda: drawn_range(view) == zoomed, "the zoom again")


def test_the_cursor_is_moved_by_keys_and_tells_its_time(view):
    view.press()
    keys = ActionChains(view.browser).key_down(Keys.SHIFT).send_keys(Keys.ARROW_RIGHT)
    keys.key_up(Keys.SHIFT).perform()
    label = "return document.querySelector('.cursor:not([hidden])')?.dataset.time"
    view.wait(lambda: view.run(label) == "2017-07-21 03:21:36", "the time of the cursor")
    view.press(Keys.ESCAPE)
    view.wait(lambda: view.run(label) is None, "no cursor")


def test_the_range_that_is_shown_is_the_one_that_is_drawn(view):
    for key in ("+", Keys.ARROW_RIGHT, "-", Keys.ARROW_LEFT, "0"):
        view.press(key)
        view.rest()
        drawn = drawn_range(view)
        texts = [time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(t)) for t in drawn]
        assert shown(view) == texts, key

        def stated():
            return tuple(float(address(view)[name][0]) for name in ("from", "to"))

        # The address follows a gesture a little later.
        view.wait(lambda drawn=drawn: stated() == pytest.approx(drawn, abs=1e-3), f"after {key}")
    assert drawn_range(view) == (FROM, TO)
