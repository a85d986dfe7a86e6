"""The page can be used by everybody: no rule of axe-core is broken in any view."""

import pytest
from selenium.webdriver import ActionChains
from selenium.webdriver.common.keys import Keys

from tests.conftest import TOP

AXE = TOP / "js/node_modules/axe-core/axe.min.js"
RUN = (
    "const done = arguments[0];"
    "axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa',"
    " 'best-practice'] }).then(({ violations }) => done(violations.map(({ id, nodes }) =>"
    " `${id}: ${nodes.map(({ html, failureSummary }) => html + failureSummary).join(' | ')}`)),"
    " (error) => done([String(error)]))"
)
VIEWS = {
    "panels": "?s=page_sensors::cpu_percent&s=page_weather::apex_temperature&last=600",
    "values": "?view=values&v=page_sensors::cpu_percent&last=600",
    "archive": "?p=page_weather::apex_temperature,apex_windspeed&from=1499990400&to=1501200000",
    "wrong": "?s=page_weather::typo&s=nowhere::x&last=600",
}
OPENERS = {
    "help": lambda page: page.element("help").click(),
    "layouts": lambda page: page.element("layouts-open").click(),
    "export": lambda page: page.element("export-open").click(),
    "menu": lambda page: page.run("document.querySelector('.panel-menu > :not(.large)').click()"),
    "settings": lambda page: page.choose("Settings"),
    "picture": lambda page: page.choose("Save as a picture"),
}
OPEN = "return Boolean(document.querySelector('dialog[open], :popover-open'))"


@pytest.fixture
def screen(page):
    """Set the size of the screen and its colours."""

    def set_screen(width, scheme):
        page.browser.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False},
        )
        # What is half faded in has too little contrast.
        wanted = {"prefers-color-scheme": scheme, "prefers-reduced-motion": "reduce"}
        features = [{"name": name, "value": value} for name, value in wanted.items()]
        page.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    yield set_screen
    page.browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    page.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def violations(page):
    """What axe-core finds."""
    if not page.run("return 'axe' in window"):
        page.run(AXE.read_text())
    return page.browser.execute_async_script(RUN)


@pytest.mark.parametrize("view", VIEWS)
def test_no_rule_is_broken(page, weather, sensors, screen, view):
    screen(1400, "light")
    page.open(VIEWS[view])
    page.wait_until_connected()
    page.search("page_")
    page.wait(
        lambda: page.run("return document.querySelectorAll('#nodes .row').length") > 9, "rows"
    )
    assert violations(page) == []
    screen(1400, "dark")
    assert violations(page) == []


def test_no_rule_is_broken_on_a_phone(page, weather, sensors, screen):
    screen(360, "light")
    page.open(VIEWS["panels"])
    page.wait(lambda: any(page.counts().values()), "samples")
    assert violations(page) == []
    page.element("find-toggle").click()
    page.wait(page.element("search").is_displayed, "the drawer")
    assert violations(page) == []
    screen(360, "dark")
    assert violations(page) == []


def test_no_rule_is_broken_where_one_signs_in(page, screen):
    screen(1400, "light")
    page.open(secret="wrong")
    page.wait(lambda: "refuses" in page.text("sign-in"), "the refusal")
    assert violations(page) == []
    screen(1400, "dark")
    assert violations(page) == []
    page.element("secret").send_keys(page.secret, Keys.ENTER)
    page.wait_until_connected()
    page.element("account").click()
    assert violations(page) == []


def test_no_rule_is_broken_in_dialogs(page, weather, screen):
    screen(1400, "light")
    page.open(VIEWS["archive"])
    page.wait(lambda: any(page.counts().values()), "samples")
    found = {}
    for name, opener in OPENERS.items():
        opener(page)
        page.wait(lambda: page.run(OPEN), f"the {name}")
        for scheme in ("light", "dark"):
            screen(1400, scheme)
            found[name, scheme] = violations(page)
        ActionChains(page.browser).send_keys(Keys.ESCAPE).perform()
        page.wait(lambda: not page.run(OPEN), f"the end of the {name}")
    assert {key: broken for key, broken in found.items() if broken} == {}


def test_the_drawer_of_a_phone_opens_and_closes_by_keyboard(page, weather, screen):
    screen(360, "light")
    page.open("?last=600")
    page.wait_until_connected()
    find, toggle = page.element("find"), page.element("find-toggle")
    assert not find.is_displayed()
    toggle.send_keys(Keys.ENTER)
    page.wait(find.is_displayed, "the drawer")
    search = page.element("search")
    assert page.browser.switch_to.active_element == search
    assert page.run("return document.getElementById('content').inert")
    search.send_keys(Keys.ESCAPE)
    page.wait(lambda: not find.is_displayed(), "the closed drawer")
    assert page.browser.switch_to.active_element == toggle
    assert not page.run("return document.getElementById('content').inert")


def test_one_switch_makes_it_dark_and_light_again(page, screen):
    screen(1400, "light")
    page.open("?last=600")
    page.wait_until_connected()
    paper = "return getComputedStyle(document.body).backgroundColor"
    light, switch = page.run(paper), page.element("theme")
    switch.click()
    page.wait(lambda: page.run(paper) != light, "the dark page")
    assert switch.get_attribute("aria-pressed") == "true"
    page.browser.refresh()
    page.wait_until_connected()
    page.wait(lambda: page.run(paper) != light, "the dark page, anew")
    page.element("theme").click()
    page.wait(lambda: page.run(paper) == light, "the light page")
    assert page.run("return localStorage.getItem('sisock-theme')") is None
    screen(1400, "dark")
    page.wait(lambda: page.run(paper) != light, "what the system says again")


def test_paper_gets_the_panels_alone_and_light(page, weather, screen):
    screen(1400, "dark")
    page.open(VIEWS["archive"])
    page.wait(lambda: any(page.counts().values()), "samples")
    page.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    paper = page.run("return getComputedStyle(document.body).backgroundColor")
    assert paper == "rgb(255, 255, 255)"
    assert not page.element("find").is_displayed()
    assert not page.element("notice").is_displayed()
    assert page.element("panels").is_displayed()
    page.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
