"""The live nodes of docs/how-to/live-nodes.md, each with its instrument."""

import itertools
import os
import pty
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import tty

import numpy as np
import pytest

from sisock.testing import free_port, wait_until
from tests.conftest import wait_for_absence, wait_for_nodes
from tests.documents import blocks, page

BLOCKS = blocks(page("live-nodes.md"), "python")
PROGRAMS = {re.search(r'name = "(\w+)"', b)[1]: b for b in BLOCKS if "sisock.run(" in b}


@pytest.fixture
def documented(router, client, start, tmp_path):
    """Check and start a program of the document, with flags; returns what it printed."""

    def run(name, *flags, change=lambda program: program, checked=lambda: None):
        path = tmp_path / f"{name}.py"
        path.write_text(change(PROGRAMS[name]))
        flags = [str(flag) for flag in flags]
        command = [sys.executable, path, "--check", *flags]
        check = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert (check.returncode, check.stderr) == (0, "")
        assert check.stdout.startswith(f"node {name}: ")
        checked()
        program = start(router, path, *flags, SISOCK_DATA=str(tmp_path / "data"))
        wait_for_nodes(client, name)
        return program

    return run


def samples(client, node, field, count, start=1):
    """Values of all samples of a field, once there are so many."""

    def fetch():
        series = client.get(node, field, start, time.time() + 60)[field]
        return series if len(series) >= count else None

    return wait_until(fetch, 30, f"{count} samples of {field}")


@pytest.fixture
def thermometer():
    """A serial line with a thermometer at its other end: the path of the line."""
    ours, its = pty.openpty()
    tty.setraw(its)

    def answer():
        answers = {b"KRDG?\n": b"4.25\n", b"HTR?\n": b"1\n"}
        asked = b""
        while True:
            try:
                asked += os.read(ours, 100)
            except OSError:
                return
            while (end := asked.find(b"\n") + 1) > 0:
                os.write(ours, answers[asked[:end]])
                asked = asked[end:]

    threading.Thread(target=answer, daemon=True).start()
    yield os.ttyname(its)
    os.close(its)
    os.close(ours)


def test_a_thermometer_at_a_serial_line(client, documented, thermometer):
    documented("thermometer", "--port", thermometer)
    assert set(samples(client, "thermometer", "stage_4k", 2).values) == {4.25}
    assert set(samples(client, "thermometer", "heater", 2).values) == {True}
    about = client.fields("thermometer")
    assert about["stage_4k"].limits == {"warning": [None, 4.5], "alarm": [3.0, 6.0]}
    assert (about["stage_4k"].precision, about["heater"].labels["1"]) == (3, "on")
    assert (about["heater"].interval, about["heater"].stale_after) == (1.0, 10.0)
    assert about["stage_4k"].first <= about["stage_4k"].last


def test_samples_on_disk_survive_a_kill(client, documented, thermometer):
    kept = next(block for block in BLOCKS if "keep =" in block)

    def change(program):
        program = program.replace("if __name__", f"{kept}\n\nif __name__")
        return program.replace("sisock.run(Thermometer)", "sisock.run(Kept)")

    program = documented("thermometer", "--port", thermometer, change=change)
    before = samples(client, "thermometer", "heater", 2)
    (node,) = [node for node in client.nodes() if node.name == "thermometer"]
    program.signal(signal.SIGKILL)
    program.wait()
    wait_for_absence(client, "thermometer")
    documented("thermometer", "--port", thermometer, change=change)
    after = samples(client, "thermometer", "heater", len(before) + 2)
    assert after.t[: len(before)].tolist() == before.t.tolist()
    assert set(after.values) == {True}
    (again,) = [node for node in client.nodes() if node.name == "thermometer"]
    assert again.generation == node.generation


def test_a_server_that_sends_when_something_changes(client, documented):
    with socket.create_server(("localhost", 0)) as server:
        texts, is_checked = iter(["WS 4.2\nXX 9\nDOOR open\n", "WS 5.5\n", ""]), threading.Event()

        def serve():
            text = "WS 1.5\n"
            while text:
                connection, _ = server.accept()
                with connection:
                    text = next(texts) if is_checked.is_set() else "WS 1.5\n"
                    connection.sendall(text.encode())
                    # The last connection stays, with nothing more to say.
                    connection.recv(1) if not text else None

        threading.Thread(target=serve, daemon=True).start()
        port = server.getsockname()[1]

        def checked():
            # A check that takes long connects again: those who came before us are served now.
            with socket.create_connection(("localhost", port)) as last:
                assert last.recv(100) == b"WS 1.5\n"
            is_checked.set()

        program = documented("mast", "--port", port, checked=checked)
        wind = samples(client, "mast", "wind_speed", 2)
    assert wind.values.tolist() == [4.2, 5.5]
    door = samples(client, "mast", "door", 1)
    assert (door.values.tolist(), door.timeline) == (["open"], "door")
    assert set(client.fields("mast")) == {"wind_speed", "door"}
    assert client.fields("mast")["door"].stale_after == 60
    program.wait_for("the connection has ended (it was closed)")


def test_a_receiver_whose_packets_come_in_any_order(client, documented):
    port, base = free_port(), 1_700_000_000.0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sending:
        sending.connect(("localhost", port))

        def send(index):
            power = np.arange(index * 10, index * 10 + 10, dtype="<f4")
            packet = struct.pack("<dd", base + index / 10, 0.01) + power.tobytes()
            try:
                sending.send(packet)
            except ConnectionRefusedError:  # the node does not listen yet
                time.sleep(0.05)

        done = threading.Event()

        def send_often():
            # Each is later than the one before: what comes twice is dropped, which the node says.
            for index in itertools.count(-100_000):
                send(index)
                if done.wait(0.1):
                    break

        repeating = threading.Thread(target=send_often)
        repeating.start()
        program = documented("receiver", "--port", port)
        samples(client, "receiver", "power", 10)
        done.set()
        repeating.join()
        for index in (2, 1, 0, 3, 50, 49, 48):
            send(index)
        power = samples(client, "receiver", "power", 70, base)
        send(30)
        program.wait_for("samples that come too late for timeline 'gps' are dropped")
    expected = [i * 10 + j for i in (0, 1, 2, 3, 48, 49, 50) for j in range(10)]
    assert power.values.tolist() == expected
    assert np.allclose(power.t, base + np.array(expected) / 100)


def test_a_camera_with_two_rates(client, documented):
    documented("camera")
    with client.watch("camera") as stream:
        sample = stream.next(timeout=30)
        while sample.timeline != "frames":
            sample = stream.next(timeout=30)
    assert set(sample.values) == {"brightness"}
    bright = samples(client, "camera", "brightness", 150)
    state = samples(client, "camera", "mode", 2)
    assert (bright.timeline, state.timeline) == ("frames", "state")
    assert len(bright) > 5 * len(state)
    about = client.fields("camera")
    assert {name: field.type for name, field in about.items()} == {
        "brightness": "number",
        "temperature": "number",
        "mode": "string",
    }
    assert about["brightness"].interval == 0.01


def test_a_node_without_a_docstring_has_no_description(router, client, start, tmp_path):
    program = tmp_path / "plain.py"
    program.write_text(
        "import sisock\n\n\nclass Plain(sisock.LiveNode):\n    name = 'plain'\n"
        "    fields = {'x': {}}\n\n    def read(self):\n        return {'x': 1}\n\n\n"
        "sisock.run(Plain)\n"
    )
    start(router, program)
    wait_for_nodes(client, "plain")
    assert next(node for node in client.nodes() if node.name == "plain").description == ""
