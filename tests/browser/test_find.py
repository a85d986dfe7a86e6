"""To find data: the tree and its search, where samples lie, and what an empty page shows."""

import pytest
from selenium.webdriver import ActionChains
from selenium.webdriver.common.keys import Keys

from sisock.testing import RouterProcess
from tests.browser.conftest import Page

TEMPERATURE = "page_weather::apex_temperature"
CHANNEL = "page_wide::channel_0042"
JULY = "14\u201328 Jul 2017"

ROW = (
    "const row = [...document.querySelectorAll('#nodes .row')].findLast((each) =>"
    " (each.dataset.key ?? each.dataset.node ?? each.querySelector('.name').textContent)"
    " === arguments[0]);"
)


@pytest.fixture
def wide(serve):
    return serve("tests/browser/nodes.py", "wide", name="page_wide")


@pytest.fixture
def opened(page, wide):
    """The page, with all there is of a node known."""
    page.open("?last=3600")
    page.wait(lambda: wide in page.nodes(), "the node in the list")
    page.wait(lambda: "5000" in row(page, wide), "its fields")
    return page


def row(page, name):
    """Text of the row of a key, a node or a timeline; empty if it is not drawn."""
    return page.run(f"{ROW} return row ? row.innerText : ''", name)


def where(page, name):
    """Where a row says that samples lie."""
    return page.run(f"{ROW} return row?.querySelector('.where')?.textContent ?? ''", name)


def names(page):
    """What stands in the tree, as far as it is drawn."""
    script = "return [...document.querySelectorAll('#nodes .name')].map((e) => e.textContent)"
    return page.run(script)


def below(page, name):
    """The two names after this one in the tree."""
    found = names(page)
    return found[found.index(name) + 1 :][:2]


def range_shown(page):
    """Start and end of the range in the address; the span, if it follows."""
    script = (
        "const p = new URLSearchParams(location.search);"
        "return ['from', 'to', 'last'].map((key) => p.has(key) ? Number(p.get(key)) : null)"
    )
    return page.run(script)


def press(page, *keys):
    ActionChains(page.browser).send_keys(*keys).perform()


def test_the_first_click_of_a_mouse_opens_a_node(opened, wide):
    opened.run("document.activeElement.blur()")
    selector = f"#nodes .row[data-node={wide}] .name"
    element = opened.browser.find_element("css selector", selector)
    was_open = opened.run(f"{ROW} return row.ariaExpanded", wide)
    # The tree is drawn again while the button is down, as it gets the focus.
    ActionChains(opened.browser).click_and_hold(element).perform()
    opened.rest()
    ActionChains(opened.browser).release().perform()
    opened.wait(lambda: opened.run(f"{ROW} return row.ariaExpanded", wide) != was_open, "the node")


def test_each_field_shows_where_its_samples_lie(page, weather, sensors, serve):
    serve("tests/browser/nodes.py", "mixed", name="page_mixed")
    page.open("?last=3600")
    page.wait_until_connected()
    page.search("page_weather::")
    page.wait(lambda: where(page, TEMPERATURE) == "14\u201327 Jul 2017", "the days of an archive")
    page.picture("find-bounds")
    page.search("page_sensors::")
    page.wait(lambda: where(page, f"{sensors}::cpu_percent") == "live", "a live field")
    page.search("page_mixed::")
    page.wait(lambda: "number" in names(page), "the fields of a node that does not say")
    assert {where(page, "page_mixed::number"), where(page, "page_mixed")} <= {"", "reading \u2026"}


def test_the_first_selected_field_leads_to_its_samples(opened):
    opened.tick(CHANNEL)
    opened.wait(lambda: opened.counts().get(CHANNEL, 0) > 1000, "all samples of the archive")
    start, end, span = range_shown(opened)
    assert span is None
    assert (start, end) == (1_499_990_400, 1_501_243_200)


def test_a_field_outside_of_the_range_offers_to_go_there(page, wide, sensors):
    live = f"{sensors}::cpu_percent"
    page.open(f"?s={live}&last=600")
    page.wait(lambda: page.counts().get(live, 0) > 0, "live samples")
    page.tick(CHANNEL)
    page.wait(lambda: "no samples in this range" in page.text("message"), "the notice")
    assert JULY in page.text("message")
    assert range_shown(page)[2] == 600
    page.picture("find-go-there")
    page.element("message-action").click()
    page.wait(lambda: page.counts().get(CHANNEL, 0) > 1000, "its samples")
    page.wait(lambda: page.text("message") == "", "the end of the notice")
    page.browser.back()
    page.wait(lambda: range_shown(page)[2] == 600, "the range before")


def test_an_offer_to_go_there_ends_with_another_range(page, wide, sensors):
    page.open(f"?p={sensors}::cpu_percent&last=600")
    page.wait(lambda: page.counts().get(f"{sensors}::cpu_percent", 0) > 0, "live samples")
    page.tick(CHANNEL)
    page.wait(lambda: "no samples in this range" in page.text("message"), "the notice")
    page.browser.find_element("xpath", "//button[.='All data']").click()
    page.wait(lambda: page.counts().get(CHANNEL, 0) > 0, "its samples")
    page.wait(lambda: page.text("message") == "", "the end of the notice")


def test_all_data_and_latest_are_a_click_away(page, wide):
    page.open(f"?s={CHANNEL}&last=3600")
    page.wait(lambda: CHANNEL in page.counts(), "the field")
    everything, latest = page.element("jumps").find_elements("css selector", "button")
    page.wait(everything.is_enabled, "the button")
    latest.click()
    page.wait(lambda: 1 < page.counts()[CHANNEL] < 10, "the last hour of its samples")
    start, end, _ = range_shown(page)
    assert (start < 1_501_200_000 < end) and end - start == pytest.approx(3600)
    everything.click()
    page.wait(lambda: page.counts()[CHANNEL] > 1000, "all of them")


def test_the_latest_of_a_node_that_does_not_say_where_they_are(page, serve):
    serve("tests/browser/nodes.py", "mixed", name="page_mixed")
    key = "page_mixed::number"
    page.open(f"?s={key}&last=600")
    page.wait(lambda: key in page.counts(), "the field")
    everything, latest = page.element("jumps").find_elements("css selector", "button")
    page.wait(everything.is_enabled, "the button")
    everything.click()
    page.wait(lambda: "do not tell" in page.text("message"), "why there is no range")
    latest.click()
    page.wait(lambda: page.counts().get(key, 0) > 100, "the newest samples")


def test_words_and_patterns_find_fields(opened):
    opened.search("wafer_3 0342")
    opened.wait(lambda: names(opened) == ["page_wide", "wafer_3", "channel_0342"], "words")
    assert row(opened, "page_wide").split("\n")[1] == "1 of 5000"
    opened.search("channel_?9?9 v")
    opened.wait(lambda: "channel_0999" not in names(opened), "the unit V alone")
    opened.search("channel_?9?9 wafer_9")
    opened.wait(lambda: names(opened)[2:4] == ["channel_0909", "channel_0919"], "a pattern")
    opened.wait(lambda: opened.text("search-count") == "10 fields found", "their number")
    marks = opened.run("return [...document.querySelectorAll('#nodes mark')].length")
    assert marks > 0
    opened.picture("find-search")
    opened.search("nothing of this kind")
    opened.wait(lambda: names(opened) == [], "nothing")


def test_fields_stand_below_their_timelines(opened):
    opened.run(f"{ROW} row.click()", "page_wide")
    opened.wait(lambda: below(opened, "page_wide") == ["wafer_0", "wafer_1"], "the timelines")
    assert row(opened, "wafer_0").split("\n") == ["wafer_0", "100", "every 10 min"]
    opened.run(f"{ROW} row.click()", "wafer_0")
    opened.wait(lambda: below(opened, "page_wide") == ["wafer_0", "channel_0000"], "its fields")
    opened.run(f"{ROW} row.click()", "wafer_0")
    opened.wait(lambda: below(opened, "page_wide") == ["wafer_0", "wafer_1"], "the fields to go")


def test_what_is_selected_stands_on_top_and_goes_from_there(opened):
    opened.tick(CHANNEL)
    opened.wait(lambda: names(opened)[:2] == ["On the page", "channel_0042"], "the field on top")
    opened.run("document.querySelector('#nodes [data-key]').click()")
    opened.wait(lambda: "On the page" not in names(opened), "the field to go")


def test_five_thousand_fields_are_searched_without_lag(opened):
    drawn = "return document.querySelectorAll('#nodes .row').length"
    opened.run(f"{ROW} row.click()", "page_wide")
    opened.wait(lambda: opened.run(drawn) > 10, "the rows")
    assert opened.run(drawn) < 100
    opened.run("document.getElementById('nodes').scrollTop = 1e6")
    opened.wait(lambda: "wafer_49" in names(opened), "the last timeline")
    opened.run(f"{ROW} row.click()", "wafer_49")
    opened.run("document.getElementById('nodes').scrollTop = 1e6")
    opened.wait(lambda: "channel_4999" in names(opened), "the last field")
    assert opened.run(drawn) < 100
    letters = (
        "const box = document.getElementById('search'); const done = arguments[1];"
        "const before = performance.now(); let i = 0; let longest = 0; box.focus();"
        "const step = () => { const at = performance.now();"
        "  if (i === arguments[0].length) return done((at - before) / i);"
        "  i += 1; box.value = arguments[0].slice(0, i);"
        "  box.dispatchEvent(new Event('input'));"
        "  requestAnimationFrame(() => requestAnimationFrame(step)); }; step()"
    )
    mean = opened.browser.execute_async_script(letters, "channel 4 wafer detector")
    print(f"a letter in the search of 5,000 fields: {mean:.0f} ms, two frames among them")


def test_the_tree_is_used_by_keyboard(opened):
    opened.element("search").send_keys("channel_0042", Keys.ARROW_DOWN)
    tree = opened.element("nodes")
    opened.wait(lambda: opened.browser.switch_to.active_element == tree, "the focus")
    press(opened, " ")
    opened.wait(lambda: CHANNEL in opened.counts(), "the field")
    active = (
        "const id = document.getElementById('nodes').getAttribute('aria-activedescendant');"
        "const row = document.getElementById(id); return row && [row.querySelector('.name')"
        ".textContent, row.ariaChecked, row.ariaExpanded, row.ariaLevel]"
    )

    def wait_for_row(*wanted):
        def is_active():
            return tuple((opened.run(active) or [])[: len(wanted)]) == wanted

        opened.wait(is_active, f"the row {wanted}")

    wait_for_row("channel_0042", "true")
    press(opened, Keys.ARROW_LEFT)
    wait_for_row("wafer_0", None, "true", "2")
    press(opened, Keys.ARROW_LEFT, Keys.ARROW_LEFT)
    wait_for_row("page_wide", None, "true", "1")
    press(opened, Keys.ARROW_LEFT)
    wait_for_row("page_wide", None, "false", "1")
    press(opened, Keys.HOME)
    wait_for_row("On the page")
    press(opened, Keys.END)
    opened.wait(lambda: (opened.run(active) or [""])[0] == names(opened)[-1], "the last row")


def test_the_first_visit_shows_something_moving(page, weather, sensors):
    page.open()
    page.wait(lambda: page.counts(), "fields that nobody chose")
    page.wait(lambda: all(count > 0 for count in page.counts().values()), "their samples")
    before = page.counts()
    page.wait(lambda: all(page.counts()[key] > n for key, n in before.items()), "further ones")
    page.picture("first-visit")


@pytest.fixture
def lonely_router():
    with RouterProcess() as router:
        yield router


def test_a_page_without_any_node_says_what_to_start(browser, lonely_router, start):
    page = Page(browser, lonely_router)
    page.open()
    page.wait_until_connected()
    page.wait(lambda: "data_nodes/sensors.py" in page.text("welcome"), "what to start")
    page.picture("no-node")
    page.wait(page.element("welcome").is_displayed, "it to be seen")
    start(lonely_router, "data_nodes/weather.py", "--name", "late").wait_for("in the hub's list")
    page.wait(lambda: any(page.counts().values()), "the samples of the node that came")
    page.wait(lambda: not page.element("welcome").is_displayed(), "the welcome to go")
    browser.get("about:blank")
