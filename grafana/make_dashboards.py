#!/usr/bin/env python3
"""Make the dashboards in this directory: ``python grafana/make_dashboards.py``.

There are two, for each of three data source plugins. They look the same: only the queries differ.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent / "dashboards"
WIDTH = 24
"""Columns of Grafana's grid."""

SCHEMA_VERSION = 41
"""What Grafana 11.6 writes; later ones read it too."""

Json = dict[str, Any]

CURVES = {"drawStyle": "line", "lineWidth": 1, "showPoints": "auto", "spanNulls": False}
CURVES_OPTIONS = {
    "legend": {"calcs": [], "displayMode": "list", "placement": "bottom", "showLegend": True},
    "tooltip": {"mode": "multi", "sort": "none"},
}


@dataclass(frozen=True)
class Panel:
    """One panel: curves, or with `calc` one number.

    Attributes
    ----------
    title : str
    unit : str
        Grafana's id.
    fields : str
        Those of the dashboard's node, which share a timeline; wildcards for what there may be.
    low, high : float or None
        Ends of the axis.
    calc : str or None
        Grafana's id of how a number is made of the samples.
    width : int
        Columns of the grid.
    """

    title: str
    unit: str
    fields: str
    low: float | None = None
    high: float | None = None
    calc: str | None = None
    width: int = 12


@dataclass(frozen=True)
class Dashboard:
    """One dashboard: its file, title and node, what Grafana calls so, and panels line by line."""

    name: str
    title: str
    node: str
    time: dict[str, str]
    refresh: str
    timezone: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True)
class Plugin:
    """A data source plugin: what its queries for a target hold, and its query for annotations."""

    folder: str
    datasource: dict[str, str]
    query: Callable[[str], Json]
    annotation: Json | None


WEATHER = Dashboard(
    name="weather",
    title="Weather, July 2017",
    node="apex_archive",
    time={"from": "2017-07-14T00:00:00.000Z", "to": "2017-07-28T00:00:00.000Z"},
    refresh="",
    timezone="utc",
    # In lengthmm, half a millimetre would read 500 µm.
    panels=(
        Panel("Mean temperature", "celsius", "apex_temperature", calc="mean", width=6),
        Panel("Mean humidity", "percent", "apex_humidity", calc="mean", width=6),
        Panel("Mean wind speed", "velocityms", "apex_windspeed", calc="mean", width=6),
        Panel("Median water vapour", "suffix:mm", "apex_radiometer", calc="median", width=6),
        Panel("Temperature", "celsius", "apex_temperature"),
        Panel("Humidity", "percent", "apex_humidity", 0, 100),
        Panel("Pressure", "pressurehpa", "apex_pressure"),
        Panel("Wind speed", "velocityms", "apex_windspeed", 0),
        Panel("Precipitable water vapour", "suffix:mm", "apex_radiometer", 0, width=WIDTH),
    ),
)

MACHINE = Dashboard(
    name="machine",
    title="This machine",
    node="sensors",
    time={"from": "now-15m", "to": "now"},
    refresh="5s",
    timezone="browser",
    panels=(
        Panel("CPU now", "percent", "cpu_percent", 0, 100, "lastNotNull", 6),
        Panel("Memory now", "percent", "memory_percent", 0, 100, "lastNotNull", 6),
        Panel("Swap now", "percent", "swap_percent", 0, 100, "lastNotNull", 6),
        Panel("Root file system now", "percent", "disk_percent", 0, 100, "lastNotNull", 6),
        Panel("CPU", "percent", "cpu_percent", 0, 100),
        Panel("Processes that run or wait", "short", "load_1min", 0),
        Panel("Memory and swap in use", "percent", "memory_percent swap_percent", 0, 100),
        Panel("Memory available", "bytes", "memory_available", 0),
        Panel("Disks since boot", "bytes", "disk_read disk_written"),
        Panel("Networks since boot", "bytes", "network_received network_sent"),
        Panel("Temperatures, if any", "celsius", "temp_*"),
        Panel("Fans, if any", "rotrpm", "fan_*", 0),
    ),
)


def _query_simplejson(target: str) -> Json:
    return {"target": target, "type": "timeserie"}


def _query_simpod(target: str) -> Json:
    return {"editorMode": "builder", "payload": {}, "target": target}


def _query_infinity(target: str) -> Json:
    times = "from=${__from}&to=${__to}&intervalMs=${__interval_ms}&maxDataPoints=2000"
    return {
        "columns": [
            {"selector": "time", "text": "Time", "type": "timestamp_epoch"},
            {"selector": "series", "text": "series", "type": "string"},
            # Grafana leaves the name Value out of legends, so that the series alone is there.
            {"selector": "value", "text": "Value", "type": "number"},
        ],
        "format": "timeseries",
        "parser": "backend",
        "root_selector": "",
        "source": "url",
        "type": "json",
        "url": f"/series?target={target}&{times}",
        "url_options": {"method": "GET"},
    }


PLUGINS = (
    Plugin(
        "simplejson",
        {"type": "grafana-simple-json-datasource", "uid": "sisock"},
        _query_simplejson,
        {"query": "nodes"},
    ),
    Plugin(
        "simpod",
        {"type": "simpod-json-datasource", "uid": "sisock-json"},
        _query_simpod,
        {"target": {"payload": {}, "refId": "Anno", "target": "nodes"}},
    ),
    # The bridge gives annotations by POST alone, and these queries are GET: none here.
    Plugin(
        "infinity",
        {"type": "yesoreyeram-infinity-datasource", "uid": "sisock"},
        _query_infinity,
        None,
    ),
)


def make_dashboard(dashboard: Dashboard, plugin: Plugin) -> Json:
    """Make Grafana's model of a dashboard, with the queries of a plugin."""
    annotations = []
    if plugin.annotation is not None:
        about = {"enable": True, "iconColor": "blue", "name": "Data nodes that came and went"}
        annotations = [{**about, "datasource": plugin.datasource, **plugin.annotation}]
    return {
        "annotations": {"list": annotations},
        "graphTooltip": 1,
        "panels": _make_panels(dashboard, plugin),
        "refresh": dashboard.refresh,
        "schemaVersion": SCHEMA_VERSION,
        "tags": ["sisock"],
        "templating": {"list": []},
        "time": dashboard.time,
        "timezone": dashboard.timezone,
        "title": dashboard.title,
        "uid": f"{plugin.datasource['uid']}-{dashboard.name}",
    }


def _make_panels(dashboard: Dashboard, plugin: Plugin) -> list[Json]:
    made: list[Json] = []
    x, y = 0, 0
    for panel in dashboard.panels:
        height = 8 if panel.calc is None else 4
        place = {"h": height, "w": panel.width, "x": x, "y": y}
        model = _make_panel(panel, dashboard.node, plugin)
        made.append({**model, "gridPos": place, "id": len(made) + 1})
        x += panel.width
        if x == WIDTH:
            x, y = 0, y + height
    return made


def _make_panel(panel: Panel, node: str, plugin: Plugin) -> Json:
    fields = {chr(ord("A") + i): field for i, field in enumerate(panel.fields.split())}
    ends = {"max": panel.high, "min": panel.low}
    defaults = {"unit": panel.unit, **{k: v for k, v in ends.items() if v is not None}}
    if panel.calc is None:
        defaults |= {"color": {"mode": "palette-classic"}, "custom": CURVES}
    return {
        "datasource": plugin.datasource,
        "fieldConfig": {
            "defaults": defaults,
            "overrides": [_name(letter, f) for letter, f in fields.items() if "*" not in f],
        },
        "options": CURVES_OPTIONS if panel.calc is None else _number_options(panel.calc),
        "targets": [
            {"datasource": plugin.datasource, "refId": letter, **plugin.query(f"{node}::{field}")}
            for letter, field in fields.items()
        ],
        "title": panel.title,
        "type": "timeseries" if panel.calc is None else "stat",
    }


def _name(letter: str, field: str) -> Json:
    """Call a query's series by the field: each plugin names it in its own way."""
    return {
        "matcher": {"id": "byFrameRefID", "options": letter},
        "properties": [{"id": "displayName", "value": field}],
    }


def _number_options(calc: str) -> Json:
    return {
        "colorMode": "none",
        "graphMode": "area",
        "reduceOptions": {"calcs": [calc], "fields": "", "values": False},
        "textMode": "value",
    }


def make_files() -> dict[Path, str]:
    """Make the text of each file, by its path."""
    return {
        FOLDER / plugin.folder / f"{dashboard.name}.json": json.dumps(
            make_dashboard(dashboard, plugin), indent=2, sort_keys=True
        )
        + "\n"
        for plugin in PLUGINS
        for dashboard in (WEATHER, MACHINE)
    }


if __name__ == "__main__":
    for path, text in make_files().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
