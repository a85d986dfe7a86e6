"""The MQTT node serves what a mosquitto passes on, which dies and returns."""

import json
import shlex
import socket
import subprocess
import sys

import pytest
from paho.mqtt import publish

import sisock
from sisock.connection.settings import Home
from sisock.router.credentials import make_certificates
from sisock.testing import free_port, wait_until
from tests.conftest import TOP, wait_for_nodes
from tests.sources.conftest import check
from tests.sources.processes import Server, documented_flags, example, own_flags

sys.path.insert(0, str(TOP / "data_nodes"))
from mqtt import Mqtt

BEGAN = 1_700_000_000.0

FLAGS = {
    **{"host": "127.0.0.1", "time": None, "retained": False, "user": None, "password_file": None},
    **{"tls": False, "ca_file": None, "config": None},
}


class Broker(Server):
    """A mosquitto with the lines of its configuration that a test wants."""

    def __init__(self, folder, *lines):
        self.port = free_port()
        configuration = folder / "mosquitto.conf"
        lines = lines or ("allow_anonymous true",)
        text = ["user root", f"listener {self.port} 127.0.0.1", "persistence false", *lines]
        configuration.write_text("\n".join(text))
        command = ["mosquitto", "-c", configuration]
        super().__init__(command, folder / "mosquitto.log", self.answers)

    def answers(self):
        socket.create_connection(("127.0.0.1", self.port), timeout=1).close()

    def send(self, *messages, retain=False, tls=None):
        """Publish pairs of topic and payload."""
        every = [
            (topic, p if isinstance(p, bytes) else json.dumps(p), 0, retain)
            for topic, p in messages
        ]
        publish.multiple(every, hostname="127.0.0.1", port=self.port, tls=tls)


@pytest.fixture
def begin(tmp_path):
    """A function that starts a broker, which ends with the test."""
    brokers = []

    def start(*lines):
        brokers.append(Broker(tmp_path, *lines))
        brokers[-1].start()
        return brokers[-1]

    yield start
    for broker in brokers:
        broker.kill()


@pytest.fixture
def broker(begin):
    return begin()


def make(broker, *topics, **flags):
    return Mqtt([*topics], **{**FLAGS, "port": broker.port, **flags})


def keep_sending(broker, asked, name, *messages, **more):
    """Send until the node has the field, as nobody says when it has subscribed."""

    def has_come():
        broker.send(*messages, **more)
        return name in asked.fields()

    wait_until(has_come, 60, f"the field {name!r}", every=0.1)


def test_messages_are_served_live_past_the_death_of_the_broker(
    router, client, start, broker, tmp_path
):
    config = tmp_path / "units.toml"
    config.write_text('[fields."mast/*.wind.speed"]\nunits = "m/s"\nprecision = 1\n')
    words = shlex.split(example("mqtt").replace("1883", str(broker.port)))
    program = start(router, *words[1:], "--name", "broker", "--config", config)
    wait_for_nodes(client, "broker")
    program.wait_for("subscribed to mast/#, tank/+/level")
    broker.send(
        ("mast/north", {"wind": {"speed": 4.5, "from": "NE"}, "status": [True, None]}),
        ("tank/3/level", 1.25),
        ("tank/3/colour", "blue"),
        ("door", "open"),
    )

    def fields():
        return client.fields("broker")

    wait_until(lambda: "tank/3/level" in fields(), 60, "the fields")
    assert set(fields()) == {
        *("mast/north.wind.speed", "mast/north.wind.from", "mast/north.status.0", "tank/3/level"),
    }
    speed = fields()["mast/north.wind.speed"]
    assert (speed.units, speed.precision, speed.timeline) == ("m/s", 1, "mast/north")
    assert fields()["mast/north.wind.from"].type == "string"
    assert fields()["mast/north.status.0"].type == "bool"

    def levels():
        return client.get("broker", "tank/3/level")["tank/3/level"].values.tolist()

    wait_until(lambda: levels() == [1.25], 60, "the sample")

    broker.kill()
    program.wait_for("the connection has ended")

    def description():
        return next(node.description for node in client.nodes() if node.name == "broker")

    wait_until(lambda: "the connection has ended" in description(), 60, "the trouble")
    assert levels() == [1.25]
    broker.start()

    def has_returned():
        broker.send(("tank/3/level", 2.5))
        return levels()[-1] == 2.5

    wait_until(has_returned, 90, "samples after the broker's return", every=0.3)
    wait_until(lambda: description() == "Live messages of an MQTT broker.", 60, "no trouble")


def test_whatever_is_asked_for_the_samples_are_those_that_were_sent(broker):
    def fill(asked):
        sent = [
            ("a/b", {"t": BEGAN + i * 0.7, "x": (i * 37) % 101 / 4, "s": f"{i // 50}", "b": i < 9})
            for i in range(300)
        ]
        keep_sending(broker, asked, "a/b.x", sent[0])
        broker.send(*sent[1:], ("plain", {"t": BEGAN * 1e3 + 5, "deep": {"er": [1]}}))
        wait_until(lambda: "plain.deep.er.0" in asked.fields(), 60, "all fields")
        wait_until(lambda: len(asked.samples(["a/b.x"], 1, 0)["a/b.x"]) == 300, 60, "all")
        found = asked.samples(["a/b.x", "plain.deep.er.0"], 1, 0)
        assert found["a/b.x"] == [(m["t"], m["x"]) for _, m in sent]
        assert found["plain.deep.er.0"] == [(BEGAN + 0.005, 1)]

    check(lambda: make(broker, "#", time="t"), fill=fill)


def test_odd_messages_cost_themselves_alone(broker, asked):
    node, asking = asked(make(broker, "#"))
    keep_sending(broker, asking, "ready", ("ready", 1))
    broker.send(
        ("binary", b"\xff\xfe\x00"),
        ("deep", b"[" * 100_000),
        ("empty", b""),
        ("large", b"1" * 1_000_001),
        ("text", b"hot air"),
        ("number", b"nan"),
        ("ready", "no number"),
        ("last", 5),
    )
    wait_until(lambda: "last" in asking.fields(), 60, "the last message")
    wait_until(lambda: asking.samples(["text"], 1, 0)["text"], 60, "its sample")
    assert {"binary", "large"} & set(asking.fields()) == set()
    ((_, text),) = asking.samples(["text"], 1, 0)["text"]
    assert text == "hot air"
    assert {v for _, v in asking.samples(["ready"], 1, 0)["ready"]} == {1, None}
    assert node.trouble is None


def test_a_declared_type_decides_what_is_a_value(broker, asked, tmp_path):
    config = tmp_path / "types.toml"
    config.write_text('[fields.level]\ntype = "number"\n[fields.door]\ntype = "string"\n')
    _, asking = asked(make(broker, "#", config=config))
    keep_sending(broker, asking, "ready", ("ready", 1))
    broker.send(("level", "unavailable"), ("door", 7), ("level", 1.5))
    wait_until(lambda: "level" in asking.fields(), 60, "the field")
    wait_until(lambda: asking.samples(["level"], 1, 0)["level"], 60, "its sample")
    assert [v for _, v in asking.samples(["level"], 1, 0)["level"] if v is not None] == [1.5]
    assert [v for _, v in asking.samples(["door"], 1, 0)["door"]] == ["7"]


@pytest.mark.parametrize("retained", [False, True])
def test_retained_messages_are_taken_only_if_wanted(broker, asked, retained):
    broker.send(("old", 3), retain=True)
    _, asking = asked(make(broker, "#", retained=retained))
    keep_sending(broker, asking, "ready", ("ready", 1))
    assert ("old" in asking.fields()) is retained


def test_a_wrong_password_is_said_until_it_is_right(begin, tmp_path, asked, monkeypatch):
    passwords = tmp_path / "passwords"
    passwords.write_text("")
    broker = begin("allow_anonymous false", f"password_file {passwords}")
    monkeypatch.setenv("MQTT_PASSWORD", "right")
    node, _ = asked(make(broker, "#", user="reader"))
    wait_until(lambda: node.trouble and "refuses: Not authorized" in node.trouble, 60, "it")
    broker.kill()
    subprocess.run(["mosquitto_passwd", "-b", passwords, "reader", "right"], check=True)
    broker.start()
    wait_until(lambda: node.trouble is None, 90, "the connection")


def test_tls_is_spoken_with_a_broker_that_is_trusted(begin, tmp_path, asked):
    home = Home(tmp_path)
    make_certificates(home)
    files = f"certfile {home.server_certificate}", f"keyfile {home.server_key}"
    broker = begin("allow_anonymous true", *files)
    doubting, _ = asked(make(broker, "#", tls=True))
    wait_until(lambda: "certificate verify failed" in (doubting.trouble or ""), 60, "the trouble")
    _, asking = asked(make(broker, "#", ca_file=str(home.ca_certificate)))
    trusted = {"ca_certs": str(home.ca_certificate)}

    def comes():
        broker.send(("x", 1), tls=trusted)
        return "x" in asking.fields()

    wait_until(comes, 60, "the field", every=0.1)


def test_a_broker_that_is_missing_is_named(asked):
    node, _ = asked(Mqtt(["#"], **FLAGS, port=free_port()))
    wait_until(lambda: node.trouble and "Connection refused" in node.trouble, 60, "the trouble")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[topics]", "the table 'topics' is unknown, only fields"),
        ("[fields.a]\nunit = 'K'", "the field 'a': 'unit' is not one of the keys"),
        ("fields = 5", "its fields must be a dict"),
        ("[", "TOML|Invalid|Expected|invalid"),
    ],
)
def test_a_wrong_file_is_named_at_the_start(tmp_path, text, sentence):
    config = tmp_path / "wrong.toml"
    config.write_text(text)
    with pytest.raises(sisock.SisockError, match=f"wrong.toml: .*({sentence})"):
        Mqtt(["#"], **{**FLAGS, "config": config}, port=1)


def test_all_flags_are_documented():
    assert documented_flags("mqtt") == own_flags(Mqtt)
