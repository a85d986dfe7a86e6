"""Several processes serve one name: what consumers see, and what becomes of them when one dies."""

import random
import shutil
import threading

import numpy as np
import pytest

from sisock.client.client import Client
from sisock.testing import wait_until
from tests.conftest import TOP, wait_for_absence
from tests.integration.peers import listening

LISTED = "is in the hub's list"
FIELD = "apex_temperature"
ALL = 1, 0


@pytest.fixture
def files(tmp_path):
    return shutil.copytree(TOP / "example_data", tmp_path / "files")


@pytest.fixture
def replica(router, start, tmp_path):
    """Start a replica of an archive, with a cache of its own."""
    caches = iter(range(1000))

    def run(name, folder, *flags):
        cache = str(tmp_path / f"cache{next(caches)}")
        words = "data_nodes/weather.py", "--directory", folder, "--name", name, *flags
        return start(router, *words, SISOCK_CACHE=cache)

    return run


def replicas_of(client, name):
    return next((node.replicas for node in client.nodes() if node.name == name), None)


def test_replicas_are_listed_once_with_their_number(router, client, replica, files):
    name = "replicas_count"
    with (
        listening(router, "consumer.data_node_added", 1) as added,
        listening(router, "consumer.data_node_subtracted", 1) as subtracted,
    ):
        programs = [replica(name, files, "--replica") for _ in range(3)]
        wait_until(lambda: replicas_of(client, name) == 3, 60, "three replicas")
        generation = next(node.generation for node in client.nodes() if node.name == name)
        for left, program in zip((2, 1), programs, strict=False):
            program.process.kill()
            wait_until(lambda left=left: replicas_of(client, name) == left, 40, "one replica less")
        assert next(n.generation for n in client.nodes() if n.name == name) == generation
        programs[-1].end()
        wait_for_absence(client, name)
        events = [event["args"][0] for event in added() + subtracted()]
    assert [(event["name"], event["generation"]) for event in events] == [(name, generation)] * 2


def test_a_name_is_not_shared_with_one_that_is_no_replica(client, replica, files):
    replica("replicas_alone", files).wait_for(LISTED)
    refused = replica("replicas_alone", files, "--replica")
    refused.wait_for("trying again")
    assert replicas_of(client, "replicas_alone") is None
    replica("replicas_first", files, "--replica").wait_for(LISTED)
    replica("replicas_first", files).wait_for("another program serves as")
    assert replicas_of(client, "replicas_first") == 1


def test_a_replica_with_other_samples_waits(client, replica, files, tmp_path):
    other = shutil.copytree(files, tmp_path / "other")
    path = other / f"{FIELD}.dat"
    lines = path.read_text().splitlines(keepends=True)
    t = lines[100].split()[0]
    path.write_text("".join([*lines[:100], f"{t} 999.5\n", *lines[101:]]))
    replica("replicas_differ", files, "--replica").wait_for(LISTED)
    waiting = replica("replicas_differ", other, "--replica")
    waiting.wait_for("serve other samples")
    assert replicas_of(client, "replicas_differ") == 1
    path.write_text("".join(lines))
    waiting.wait_for(LISTED)
    assert replicas_of(client, "replicas_differ") == 2


def test_replicas_whose_samples_change_meet_in_another_generation(client, replica, files):
    name = "replicas_change"
    programs = [replica(name, files, "--replica") for _ in range(2)]
    for program in programs:
        program.wait_for(LISTED)
    (before,) = [node.generation for node in client.nodes() if node.name == name]
    path = files / f"{FIELD}.dat"
    lines = path.read_text().splitlines(keepends=True)
    t = lines[100].split()[0]
    path.write_text("".join([*lines[:100], f"{t} 999.5\n", *lines[101:]]))

    def has_met():
        found = [node for node in client.nodes() if node.name == name]
        return found and found[0].replicas == 2 and found[0].generation != before

    wait_until(has_met, 60, "both replicas in a new generation")
    for _ in range(4):
        assert 999.5 in client.get(name, FIELD, 1, 0)[FIELD].values


def test_a_live_node_cannot_be_a_replica(router, start):
    program = start(router, "data_nodes/sensors.py", "--name", "replicas_live", "--replica")
    assert program.wait() == 1
    assert "cannot be a replica" in program.output


def test_replicas_killed_under_load_cost_no_read_and_no_sample(router, client, replica, files):
    name, chance = "replicas_load", random.Random(1)
    programs = [replica(name, files, "--replica") for _ in range(3)]
    wait_until(lambda: replicas_of(client, name) == 3, 60, "three replicas")
    right = client.get(name, FIELD, *ALL)[FIELD]
    few = client.get(name, FIELD, *ALL, max_points=50)[FIELD]
    assert len(right.t) > 100
    wrong, reads, is_over = [], [0], threading.Event()

    def read():
        with Client(router.settings()) as own:
            while not is_over.is_set():
                try:
                    for how, expected in (({}, right), ({"max_points": 50}, few)):
                        found = own.get(name, FIELD, *ALL, **how)[FIELD]
                        if not np.array_equal(found.values, expected.values):
                            wrong.append("other samples")
                        reads[0] += 1
                    own.fields(name)
                except Exception as error:
                    wrong.append(repr(error))

    readers = [threading.Thread(target=read) for _ in range(4)]
    for reader in readers:
        reader.start()
    for _ in range(6):
        victim = programs.pop(chance.randrange(3))
        victim.process.kill()
        # A read outlives one of them: not the next one, if the first is not yet known to be dead.
        wait_until(lambda: replicas_of(client, name) == 2, 60, "one replica less")
        programs.append(replica(name, files, "--replica"))
        wait_until(lambda: replicas_of(client, name) == 3, 60, "the next replica")
    is_over.set()
    for reader in readers:
        reader.join()
    assert wrong == []
    assert reads[0] > 100
