"""Data node of this computer's own sensors: temperatures, fans, battery, load, memory, network."""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from collections.abc import Container
from contextlib import suppress
from typing import Any

import sisock

try:
    import psutil
except ModuleNotFoundError:
    sys.exit("psutil is missing: pip install 'sisock[sensors]'")

CPU = {
    "cpu_percent": ("load of all cores", "percent"),
    "load_1min": ("processes that run or wait, mean of a minute", None),
}
MEMORY = {
    "memory_percent": ("memory in use", "percent"),
    "memory_available": ("memory that programs can still use", "bytes"),
    "swap_percent": ("swap in use", "percent"),
}
DISK = {
    "disk_percent": ("root file system in use", "percent"),
    "disk_read": ("read from disks since boot", "bytes"),
    "disk_written": ("written to disks since boot", "bytes"),
}
NETWORK = {
    "network_received": ("received from networks since boot", "bytes"),
    "network_sent": ("sent to networks since boot", "bytes"),
}

LIMITED = ("cpu_percent", "memory_percent", "disk_percent")
LIMITS = {"warning": [None, 80.0], "alarm": [None, 95.0]}

FIRST_SECONDS = 0.1  # for which the first CPU load is measured

UNITS = {"temp": "C", "fan": "rpm", "in": "V", "curr": "A", "power": "W"}
"""Units by kind of sensor, as lm-sensors names the kinds."""


class Sensors(sisock.LiveNode):
    """Sensors of the computer that this program runs on.

    Temperatures, fans and battery, if there are any (virtual machines have none); CPU, memory,
    disks and network. All are read every 2.5 s and kept for an hour.
    """

    name = "sensors"
    interval = 2.5
    history = 3600.0

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Add the flag for the field names of 2018."""
        parser.add_argument(
            "--original-names",
            action="store_true",
            help="name the hardware's fields as the sisock of 2018 did, like"
            " coretemp-isa-0000_temp1, from the output of the command `sensors -u`",
        )

    def __init__(self, original_names: bool = False) -> None:
        self.read_hardware = _read_original if original_names else read_hardware
        found = self.read_hardware()
        self.fields = {
            **{
                name: _entry(*about) for name, about in {**CPU, **MEMORY, **DISK, **NETWORK}.items()
            },
            **{name: _entry(*about) for name, (_, *about) in found.items()},
        }
        for name in LIMITED:
            self.fields[name]["limits"] = LIMITS
        self._is_first = True

    def read(self) -> dict[str, Any]:
        """Read all figures; a group that cannot be read is left out."""
        values = {name: value for name, (value, *_) in self.read_hardware().items()}
        for group in (self._read_cpu, _read_memory, _read_disk, _read_network):
            with suppress(OSError, AttributeError):
                values.update(group())
        return {name: value for name, value in values.items() if name in self.fields}

    def _read_cpu(self) -> dict[str, float]:
        # psutil measures since the previous call, so the first one has to wait.
        seconds, self._is_first = FIRST_SECONDS if self._is_first else None, False
        return {"cpu_percent": psutil.cpu_percent(seconds), "load_1min": psutil.getloadavg()[0]}


def read_hardware(system: Any = psutil) -> dict[str, tuple[Any, str, str | None]]:
    """Return value, description and units of each sensor that psutil finds, by name."""
    found: dict[str, tuple[Any, str, str | None]] = {}
    for chip, readings in _ask(system, "sensors_temperatures", {}).items():
        for index, reading in enumerate(readings):
            where = f"{chip} {reading.label or index}"
            name = _name("temp", where, index, found)
            found[name] = (reading.current, f"temperature of {where}", "C")
    for chip, readings in _ask(system, "sensors_fans", {}).items():
        for index, reading in enumerate(readings):
            where = f"{chip} {reading.label or index}"
            name = _name("fan", where, index, found)
            found[name] = (reading.current, f"speed of fan {where}", "rpm")
    battery = _ask(system, "sensors_battery", None)
    if battery is not None:
        found["battery_percent"] = (battery.percent, "charge of the battery", "percent")
    return found


def _read_original() -> dict[str, tuple[Any, str, str | None]]:
    """Return the same from the output of the command `sensors`, with the names of 2018."""
    try:
        done = subprocess.run(["sensors", "-u"], capture_output=True, text=True, timeout=10)
    except FileNotFoundError:
        raise sisock.SisockError(
            "--original-names needs the command sensors: install lm-sensors"
        ) from None
    found: dict[str, tuple[Any, str, str | None]] = {}
    for block in done.stdout.split("\n\n"):
        chip, *lines = block.strip().splitlines() or [""]
        for line in lines:
            name, is_input, value = line.strip().partition("_input:")
            if is_input:
                units = UNITS.get(name.rstrip("0123456789"))
                found[f"{chip}_{name}"] = (float(value), f"{name} of {chip}", units)
    return found


def _ask(system: Any, function: str, nothing: Any) -> Any:
    """Return a reading of psutil, or `nothing` if the system has none or forbids it."""
    try:
        return getattr(system, function)() or nothing
    except (AttributeError, OSError, NotImplementedError):
        return nothing


def _name(kind: str, where: str, index: int, taken: Container[str]) -> str:
    name = f"{kind}_{re.sub(r'[^a-z0-9]+', '_', where.lower()).strip('_')}"
    # Two drives of the same kind have the same chip and label.
    return f"{name}_{index}" if name in taken else name


def _entry(description: str, units: str | None) -> dict[str, Any]:
    return {"description": description, "units": units}


def _read_memory() -> dict[str, float]:
    memory = psutil.virtual_memory()
    return {
        "memory_percent": memory.percent,
        "memory_available": memory.available,
        "swap_percent": psutil.swap_memory().percent,
    }


def _read_disk() -> dict[str, float]:
    figures: dict[str, float] = {"disk_percent": psutil.disk_usage("/").percent}
    counters = _ask(psutil, "disk_io_counters", None)
    if counters is not None:
        figures.update(disk_read=counters.read_bytes, disk_written=counters.write_bytes)
    return figures


def _read_network() -> dict[str, float]:
    counters = _ask(psutil, "net_io_counters", None)
    if counters is None:
        return {}
    return {"network_received": counters.bytes_recv, "network_sent": counters.bytes_sent}


if __name__ == "__main__":
    sisock.run(Sensors)
