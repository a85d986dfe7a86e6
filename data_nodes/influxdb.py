"""Data node of the measurements in a database of InfluxDB 1.x."""

from __future__ import annotations

import argparse
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import sisock
from sisock.archive.database import DatabaseNode, Series
from sisock.sources.http import JsonServer
from sisock.sources.influxdb import Influx, InfluxSeries
from sisock.sources.options import Described, read_password

MAX_FIELDS = 10_000


class Influxdb(DatabaseNode):
    """Measurements in a database of InfluxDB 1.x.

        sisock node influxdb --url http://influx:8086 --database telegraf

    The field usage_idle of the measurement cpu with the tag host=a is named
    cpu,host=a.usage_idle. Samples stay in the database, which also finds the extremes of buckets.
    """

    name = "influxdb"

    def __init__(self, url: str, database: str, lateness: float, **flags: Any) -> None:
        super().__init__()
        self.lateness, self._patterns = lateness, flags["measurement"] or ["*"]
        self._described = Described(flags["config"])
        password = read_password(flags["password_file"], "INFLUX_PASSWORD")
        server = JsonServer(url, flags["user"], password, flags["ca_file"])
        self._influx = Influx(server, database, flags["retention_policy"])

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Add the flags that name the server, the database and its measurements."""
        add = parser.add_argument
        add("--url", default="http://localhost:8086", help="the server (default: %(default)s)")
        add("--database", required=True, help="its database")
        add("--retention-policy", metavar="NAME", help="default: the database's own")
        add("--measurement", action="append", metavar="NAME", help="may have *; may be repeated")
        add("--user", help="the password is in INFLUX_PASSWORD, or --password-file")
        add("--password-file", type=Path, metavar="FILE", help="file of the password")
        add("--ca-file", type=Path, metavar="FILE", help="certificates to trust, for https")
        lateness = "how late samples may arrive (default: %(default)s)"
        add("--lateness", type=float, default=60.0, metavar="SECONDS", help=lateness)
        add("--config", type=Path, metavar="FILE", help="TOML file of units and limits")

    def find_fields(self) -> dict[str, tuple[Series, dict[str, Any]]]:
        """Find the fields that have samples."""
        found: dict[str, tuple[Series, dict[str, Any]]] = {}
        for measurement, tags, field, kind, ends in self._influx.find(self._is_wanted):
            line = "".join(
                [measurement, *(f",{tag}={value}" for tag, value in tags.items() if value)]
            )
            name = f"{line}.{field}"
            if name in found or len(found) >= MAX_FIELDS:
                why = "its name is taken" if name in found else f"there are {MAX_FIELDS} already"
                self._warn(f"the field {name!r} is left out, as {why}: see --measurement")
                continue
            series = InfluxSeries(self._influx, measurement, tags, field, kind)
            found[name] = series, {"timeline": line, "type": kind, **ends} | self._described[name]
        return found

    def _is_wanted(self, measurement: str) -> bool:
        return any(fnmatchcase(measurement, pattern) for pattern in self._patterns)


if __name__ == "__main__":
    sisock.run(Influxdb)
