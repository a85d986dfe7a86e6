"""The latest values: as a table on a desk, and on the wall of a control room."""

import base64
import time

import pytest

from tests.browser.conftest import Page
from tests.browser.panels import boxes
from tests.browser.wall import FIXED, MOVING
from tests.nodes import START

LISTED = "is in the hub's list"
ROWS = """
return Object.fromEntries([...document.querySelectorAll("#values tbody tr")].map((row) => [
  row.dataset.key.split("::")[1],
  { level: row.dataset.level, sign: row.querySelector(".sign").ariaLabel,
    value: row.querySelector(".value").textContent.trim(),
    age: row.querySelector(".age").textContent,
    curve: row.querySelector("path").getAttribute("d") ?? "" },
]))
"""
ORDER = "return [...document.querySelectorAll('#values tbody tr')].map((row) => row.dataset.key)"


def rows(page):
    return page.run(ROWS)


def rows_with(page, levels):
    found = rows(page)
    return found if all(found[name]["level"] == level for name, level in levels.items()) else None


def summary(page):
    return page.run("return document.querySelector('#values .summary').textContent")


@pytest.fixture
def wall(serve):
    return serve("tests/browser/wall.py", name="page_wall")


def keys(node, *fields):
    return f"v={node}::{','.join(fields)}"


def test_values_stand_with_units_ages_limits_and_curves(page, wall):
    page.open(f"?view=values&v={wall}::*")
    page.wait(lambda: len(rows(page)) == len(FIXED) + len(MOVING) + 5, "all fields of the node")
    page.wait(lambda: rows(page)["hot"]["curve"].count("L") > 50, "the last hour")
    levels = {
        "well": "", "warm": "warning", "cold": "warning", "hot": "alarm", "frozen": "alarm",
    }  # fmt: skip
    # All of them are stale if nothing has come for three seconds.
    shown = page.wait(lambda: rows_with(page, levels), "the levels")
    assert shown["well"]["value"] == "5.00 K"
    assert shown["hot"]["sign"] == "alarm: above 20.00 K"
    assert shown["cold"]["sign"] == "warning: below 0.00 K"
    assert shown["valve"]["value"] == "open"
    assert shown["mode"]["value"] == "scanning"
    assert shown["mode"]["curve"] == ""
    page.wait(lambda: rows(page)["silent"]["level"] == "stale", "the silent field to be stale")
    counted = "200 fields · 2 alarm · 2 warning · 1 stale"
    page.wait(lambda: summary(page) == counted, "their number")
    signs = (
        "return [...document.querySelectorAll('#values [data-level=alarm] .sign')]"
        ".map((sign) => sign.textContent)"
    )
    page.wait(lambda: sorted(page.run(signs)) == ["▲▲", "▼▼"], "the signs")
    page.picture("values")


def test_values_keep_up_with_the_present(page, wall):
    page.open(f"?view=values&{keys(wall, 'count')}")
    page.wait(lambda: rows(page).get("count", {}).get("age"), "the value")
    first = int(rows(page)["count"]["value"])
    page.wait(lambda: int(rows(page)["count"]["value"]) > first + 2, "later values")
    page.wait(lambda: rows(page)["count"]["age"] in ("now", "2 s", "3 s"), "a present value")
    page.wait(lambda: abs(int(rows(page)["count"]["value"]) - time.time()) < 10, "its number")


def test_rows_are_sorted_as_chosen_and_the_choice_is_in_the_address(page, wall):
    page.open(f"?view=values&{keys(wall, 'well', 'hot', 'cold', 'warm')}")
    page.wait(lambda: rows(page).get("warm", {}).get("value") == "12.00 K", "the values")

    def order():
        return [key.split("::")[1] for key in page.run(ORDER)]

    assert order() == ["well", "hot", "cold", "warm"]
    choice = page.browser.find_element("css selector", "#values option[value=level]")
    choice.click()
    page.wait(lambda: order() == ["hot", "cold", "warm", "well"], "the most urgent first")
    assert "order=level" in page.browser.current_url
    page.browser.find_element("css selector", "#values option[value=name]").click()
    page.wait(lambda: order() == ["cold", "hot", "warm", "well"], "the order of names")
    page.browser.back()
    page.wait(lambda: order() == ["hot", "cold", "warm", "well"], "the order before")


def test_a_whole_node_is_added_and_taken_away(page, wall):
    page.open("?view=values")
    page.wait_until_connected()
    option = f"#values option[value='{wall}::*']"
    page.wait(lambda: page.browser.find_elements("css selector", option), "the node's name")
    page.browser.find_element("css selector", option).click()
    page.wait(lambda: len(rows(page)) == 200, "its fields")
    page.browser.find_element("css selector", "#values .chips button").click()
    page.wait(lambda: rows(page) == {}, "no fields")
    empty = "return document.querySelector('#values .empty').textContent"
    page.wait(lambda: "Choose fields" in page.run(empty), "what to do")


def test_a_click_opens_the_field_in_a_panel(page, wall):
    page.open(f"?view=values&{keys(wall, 'well', 'hot')}")
    page.wait(lambda: rows(page).get("hot", {}).get("value"), "the values")
    page.run("document.querySelector('#values tr[data-key$=hot] button').click()")
    key = f"{wall}::hot"
    page.wait(lambda: page.counts().get(key, 0) > 0, "the field in a panel")
    page.browser.back()
    page.wait(lambda: set(rows(page)) == {"well", "hot"}, "the values again")


def test_the_last_value_of_an_archive_is_stale_and_years_old(page, serve):
    weather = serve("data_nodes/weather.py", name="page_weather")
    page.open(f"?view=values&{keys(weather, 'apex_temperature', 'typo')}")
    page.wait(lambda: rows(page).get("apex_temperature", {}).get("age"), "the value")
    page.wait(lambda: rows(page)["apex_temperature"]["level"] == "stale", "it to be stale")
    assert rows(page)["apex_temperature"]["age"].endswith(" y")
    wrong = f"{weather} has no field typo"
    page.wait(lambda: rows(page)["typo"]["value"] == wrong, "what is wrong")


def test_one_field_that_fails_leaves_the_others_their_values(page, serve):
    odd = serve("tests/nodes.py", "odd", name="page_odd")
    page.open(f"?view=values&{keys(odd, 'nan', 'fails', 'empty')}")
    page.wait(lambda: "OSError" in rows(page).get("fails", {}).get("value", ""), "the failure")
    page.wait(lambda: rows(page)["empty"]["value"] == "no value", "the field without data")
    page.wait(lambda: rows(page)["nan"]["age"].endswith(" y"), f"the last value after {START}")


def test_a_node_that_goes_is_marked_and_comes_back(page, router, start):
    node = start(router, "tests/browser/wall.py", "--name", "page_going", MOVING="0")
    node.wait_for(LISTED)
    page.open("?view=values&v=page_going::*;page_never::*")
    page.wait(lambda: rows(page).get("well", {}).get("value") == "5.00 K", "the values")
    node.end()
    page.wait(lambda: rows(page)["hot"]["level"] == "gone", "the mark")
    assert rows(page)["hot"]["value"] == "25.00 K"
    assert rows(page)["hot"]["sign"] == "the node is gone"
    start(router, "tests/browser/wall.py", "--name", "page_going", MOVING="0").wait_for(LISTED)
    page.wait(lambda: rows(page)["hot"]["level"] == "alarm", "the node again")


def test_what_comes_while_the_connection_is_away_is_caught_up(browser, own_router, start):
    start(own_router, "tests/browser/nodes.py", "numbered").wait_for(LISTED)
    page = Page(browser, own_router)
    page.open(f"?view=values&{keys('numbered', 'slow_number')}")

    def number():
        row = rows(page).get("slow_number")
        return int(row["value"]) if row and row["age"] else 0

    page.wait(lambda: number() > 0, "the first value")
    own_router.stop()
    page.wait(lambda: "trying again in" in page.text("connection"), "notice of the loss")
    assert number() > 0
    own_router.start()
    now = int(time.time() * 10)
    page.wait(lambda: number() > now, "later values", 60)
    browser.get("about:blank")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("width", "height"), [(360, 740), (1400, 900), (3840, 2160)])
def test_values_have_as_many_columns_as_have_room(page, wall, sized, width, height, scheme):
    sized(width, height, scheme)
    page.open(f"?view=values&v={wall}::*&order=level")
    page.wait(lambda: len(rows(page)) == 200, "all fields of the node")
    page.wait(lambda: rows(page)["hot"]["curve"].count("L") > 50, "the last hour")
    columns = "return document.querySelectorAll('#values table').length"
    wanted = range(1, 2) if width < 500 else range(width // 1400 + 1, 200)
    page.wait(lambda: page.run(columns) in wanted, "as many columns as have room")
    page.wait(lambda: page.run("return document.documentElement.scrollWidth") <= width, "no more")
    page.picture(f"values-{width}-{scheme}")


def test_values_fill_the_screen_when_asked_to(page, wall, sized):
    sized(1920, 1080, "dark")
    page.open(f"?view=values&{keys(wall, *FIXED, 'valve', 'mode')}&order=level")
    page.wait(lambda: len(rows(page)) == 7, "the values")
    size = "return parseFloat(getComputedStyle(document.querySelector('#values table')).fontSize)"
    before = page.run(size)
    page.element("values-full").click()
    page.wait(lambda: page.run(size) > 2 * before, "large type")
    overflow = "return document.fullscreenElement.scrollHeight - innerHeight"
    page.wait(lambda: page.run(overflow) <= 0, "all of them on the screen")
    assert not page.element("find").is_displayed()
    page.picture("values-full-screen")
    page.run("document.exitFullscreen()")
    page.wait(lambda: page.run(size) == before, "the page again")


def test_two_hundred_values_are_painted_twice_a_second_at_most(page, wall):
    page.open(f"?view=values&v={wall}::*")
    page.wait(lambda: len(rows(page)) == 200, "all fields of the node")
    page.run(
        "window.paints = [];"
        "new MutationObserver(() => paints.push(performance.now())).observe("
        "document.querySelector('#values .columns'), { subtree: true, childList: true })"
    )
    page.wait(lambda: len(page.run("return paints")) > 12, "some paintings")
    paints = page.run("return paints")
    assert len(paints) - 1 <= 2.1 * (paints[-1] - paints[0]) / 1000 + 1


def test_the_fields_of_a_whole_node_are_ticked_and_saved(page, wall):
    page.open(f"?view=values&v={wall}::*&order=name")
    page.wait(lambda: len(rows(page)) == len(FIXED) + len(MOVING) + 5, "all fields of the node")
    cut = (
        "return [...document.querySelectorAll('#values tr[data-key] .box')]"
        ".filter((box) => box.scrollWidth > box.clientWidth).map((box) => box.textContent)"
    )
    page.wait(lambda: page.run(cut) == [], "columns that nothing is too long for")

    def height():
        tops = [box["top"] for box in boxes(page, "#values .bar > *")]
        return max(tops) - min(tops)

    page.wait(lambda: height() < 20, "one row of controls")
    pdf = page.browser.execute_cdp_cmd("Page.printToPDF", {})["data"]
    assert base64.b64decode(pdf).count(b"/Type /Page\n") == 4, "an empty sheet"
    page.element("values-save").click()
    about = "return document.querySelector('#export').innerText"
    page.wait(lambda: "200 fields" in page.run(about), "the fields to be saved")
    page.run("document.querySelector('#export').close()")
    page.search(f'"{wall}::hot"')
    ticked = (
        "return [...document.querySelectorAll('#nodes .field[aria-checked=true]')]"
        ".filter((row) => row.dataset.key === arguments[0]).length"
    )
    page.wait(lambda: page.run(ticked, f"{wall}::hot"), "the tick")
    page.tick(f"{wall}::hot")
    page.wait(lambda: "hot" not in rows(page) and len(rows(page)) > 100, "the others")
