"""What stands beside the curves: values, times and axes."""

from selenium.webdriver import ActionChains
from selenium.webdriver.common.keys import Keys

from tests.browser.test_page import TEMPERATURE, WEEKS, address


def test_values_at_the_cursor_and_typed_times(page, weather):
    page.open(f"?s={TEMPERATURE}&{WEEKS}")
    page.wait(lambda: page.counts() == {TEMPERATURE: 332}, "the samples")
    latest = page.legend(TEMPERATURE)[1]
    over = page.browser.find_element("css selector", ".reach")
    ActionChains(page.browser).move_to_element(over).perform()
    page.wait(lambda: page.legend(TEMPERATURE)[1] != latest, "the value at the cursor")
    field = page.element("from")
    field.clear()
    field.send_keys("2017-07-20", Keys.TAB)
    page.wait(lambda: address(page)["from"] == ["1500508800"], "the typed time")
    assert page.run("return arguments[0].value", field) == "2017-07-20 00:00:00"
    field.clear()
    field.send_keys("yesterday", Keys.TAB)
    page.wait(lambda: "are written" in page.text("message"), "the complaint")


def test_further_units_get_a_chart_of_their_own(page, weather):
    keys = ["temperature", "windspeed", "pressure"]
    page.open("?" + "&".join(f"s={weather}::apex_{key}" for key in keys) + f"&{WEEKS}")
    page.wait(lambda: page.counts().get(TEMPERATURE) == 332, "the samples")
    lefts = (
        "return [...document.querySelectorAll('.reach')].map((e) => [e.offsetLeft, e.offsetWidth])"
    )
    page.wait(lambda: len(page.run(lefts)) == 2, "two panels")
    page.wait(lambda: len({tuple(each) for each in page.run(lefts)}) == 1, "them to be aligned")
    page.picture("units")


def test_columns_of_all_legends_are_above_each_other(page, weather):
    page.browser.set_window_size(1400, 900)
    fields = [f"{TEMPERATURE},apex_no_such_field_of_a_name_that_needs_two_lines", "apex_pressure"]
    page.open(f"?p={fields[0]}&p={weather}::{fields[1]}&{WEEKS}")
    page.wait(lambda: page.counts().get(TEMPERATURE) == 332, "the samples")
    page.wait(lambda: "has no field" in page.text("panels"), "what is wrong")
    edges = (
        "return ['value', 'min', 'max'].map((name) => new Set([...document.querySelectorAll("
        "`.legend td.${name}`)].map((cell) => cell.getBoundingClientRect().right)).size)"
    )
    page.wait(lambda: page.run(edges) == [1, 1, 1], "the columns to be aligned")
