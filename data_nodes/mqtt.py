"""Data node of the messages of an MQTT broker."""

from __future__ import annotations

import argparse
import ssl
from contextlib import suppress
from pathlib import Path
from typing import Any

import sisock
from sisock.connection.settings import require
from sisock.sources.lines import convert, read_payload
from sisock.sources.options import Described, parse_time, read_password

with suppress(ImportError):  # `require` says what is missing
    from paho.mqtt import client as paho

MAX_FIELDS = 10_000


class Mqtt(sisock.SubscriberNode):
    """Live messages of an MQTT broker.

    A payload is a number, true, false, a text, or JSON. Each nested key of JSON is a field:
    `{"wind": {"speed": 4.2}}` on the topic mast/north gives mast/north.wind.speed. Example:

        sisock node mqtt --host broker --topic 'mast/#' --topic 'tank/+/level'
    """

    name = "mqtt"

    def __init__(self, topic: list[str], keep: str | None = None, **flags: Any) -> None:
        require("paho", "mqtt")
        self.topics, self.keep, self.flags = topic, keep, flags
        self.fields: dict[str, Any] = {}
        self._client: paho.Client | None = None
        self._warned = sisock.RepeatedWarning(self.log)
        self._described = Described(flags["config"])
        self._password = read_password(flags["password_file"], "MQTT_PASSWORD")

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Add the flags that name the broker and the topics."""
        add = parser.add_argument
        add("--host", default="localhost", help="the broker (default: %(default)s)")
        add("--port", type=int, help="its port (default: 1883, or 8883 with TLS)")
        add("--topic", action="append", required=True, help="may have + and #; may be repeated")
        add("--time", metavar="KEY", help="JSON key of the time (default: time of arrival)")
        add("--retained", action="store_true", help="also take retained messages")
        add("--user", help="the password is in MQTT_PASSWORD, or --password-file")
        add("--password-file", type=Path, metavar="FILE", help="file of the password")
        add("--tls", action="store_true", help="connect with TLS")
        add("--ca-file", metavar="FILE", help="certificates to trust (default: the system's)")
        add("--keep", metavar="TIME", help="how long to keep samples on disk, like 30d")
        add("--config", type=Path, metavar="FILE", help="TOML file of units and limits")

    def subscribe(self) -> None:
        """Connect, and listen until the connection ends."""
        flags, self._refused = self.flags, ""
        client = paho.Client(paho.CallbackAPIVersion.VERSION2, reconnect_on_failure=False)
        client.username_pw_set(flags["user"], self._password if flags["user"] else None)
        if flags["tls"] or flags["ca_file"]:
            client.tls_set_context(ssl.create_default_context(cafile=flags["ca_file"]))
        client.on_connect, client.on_subscribe = self._on_connect, self._on_subscribe
        client.on_message = self._on_message
        port = flags["port"] or (8883 if flags["tls"] or flags["ca_file"] else 1883)
        try:
            client.connect(flags["host"], port, keepalive=15)
        except OSError as error:
            raise ConnectionError(f"{flags['host']}:{port}: {error}") from error
        self._client = client
        client.loop_forever()
        if self._refused:
            raise ConnectionError(f"{flags['host']}:{port} refuses: {self._refused}")

    def end(self) -> None:
        """Disconnect from the broker."""
        super().end()
        if self._client is not None:
            self._client.disconnect()

    def _on_connect(self, client: paho.Client, _: Any, __: Any, code: Any, *___: Any) -> None:
        if code.is_failure:
            self._refused = str(code)
            return
        client.subscribe([(topic, 0) for topic in self.topics])

    def _on_subscribe(self, client: paho.Client, _: Any, __: Any, codes: Any, *___: Any) -> None:
        for topic, code in zip(self.topics, codes, strict=True):
            if code.is_failure:
                self._refused = f"the topic {topic!r}: {code}"
                client.disconnect()
                return
        self.trouble = None
        self.log.info("subscribed to {topics}", topics=", ".join(self.topics))

    def _on_message(self, _: Any, __: Any, message: paho.MQTTMessage) -> None:
        if message.retain and not self.flags["retained"]:
            return
        try:
            self._take(message.topic, message.payload)
        except (ValueError, TypeError, ArithmeticError, RecursionError) as error:
            self._warned(f"a message of {message.topic!r} is lost: {error}")

    def _take(self, topic: str, payload: bytes) -> None:
        values, t = read_payload(topic, payload), None
        if self.flags["time"]:
            t = parse_time(values.pop(f"{topic}.{self.flags['time']}", None))
        for name, value in values.items():
            if value is not None and name not in self.fields:
                if len(self.fields) >= MAX_FIELDS:
                    raise ValueError(f"there are {MAX_FIELDS} fields already")
                self.fields[name] = self._described[name]
        kinds = {name: self.fields.get(name, {}).get("type") for name in values}
        self.push({name: convert(value, kinds[name]) for name, value in values.items()}, t, topic)


if __name__ == "__main__":
    sisock.run(Mqtt)
