"""Headless Chromium on the page that the router serves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver import ActionChains
from selenium.webdriver.chrome.service import Service

from sisock.client.client import Client
from sisock.testing import RouterProcess, wait_until
from tests.conftest import TOP, Program, wait_for_absence, wait_for_nodes

PICTURES = TOP / ".artefacts"
"""Screenshots, to be looked at; not in git."""

FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync"
    " --disable-background-networking --disable-component-update --ignore-certificate-errors"
    " --disable-dev-shm-usage --lang=en-GB"
)


# Chromium gives up loading a page when another test adds a network interface to this computer.
NETWORK_CHANGED = "ERR_NETWORK_CHANGED"

# As many frames as the page waits before it asks, and more.
REST = """
const done = arguments[0];
let quiet = 0;
const frame = () => {
  quiet = document.getElementById("panels").ariaBusy === "false" ? quiet + 1 : 0;
  if (quiet > 30) done();
  else requestAnimationFrame(frame);
};
frame();
"""


class Page:
    """One tab on the page."""

    def __init__(self, browser: webdriver.Chrome, router: RouterProcess) -> None:
        # Another test may have left a window that is too small.
        browser.set_window_size(1280, 900)
        width = "return innerWidth"
        wait_until(lambda: browser.execute_script(width) == 1280, 60, "the size of the window")
        self.browser = browser
        self.router = router
        self._errors: list[str] = []

    @property
    def secret(self) -> str:
        """The consumer's secret of this router."""
        return self.router.home.secret_file("simonsobs").read_text().strip()

    def open(self, query: str = "", secret: str | None = None, fresh: bool = True) -> None:
        """Open the page, by the link that carries the secret unless another is given."""
        link = f"#secret={self.secret if secret is None else secret}" if secret != "" else ""
        self._errors += self._complaints()
        if fresh:
            self.browser.get("about:blank")
        self.browser.get(f"https://localhost:{self.router.port}/{query}{link}")
        errors = self._complaints()
        if any(NETWORK_CHANGED in error for error in errors):
            self.open(query, secret)
        else:
            self._errors += errors

    def element(self, name: str) -> Any:
        """The element of this id."""
        return self.browser.find_element("id", name)

    def text(self, name: str) -> str:
        """The text of the element of this id."""
        return self.run("return document.getElementById(arguments[0]).textContent", name)

    def run(self, script: str, *arguments: Any) -> Any:
        """Run JavaScript in the page."""
        return self.browser.execute_script(script, *arguments)

    def wait(self, condition: Any, what: str, seconds: float = 60) -> Any:
        """Poll until a condition holds; a picture is taken if it does not."""
        try:
            return wait_until(condition, seconds, what)
        except TimeoutError as error:
            self.picture("failed")
            raise AssertionError(
                f"{error}; page says: {self.text('connection')} | "
                f"{self.text('message')} | {self.text('panels')}"
            ) from None

    def wait_until_connected(self, seconds: float = 60) -> None:
        """Wait until the page says so."""
        self.wait(lambda: self.text("connection") == "connected", "the connection", seconds)

    def counts(self) -> dict[str, int]:
        """Number of samples of each chosen field."""
        return self.run(
            "return Object.fromEntries([...document.querySelectorAll('.legend tr[data-key]')]"
            ".map((row) => [row.dataset.key, Number(row.dataset.count)]))"
        )

    def legend(self, key: str) -> tuple[str, str]:
        """Class and text of a field's line in the legend."""
        return tuple(
            self.run(
                "const row = [...document.querySelectorAll('.legend tr[data-key]')]"
                ".find((each) => each.dataset.key === arguments[0]);"
                "return row ? [row.className, row.innerText.replace(/\\s+/g, ' ')] : ['', '']",
                key,
            )
        )

    def rest(self) -> None:
        """Wait until what is to be shown has come and is drawn."""
        self.browser.execute_async_script(REST)

    def press(self, *keys: str) -> None:
        """Press keys in the first chart that is shown."""
        self.run("document.querySelector('.panel:not([hidden]) .chart').focus()")
        ActionChains(self.browser, duration=0).send_keys(*keys).perform()

    def double_click(self, element: Any) -> None:
        """Click twice in the middle of an element, which are a double click however late it is."""
        box = self.run("return arguments[0].getBoundingClientRect().toJSON()", element)
        place = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
        for count in (1, 2):
            for kind in ("mousePressed", "mouseReleased"):
                event = {"type": kind, "button": "left", "clickCount": count, **place}
                self.browser.execute_cdp_cmd("Input.dispatchMouseEvent", event)

    def choose(self, item: str, panel: int = 0) -> None:
        """Open a panel's menu, and click on what begins like this."""
        shown = ".panel:not([hidden]) .panel-menu"
        menu = self.browser.find_elements("css selector", shown)[panel]
        menu.find_element("css selector", "button:not(.large)").click()
        menu.find_element("xpath", f".//button[starts-with(., '{item}')]").click()

    def nodes(self) -> list[str]:
        """Names of the nodes that are shown as being there."""
        return self.run(
            "return [...document.querySelectorAll('#nodes .node:not(.gone)')]"
            ".map((each) => each.dataset.node)"
        )

    def tick(self, key: str) -> None:
        """Find a field by the search, and click on it."""
        self.search(f'"{key}"')
        self.wait(
            lambda: self.run(
                "const row = [...document.querySelectorAll('#nodes .field')]"
                ".findLast((each) => each.dataset.key === arguments[0]);"
                "row?.click(); return Boolean(row)",
                key,
            ),
            f"the field {key} in the tree",
        )
        self.search("")

    def search(self, query: str) -> None:
        """Put something into the search."""
        self.run(
            "arguments[0].focus(); arguments[0].value = arguments[1];"
            "arguments[0].dispatchEvent(new Event('input'))",
            self.element("search"),
            query,
        )

    def downloaded(self, suffix: str) -> Path | None:
        """The file of this kind that the browser has saved, if it has."""
        # While a file is on its way, an empty one has its name.
        files = self.browser.downloads.glob(f"*{suffix}")
        return next((file for file in files if file.stat().st_size), None)

    def save_samples(self, suffix: str = "csv") -> Path:
        """Save all samples of the view in a format, by the dialog."""
        for old in self.browser.downloads.glob(f"*.{suffix}"):
            old.unlink()
        self.run("document.getElementById('export-open').click()")
        self.run(f"document.querySelector('#export [value={suffix}]').click()")
        enabled = "return document.querySelector('#export .main:enabled') !== null"
        self.wait(lambda: self.run(enabled), "the size of the file")
        self.run("document.querySelector('#export .main').click()")
        return self.wait(lambda: self.downloaded(f".{suffix}"), "the file", 240)

    def picture(self, name: str) -> Path:
        """Take a screenshot."""
        PICTURES.mkdir(exist_ok=True)
        path = PICTURES / f"{name}.png"
        self.browser.save_screenshot(str(path))
        return path

    def errors(self) -> list[str]:
        """What the browser's console complained of since the last call, but for the network."""
        errors, self._errors = self._errors + self._complaints(), []
        return [error for error in errors if NETWORK_CHANGED not in error]

    def _complaints(self) -> list[str]:
        log = self.browser.get_log("browser")
        errors = [entry["message"] for entry in log if entry["level"] == "SEVERE"]
        return [error for error in errors if "WebSocket" not in error]


@pytest.fixture(scope="session")
def browser(tmp_path_factory: Any) -> Iterator[webdriver.Chrome]:
    """One Chromium for all tests."""
    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    downloads = tmp_path_factory.mktemp("downloads")
    for flag in [*FLAGS.split(), f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"]:
        options.add_argument(flag)
    options.add_experimental_option("prefs", {"download.default_directory": str(downloads)})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver"))
    driver.downloads = downloads
    driver.set_script_timeout(240)
    yield driver
    driver.quit()


@pytest.fixture
def page(browser: webdriver.Chrome, router: RouterProcess) -> Iterator[Page]:
    """A fresh tab, in which no error may have been logged at the end."""
    browser.switch_to.new_window("tab")
    tab = Page(browser, router)
    yield tab
    errors = tab.errors()
    browser.get("about:blank")
    for handle in browser.window_handles[1:]:
        browser.switch_to.window(handle)
        browser.close()
    browser.switch_to.window(browser.window_handles[0])
    assert errors == []


@pytest.fixture
def sized(page: Page) -> Iterator[Any]:
    """Give the page a size and a colour scheme."""

    def emulate(width: int, height: int, scheme: str) -> None:
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        page.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        page.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)

    yield emulate
    page.browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    page.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


@pytest.fixture(scope="module")
def serve(router: RouterProcess, tmp_path_factory: Any) -> Iterator[Any]:
    """Start nodes that stay for the module, each once; other tests list what is on the router."""
    programs: dict[str, Program] = {}

    def start(*command: str, name: str) -> str:
        if name not in programs:
            log = tmp_path_factory.mktemp("node") / "log"
            words = [str(TOP / command[0]), *command[1:], "--name", name]
            programs[name] = Program(words, router.environ("server"), log)
            with Client(router.settings()) as client:
                wait_for_nodes(client, name)
        return name

    yield start
    for program in programs.values():
        program.end()
    with Client(router.settings()) as client:
        wait_for_absence(client, *programs)


@pytest.fixture
def weather(serve: Any) -> str:
    """A node of the example's archive; returns its name."""
    return serve("data_nodes/weather.py", name="page_weather")


@pytest.fixture
def sensors(serve: Any) -> str:
    """A live node; returns its name."""
    return serve("data_nodes/sensors.py", name="page_sensors")
