"""The page in a browser: what a scientist sees and does."""

import csv
from urllib.parse import parse_qs, urlsplit

import pytest
from selenium.webdriver import ActionChains
from selenium.webdriver.common.keys import Keys

from sisock.testing import RouterProcess
from tests.browser.conftest import Page
from tests.nodes import START

WEEKS = "from=1499990400&to=1501200000"
TEMPERATURE = "page_weather::apex_temperature"
WIND = "page_weather::apex_windspeed"


def room(page):
    """Samples of each field that the page asks for, at most: two for a column of pixels."""
    return page.run(
        "return 2 * Math.ceil(document.querySelector('.panel-list').clientWidth * devicePixelRatio)"
    )


def all_there(page):
    """Whether the hours are there, each of them, and of the minutes what there is room for."""
    return page.counts().get(TEMPERATURE) == 332 and is_decimated(page, WIND)


def is_decimated(page, key):
    """Whether of a field no more is there than there is room for, nor less than a node may send."""
    return room(page) / 16 < page.counts().get(key, 0) <= room(page)


def address(page):
    return parse_qs(urlsplit(page.browser.current_url).query)


def test_the_link_connects_and_leaves_the_secret_nowhere(page, weather):
    page.open()
    page.wait_until_connected()
    assert "secret" not in page.browser.current_url
    assert page.secret not in page.router.log
    page.wait(lambda: weather in page.nodes(), "the node in the list")
    page.picture("connected")


def test_the_secret_is_asked_for_once_and_kept_for_the_tab(page, weather):
    page.open(secret="")
    field = page.element("secret")
    page.wait(field.is_displayed, "the question for the secret")
    field.send_keys(page.secret, Keys.ENTER)
    page.wait_until_connected()
    page.open(secret="", fresh=False)
    page.wait_until_connected()


def test_a_wrong_secret_is_said_and_asked_for_again(page, weather):
    page.open(secret="wrong")
    page.wait(lambda: "refuses" in page.text("sign-in"), "the refusal")
    page.picture("wrong-secret")
    page.element("secret").send_keys(page.secret, Keys.ENTER)
    page.wait_until_connected()
    page.wait(lambda: not page.element("sign-in").is_displayed(), "the end of the question")


def test_the_page_takes_the_realm_of_the_router_and_says_when_it_changes(browser, monkeypatch):
    monkeypatch.setenv("WAMP_REALM", "test_realm")
    with RouterProcess() as router:
        page = Page(browser, router)
        page.open()
        page.wait_until_connected()
        router.stop()
        monkeypatch.delenv("WAMP_REALM")
        router.start()
        page.wait(lambda: "no realm test_realm" in page.text("connection"), "the refusal")
        assert not page.element("sign-in").is_displayed()
        page.open(secret="", fresh=False)
        page.wait_until_connected()
        browser.get("about:blank")


def test_settings_that_do_not_arrive_are_asked_for_again(browser, monkeypatch):
    monkeypatch.setenv("WAMP_REALM", "test_realm")
    with RouterProcess() as router:
        page = Page(browser, router)
        # The network fails once, just then.
        command = "Page.addScriptToEvaluateOnNewDocument"
        fail = (
            "const own = fetch; fetch = async () => { fetch = own; throw new TypeError('lost'); };"
        )
        script = browser.execute_cdp_cmd(command, {"source": fail})
        try:
            page.open()
            page.wait_until_connected()
        finally:
            browser.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", script)
        browser.get("about:blank")


def test_two_weeks_are_plotted_and_a_dragged_range_is_fetched(page, weather):
    page.open(f"?s={TEMPERATURE}&s={WIND}&{WEEKS}")
    page.wait(lambda: all_there(page), "the samples")
    page.picture("two-weeks")
    over = page.browser.find_element("css selector", ".reach")
    width = over.size["width"]
    ActionChains(page.browser).move_to_element_with_offset(
        over, -width // 4, 0
    ).click_and_hold().move_by_offset(width // 4, 0).release().perform()
    page.wait(lambda: page.counts()[TEMPERATURE] < 120, "the samples of the part")
    zoomed = address(page)
    start, end = float(zoomed["from"][0]), float(zoomed["to"][0])
    assert start == pytest.approx(1499990400 + 1209600 / 4, abs=9000)
    assert end == pytest.approx(1499990400 + 1209600 / 2, abs=9000)
    assert page.counts()[TEMPERATURE] == pytest.approx((end - start) / 3600, abs=6)
    page.picture("zoomed")


def test_fields_are_ticked_and_the_view_is_restored_in_a_second_tab(page, weather):
    page.open(f"?{WEEKS}")
    page.wait_until_connected()
    page.wait(lambda: weather in page.nodes(), "the node")
    page.tick(TEMPERATURE)
    page.wait(lambda: page.counts() == {TEMPERATURE: 332}, "the samples")
    link = page.browser.current_url
    assert TEMPERATURE in link
    page.browser.switch_to.new_window("tab")
    page.browser.get(link)
    page.wait(lambda: page.counts() == {TEMPERATURE: 332}, "the same in the second tab")


def test_live_samples_grow(page, sensors):
    key = f"{sensors}::cpu_percent"
    page.open(f"?s={key}&last=600")
    page.wait(lambda: page.counts().get(key, 0) > 0, "the first samples")
    before = page.counts()[key]
    page.wait(lambda: page.counts()[key] >= before + 2, "further samples")
    page.picture("live")


def test_the_connection_stays_when_a_live_field_is_unticked(page, sensors):
    key = f"{sensors}::cpu_percent"
    page.open(f"?s={key}&last=600")
    page.wait(lambda: page.counts().get(key, 0) > 0, "the first samples")
    before = page.counts()[key]
    page.wait(lambda: page.counts()[key] > before, "a live sample")
    page.run(
        "window.states = [];"
        "new MutationObserver(() => states.push(arguments[0].dataset.state))"
        ".observe(arguments[0], { attributes: true })",
        page.element("connection"),
    )
    page.tick(key)
    page.wait(lambda: page.counts() == {}, "the curve to go")
    # Its samples can be fetched again only after the router has read that they are watched no more.
    page.tick(key)
    page.wait(lambda: page.counts().get(key, 0) > 0, "the samples again")
    before = page.counts()[key]
    page.wait(lambda: page.counts()[key] > before, "a live sample again")
    assert page.run("return states") == []
    assert page.text("connection") == "connected"


def test_a_node_that_is_killed_stays_greyed_and_comes_back(page, router, start):
    first = start(router, "tests/nodes.py", "ticker", "--name", "page_killed")
    first.wait_for("is in the hub's list")
    key = "page_killed::count"
    page.open(f"?s={key}&last=600")
    page.wait(lambda: page.counts().get(key, 0) > 0, "the samples")
    first.end()
    page.wait(lambda: page.legend(key)[0] == "gone", "the greyed curve")
    assert page.counts()[key] > 0
    page.wait(lambda: "page_killed is gone" in page.text("message"), "the message")
    page.wait(lambda: "page_killed" not in page.nodes(), "the greyed node")
    page.picture("node-gone")
    start(router, "tests/nodes.py", "ticker", "--name", "page_killed")
    page.wait(lambda: page.legend(key)[0] == "", "the curve of the new node")
    before = page.counts()[key]
    page.wait(lambda: page.counts()[key] > before, "its live samples")


def test_the_page_survives_a_restart_of_the_router(browser, own_router, start):
    from tests.browser.conftest import Page

    node = start(own_router, "tests/nodes.py", "ticker", "--name", "page_restart")
    node.wait_for("is in the hub's list")
    page = Page(browser, own_router)
    key = "page_restart::count"
    page.open(f"?s={key}&last=600")
    page.wait(lambda: page.counts().get(key, 0) > 0, "the samples")
    own_router.stop()
    page.wait(lambda: "trying again in" in page.text("connection"), "notice of the loss")
    page.picture("router-gone")
    own_router.start()
    page.wait_until_connected()
    before = page.counts()[key]
    page.wait(lambda: page.counts()[key] > before, "live samples again")
    browser.get("about:blank")


def test_table_and_csv_hold_the_samples(page, weather):
    page.open(f"?s={TEMPERATURE}&from=1500076800&to=1500163200&table=1")
    page.wait(lambda: page.counts() == {TEMPERATURE: 24}, "a day of samples")
    script = "return [...document.querySelectorAll('.samples tbody tr')].map((r) => r.textContent)"
    page.wait(lambda: len(page.run(script)) == 24, "their rows")
    assert page.run(script)[-1] == "2017-07-15 00:00:00.000-5.1"
    page.picture("table")
    rows = list(csv.reader(page.save_samples().open()))
    assert rows[0] == ["time", "unix", f"{TEMPERATURE} [C]"]
    assert rows[1] == ["2017-07-15T00:00:00.000Z", "1500076800", "-5.1"]
    assert len(rows) == 25


def test_csv_holds_every_sample_of_which_only_some_are_drawn(page, weather):
    page.open(f"?s={WIND}&{WEEKS}")
    page.wait(lambda: is_decimated(page, WIND), "the samples")
    assert len(list(csv.reader(page.save_samples().open()))) == 1 + 19804


def test_samples_that_may_still_change_are_marked(page, serve):
    serve("tests/nodes.py", "odd", name="page_odd")
    page.open(f"?s=page_odd::nan&from={START}&to={START + 5}&table=1")
    page.wait(lambda: page.counts() == {"page_odd::nan": 5}, "the samples")
    marks = "return [...document.querySelectorAll('.samples td')].map((c) => c.className)"
    # The newest is first; that of second 3 is missing.
    page.wait(lambda: page.run(marks) == ["open", "", "", "", ""], "the marks")


def test_what_has_no_data_says_why(page, weather, serve):
    serve("tests/nodes.py", "odd", name="page_odd")
    serve("tests/nodes.py", "too_much", name="page_too_much")
    keys = [f"{weather}::typo", TEMPERATURE, "nowhere::x", "page_odd::fails", "page_odd::empty"]
    keys.append("page_too_much::x")
    page.open("?" + "&".join(f"s={key}" for key in keys) + "&from=1500076800&to=1500163200")
    page.wait(lambda: page.counts().get(TEMPERATURE) == 24, "what has data")
    page.wait(lambda: "no field typo" in page.legend(keys[0])[1], "the wrong name")
    page.wait(lambda: "nowhere is not there" in page.legend(keys[2])[1], "the wrong node")
    page.wait(lambda: "OSError" in page.legend(keys[3])[1], "the failure")
    page.wait(lambda: "no samples" in page.legend(keys[4])[1], "the field without data")
    page.wait(lambda: "too large" in page.legend(keys[5])[1], "the reply of False")
    page.picture("errors")


def test_no_other_host_is_asked(page, weather):
    page.open(f"?s={TEMPERATURE}&{WEEKS}")
    page.wait(lambda: page.counts() == {TEMPERATURE: 332}, "the samples")
    asked = page.run("return performance.getEntriesByType('resource').map((e) => e.name)")
    assert asked
    assert all(url.startswith(f"https://localhost:{page.router.port}/") for url in asked)


@pytest.mark.parametrize(("width", "height"), [(360, 740), (3840, 2160)])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_readable_on_small_and_large_screens(page, weather, width, height, scheme):
    page.browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False},
    )
    emulated = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    page.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", emulated)
    try:
        page.open(f"?s={TEMPERATURE}&s={WIND}&{WEEKS}&stack=1")
        page.wait(lambda: all_there(page), "the samples")
        page.rest()
        page.picture(f"{width}-{scheme}")
        assert page.run("return document.documentElement.scrollWidth") <= width
        plot = page.run(
            "return document.querySelector('.chart canvas').getBoundingClientRect().width"
        )
        assert width / 3 < plot <= width
        if width > 1000:
            bottom = page.run(
                "return document.querySelector('.add-panel').getBoundingClientRect().bottom"
            )
            main = "document.querySelector('main')"
            assert bottom > 0.95 * height
            assert page.run(f"return {main}.scrollHeight <= {main}.clientHeight")
    finally:
        page.browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        page.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_it_can_be_used_by_keyboard(page, weather):
    page.open(f"?s={TEMPERATURE}&{WEEKS}")
    page.wait(lambda: page.counts() == {TEMPERATURE: 332}, "the samples")
    page.press("+")
    page.wait(lambda: page.counts()[TEMPERATURE] < 170, "the closer view")
    page.press(Keys.ARROW_RIGHT)
    middle = (1499990400 + 1501200000) / 2 + 0.1 * 604800

    def middle_in_address():
        shown = address(page)
        return (float(shown["from"][0]) + float(shown["to"][0])) / 2

    page.wait(lambda: middle_in_address() == pytest.approx(middle, abs=2), "the moved range")
    named = (
        "return [...document.querySelectorAll('button, input, select')].filter((e) =>"
        " !(e.labels?.length || e.ariaLabel || e.textContent.trim())).map((e) => e.id)"
    )
    assert page.run(named) == []
