"""Who may see the page's data, for how long, and what the page says when it cannot."""

import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

from selenium.webdriver.common.keys import Keys

from sisock.testing import RouterProcess
from tests.browser.conftest import Page
from tests.conftest import TOP


def is_asked(page):
    """Whether the page asks for the secret."""
    return page.element("sign-in").is_displayed()


def sign_in(page):
    page.wait(lambda: is_asked(page), "the question for the secret")
    page.element("secret").send_keys(page.secret, Keys.ENTER)
    page.wait_until_connected()


def stored(page):
    """Whether a tab and the computer hold the secret, as far as its origin may see."""
    script = "return [sessionStorage, localStorage].map((s) => JSON.stringify(s))"
    return [page.secret in text for text in page.run(script)]


def another_tab(page, host="localhost"):
    page.browser.switch_to.new_window("tab")
    page.browser.get(f"https://{host}:{page.router.port}/?last=60")


def test_a_second_tab_is_not_asked_for_the_secret(page):
    page.open("?last=60", secret="")
    sign_in(page)
    assert stored(page) == [True, False]
    another_tab(page)
    page.wait_until_connected()
    assert not is_asked(page)


def test_a_page_of_another_origin_does_not_get_the_secret(page):
    page.open("?last=60", secret="")
    page.wait(lambda: is_asked(page), "the question")
    page.element("keep-secret").click()
    sign_in(page)
    assert stored(page) == [True, True]
    first = page.browser.current_window_handle
    another_tab(page, host="127.0.0.1")
    page.wait(lambda: is_asked(page), "the question in the other origin")
    assert stored(page) == [False, False]
    page.browser.switch_to.window(first)
    page.run("document.getElementById('forget').click()")
    page.wait(lambda: is_asked(page), "the question in the first one")


def test_the_secret_is_kept_on_this_computer_until_it_is_forgotten(page):
    page.open("?last=60", secret="")
    page.wait(lambda: is_asked(page), "the question")
    page.element("keep-secret").click()
    sign_in(page)
    page.run("sessionStorage.clear()")
    page.open("?last=60", secret="")
    page.wait_until_connected()
    page.element("account").click()
    page.wait(lambda: "kept on this computer until 20" in page.text("account-text"), "until when")
    page.picture("account")
    first = page.browser.current_window_handle
    another_tab(page)
    page.wait_until_connected()
    second = page.browser.current_window_handle
    page.browser.switch_to.window(first)
    page.element("forget").click()
    page.wait(lambda: is_asked(page), "the question")
    assert stored(page) == [False, False]
    page.browser.switch_to.window(second)
    page.wait(lambda: is_asked(page), "the question in the other tab, too")
    assert stored(page) == [False, False]


def test_a_router_that_is_not_there_is_explained(browser):
    with RouterProcess() as router:
        page = Page(browser, router)
        page.open(secret="")
        page.wait(lambda: is_asked(page), "the question")
        router.stop()
        page.element("secret").send_keys(page.secret, Keys.ENTER)
        page.wait(lambda: "Nothing answers" in page.text("trouble"), "the explanation")
        assert "accept the certificate" in page.text("trouble")
        assert f"Open https://localhost:{router.port}/" in page.text("trouble-link")
        page.picture("trouble")
        router.start()
        page.wait_until_connected()
        page.wait(lambda: not page.element("trouble").is_displayed(), "the end of the explanation")
        browser.get("about:blank")
        # That there was no router is what the console complained of.
        browser.get_log("browser")


class Quiet(SimpleHTTPRequestHandler):
    """Serves the page, and no router."""

    def log_message(self, *arguments):
        """Say nothing."""


def test_a_server_of_the_page_that_takes_no_connection_is_explained(browser, router):
    handler = partial(Quiet, directory=TOP / "js/dist")
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        page = Page(browser, router)
        browser.get(f"http://127.0.0.1:{server.server_port}/#secret=any")
        page.wait(lambda: "takes no connection" in page.text("trouble"), "the explanation")
        assert "WebSockets" in page.text("trouble")
        browser.get("about:blank")
        browser.get_log("browser")
        server.shutdown()


def test_a_lost_router_is_told_once_and_with_the_time(browser, own_router, start):
    node = start(own_router, "data_nodes/sensors.py", "--name", "page_lost")
    node.wait_for("is in the hub's list")
    page = Page(browser, own_router)
    page.open()
    page.wait(lambda: any(page.counts().values()), "samples")
    page.run(
        "window.told = []; new MutationObserver(() => told.push(arguments[0].textContent))"
        ".observe(arguments[0], { childList: true })",
        page.element("announcement"),
    )
    own_router.stop()
    page.wait(lambda: "router away since 20" in page.text("connection"), "the loss")
    before = page.counts()
    page.run(
        "window.tries = 0; new MutationObserver(() => { window.tries += 1; })"
        ".observe(arguments[0], { childList: true, characterData: true, subtree: true })",
        page.element("connection"),
    )
    page.wait(lambda: page.run("return tries") >= 3, "further tries")
    # What came last before the loss may be drawn a little later.
    assert all(page.counts()[key] >= count for key, count in before.items())
    # What looks the same is a certificate that the browser does not trust.
    link = page.run("return document.getElementById('account-link').href")
    assert link == f"https://localhost:{own_router.port}/"
    own_router.start()
    page.wait_until_connected()
    page.wait(lambda: len(page.run("return told")) > 1, "the announcement")
    said = page.run("return told")
    assert len(said) == 2
    assert (said[0][:4], said[1]) == ("Lost", "The router is back")
    browser.get("about:blank")
    browser.get_log("browser")


def test_a_node_that_is_gone_is_shown_with_since_when(page, router, start):
    node = start(router, "data_nodes/sensors.py", "--name", "page_gone")
    node.wait_for("is in the hub's list")
    page.open("?s=page_gone::cpu_percent&last=600")
    page.wait(lambda: any(page.counts().values()), "samples")
    node.end()
    gone = (
        "return [...document.querySelectorAll('#nodes .gone.node')]"
        ".map((row) => row.querySelector('.where').textContent).join()"
    )
    page.wait(lambda: page.run(gone).startswith("gone since "), "since when")
    page.picture("gone-since")
    page.open("?s=page_never::x&last=600")
    page.wait(lambda: page.run(gone) == "not there", "a node that never was there")
