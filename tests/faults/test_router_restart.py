import signal
import time

import pytest

from sisock.client.client import Client
from sisock.client.merge import Gap
from tests.faults.helpers import (
    SENSORS,
    TICKER,
    WEATHER,
    answers,
    interrupt_router,
    kill_router,
    promised,
    promised_event,
    promised_list,
)

FIELDS = {"apex_archive": "apex_temperature", "sensors": "load_1min", "ticker": "count"}

both_ends = pytest.mark.parametrize(
    "end_router", [kill_router, interrupt_router], ids=lambda function: function.__name__
)


@pytest.fixture
def three_nodes(own_router, start):
    programs = [start(own_router, *command) for command in (WEATHER, SENSORS, TICKER)]
    for program in programs:
        program.wait_for("is in the hub's list")
    return programs


@both_ends
def test_after_a_restart_of_the_router_all_is_as_before(own_router, three_nodes, end_router):
    with Client(own_router.settings()) as client, client.watch("ticker") as ticks:
        promised_list(client, *FIELDS)
        ticks.next(timeout=30)
        end_router(own_router)
        restarted = time.time()
        own_router.start()

        # The client is the one from before, and so are the processes of the nodes.
        promised_list(client, *FIELDS)
        for name, field in FIELDS.items():
            assert answers(client, name, field)
        assert all(program.process.poll() is None for program in three_nodes)

        # The stream is the one from before, and brings each sample once.
        samples = (each for each in ticks if not isinstance(each, Gap))
        promised(lambda: next(samples).t > restarted, "a live sample after the restart")
        times = [next(samples).t for _ in range(20)]
        assert times == sorted(set(times))

        # And a goodbye is heard as before.
        three_nodes[0].signal(signal.SIGTERM)
        assert three_nodes[0].wait() == 0
        promised_list(client, "sensors", "ticker")


def test_who_watches_before_a_node_is_back_hears_of_it(own_router, three_nodes):
    with Client(own_router.settings()) as client:
        promised_list(client, *FIELDS)
        three_nodes[2].signal(signal.SIGSTOP)
        kill_router(own_router)
        own_router.start()
        promised_list(client, "apex_archive", "sensors")
        with client.watch_nodes() as events:
            three_nodes[2].signal(signal.SIGCONT)
            promised_event(events, "ticker", present=True)
