"""A real OCS site, of which each part is killed and returns, on page and bridge, live and past."""

import shlex
import sys
import time
from importlib.metadata import version

import pytest

import sisock
from sisock.testing import free_port, wait_until
from tests.bridge.conftest import RunningBridge, iso_range
from tests.browser.conftest import browser, page  # noqa: F401 - fixtures
from tests.conftest import TOP, wait_for_nodes
from tests.sources.conftest import check
from tests.sources.ocs_site import running_site
from tests.sources.processes import documented_flags, example, own_flags

sys.path.insert(0, str(TOP / "data_nodes"))
from ocs_feeds import OcsFeeds

pytestmark = pytest.mark.timeout(900)  # agents take their time to come back

CHANNEL = "fake1.false_temperatures.channel_00"
STATE = "fake1.heartbeat.acq"

FLAGS = {
    **{"realm": "test_realm", "address_root": "observatory", "keep": None, "config": None},
}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    with running_site(tmp_path_factory.mktemp("site")) as running:
        yield running


def make(url, **flags):
    return OcsFeeds(url, **{**FLAGS, **flags})


def documented(name, before, after):
    """The words of a document's example, behind `python`."""
    return shlex.split(example(name).replace(before, str(after)))[1:]


class Served:
    """Both nodes on a router, as a consumer sees them."""

    def __init__(self, client, start, router, site):
        self.client = client
        words = documented("ocs_feeds", "ws://localhost:8001/ws", site.url)
        self.feeds = start(router, *words, "--name", "feeds")
        self.archive = start(router, *documented("g3", "/data/hk", site.archive), "--name", "hk")
        wait_for_nodes(client, "feeds", "hk")

    def times(self, node, field=CHANNEL):
        """The times of a field's samples."""
        if field not in self.client.fields(node):
            return []
        return self.client.get(node, field, 1, 0)[field].t.tolist()

    def wait_for_samples(self, node, after, field=CHANNEL):
        """Wait until there is a sample later than a time, and return the latest one's."""
        what = f"a sample of {node} after {after}"
        wait_until(lambda: max(self.times(node, field), default=0) > after, 150, what, every=0.2)
        return max(self.times(node, field))

    def trouble(self, node):
        """What is behind the node's description in the hub's list."""
        (about,) = [each.description for each in self.client.nodes() if each.name == node]
        return about


@pytest.fixture
def served(client, start, router, site):
    return Served(client, start, router, site)


def test_nothing_was_installed_in_an_old_version_for_ocs():
    least = {"crossbar": 26, "autobahn": 26, "twisted": 26, "txaio": 26, "numpy": 2, "ocs": 0}
    for name, number in least.items():
        assert int(version(name).partition(".")[0]) >= number, name


def test_a_site_is_on_page_and_bridge_live_and_from_its_archive(
    served, site, router, tmp_path, page  # noqa: F811
):  # fmt: skip
    began = time.time()
    served.wait_for_samples("feeds", began)
    served.wait_for_samples("hk", began)

    def values(node):
        return set(served.client.get(node, CHANNEL, 1, 0)[CHANNEL].values.tolist())

    # An archive has what was heard, with the times that the agent gave.
    wait_until(lambda: len(values("feeds") & values("hk")) > 10, 60, "common samples", every=0.5)
    bridge = RunningBridge(router, tmp_path)
    bridge.wait_until_healthy()
    shown = [f"{node}::{CHANNEL}" for node in ("feeds", "hk")]

    def panel():
        view = iso_range(began - 60, time.time() + 10)
        return [len(each["datapoints"]) for each in bridge.query(*shown, range=view)]

    wait_until(lambda: all(panel()), 60, "samples of both in a panel", every=0.5)
    bridge.program.end()
    query = "&".join(f"s={each}" for each in [*shown, f"feeds::{STATE}"])
    page.open(f"?{query}&last=60")
    page.wait(lambda: all(page.counts().get(each, 0) > 20 for each in shown), "curves", 60)
    before = {each: page.legend(each) for each in shown}
    page.wait(lambda: all(page.legend(n) != had for n, had in before.items()), "new samples", 60)
    page.wait(lambda: "running" in page.legend(f"feeds::{STATE}")[1], "the state", 60)
    page.picture("ocs")


def test_values_of_all_types_are_served_and_what_is_no_block_is_left_out(served):
    fields = {name: f"mixed.mixed.{name}" for name in ("count", "door", "mode")}
    for node in ("feeds", "hk"):
        served.wait_for_samples(node, 0, fields["mode"])
        known = served.client.fields(node)
        assert [known[name].type for name in fields.values()] == ["number", "bool", "string"]
        assert {known[name].timeline for name in fields.values()} == {"mixed.mixed.states"}
        found = served.client.get(node, list(fields.values()), 1, 0)
        count, door, mode = (found[name].values.tolist() for name in fields.values())
        assert len(count) > 0
        assert door == [n % 3 == 0 for n in count]
        assert mode == ["odd" if n % 2 else "even" for n in count]
        assert not any("chat" in name or "junk" in name for name in known)
    served.feeds.wait_for("a message of a feed is lost: ")


def test_agents_may_come_and_go(served, site):
    served.wait_for_samples("feeds", time.time())
    served.wait_for_samples("feeds", 0, STATE)
    fields = served.client.fields("feeds")
    assert fields[CHANNEL].timeline == "fake1.false_temperatures.temps"
    assert (fields[STATE].type, fields[STATE].labels["3"]) == ("number", "running")
    wait_until(lambda: "registry.heartbeat.main" in served.client.fields("feeds"), 60, "registry")
    fields = {"fake1": CHANNEL, "registry": "registry.heartbeat.main"}
    for agent in fields:
        site.agents[agent].kill()
    for agent in fields:
        served.feeds.wait_for(f"the agent {agent} is gone", 60)
    gone_at = time.time()
    for agent, field in fields.items():
        site.agents[agent].start()
        served.wait_for_samples("feeds", gone_at, field)
    said = "Live feeds of OCS agents."
    wait_until(lambda: served.trouble("feeds") == said, 60, "no trouble", every=0.2)
    assert "Traceback" not in served.feeds.output


def test_the_crossbar_of_the_site_may_be_killed(served, site):
    last = served.wait_for_samples("feeds", 0)
    site.kill_crossbar()
    why = "the connection has ended"
    wait_until(lambda: why in served.trouble("feeds"), 60, "the trouble", every=0.2)
    assert last in served.times("feeds")
    site.crossbar.start()
    served.wait_for_samples("feeds", time.time())
    wait_until(lambda: why not in served.trouble("feeds"), 60, "no trouble", every=0.2)
    # The aggregator is there again, too, and its archive goes on.
    served.wait_for_samples("hk", time.time())
    assert "Traceback" not in served.feeds.output


def test_the_aggregator_may_be_killed_amid_a_file(served, site):
    before = served.wait_for_samples("hk", 0)
    had = served.times("hk")
    site.agents["aggregator"].kill()
    assert served.times("hk")[: len(had)] == had
    files = site.files()
    site.agents["aggregator"].start()
    after = served.wait_for_samples("hk", time.time())
    assert len(site.files()) > len(files) and after > before
    assert served.times("hk")[: len(had)] == had
    assert served.trouble("hk").startswith("Housekeeping archives of .g3 files")
    assert "left out" not in served.trouble("hk")


def test_whatever_is_asked_for_the_samples_are_those_of_the_feeds(site):
    nodes = []

    def make_one():
        nodes.append(make(site.url))
        return nodes[-1]

    def fill(asked):
        def count():
            return len(asked.samples([CHANNEL], 1, 0)[CHANNEL]) if CHANNEL in asked.fields() else 0

        wait_until(lambda: count() > 100, 90, "samples", every=0.2)
        # Nothing comes any more once the connection is seen to have ended.
        site.kill_crossbar()
        wait_until(lambda: "has ended" in (nodes[-1].trouble or ""), 60, "the end")

    check(make_one, fill=fill)
    site.crossbar.start()


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ({"realm": "no_realm"}, "no_such_realm"),
        ({"address_root": "elsewhere"}, "'elsewhere..feeds.' cannot be subscribed to"),
    ],
)
def test_what_the_crossbar_refuses_is_said(site, asked, flags, sentence):
    node, _ = asked(make(site.url, **flags))
    wait_until(lambda: sentence in (node.trouble or ""), 60, "the trouble")


def test_a_crossbar_that_is_missing_is_named(asked):
    url = f"ws://127.0.0.1:{free_port()}/ws"
    node, _ = asked(make(url))
    wait_until(lambda: f"{url}: Connection was refused" in (node.trouble or ""), 60, "the trouble")


@pytest.mark.parametrize("url", ["wss://host:8001/ws", "localhost:8001", "http://host/ws"])
def test_an_address_that_is_none_is_refused_at_the_start(url):
    with pytest.raises(sisock.SisockError, match="ws://"):
        make(url)


def test_all_flags_are_documented():
    assert documented_flags("ocs_feeds") == own_flags(OcsFeeds)
