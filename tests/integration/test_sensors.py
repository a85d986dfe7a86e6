import sys
from collections import namedtuple

import psutil

from sisock.testing import wait_until
from tests.conftest import TOP, wait_for_nodes

sys.path.insert(0, str(TOP / "data_nodes"))
from sensors import Sensors

Temperature = namedtuple("Temperature", "label current")


def test_figures_of_this_computer_are_served_live_with_units(router, client, start):
    start(router, "data_nodes/sensors.py", "--name", "own_sensors")
    wait_for_nodes(client, "own_sensors")
    fields = client.fields("own_sensors")
    assert {"cpu_percent", "memory_percent", "disk_percent", "network_received"} <= set(fields)
    assert fields["memory_available"].units == "bytes"
    assert all(field.description for field in fields.values())
    wait_until(
        lambda: len(client.get("own_sensors", "cpu_percent")["cpu_percent"]) > 2, 20, "samples"
    )
    data = client.get("own_sensors", ["cpu_percent", "memory_available"])
    # The first reading has nothing to compare with, and so no load.
    assert data["cpu_percent"].values[0] != data["cpu_percent"].values[0]
    assert (data["cpu_percent"].values[1:] >= 0).all()
    assert 0 < data["memory_available"].values[0] < psutil.virtual_memory().total


def test_two_sensors_of_one_chip_and_label_are_two_fields(monkeypatch):
    # This computer may have no sensors at all: what psutil says of one that has.
    drives = [Temperature("Composite", 70.0), Temperature("Composite", 30.0)]
    chips = {"nvme": drives}
    monkeypatch.setattr(psutil, "sensors_temperatures", lambda: chips, raising=False)
    found = Sensors.read_hardware()
    assert found["temp_nvme_composite"][0] == 70.0
    assert found["temp_nvme_composite_1"][0] == 30.0
