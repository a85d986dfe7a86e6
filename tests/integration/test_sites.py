"""Several routers at once: nodes are site/node, and a site that is away costs others nothing."""

import asyncio
import socket
import time
import warnings
from contextlib import contextmanager

import pytest

from sisock import AsyncClient, Client
from sisock.errors import RouterUnreachable, SiteUnreachable, SiteWarning, UnknownField, UnknownNode
from sisock.testing import free_port, wait_until
from tests import forkserver, sites
from tests.conftest import Program
from tests.faults.helpers import unstarted_router


@pytest.fixture(scope="module")
def two(router, second_router):
    """The entries of two sites that can be reached."""
    return [sites.entry("north", router), sites.entry("south", second_router)]


@pytest.fixture(scope="module")
def variables(router, second_router, two, tmp_path_factory):
    """Where the file of the sites is: two that answer, and three that do not."""
    folder = tmp_path_factory.mktemp("sites")
    return sites.write(folder, *two, *sites.unreachable(folder, router, second_router))


@contextmanager
def joined(variables):
    """A client of the sites of a file."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        made = Client()
    with made:
        yield made


@pytest.fixture(scope="module")
def client(router, second_router, variables, tmp_path_factory):
    """A client of all, with nodes of one name at both sites, and one with a slash in its name."""
    nodes = [(router, "spoken", "twin"), (second_router, "numbered", "twin")]
    started = []
    for at, kind, name in [*nodes, (second_router, "spoken", "north/twin")]:
        log = tmp_path_factory.mktemp("node") / "log"
        command = ["tests/nodes.py", kind, "--name", name]
        started.append(Program(command, at.environ("server"), log))
    with joined(variables) as made:
        wait_for(made, "north/twin", "south/twin", "south/north/twin")
        yield made
    for program in started:
        program.end()


def listed(client):
    with warnings.catch_warnings(action="ignore", category=SiteWarning):
        return client.nodes()


def wait_for(client, *names):
    what = f"{names} in the list"
    wait_until(lambda: set(names) <= {node.name for node in listed(client)}, 30, what)


def test_each_site_is_asked_for_its_own_nodes(client):
    assert set(client.fields("north/twin")) == {"x"}
    assert set(client.fields("south/twin")) == {"n"}
    assert set(client.fields("south/north/twin")) == {"x"}
    wait_until(lambda: len(client.get("south/twin", "n")["n"]), 40, "samples")
    assert len(client.latest("north/twin")["x"]) == 1
    with client.watch("south/twin") as stream:
        first, second = stream.next(40), stream.next(40)
    assert second.values["n"] == first.values["n"] + 1
    with pytest.raises(UnknownField, match="'south/twin' has no field 'x'"):
        client.get("south/twin", "x")
    with pytest.raises(UnknownNode, match="'north/nobody'"):
        client.fields("north/nobody")


def test_a_name_without_a_known_site_is_an_error_that_names_the_sites(client):
    for name in ("twin", "nowhere/twin", "/twin"):
        with pytest.raises(UnknownNode, match=r"write site/node.* north, south, dead"):
            client.fields(name)


def test_the_list_says_which_sites_it_lacks_and_why(client):
    with pytest.warns(SiteWarning) as warned:
        nodes = client.nodes()
    assert {node.name.partition("/")[0] for node in nodes} == {"north", "south"}
    assert nodes == sorted(nodes, key=lambda node: node.name)
    assert set(nodes.unreachable) == set(sites.UNREACHABLE)
    assert sorted(str(each.message) for each in warned) == sorted(nodes.unreachable.values())
    assert warned[0].filename == __file__
    for name, why in sites.UNREACHABLE.items():
        assert f"the site {name!r} cannot be reached" in nodes.unreachable[name]
        assert why in nodes.unreachable[name]


def test_in_asyncio_the_list_says_it_too(router, two, monkeypatch, tmp_path):
    gone = sites.entry("gone", router, free_port())
    for name, value in sites.write(tmp_path, *two, gone).items():
        monkeypatch.setenv(name, value)

    async def ask():
        async with AsyncClient() as asking:
            return await asking.nodes()

    with pytest.warns(SiteWarning, match="the site 'gone' cannot be reached") as warned:
        assert set(asyncio.run(ask()).unreachable) == {"gone"}
    assert warned[0].filename == __file__


def test_a_site_that_says_nothing_is_waited_for_once(router, two, client, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as mute:
        entry = sites.entry("mute", router, mute.getsockname()[1])
        with joined(sites.write(tmp_path, *two, entry)) as made:
            assert set(made.fields("north/twin")) == {"x"}
            assert set(listed(made).unreachable) == {"mute"}
            assert "does not answer" in listed(made).unreachable["mute"]
            assert "south/twin" in {node.name for node in listed(made)}


def test_a_question_to_a_site_that_is_away_names_it_and_costs_no_other(client):
    with pytest.raises(SiteUnreachable, match=r"site 'dead' cannot .*nothing listens there"):
        client.get("dead/twin", "x")
    with pytest.raises(SiteUnreachable, match=r"site 'refused' cannot .*refuses the user"):
        client.latest("refused/twin")
    with pytest.raises(SiteUnreachable, match=r"site 'untrusted' cannot .*TLS failed"):
        client.watch("untrusted/twin")
    assert set(client.fields("north/twin")) == {"x"}


def test_no_site_that_can_be_reached_is_an_error_with_every_reason(router, tmp_path):
    alone = sites.write(tmp_path, sites.entry("a", router, 1), sites.entry("b", router, 1))
    with (
        pytest.raises(RouterUnreachable, match=r"site 'a' cannot .*; the site 'b' cannot"),
        joined(alone),
    ):
        pass


def test_one_router_is_named_and_asked_as_ever(router, client):
    with Client(router.settings()) as single, warnings.catch_warnings(action="error"):
        assert "twin" in {node.name for node in single.nodes()}
        assert single.nodes().unreachable == {}


def test_a_site_that_comes_later_is_told_with_its_nodes(router, start, tmp_path):
    with unstarted_router() as late:
        near = f'[north]\naddress = "unix:{router.home.router_socket}"\n'
        both = sites.write(tmp_path, near, sites.entry("late", late))
        with joined(both) as client, client.watch_nodes() as events:
            assert set(listed(client).unreachable) == {"late"}
            late.start()
            start(late, "tests/nodes.py", "spoken", "--name", "late_one")
            event = next(each for each in events if each.node.site == "late")
            assert (event.node.name, event.present) == ("late/late_one", True)
            assert set(client.fields("late/late_one")) == {"x"}
            late.stop()
            wait_until(lambda: listed(client).unreachable, 30, "notice that a site has gone")
            assert {node.site for node in listed(client)} <= {"north"}


@pytest.fixture
def sisock(variables, router, client):
    def run(*words, **more):
        command = ["-m", "sisock.cli", *map(str, words)]
        return forkserver.run(command, {**router.environ(), **variables, **more})

    return run


def test_the_command_lists_asks_and_watches_nodes_of_sites(sisock):
    done = sisock("nodes")
    assert "\nnorth/twin" in done.stdout
    assert "\nsouth/north/twin" in done.stdout
    assert done.returncode == 0
    for name in sites.UNREACHABLE:
        assert f"the site {name!r} cannot be reached" in done.stderr
    assert "Warning" not in done.stderr
    assert "n  " in sisock("fields", "south/twin").stdout
    assert sisock("get", "south/twin", "n").stdout.count("\n") > 1
    assert "x" in sisock("latest", "north/twin").stdout
    failed = sisock("get", "dead/twin", "x")
    assert (failed.returncode, failed.stderr.count("\n")) == (1, 1)
    assert "the site 'dead' cannot be reached" in failed.stderr


def test_names_of_sites_are_completed(sisock, tmp_path):
    line, answer = "sisock get south/tw", tmp_path / "answer"
    about = {"_ARGCOMPLETE_STDOUT_FILENAME": str(answer), "_ARGCOMPLETE_IFS": "\n"}
    asked = {"_ARGCOMPLETE": "1", "COMP_LINE": line, "COMP_POINT": str(len(line)), "COMP_TYPE": "9"}
    sisock(**about, **asked)
    assert answer.read_text().strip() == "south/twin"


def test_the_command_asks_the_one_router_that_is_named(sisock, router):
    done = sisock("nodes", "--router", f"localhost:{router.port}")
    assert "\ntwin" in done.stdout
    assert "north/twin" not in done.stdout


def test_doctor_examines_each_site_and_config_shows_them(sisock, variables):
    done = sisock("doctor")
    assert done.returncode == 1
    text = done.stdout
    for good in ("node north/twin: 1 field,", "node south/north/twin: 1 field,"):
        assert f"ok   {good}" in text
    for name in ("dead", "refused", "untrusted"):
        about = text.partition(f"the site {name!r}, of {variables['SISOCK_SITES']}:")[2]
        assert "BAD  router: " in about.partition("\nthe site")[0]
    dead = text.partition("the site 'dead'")[2].partition("\nthe site")[0]
    assert dead.endswith(f"start the router, or check {variables['SISOCK_SITES']}")
    shown = sisock("config").stdout
    assert "wss://localhost:" in shown
    assert "refused" in shown
    assert "not-the-secret" not in shown + text


def test_nodes_of_sites_are_recorded(router, second_router, client, variables, start, tmp_path):
    flags = ("*/twin", "dead/twin", "--name", "site_recorder")
    start(router, "data_nodes/recorder.py", *flags, SISOCK_DATA=str(tmp_path), **variables)
    wait_for(client, "north/site_recorder")

    def recorded():
        fields = client.fields("north/site_recorder")
        return {"south/twin.n", "north/twin.x", "nodes.south/twin"} <= set(fields)

    wait_until(recorded, 40, "recorded fields")
    asked = "north/site_recorder", "south/twin.n", 1, time.time() + 60
    wait_until(lambda: len(client.get(*asked)["south/twin.n"]), 40, "a recorded sample")
    assert not [name for name in client.fields("north/site_recorder") if "site_recorder." in name]
