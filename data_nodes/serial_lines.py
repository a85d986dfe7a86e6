"""Data node of an instrument that sends lines of text, or answers commands with one."""

from __future__ import annotations

import argparse
import re
import threading
import time
from pathlib import Path
from typing import Any

import sisock
from sisock.connection.settings import require
from sisock.sources.lines import ENDS, LineParser, Lines, make_parsers, open_port, read_value
from sisock.sources.options import Described


class SerialLines(sisock.SubscriberNode):
    r"""An instrument at a serial line or a TCP port that speaks in lines of text.

    It sends lines by itself, or answers each --command with a line. Examples:

        sisock node serial_lines --port /dev/ttyUSB0 --fields 'temp [K], heater [%]'
        sisock node serial_lines --port socket://10.0.0.7:5025 --scpi \
            --command 'MEAS:VOLT?' --fields 'voltage [V]' --interval 5
    """

    name = "serial_lines"

    def __init__(self, port: str, command: list[str], keep: str | None, **flags: Any) -> None:
        require("serial", "serial-lines")
        self.port, self.commands, self.keep, self.flags = port, command, keep, flags
        self.parsers = make_parsers(command, flags["fields"], flags["separator"], flags["pattern"])
        if not flags["interval"] > 0:
            raise sisock.SisockError("--interval must be more than 0 seconds")
        described = Described(flags["config"])
        interval = flags["interval"] if command else None
        self.fields = {
            name: {"units": units, "interval": interval} | described[name]
            for parser in self.parsers
            for name, units in parser.units.items()
        }
        self.limit = flags["timeout"] or (2.0 if command else 60.0)
        self.stale_after = None if command else self.limit
        self._over = threading.Event()
        self._identity = ""
        self._malformed: str | None = None
        self._warned = sisock.RepeatedWarning(self.log)

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Add the flags that name the port, and describe the lines."""
        add = parser.add_argument
        add("--port", required=True, help="serial port, or socket://HOST:PORT")
        add("--baud", type=int, default=9600, help="speed of a serial port (default: %(default)s)")
        add("--fields", action="append", default=[], help="names of a line's values, - for none")
        add("--separator", default=r"[\s,;]+", help="regular expression (default: %(default)s)")
        add("--pattern", help="instead of --fields: regular expression with named groups")
        add("--command", action="append", default=[], help="line to send; may be repeated")
        add("--interval", type=float, default=1.0, help="seconds between commands (default: 1)")
        add("--timeout", type=float, help="seconds for a line (default: 60, for an answer 2)")
        add("--end", choices=ENDS, default="lf", help="end of a command (default: %(default)s)")
        add("--scpi", action="store_true", help="also send *IDN? and SYST:ERR?")
        add("--keep", metavar="TIME", help="how long to keep samples on disk, like 30d")
        add("--config", type=Path, metavar="FILE", help="TOML file of units and limits")

    def subscribe(self) -> None:
        """Open the port, and read lines until it is gone or the node ends."""
        how = {"baudrate": self.flags["baud"], "timeout": 0.2, "exclusive": True}
        with open_port(self.port, **how) as port:
            end = ENDS[self.flags["end"]]
            lines = Lines(port, self.limit, self._over.is_set, end)
            if not self.commands:
                for line in lines:
                    self._take([self._parse(line, self.parsers[0])])
                return
            if self.flags["scpi"]:
                identity = lines.ask("*IDN?")
                if self.description in ("", self._identity):
                    self.description = self._identity = identity
            due = time.monotonic()
            while not self._over.wait(max(0.0, due - time.monotonic())):
                due = max(due + self.flags["interval"], time.monotonic())
                began = time.time()
                asked = zip(self.commands, self.parsers, strict=True)
                self._take([self._parse(lines.ask(c), p) for c, p in asked], began)
                if self.flags["scpi"]:
                    error = lines.ask("SYST:ERR?")
                    if not re.match(r"[+-]?0\b", error):
                        self._warned(f"the instrument reports the error {error}")

    def end(self) -> None:
        """Stop reading, which closes the port."""
        super().end()
        self._over.set()

    def _parse(self, line: str, parser: LineParser) -> dict[str, Any]:
        """Return the values of a line; a malformed one has none, and is reported."""
        try:
            return {
                name: read_value(text, self.fields[name].get("type", "number"), self.flags["scpi"])
                for name, text in parser.split(line).items()
            }
        except ValueError as error:
            self._malformed = f"a line is lost: {error}"
            self._warned(self._malformed)
            return {}

    def _take(self, found: list[dict[str, Any]], t: float | None = None) -> None:
        values = {name: value for part in found for name, value in part.items()}
        if values:
            self.push(values, t)
        self.trouble, self._malformed = self._malformed, None


if __name__ == "__main__":
    sisock.run(SerialLines)
