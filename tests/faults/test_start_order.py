import signal

import pytest

from sisock.client.client import Client
from sisock.errors import HubMissing
from sisock.testing import RouterProcess
from tests.faults.helpers import (
    LISTED,
    SENSORS,
    TICKER,
    WEATHER,
    answers,
    promised_list,
    unstarted_router,
)

ROUTER_MISSING = "nothing listens there"
HUB_MISSING = "no hub answers"
HUB_READY = "the hub is ready"


@pytest.fixture(scope="module")
def hubless_router():
    """A router without a hub; nodes and hubs end with the test that started them."""
    with RouterProcess(hub=False) as router:
        yield router


def test_a_node_started_before_the_router_is_listed_once_it_listens(start):
    with unstarted_router() as router:
        node = start(router, *WEATHER)
        node.wait_for(ROUTER_MISSING)
        router.start()
        with Client(router.settings()) as client:
            promised_list(client, "apex_archive")
            assert answers(client, "apex_archive", "apex_temperature")


def test_a_node_started_before_the_hub_is_listed_once_it_is_there(hubless_router, start):
    with Client(hubless_router.settings()) as client:
        node = start(hubless_router, *WEATHER)
        node.wait_for(HUB_MISSING)
        with pytest.raises(HubMissing):
            client.nodes()
        start(hubless_router, "hub.py").wait_for(HUB_READY)
        promised_list(client, "apex_archive")
        assert answers(client, "apex_archive", "apex_temperature")


def test_hub_and_node_started_before_the_router_find_each_other(start):
    with unstarted_router(hub=False) as router:
        for program in (start(router, "hub.py"), start(router, *WEATHER)):
            program.wait_for(ROUTER_MISSING)
        router.start()
        with Client(router.settings()) as client:
            promised_list(client, "apex_archive")


@pytest.mark.parametrize("end_by", [signal.SIGKILL, signal.SIGTERM], ids=lambda s: s.name)
def test_a_restarted_hub_lists_the_nodes_that_are_there_and_no_other(hubless_router, start, end_by):
    hub = start(hubless_router, "hub.py")
    start(hubless_router, *WEATHER).wait_for(LISTED, 60)
    start(hubless_router, *TICKER).wait_for(LISTED, 60)
    leaver = start(hubless_router, *TICKER, "--name", "leaver")
    leaver.wait_for(LISTED, 60)
    with Client(hubless_router.settings()) as client:
        promised_list(client, "apex_archive", "leaver", "ticker")
        hub.signal(end_by)
        assert hub.wait() == (0 if end_by == signal.SIGTERM else -end_by)
        leaver.signal(signal.SIGTERM)
        assert leaver.wait() == 0
        start(hubless_router, *SENSORS).wait_for(HUB_MISSING)

        start(hubless_router, "hub.py").wait_for(HUB_READY)
        promised_list(client, "apex_archive", "sensors", "ticker")
        for name, field in (
            ("apex_archive", "apex_temperature"),
            ("sensors", "load_1min"),
            ("ticker", "count"),
        ):
            assert answers(client, name, field)
