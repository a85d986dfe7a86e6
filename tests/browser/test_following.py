"""Live samples in JavaScript, each once and in order, while everything is restarted."""

import itertools
import signal
import time

import pytest

from sisock.testing import RouterProcess
from tests.browser.conftest import Page
from tests.browser.followers import Follower

NODE = ("tests/browser/nodes.py", "numbered")
LISTED = "is in the hub's list"
HUB_READY = "the hub is ready"
NEWEST = """
return [...document.querySelectorAll(".samples tbody td")].map((cell) => Number(cell.textContent));
"""


@pytest.fixture
def hubless_router():
    with RouterProcess(hub=False) as process:
        yield process


@pytest.fixture
def follower(hubless_router):
    program = Follower(hubless_router, "numbered")
    yield program
    program.process.kill()
    program.process.wait(10)


def number_now():
    return int(time.time() * 1000)


def consecutive(numbers):
    return all(later == earlier + 1 for earlier, later in itertools.pairwise(numbers))


def test_no_sample_is_lost_or_doubled_whatever_restarts(hubless_router, follower, browser, start):
    router = hubless_router
    hub = start(router, "hub.py")
    node = start(router, *NODE)
    node.wait_for(LISTED)
    page = Page(browser, router)
    page.open("?s=numbered::slow_number&last=60&table=1")
    follower.wait_for(0, "the first samples")
    page.wait(lambda: len(page.run(NEWEST)) > 1, "the first samples in the page")

    router.stop(signal.SIGKILL)
    router.start()
    follower.wait_for(number_now(), "samples after the router was killed")

    node.end()
    node = start(router, *NODE)
    follower.wait_for(number_now(), "samples after the node was restarted")

    hub.end()
    node.end()
    node = start(router, *NODE)
    node.wait_for("no hub answers")
    start(router, "hub.py").wait_for(HUB_READY)
    now = number_now()
    reached = follower.wait_for(now, "samples after the hub was restarted")
    assert (reached["missing"], reached["disordered"], reached["gaps"]) == (0, 0, [])
    assert reached["count"] == reached["last"] - reached["first"] + 1

    def is_complete():
        numbers = page.run(NEWEST)
        return numbers[:1] > [now / 100] and consecutive(numbers[::-1])

    page.wait(is_complete, "the newest samples in the page, and none missing before them")
    assert "lost" not in page.text("panels")

    node.end()
    began = time.time()
    node = start(router, *NODE, NUMBERED_FORGETS="1")
    lost = follower.wait_for(number_now(), "samples of the node that forgot all")
    assert (lost["missing"], lost["disordered"], len(lost["gaps"])) == (0, 0, 1)
    page.wait(lambda: "samples lost" in page.text("panels"), "the loss in the page")
    # What the page had before stays.
    numbers = page.run(NEWEST)[::-1]
    assert numbers == sorted(set(numbers)) and numbers[0] < began * 10
    page.picture("samples-lost")
    browser.get("about:blank")


def shown_fields(page, node):
    """Names of the fields that the search finds of a node."""
    page.search(f"{node}::*")
    rows = page.run(
        "return [...document.querySelectorAll('#nodes .field')].map((e) => e.dataset.key)"
    )
    return {key.removeprefix(f"{node}::") for key in rows if key.startswith(f"{node}::")}


def test_what_a_live_node_gains_appears_and_what_it_says_is_shown(page, router, start, tmp_path):
    file = tmp_path / "grow"
    start(router, "tests/browser/nodes.py", "growing", GROWS_WITH=str(file)).wait_for(LISTED)
    page.open("?s=growing::level&s=growing::state&last=60")
    page.wait(lambda: "0.67 m" in page.legend("growing::level")[1], "a level of two digits")
    page.wait(lambda: "open" in page.legend("growing::state")[1], "the label of the state")
    page.wait(lambda: shown_fields(page, "growing") == {"level", "state"}, "its fields")
    file.touch()
    everything = {"level", "state", "further", "later"}
    page.wait(lambda: shown_fields(page, "growing") == everything, "the fields that are new")
    page.tick("growing::later")
    page.wait(lambda: "spoken" in page.legend("growing::later")[1], "the text of a new timeline")
    file.unlink()
    page.wait(lambda: page.legend("growing::level")[0] == "stale", "the timeline to be stale")
    assert "no sample for" in page.legend("growing::level")[1]
    where = "return document.querySelector('[data-node=growing] .where').textContent"
    about = "return document.querySelector('[data-node=growing] .about').textContent"
    page.wait(lambda: page.run(where) == "problem", "the node's trouble in place of 'live'")
    assert page.run(about).startswith("the pump is off ")
    assert "growing: the pump is off" in page.text("message")
    page.picture("stale")
    file.touch()
    page.wait(lambda: page.run(where) == "live", "the end of the trouble")
    page.wait(lambda: page.legend("growing::level")[0] == "", "the timeline to be alive again")


@pytest.mark.parametrize("kind", ["fixed", "followed"])
def test_what_is_added_to_an_archive_appears(page, router, start, tmp_path, kind):
    now = int(time.time())
    file = tmp_path / "day.csv"
    file.write_text("time,level [m]\n" + "".join(f"{now - 60 + i},1\n" for i in range(30)))
    start(router, "data_nodes/tables.py", str(tmp_path), "--name", kind).wait_for(LISTED)
    span = "last=600" if kind == "followed" else f"from={now - 600}&to={now + 600}"
    page.open(f"?s={kind}::day.level&{span}")
    newest = f"{kind}::day.level"
    page.wait(lambda: "1 m" in page.legend(newest)[1], "the samples of the file")
    with file.open("a") as more:
        more.write(f"{now - 20},7\n")
    page.wait(lambda: "7 m" in page.legend(newest)[1], "the sample that was added", 20)
