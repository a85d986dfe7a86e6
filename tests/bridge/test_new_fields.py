"""Fields that a node has got since the bridge knows it."""

import pytest

from sisock import Client
from sisock.testing import wait_until
from tests.bridge.conftest import iso_range
from tests.bridge.nodes import START
from tests.conftest import wait_for_nodes

WITHIN = 20
"""Seconds; the bridge asks a node again after three."""


@pytest.fixture
def fields(router, start, tmp_path):
    file = tmp_path / "fields"
    file.write_text("old")
    start(router, "tests/bridge/nodes.py", "new_fields", TEST_FIELDS=str(file))
    with Client(router.settings()) as client:
        wait_for_nodes(client, "new_fields")
    return file


def searched(bridge):
    return bridge.ask("/search", {"target": "new_fields"}).json


def shown(bridge):
    span = iso_range(START - 10, START + 10)
    series = bridge.query("new_fields::*", range=span, maxDataPoints=100)
    return [each["target"] for each in series if each["datapoints"]]


@pytest.mark.parametrize("find", [searched, shown])
def test_a_new_field_is_found_soon(bridge, fields, find):
    wait_until(lambda: find(bridge) == ["new_fields::old"], WITHIN, "the node")
    fields.write_text("old new")
    both = ["new_fields::old", "new_fields::new"]
    wait_until(lambda: find(bridge) == both, WITHIN, "the new field")
    fields.write_text("new")
    wait_until(lambda: find(bridge) == ["new_fields::new"], WITHIN, "the field without the old")
