"""Data node of EPICS process variables, over Channel Access."""

from __future__ import annotations

import argparse
import math
import threading
from pathlib import Path
from typing import Any

import sisock
from sisock.connection.settings import require
from sisock.sources.epics import SEVERITIES, Variables, read_names
from sisock.sources.options import Described


class Epics(sisock.SubscriberNode):
    """Live values of EPICS process variables (PVs).

        sisock node epics --pv TANK:LEVEL --pv TANK:VALVE

    The usual variables name the IOCs: EPICS_CA_ADDR_LIST, EPICS_CA_AUTO_ADDR_LIST,
    EPICS_CA_SERVER_PORT. Each PV is a field, with the times of its IOC.
    """

    name = "epics"

    def __init__(
        self,
        pv: list[str],
        list: Path | None = None,
        severity: bool = False,
        keep: str | None = None,
        config: Path | None = None,
    ) -> None:
        require("caproto", "epics")
        self.names, self.keep, self._with_severity = [*pv, *read_names(list)], keep, severity
        if not self.names:
            raise sisock.SisockError("name the PVs by --pv or in the file of --list")
        self.fields: dict[str, Any] = {}
        self._described = Described(config)
        self._faulty: str | None = None
        self._over = threading.Event()
        self._warned = sisock.RepeatedWarning(self.log)

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Add the flags that name the variables."""
        add = parser.add_argument
        add("--pv", action="append", default=[], metavar="NAME", help="a PV; may be repeated")
        add("--list", type=Path, metavar="FILE", help="file with one PV name per line")
        add("--severity", action="store_true", help="also serve alarm severities, as NAME.SEVR")
        add("--keep", metavar="TIME", help="how long to keep samples on disk, like 30d")
        add("--config", type=Path, metavar="FILE", help="TOML file of units and limits")

    def subscribe(self) -> None:
        """Follow the variables until the node ends; caproto reconnects to lost ones."""
        kept = self.get_latest(self.names, math.inf)
        last = {name: float(line.t[-1]) for name, line in kept.timelines.items()}
        variables = Variables(self.names, last, self._describe, self._take)
        try:
            while not self._over.wait(1.0):
                self.trouble = self._faulty = variables.trouble
                if self._faulty:
                    self._warned(self._faulty)
        finally:
            variables.close()

    def end(self) -> None:
        """Disconnect from the IOCs."""
        super().end()
        self._over.set()

    def _describe(self, name: str, entry: dict[str, Any]) -> None:
        line = {"timeline": name}
        self.fields[name] = line | entry | self._described[name]
        if self._with_severity:
            self.fields[f"{name}.SEVR"] = line | {"labels": SEVERITIES}

    def _take(self, name: str, value: Any, severity: int | None, t: float) -> None:
        values = {name: value, f"{name}.SEVR": severity}
        self.push(values if self._with_severity else {name: value}, t, name)
        self.trouble = self._faulty


if __name__ == "__main__":
    sisock.run(Epics)
