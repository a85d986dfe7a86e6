import os
import sys
from collections import namedtuple
from types import SimpleNamespace

import psutil

from sisock.testing import wait_until
from tests.conftest import TOP, wait_for_nodes

sys.path.insert(0, str(TOP / "data_nodes"))
from sensors import read_hardware

Temperature = namedtuple("Temperature", "label current")


def test_figures_of_this_computer_are_served_live_with_units(router, client, start):
    start(router, "data_nodes/sensors.py", "--name", "own_sensors")
    wait_for_nodes(client, "own_sensors")
    fields = client.fields("own_sensors")
    assert {"cpu_percent", "memory_percent", "disk_percent", "network_received"} <= set(fields)
    assert fields["memory_available"].units == "bytes"
    assert fields["cpu_percent"].limits == {"warning": [None, 80], "alarm": [None, 95]}
    assert all(field.description for field in fields.values())
    wait_until(
        lambda: len(client.get("own_sensors", "cpu_percent")["cpu_percent"]) > 1, 20, "samples"
    )
    data = client.get("own_sensors", ["cpu_percent", "memory_available"])
    assert (data["cpu_percent"].values >= 0).all(), "also of the first reading"
    assert 0 < data["memory_available"].values[0] < psutil.virtual_memory().total


PRINTED = """coretemp-isa-0000
Adapter: ISA adapter
Package id 0:
  temp1_input: 45.000
  temp1_max: 100.000
Core 0:
  temp2_input: 43.500

thinkpad-isa-0000
Adapter: ISA adapter
fan1:
  fan1_input: 2100.000
"""


def test_the_originals_names_are_those_of_the_command_sensors(router, client, start, tmp_path):
    # This computer may have no sensors at all: what the command prints on one that has.
    command = tmp_path / "sensors"
    command.write_text(f"#!/bin/sh\ncat <<'END'\n{PRINTED}END\n")
    command.chmod(0o755)
    words = ["data_nodes/sensors.py", "--original-names", "--name", "old_sensors"]
    start(router, *words, PATH=f"{tmp_path}:{os.environ['PATH']}")
    wait_for_nodes(client, "old_sensors")
    fields = client.fields("old_sensors")
    names = ["coretemp-isa-0000_temp1", "coretemp-isa-0000_temp2", "thinkpad-isa-0000_fan1"]
    assert [name for name in fields if "isa" in name] == names
    assert fields[names[2]].units == "rpm"
    wait_until(lambda: client.get("old_sensors", names)[names[2]], 40, "samples")
    got = client.get("old_sensors", names)
    assert [got[name].values[0] for name in names] == [45.0, 43.5, 2100.0]


def test_the_originals_names_need_the_command(router, start):
    program = start(router, "data_nodes/sensors.py", "--original-names", PATH="/nowhere")
    assert program.wait() == 1
    assert "install lm-sensors" in program.output
    assert "Traceback" not in program.output


def test_two_sensors_of_one_chip_and_label_are_two_fields():
    drives = [Temperature("Composite", 70.0), Temperature("Composite", 30.0)]
    # This computer may have no sensors at all: what psutil says of one that has.
    found = read_hardware(SimpleNamespace(sensors_temperatures=lambda: {"nvme": drives}))
    assert found["temp_nvme_composite"][0] == 70.0
    assert found["temp_nvme_composite_1"][0] == 30.0
