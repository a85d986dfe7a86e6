"""The node of serial lines against instruments at pseudo-terminals and at TCP ports."""

import math
import os
import pty
import shlex
import socket
import socketserver
import sys
import threading
import time
import tty
from contextlib import suppress
from itertools import pairwise

import pytest

import sisock
from sisock.sources.lines import LineParser, Lines, read_value
from sisock.testing import free_port, wait_until
from tests.conftest import TOP, wait_for_nodes
from tests.documents import page
from tests.sources.conftest import check
from tests.sources.processes import documented_flags, example, own_flags

sys.path.insert(0, str(TOP / "data_nodes"))
from serial_lines import SerialLines

FLAGS = {
    **{"baud": 9600, "fields": [], "separator": r"[\s,;]+", "pattern": None, "interval": 0.05},
    **{"timeout": None, "end": "lf", "scpi": False, "config": None, "keep": None, "command": []},
}


def make(port, **flags):
    return SerialLines(str(port), **{**FLAGS, **flags})


class Cable:
    """A serial port, which can be pulled out and put in again."""

    def __init__(self, path):
        self.path = path
        self.end = None

    def plug(self):
        self.end, slave = pty.openpty()
        tty.setraw(slave)
        self.path.symlink_to(os.ttyname(slave))
        self.slave = slave

    def send(self, text):
        os.write(self.end, text if isinstance(text, bytes) else text.encode())

    def pull(self):
        if self.end is not None:
            os.close(self.end)
            os.close(self.slave)
            self.path.unlink()
            self.end = None


@pytest.fixture
def cable(tmp_path):
    it = Cable(tmp_path / "ttyUSB0")
    it.plug()
    yield it
    it.pull()


class Meter:
    """A multimeter at a TCP port, that speaks SCPI; it may be slow, or die."""

    def __init__(self, port):
        self.asked = []
        self.answers = {"*IDN?": "ACME,Meter 5,1234,1.0", "SYST:ERR?": '0,"No error"'}
        meter = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self):
                meter.connections.append(self.connection)
                for line in self.rfile:
                    command = line.decode().strip()
                    meter.asked.append(command)
                    answer = meter.answers.get(command)
                    if answer is not None:
                        self.wfile.write(f"{answer}\r\n".encode())

        socketserver.ThreadingTCPServer.allow_reuse_address = True
        self.connections = []
        self.server = socketserver.ThreadingTCPServer(("127.0.0.1", port), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def die(self):
        self.server.shutdown()
        self.server.server_close()
        for connection in self.connections:
            with suppress(OSError):  # the other side was faster
                connection.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def meter():
    it = Meter(free_port())
    yield it
    it.die()


def values(asking, field):
    return [value for _, value in asking.samples([field], 1, 0)[field]]


def test_lines_of_a_serial_port_are_served_past_a_pulled_cable(router, client, start, cable):
    words = shlex.split(example("serial_lines").replace("/dev/ttyUSB0", str(cable.path)))
    program = start(router, *words[1:], "--name", "cryostat")
    wait_for_nodes(client, "cryostat")

    def temperatures():
        return client.get("cryostat", "temp")["temp"].values.tolist()

    def comes(value):
        def has_come():
            cable.send(f"{value}, OK, 35.2\r\n")
            return value in temperatures()

        wait_until(has_come, 60, f"the sample {value}", every=0.3)

    comes(4.25)
    fields = client.fields("cryostat")
    assert {name: field.units for name, field in fields.items()} == {"temp": "K", "heater": "%"}
    cable.pull()
    program.wait_for("the connection has ended")

    def description():
        return next(node.description for node in client.nodes() if node.name == "cryostat")

    wait_until(lambda: "could not open port" in description(), 60, "the trouble")
    assert 4.25 in temperatures()
    cable.plug()
    comes(5.5)
    wait_until(lambda: "[" not in description(), 60, "no trouble")


def test_an_instrument_is_asked_by_scpi_past_its_death(asked, meter):
    meter.answers.update({"MEAS:VOLT?": "+1.25E+00", "MEAS:CURR?": "9.91E37"})
    text = example_of_scpi().replace("5025", str(meter.port))
    commands = [word for before, word in pairs(text) if before == "--command"]
    fields = [word for before, word in pairs(text) if before == "--fields"]
    node, asking = asked(make(port_of(text), command=commands, fields=fields, scpi=True))
    wait_until(lambda: len(values(asking, "voltage")) > 2, 60, "samples")
    assert set(values(asking, "voltage")) == {1.25}
    assert set(values(asking, "current")) == {None}
    assert asking.fields()["current"]["units"] == "A"
    assert node.description == "ACME,Meter 5,1234,1.0"
    assert meter.asked[:4] == ["*IDN?", "MEAS:VOLT?", "MEAS:CURR?", "SYST:ERR?"]
    meter.die()
    why = (
        f"(nothing listens at 127.0.0.1:{meter.port}: is the instrument on, and is the port right?)"
    )
    wait_until(lambda: why in (node.trouble or ""), 60, "the trouble")
    back = Meter(meter.port)
    back.answers.update({"MEAS:VOLT?": "2.5", "MEAS:CURR?": "0.5", "*IDN?": "ACME,Meter 6,99,1.0"})
    wait_until(lambda: 2.5 in values(asking, "voltage"), 60, "samples of the one that is back")
    wait_until(lambda: values(asking, "current")[-1] == 0.5, 60, "the other")
    assert node.description == "ACME,Meter 6,99,1.0"
    wait_until(lambda: node.trouble is None, 60, "no trouble")
    back.die()


def pairs(text):
    words = shlex.split(text)
    return pairwise(words)


def example_of_scpi():
    text = page("serial_lines.md").replace("\\\n", " ")
    return next(line for line in text.splitlines() if "--scpi --interval" in line)


def port_of(text):
    return next(word for before, word in pairs(text) if before == "--port")


def test_an_answer_that_is_late_is_not_taken_for_the_next(asked, meter):
    meter.answers.update({"A?": "1"})
    node, asking = asked(
        make(
            f"socket://127.0.0.1:{meter.port}",
            **{"command": ["A?", "B?"], "fields": ["a", "b"], "timeout": 0.3},
        )
    )
    wait_until(lambda: "no answer to 'B?' within 0.3 s" in (node.trouble or ""), 60, "it")
    assert values(asking, "a") == []
    meter.answers["B?"] = "2"
    wait_until(lambda: values(asking, "b"), 60, "samples")
    assert (set(values(asking, "a")), set(values(asking, "b"))) == ({1}, {2})


def test_errors_and_odd_answers_are_said_and_cost_their_values(asked, meter):
    meter.answers.update({"A?": "hot", "B?": "2", "SYST:ERR?": '-113,"Undefined header"'})
    port = f"socket://127.0.0.1:{meter.port}"
    node, asking = asked(make(port, command=["A?", "B?"], fields=["a", "b"], scpi=True))
    wait_until(lambda: len(values(asking, "b")) > 1, 60, "samples")
    assert set(values(asking, "a")) <= {None}
    meter.answers["A?"] = "1 K"
    wait_until(lambda: "it has 2 values" in (node.trouble or ""), 60, "the trouble")
    meter.answers["A?"] = "1K"
    wait_until(lambda: 1.0 in values(asking, "a"), 60, "a sample")
    wait_until(lambda: node.trouble is None, 60, "no trouble")


def test_a_port_that_is_missing_is_named_until_it_is_there(asked, tmp_path):
    cable = Cable(tmp_path / "late")
    node, asking = asked(make(cable.path, fields=["x"]))
    wait_until(lambda: "could not open port" in (node.trouble or ""), 60, "the trouble")
    cable.plug()

    def comes():
        cable.send("1\n")
        return values(asking, "x")

    wait_until(comes, 60, "samples", every=0.3)
    cable.pull()


def test_noise_without_an_end_is_trouble(asked, cable):
    node, _ = asked(make(cable.path, fields=["x"]))

    def is_said():
        cable.send(b"\x80" * 1000)
        return "see --baud" in (node.trouble or "")

    wait_until(is_said, 60, "the trouble")


def test_a_pattern_finds_its_values_and_leaves_other_lines_out(asked, cable, tmp_path):
    config = tmp_path / "types.toml"
    config.write_text(
        '[fields.on]\ntype = "bool"\n[fields.mode]\ntype = "string"\n[fields.temp]\nunits = "K"\n'
    )
    pattern = r"T=(?P<temp>\S+) on=(?P<on>\w+) (?P<mode>\w+)"
    node, asking = asked(make(cable.path, pattern=pattern, config=config))

    def comes():
        cable.send("# a remark\nT=4.5 on=OFF idle\n")
        return values(asking, "temp")

    wait_until(comes, 60, "samples", every=0.3)
    assert values(asking, "temp")[0] == 4.5
    assert (values(asking, "on")[0], values(asking, "mode")[0]) == (False, "idle")
    assert asking.fields()["temp"]["units"] == "K"
    assert node.trouble is None


def test_what_sends_by_itself_is_stale_once_a_line_is_late():
    assert make("loop://", fields=["temp"]).stale_after == 60
    assert make("loop://", fields=["temp"], timeout=5.0).stale_after == 5
    assert make("loop://", command=["A?"], fields=["temp"]).stale_after is None


def test_whatever_is_asked_for_the_samples_are_those_that_were_sent(tmp_path):
    cable = Cable(tmp_path / "tty")
    cable.plug()

    def fill(asking):
        def comes():
            cable.send("0 0\n")
            return values(asking, "x")

        wait_until(comes, 60, "the first", every=0.3)
        for i in range(300):
            cable.send(f"{i * 37 % 101 / 4} {i}\n")
            time.sleep(0.001)  # so that their times differ as those of an instrument
        wait_until(lambda: 299 in values(asking, "y"), 60, "the last")
        assert [v for v in values(asking, "y") if v] == list(range(1, 300))

    check(lambda: make(cable.path, fields=["x, y"]), fill=fill)
    cable.pull()


class Port:
    """What pyserial gives: bytes, or none when nothing came."""

    def __init__(self, *parts):
        self.parts = list(parts)
        self.in_waiting = 0

    def read(self, size):
        return self.parts.pop(0)


@pytest.mark.parametrize(
    ("parts", "lines"),
    [
        ((b"", b"1\n2\n"), ["1", "2"]),
        ((b".5\n", b"2\r", b"\n3\n"), ["2", "3"]),
        ((b"", b"4.", b"2\n\n", b"3", b"", b"\r"), ["4.2", "3"]),
        ((b"", b"\xff\n", b"1\n"), ["\ufffd", "1"]),
    ],
)
def test_lines_are_whole(parts, lines):
    port = Port(*parts)
    found = []
    reader = Lines(port, 5.0, lambda: len(found) == len(lines))
    for line in reader:
        found.append(line)
    assert found == lines


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        *(("4.2", "number", 4.2), ("-1e3", "number", -1000), ("4.2K", "number", 4.2)),
        *(("+3.1E+00 V", "number", 3.1), ("inf", "number", math.inf), (".5", "number", 0.5)),
        *(("ON", "bool", True), ("0", "bool", False), ("x y", "string", "x y")),
    ],
)
def test_values_of_all_types_are_read(text, kind, value):
    assert read_value(text, kind) == value


@pytest.mark.parametrize(
    ("text", "kind"), [("1.2.3", "number"), ("4-2", "number"), ("", "number"), ("2", "bool")]
)
def test_what_is_no_value_is_an_error(text, kind):
    with pytest.raises(ValueError, match="a value is n"):
        read_value(text, kind)


def test_a_line_of_other_values_is_an_error():
    parser = LineParser("a [K], -, b", r"[\s,;]+", None)
    assert parser.units == {"a": "K", "b": None}
    assert parser.split("1, x; 3") == {"a": "1", "b": "3"}
    with pytest.raises(ValueError, match="it has 2 values instead of 3"):
        parser.split("1 2")


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ({}, "name the values of a line"),
        ({"command": ["A?", "B?"], "fields": ["a"]}, "name the values of a line"),
        ({"fields": ["a"], "pattern": "(?P<a>.)"}, "name the values of a line"),
        ({"pattern": "("}, "--pattern: missing"),
        ({"pattern": "x"}, "each field needs a name"),
        ({"fields": ["a [K"]}, "is not a list such as"),
        ({"fields": ["a"], "interval": 0.0}, "more than 0 seconds"),
    ],
)
def test_flags_that_cannot_be_are_an_error(flags, sentence):
    with pytest.raises(sisock.SisockError, match=sentence):
        make("socket://127.0.0.1:1", **flags)


def test_all_flags_are_documented():
    assert documented_flags("serial_lines") == own_flags(SerialLines)
