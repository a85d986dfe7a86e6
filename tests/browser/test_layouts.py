"""Layouts: in the browser, as files, and from the router's folder."""

import json

import pytest
from selenium.webdriver.common.keys import Keys

TEMPERATURE = "page_weather::apex_temperature"
VIEW = "p=page_weather::apex_temperature!lOutside&from=1500076800&to=1500163200"


@pytest.fixture(scope="module")
def folder(router):
    """The folder of layouts of the shared router."""
    path = router.home.path / "layouts"
    path.mkdir(exist_ok=True)
    return path


@pytest.fixture
def menu(page, weather):
    """The page on a day of temperatures, with the menu open."""
    page.open(f"?{VIEW}")
    page.run("localStorage.removeItem('sisock-layouts')")
    page.wait(lambda: page.counts() == {TEMPERATURE: 24}, "the samples")
    open_menu(page)
    yield page
    page.run("localStorage.removeItem('sisock-layouts')")


def open_menu(page):
    page.run("document.getElementById('layouts-menu').showPopover()")
    page.wait(lambda: page.run("return document.querySelector('#layouts-menu li') !== null"), "it")


def names(page, place="this browser"):
    label = {"this browser": "Layouts in this browser", "router": "Layouts of the router"}[place]
    script = "return [...document.querySelectorAll(`[aria-label='${arguments[0]}'] .open`)]"
    return page.run(f"{script}.map((each) => each.textContent)", label)


def click(page, label):
    page.run(
        "document.querySelector(`#layouts-menu [aria-label='${arguments[0]}']`).click()", label
    )


def save(page, name):
    field = page.element("layout-name")
    field.clear()
    field.send_keys(name, Keys.ENTER)
    page.wait(lambda: name in names(page), "the layout in the list")


def test_a_layout_is_kept_opened_renamed_and_deleted(menu):
    save(menu, "Night watch")
    menu.picture("layouts")
    menu.open("?last=60")
    menu.wait_until_connected()
    open_menu(menu)
    menu.run("document.querySelector('#layouts-menu .open').click()")
    menu.wait(lambda: menu.counts() == {TEMPERATURE: 24}, "its samples")
    assert "lOutside" in menu.browser.current_url
    click(menu, "rename Night watch")
    field = menu.browser.find_element("css selector", "#layouts-menu li input")
    field.clear()
    field.send_keys("Day watch", Keys.ENTER)
    menu.wait(lambda: names(menu) == ["Day watch"], "the new name")
    click(menu, "delete Day watch")
    menu.wait(lambda: names(menu) == [], "no layout")
    assert "Day watch is deleted" in menu.text("message")
    menu.element("message-action").click()
    open_menu(menu)
    menu.wait(lambda: names(menu) == ["Day watch"], "the layout again")


def test_opening_a_layout_can_be_undone(menu):
    save(menu, "Here")
    before = menu.browser.current_url
    menu.open("?last=60")
    menu.wait_until_connected()
    open_menu(menu)
    menu.run("document.querySelector('#layouts-menu .open').click()")
    menu.wait(lambda: menu.browser.current_url == before, "the layout")
    menu.browser.back()
    menu.wait(lambda: menu.counts() == {}, "what was before")


def upload(page, path):
    """Choose a file where the page asks for one: a headless browser shows no dialog."""
    page.run(
        "window.asked = null;"
        "HTMLInputElement.prototype.click = function () { window.asked = this; this.hidden = true;"
        " document.body.append(this); };"
    )
    page.run("document.querySelector(\"[aria-label='Open a file …']\")"
             ".dispatchEvent(new MouseEvent('click'))")  # fmt: skip
    page.wait(lambda: page.run("return window.asked !== null"), "the question for a file")
    page.run("return window.asked").send_keys(str(path))


def test_a_layout_goes_into_a_file_and_comes_back(menu, tmp_path):
    for old in menu.browser.downloads.glob("*.json"):
        old.unlink()
    field = menu.element("layout-name")
    field.clear()
    field.send_keys("To mail")
    click(menu, "Save as a file")
    file = menu.wait(lambda: menu.downloaded("To mail.json"), "the file")
    written = json.loads(file.read_text())
    assert written["state"]["panels"][0]["fields"] == [{"key": TEMPERATURE, "label": "Outside"}]
    menu.open("?last=60")
    menu.wait_until_connected()
    open_menu(menu)
    upload(menu, file)
    menu.wait(lambda: menu.counts() == {TEMPERATURE: 24}, "its samples")
    assert menu.element("layout-name").get_attribute("value") == "To mail"


def test_a_wrong_file_is_named_with_what_is_wrong(menu, tmp_path):
    before = menu.browser.current_url
    wrong = tmp_path / "grafana.json"
    wrong.write_text('{"dashboard": {}}')
    upload(menu, wrong)
    menu.wait(lambda: "grafana.json" in menu.text("message"), "the message")
    assert "it is no layout of sisock" in menu.text("message")
    assert menu.browser.current_url == before
    assert menu.counts() == {TEMPERATURE: 24}


def state(**more):
    return {"panels": [{"fields": [{"key": TEMPERATURE}]}], **more}


def layout(name, **more):
    return json.dumps({"sisock": "layout", "version": 1, "name": name, "state": state(**more)})


def test_a_layout_of_the_router_is_opened_by_the_address(page, weather, folder):
    time = {"from": 1500076800, "to": 1500163200}
    (folder / "Züri 1.json").write_text(layout("Züri 1", time=time))
    page.open("?layout=Z%C3%BCri+1")
    page.wait(lambda: page.counts() == {TEMPERATURE: 24}, "its samples")
    page.open(f"?layout=Z%C3%BCri+1&from=1500076800&to={1500076800 + 43200}")
    page.wait(lambda: page.counts() == {TEMPERATURE: 12}, "the range of the address")
    open_menu(page)
    page.wait(lambda: "Züri 1" in names(page, "router"), "its name in the menu")


def test_a_layout_that_the_router_lacks_or_that_is_wrong_is_said(page, weather, folder):
    page.open("?layout=nothing")
    page.wait(lambda: "no layout nothing" in page.text("message"), "the message")
    (folder / "broken.json").write_text(layout("broken", time={"from": 2, "to": 1}))
    page.open("?layout=broken")
    page.wait(lambda: "its time has neither" in page.text("message"), "the message")
    page.errors()  # the browser's own about the missing file


def test_the_wall_comes_from_the_router(page, serve, folder):
    wall = serve("tests/browser/wall.py", name="page_wall")
    text = layout("wall", view="values", values=[f"{wall}::*"], order="level")
    (folder / "wall.json").write_text(text)
    page.open("?layout=wall")
    rows = "return document.querySelectorAll('#values tbody tr').length"
    page.wait(lambda: page.run(rows) == 200, "all fields of the node")
