"""The EPICS node serves what an IOC of caproto has, which dies and returns."""

import shlex
import signal
import sys
from pathlib import Path

import pytest

import sisock
from sisock.sources.epics import Variables
from sisock.testing import free_port, wait_until
from tests.conftest import TOP, wait_for_absence, wait_for_nodes
from tests.sources.conftest import check
from tests.sources.ioc import BEGAN
from tests.sources.processes import Server, documented_flags, example, own_flags

sys.path.insert(0, str(TOP / "data_nodes"))
from caproto.sync.client import read, write
from epics import Epics

ALL = ["TANK:LEVEL", "TANK:COUNT", "TANK:VALVE", "TANK:TEXT"]
READ, HIHI = 1, 3


@pytest.fixture(autouse=True)
def addresses(monkeypatch):
    """IOCs of this test alone, on the loopback interface."""
    port, repeater = free_port(), free_port()
    for name in ("EPICS_CA_SERVER_PORT", "EPICS_CAS_SERVER_PORT"):
        monkeypatch.setenv(name, str(port))
    for name in ("EPICS_CA_REPEATER_PORT", "EPICS_CAS_BEACON_PORT"):
        monkeypatch.setenv(name, str(repeater))
    for name in ("EPICS_CA_ADDR_LIST", "EPICS_CAS_BEACON_ADDR_LIST"):
        monkeypatch.setenv(name, "127.0.0.1")
    for name in ("EPICS_CA_AUTO_ADDR_LIST", "EPICS_CAS_AUTO_BEACON_ADDR_LIST"):
        monkeypatch.setenv(name, "NO")


class Ioc(Server):
    """An IOC in a process of its own."""

    def __init__(self, folder):
        command = [sys.executable, "-m", "tests.sources.ioc"]
        super().__init__(command, folder / "ioc.log", self.answers)

    def answers(self):
        read("TANK:COUNT", timeout=0.5, repeater=False)

    def put(self, name, value):
        write(f"TANK:{name}", value, notify=True, timeout=30, repeater=False)


@pytest.fixture
def ioc(tmp_path, addresses):
    ioc = Ioc(tmp_path)
    ioc.start()
    yield ioc
    ioc.kill()


def values(asked, name):
    return [value for _, value in asked.samples([name], 1, 0)[name]]


def has_come(asked, *names):
    return lambda: all(name in asked.fields() and values(asked, name) for name in names)


def test_variables_are_served_live_past_the_death_of_their_ioc(
    router, client, start, ioc, tmp_path
):
    words = [*shlex.split(example("epics"))[1:], "--name", "tank", "--keep", "10y"]
    program = start(router, *words, SISOCK_DATA=str(tmp_path / "data"))
    wait_for_nodes(client, "tank")
    wait_until(lambda: len(client.fields("tank")) == 2, 60, "the fields")
    level = client.fields("tank")["TANK:LEVEL"]
    assert (level.units, level.precision, level.type) == ("m", 2, "number")
    assert level.limits == {"warning": [0.5, 3.0], "alarm": [0.25, 4.0]}
    assert client.fields("tank")["TANK:VALVE"].labels == {"0": "closed", "1": "open"}

    def levels():
        found = client.get("tank", "TANK:LEVEL", start=1)["TANK:LEVEL"].values.tolist()
        return [None if value != value else value for value in found]

    wait_until(lambda: levels() == [1.5], 60, "the first sample")
    ioc.put("LEVEL", 2.5)
    wait_until(lambda: levels() == [1.5, 2.5], 60, "the sample")

    def description():
        return next(node.description for node in client.nodes() if node.name == "tank")

    ioc.kill()
    lost = "not connected: TANK:LEVEL, TANK:VALVE"
    wait_until(lambda: lost in description(), 60, "the trouble")
    program.wait_for(lost)
    wait_until(lambda: levels() == [1.5, 2.5, None], 60, "the missing value")
    ioc.start()
    # It has what it had at its start, with the time when it was seen.
    wait_until(lambda: levels() == [1.5, 2.5, None, 1.5], 90, "its return", every=0.3)
    wait_until(lambda: "not connected" not in description(), 60, "no trouble")
    program.signal(signal.SIGTERM)
    program.wait()
    wait_for_absence(client, "tank")
    program = start(router, *words, SISOCK_DATA=str(tmp_path / "data"))
    wait_for_nodes(client, "tank")
    wait_until(lambda: levels() == [1.5, 2.5, None, 1.5, 1.5], 60, "what it is now")
    assert "too late" not in program.output


def test_whatever_is_asked_for_the_samples_are_those_of_the_ioc(ioc):
    def fill(asked):
        wait_until(has_come(asked, *ALL), 60, "all fields")
        ioc.put("FILL", 300)
        last = BEGAN + 299 * 0.7
        wait_until(
            lambda: all(asked.samples([n], 1, 0)[n][-1][0] > last - 0.1 for n in ALL), 60, "all"
        )
        found = asked.samples(["TANK:LEVEL"], 1, 0)["TANK:LEVEL"]
        assert set(found[1:]) <= {(BEGAN + i * 0.7, (i * 37) % 101 / 4) for i in range(300)}

    check(lambda: Epics(ALL), fill=fill)


def test_a_variable_has_its_type_before_its_first_value(ioc):
    told = {}
    variables = Variables(ALL, {}, told.__setitem__, lambda *value: None)
    wait_until(lambda: told.keys() >= set(ALL), 60, "all variables")
    variables.close()
    assert {name for name, entry in told.items() if entry["type"] == "string"} == {"TANK:TEXT"}


def test_severity_is_a_field_and_an_invalid_value_is_missing(ioc, asked):
    node, asking = asked(Epics(["TANK:TEXT"], severity=True))
    wait_until(has_come(asking, "TANK:TEXT"), 60, "the field")
    assert asking.fields()["TANK:TEXT.SEVR"]["labels"]["3"] == "invalid"
    ioc.put("SPOIL", READ)
    wait_until(lambda: values(asking, "TANK:TEXT.SEVR")[-1] == 3, 60, "the severity")
    assert values(asking, "TANK:TEXT")[-1] is None
    wait_until(lambda: node.trouble == "invalid: TANK:TEXT", 60, "the trouble")
    ioc.put("SPOIL", 0)
    wait_until(lambda: values(asking, "TANK:TEXT.SEVR")[-1] == 0, 60, "no alarm")
    assert values(asking, "TANK:TEXT")[-1] == "ready"
    wait_until(lambda: node.trouble is None, 60, "no trouble")


def test_a_value_that_is_invalid_by_its_limits_is_there(ioc, asked):
    _, asking = asked(Epics(["TANK:TEXT"], severity=True))
    wait_until(has_come(asking, "TANK:TEXT"), 60, "the field")
    ioc.put("SPOIL", HIHI)
    wait_until(lambda: values(asking, "TANK:TEXT.SEVR")[-1] == 3, 60, "the severity")
    assert values(asking, "TANK:TEXT")[-1] == "ready"


def test_arrays_and_variables_that_nobody_has_are_said(ioc, asked, tmp_path):
    names = tmp_path / "names"
    names.write_text("# the tank\nTANK:WAVE\n\nTANK:NONE  # not yet\n")
    node, asking = asked(Epics(["TANK:TEXT"], list=names))
    wait_until(has_come(asking, "TANK:TEXT"), 60, "the field")
    said = "left out as an array: TANK:WAVE; not connected: TANK:NONE"
    wait_until(lambda: node.trouble == said, 60, f"the trouble {said}")
    assert set(asking.fields()) == {"TANK:TEXT"}
    ioc.put("TEXT", "full")
    wait_until(lambda: values(asking, "TANK:TEXT")[-1] == "full", 60, "the sample")
    wait_until(lambda: node.trouble == said, 60, f"the trouble {said} again")


def test_units_and_limits_are_those_of_the_ioc_after_it_has_changed_them(ioc, asked, tmp_path):
    config = tmp_path / "limits.toml"
    config.write_text('[fields."TANK:*"]\nprecision = 4\n')
    _, asking = asked(Epics(["TANK:LEVEL"], config=config))
    wait_until(has_come(asking, "TANK:LEVEL"), 60, "the field")
    assert asking.fields()["TANK:LEVEL"]["precision"] == 4
    ioc.put("RENAME", "cm")
    wait_until(lambda: asking.fields()["TANK:LEVEL"]["units"] == "cm", 60, "the units")


def test_without_names_that_is_said():
    with pytest.raises(sisock.SisockError, match="--pv or in the file of --list"):
        Epics([])
    with pytest.raises(sisock.SisockError, match=r"--list: .*none\.txt"):
        Epics([], list=Path("none.txt"))


def test_all_flags_are_documented():
    assert documented_flags("epics") == own_flags(Epics)
