"""The page on several sites: two that answer, and others that are gone, hang or refuse the page."""

import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass

import pytest
from selenium.webdriver.common.keys import Keys

from sisock import Client
from sisock.testing import RouterProcess, free_port
from tests.browser.conftest import Page
from tests.browser.test_access import violations
from tests.conftest import TOP, Program, wait_for_nodes
from tests.faults.relay import Relay

NODES = {"sensors": "data_nodes/sensors.py", "weather": "data_nodes/weather.py"}
GONE = "the site 'gone' cannot be reached"
ROWS = (
    "return [...document.querySelectorAll('#nodes [data-site]')]"
    ".map((row) => [row.dataset.site, row.textContent])"
)
URLS = "return [...document.querySelectorAll('#account-sites li')].map((li) => li.dataset.url)"


@dataclass
class Two:
    """The router that serves the page, another one, and what a browser reaches that by."""

    here: RouterProcess
    there: RouterProcess
    relay: Relay


def write_sites(path, own, ports):
    """Write the file of the sites: a router's own, and others by their ports."""
    parts = [f'[here]\naddress = "unix:{own.home.router_socket}"\n']
    for name, port in ports.items():
        secret = own.home.secret_file("simonsobs")
        parts.append(f'[{name}]\naddress = "wss://localhost:{port}/ws"\nsecret = "{secret}"\n')
    path.write_text("".join(parts))


@pytest.fixture(scope="module")
def two(router, tmp_path_factory):
    """Two sites with nodes of the same names, and three that cannot be reached.

    Nothing listens at "gone", "hangs" accepts and says nothing, and "closed" is the shared router,
    which does not take pages of other routers.
    """
    folder = tmp_path_factory.mktemp("sites")
    here, there = RouterProcess(), RouterProcess()
    relay = Relay(there.port)
    with ExitStack() as stack:
        stack.callback(relay.close)
        hanging = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        ports = {"gone": free_port(), "hangs": hanging.getsockname()[1], "closed": router.port}
        write_sites(folder / "sites.toml", here, {"there": relay.port, **ports})
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setenv("SISOCK_PAGE_ORIGINS", f"https://localhost:{here.port}")
        patch.setenv("SISOCK_SITES", str(folder / "sites.toml"))
        with ThreadPoolExecutor() as pool:
            list(pool.map(stack.enter_context, (here, there)))
        patch.undo()
        for each in (here, there):
            for name, program in NODES.items():
                words = [str(TOP / program), "--name", name]
                log = folder / f"{each.port}-{name}"
                stack.callback(Program(words, each.environ("server"), log).end)
        for each in (here, there):
            with Client(each.settings()) as client:
                wait_for_nodes(client, *NODES)
        yield Two(here, there, relay)


@pytest.fixture
def sites(page, two):
    """A tab on the page of the first site."""
    return Page(page.browser, two.here)


def rows(page):
    """What the tree says of each site."""
    return dict(page.run(ROWS))


def secret_of(router):
    """The consumer's secret of a site."""
    return router.home.secret_file("simonsobs").read_text().strip()


def is_asked_for(page, site):
    """Wait until the page asks for the secret of a site."""
    form = page.element("sign-in")
    page.wait(lambda: form.is_displayed() and f"Sign in to {site}\n" in form.text, "the question")


def answer(page, secret):
    """Give the secret that the page asks for."""
    page.element("secret").send_keys(secret, Keys.ENTER)


def open_signed_in(sites, two, query):
    """Open the page with the secrets of all sites."""
    sites.open()
    store = "sessionStorage.setItem(`sisock-secret ${arguments[0]}`, arguments[1])"
    for url in sites.wait(lambda: sites.run(URLS), "the sites"):
        sites.run(store, url, secret_of(two.there))
    sites.open(query)
    sites.wait(lambda: "2 of 5 sites" in sites.text("connection"), "both sites that answer")


def shown(page):
    """Keys of the fields that have samples."""
    return {key for key, count in page.counts().items() if count}


def test_each_site_is_asked_for_its_own_secret(sites, two, sized):
    sized(1200, 800, "dark")
    sites.open()
    is_asked_for(sites, "there")
    # Nobody waits for that.
    sites.wait(lambda: shown(sites), "samples of the site that is there")
    sites.wait(lambda: "1 of 5 sites connected" in sites.text("connection"), "their number")
    sites.picture("sites-sign-in")
    assert violations(sites) == []
    answer(sites, "wrong")
    sites.wait(lambda: "refuses this secret" in sites.text("sign-in-reason"), "the refusal")
    sites.wait(lambda: "refuses" in rows(sites)["there"], "the refusal in the tree")
    answer(sites, secret_of(two.there))
    sites.wait(lambda: {"there/sensors", "there/weather"} <= set(sites.nodes()), "its nodes")
    for site in ("gone", "hangs"):
        is_asked_for(sites, site)
        answer(sites, "any")
    is_asked_for(sites, "closed")
    sites.element("later").click()
    sites.wait(lambda: not sites.element("sign-in").is_displayed(), "the end of the questions")
    sites.wait(lambda: "not reachable" in rows(sites)["gone"], "what is wrong with the site")
    sites.wait(lambda: "connecting" in rows(sites)["hangs"], "a further try")
    sites.wait(lambda: "not signed in" in rows(sites)["closed"], "the site without a secret")
    # The tree asks again.
    sites.run("document.querySelector('.sign-in').click()")
    is_asked_for(sites, "closed")
    answer(sites, "any")
    sites.wait(lambda: "not reachable" in rows(sites)["closed"], "a router that takes no such page")
    sites.element("account").click()
    include = f"include https://localhost:{two.here.port}"
    sites.wait(lambda: include in sites.text("account-menu"), "what the router has to be told")
    sites.picture("sites-account")
    assert violations(sites) == []
    stored = "return JSON.stringify([{ ...sessionStorage }, { ...localStorage }])"
    assert sites.run(stored).count(secret_of(two.there)) == 1


def test_fields_of_sites_share_panels_searches_and_files(sites, two, sized):
    sized(1200, 800, "light")
    keys = [f"{site}/weather::apex_temperature" for site in ("here", "there", "gone")]
    open_signed_in(sites, two, f"?p={';'.join(keys)}&from=1500000000&to=1500086400")
    sites.wait(lambda: shown(sites) == set(keys[:2]), "samples of both sites")
    sites.wait(lambda: sites.legend(keys[2])[0] == "gone", "the lost one")
    sites.wait(lambda: GONE in sites.legend(keys[2])[1], "why it is lost")
    sites.picture("sites-panel")
    sites.search("temperature")
    sites.wait(lambda: sites.nodes() == ["here/weather", "there/weather"], "what is found")
    sites.wait(lambda: "not reachable" in rows(sites)["gone"], "the lost site in the tree")
    sites.search("")
    row, click = f'#nodes [data-key="{keys[2]}"]', "document.querySelector(arguments[0]).click()"
    sites.wait(lambda: sites.browser.find_elements("css selector", row), "the tree")
    sites.run(click, row)
    sites.wait(lambda: keys[2] not in sites.counts(), "that without the lost one")
    lines = sites.save_samples("csv").read_text().splitlines()
    assert all(key in lines[0] for key in keys[:2])
    assert len({tuple(line.split(",")[2:]) for line in lines[1:]}) > 10
    address = sites.run("return location.href")
    assert "p=here/weather::apex_temperature;there/weather::apex_temperature" in address
    assert secret_of(two.here) not in address
    sites.open(address.partition("/?")[2].join(["?", "&view=values&v=there/weather::*;gone/x::*"]))
    values = "return document.getElementById('values').textContent"
    sites.wait(lambda: f"{GONE}: nothing" in sites.run(values), "why there is nothing of a site")
    sites.wait(lambda: " y" in sites.run(values), "the values of the other")
    sites.picture("sites-values")


def test_a_site_that_does_not_answer_delays_no_other(sites, two):
    own, other = keys = [f"{site}/weather::apex_temperature" for site in ("here", "there")]
    open_signed_in(sites, two, f"?p={';'.join(keys)}&from=1500000000&to=1500086400")
    sites.wait(lambda: shown(sites) == set(keys), "samples of both sites")
    two.relay.hold()
    sites.press("-")

    def lead():
        counts = sites.counts()
        return counts[own] - counts[other]

    sites.wait(lambda: lead() > 0, "more samples of the site that answers")
    two.relay.close()
    two.relay.open()
    sites.wait(lambda: lead() == 0, "those of the other")


def test_a_site_that_is_lost_says_so_and_comes_back(sites, two, sized):
    sized(360, 720, "light")
    own, other = keys = [f"{site}/sensors::cpu_percent" for site in ("here", "there")]
    open_signed_in(sites, two, f"?p={';'.join(keys)}&last=600")
    sites.wait(lambda: shown(sites) == set(keys), "samples of both sites")
    two.relay.close()
    sites.wait(lambda: "away since" in rows(sites)["there"], "the loss in the tree")
    sites.wait(lambda: "the site 'there' cannot be" in sites.legend(other)[1], "that in the legend")
    before = sites.counts()
    sites.wait(lambda: sites.counts()[own] > before[own], "further samples of the other")
    assert sites.counts()[other] >= 0.9 * before[other]
    sites.picture("sites-lost")
    sites.element("find-toggle").click()
    sites.wait(sites.element("search").is_displayed, "the drawer")
    sites.picture("sites-drawer")
    two.relay.open()
    sites.wait(lambda: sites.legend(other)[0] == "", "the site again")
    sites.wait(lambda: sites.counts()[other] > before[other], "further samples")
    sites.wait(lambda: "away" not in rows(sites)["there"], "the site in the tree")
